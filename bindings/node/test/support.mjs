// Shared by the tests: a server for each file, and programs in processes of their own.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { after, before } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "styx-client";
import { startServer } from "styx-client/testing";

/** The directory of the package. */
export const PACKAGE = join(import.meta.dirname, "..");
/**
 * How long a busy machine may stop a test. A call that ends at its own timeout takes less, and one
 * that waits for a default of 30 s takes more.
 */
export const STALL_MS = 15_000;
const CHILD_MS = 20_000;
const BLOCK_BYTES = 65_536;
const CHUNK_RECORDS = 2000;

/** A server and a client for the tests of one file. `prepare` runs before the tests. */
export function useServer(prepare = async () => {}) {
  const context = {
    /** Creates a log with a name of its own, and returns the name. */
    async log(limits) {
      names += 1;
      await context.client.createLog(`log${names}`, limits);
      return `log${names}`;
    },
    /** Creates a log with these records. */
    async logOf(payloads, limits) {
      const log = await context.log(limits);
      await write(context.client, log, payloads);
      return log;
    },
  };
  let names = 0;
  before(async () => {
    context.server = await startServer();
    context.client = await Client.connect(context.server.address);
    await prepare(context);
  });
  after(async () => {
    await context.client?.close();
    await context.server?.stop();
  });
  return context;
}

/** Appends records, and returns the position of the first one. */
export async function write(client, log, payloads) {
  const producer = client.producer(log, { blockBytes: BLOCK_BYTES });
  const position = await producer.sendMany(payloads.slice(0, CHUNK_RECORDS));
  // Small blocks, so that there are several batches.
  for (let at = CHUNK_RECORDS; at < payloads.length; at += CHUNK_RECORDS) {
    await producer.sendMany(payloads.slice(at, at + CHUNK_RECORDS));
  }
  await producer.close();
  return position;
}

/** The texts of all records from a start on. */
export async function readAll(client, log, options) {
  const texts = [];
  const consumer = client.consumer(log, options);
  for await (const batch of consumer) {
    texts.push(...batch.texts());
  }
  await consumer.close();
  return texts;
}

/** The texts `${prefix}0` up to but not including `${prefix}${count}`. */
export function numbered(count, prefix = "") {
  return Array.from({ length: count }, (_, number) => `${prefix}${number}`);
}

/** Waits until the check returns something true, and returns it. */
export async function until(check, milliseconds = 10_000) {
  const end = performance.now() + milliseconds;
  for (;;) {
    const result = await check();
    if (result) {
      return result;
    }
    assert(performance.now() < end, `after ${milliseconds} ms: ${check}`);
    await sleep(5);
  }
}

/** Asserts that the promise is rejected with a StyxError of this code, and returns the error. */
export async function rejectsWith(code, promise) {
  try {
    await promise;
  } catch (error) {
    assert.equal(error.code, code, error.stack);
    return error;
  }
  assert.fail(`no error: expected ${code}`);
}

/** Asserts that the call throws an error with this code, and returns the error. */
export function throwsWith(code, call) {
  try {
    call();
  } catch (error) {
    assert.equal(error.code, code, error.stack);
    return error;
  }
  assert.fail(`no error: expected ${code}`);
}

/** Whether a promise is still pending after the tasks that are ready. */
export async function isPending(promise, milliseconds = 20) {
  const pending = Symbol();
  return (await Promise.race([promise, sleep(milliseconds, pending)])) === pending;
}

const PROGRAM = `
import * as styx from "styx-client";
import { setTimeout as sleep } from "node:timers/promises";
const { Client, RecordBatch, StyxError } = styx;
const address = process.env.ADDRESS;
process.on("unhandledRejection", (error) => {
  console.error("UNHANDLED", error);
  process.exit(70);
});
process.on("uncaughtException", (error) => {
  console.error("UNCAUGHT", error);
  process.exit(71);
});
process.on("warning", (warning) => console.error("WARNING", warning));
`;

/** Runs a program in a process of its own. */
export async function run(server, body, { flags = [], milliseconds = CHILD_MS } = {}) {
  const start = performance.now();
  const child = spawn(process.execPath, [...flags, "--input-type=module", "-e", PROGRAM + body], {
    cwd: PACKAGE,
    env: { ...process.env, ADDRESS: server?.address ?? "", NODE_OPTIONS: "" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [output, errors] = ["", ""];
  child.stdout.on("data", (text) => {
    output += text;
  });
  child.stderr.on("data", (text) => {
    errors += text;
  });
  const late = setTimeout(() => child.kill("SIGKILL"), milliseconds);
  const [code, signal] = await new Promise((done) => child.once("close", (...how) => done(how)));
  clearTimeout(late);
  return { code, signal, output, errors, milliseconds: performance.now() - start };
}

/** As `run`, and asserts that the program ends by itself, without a message. */
export async function runQuietly(server, body, options) {
  const ended = await run(server, body, options);
  assert.deepEqual(
    { code: ended.code, signal: ended.signal, errors: ended.errors },
    { code: 0, signal: null, errors: "" },
    ended.output,
  );
  return ended;
}
