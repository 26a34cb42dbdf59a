// Appends the words of a file to a log, one record each, and counts the words in the log.
//
// Shows: streams. A producer is the end of one pipeline, and a consumer the start of another one.
// Both have back-pressure, so a file of any size needs little memory.
//
//     node words.mjs words ../../README.md

import { createReadStream } from "node:fs";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Client, StyxError } from "styx-client";

/** Counts that are printed. */
const SHOWN = 10;

const [log, file] = process.argv.slice(2);
if (log === undefined || file === undefined) {
  console.error("usage: node words.mjs LOG FILE");
  process.exit(2);
}

/** A stream from pieces of text to words in lower case. */
function words() {
  let rest = "";
  return new Transform({
    objectMode: true,
    /** @param {string} text */
    transform(text, _encoding, done) {
      const found = (rest + text).toLowerCase().split(/[^\p{L}\p{N}]+/u);
      // The next piece may continue the last word.
      rest = found.pop() ?? "";
      for (const word of found) {
        if (word !== "") {
          this.push(word);
        }
      }
      done();
    },
    flush(done) {
      done(null, rest === "" ? undefined : rest);
    },
  });
}

/**
 * @param {string} log
 * @param {string} file
 */
async function main(log, file) {
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  const { signal } = stop;
  const client = await Client.connect();
  try {
    // Where the words of this file begin.
    const { endPosition: start } = await client.createLog(log, { existOk: true });
    const producer = client.producer(log);
    // Ends when every word is durable.
    await pipeline(createReadStream(file, "utf8"), words(), producer.writable(), { signal });

    /** @type {Map<string, number>} */
    const counts = new Map();
    const consumer = client.consumer(log, { start });
    await pipeline(
      consumer.readable({ batches: true }),
      /** @param {AsyncIterable<import("styx-client").RecordBatch>} batches */
      async (batches) => {
        for await (const batch of batches) {
          for (const word of batch.texts()) {
            counts.set(word, (counts.get(word) ?? 0) + 1);
          }
        }
      },
      { signal },
    );
    const sorted = [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
    for (const [word, count] of sorted.slice(0, SHOWN)) {
      console.log(`${count} ${word}`);
    }
  } catch (error) {
    if (!signal.aborted) {
      throw error;
    }
    console.error("stopped");
  } finally {
    await client.close();
  }
}

main(log, file).catch((error) => {
  const isExpected = error instanceof StyxError || error.syscall === "open";
  console.error(isExpected ? `error: ${error.message}` : error);
  process.exitCode = 1;
});
