// Appends every line of its input to a log, and prints the position of the last one.
//
// Shows: creating a log, appending without waiting for each record, back-pressure, and waiting
// for all records at the end.
//
//     seq 1 1000 | node produce.mjs orders

import { createInterface } from "node:readline";
import { Client, StyxError } from "styx-client";

const [log] = process.argv.slice(2);
if (log === undefined || log.startsWith("-")) {
  console.error("usage: node produce.mjs LOG <LINES");
  process.exit(2);
}

/** @param {string} log */
async function main(log) {
  // Without an address, the client uses the variable STYX_HOST, then localhost:7123.
  const client = await Client.connect();
  try {
    await client.createLog(log, { existOk: true });
    const producer = client.producer(log);
    const lines = createInterface({ input: process.stdin });
    // Ctrl-C ends the input. The lines before it are still stored.
    process.once("SIGINT", () => lines.close());
    let count = 0;
    for await (const line of lines) {
      // Returns at once. It returns false while 32 MiB are not acknowledged.
      if (!producer.append(line)) {
        await producer.drain();
      }
      count += 1;
    }
    // Everything is durable on the server's disk now, or this throws what was lost.
    await producer.close();
    const { endPosition } = await client.getLog(log);
    console.log(`${count} lines; the log ends at position ${endPosition}`);
  } finally {
    await client.close();
  }
}

main(log).catch((error) => {
  console.error(error instanceof StyxError ? `error: ${error.message}` : error);
  process.exitCode = 1;
});
