import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "styx-client";
import { numbered, readAll, STALL_MS, useServer } from "./support.mjs";

const context = useServer();
const REASON = new Error("aborted by the test");

function flushed(producer, options) {
  producer.append("flushed");
  return producer.flush(options);
}

/** Every call that can wait. Each is given what it needs, and a signal. */
const CALLS = {
  connect: ({ server }, signal) => Client.connect(server.address, { signal }),
  check: ({ client }, signal) => client.check({ signal }),
  createLog: ({ client, log }, signal) => client.createLog(log, { existOk: true, signal }),
  listLogs: ({ client }, signal) => client.listLogs({ signal }),
  getLog: ({ client, log }, signal) => client.getLog(log, { signal }),
  getLogDetails: ({ client, log }, signal) => client.getLogDetails(log, { signal }),
  deleteLog: ({ client }, signal) => client.deleteLog("nolog", { signal }),
  truncateLog: ({ client }, signal) => client.truncateLog("nolog", { signal }),
  trimLog: ({ client, log }, signal) => client.trimLog(log, 0, { signal }),
  adoptLog: ({ client, log }, signal) => client.adoptLog(log, { signal }),
  listCursors: ({ client, log }, signal) => client.listCursors(log, { signal }),
  getCursor: ({ client, log }, signal) => client.getCursor(log, "c", { signal }),
  setCursor: ({ client, log }, signal) => client.setCursor(log, "e", 0, { signal }),
  deleteCursor: ({ client, log }, signal) => client.deleteCursor(log, "d", { signal }),
  backupLog: ({ client, log }, signal) => buffer(client.backupLog(log, { signal })),
  restoreLog: ({ client }, signal) => client.restoreLog("restored", [Buffer.alloc(10)], { signal }),
  send: ({ producer }, signal) => producer.send("sent", { signal }),
  sendBigInt: ({ producer }, signal) => producer.sendBigInt("sent", { signal }),
  sendMany: ({ producer }, signal) => producer.sendMany(["sent"], { signal }),
  sendManyBigInt: ({ producer }, signal) => producer.sendManyBigInt(["sent"], { signal }),
  flush: ({ producer }, signal) => flushed(producer, { signal }),
  flushWithTimeout: ({ producer }, signal) => flushed(producer, { signal, timeout: 60_000 }),
  drain: async ({ full }, signal) => {
    while (full.append(Buffer.alloc(10_000)));
    await full.drain({ signal });
  },
  poll: ({ follower }, signal) => follower.poll({ signal }),
  pollWithTimeout: ({ follower }, signal) => follower.poll({ signal, timeout: 60_000 }),
  batches: ({ follower }, signal) => follower.batches({ signal }).next(),
  records: ({ follower }, signal) => follower.records({ signal }).next(),
  seek: ({ opening }, signal) => opening.seek(0, { signal }),
  commit: ({ committer }, signal) => committer.commit({ signal }),
};

/** The objects that the calls use, on a server that is then paused. */
async function prepare({ server, client, log }) {
  const producer = client.producer(log);
  const full = client.producer(log, { inFlightBytes: 65_536 });
  const follower = client.consumer(log, { start: "end", follow: true });
  const committer = client.consumer(log, { cursor: "c" });
  await Promise.all([producer.ready, full.ready, follower.ready, committer.ready]);
  await committer.poll({ maxRecords: 1 });
  await server.pause();
  return {
    server,
    client,
    log,
    producer,
    full,
    follower,
    committer,
    opening: client.consumer(log),
  };
}

/** The error of an aborted call: the reason, or that of an aborted stream. */
function isAborted(error) {
  return error === REASON || (error.name === "AbortError" && error.cause === REASON);
}

test("signal_that_was_aborted_before_ends_every_call", async () => {
  const log = await context.logOf(["a", "b"]);
  const prepared = await prepare({ ...context, log });
  try {
    for (const [name, call] of Object.entries(CALLS)) {
      await assert.rejects(call(prepared, AbortSignal.abort(REASON)), isAborted, name);
    }
  } finally {
    context.server.resume();
  }
  await prepared.producer.close();
  // A send whose signal was aborted before appends nothing.
  const texts = await readAll(context.client, log);
  assert.deepEqual(
    texts.filter((text) => text === "sent"),
    [],
  );
  await Promise.all([prepared.full.close(), prepared.follower.close(), prepared.committer.close()]);
});

test("signal_ends_every_call_that_waits", async () => {
  const log = await context.logOf(["a", "b"]);
  const prepared = await prepare({ ...context, log });
  try {
    for (const [name, call] of Object.entries(CALLS)) {
      const controller = new AbortController();
      const waiting = call(prepared, controller.signal);
      waiting.catch(() => {});
      await sleep(2);
      const start = performance.now();
      controller.abort(REASON);
      await assert.rejects(waiting, isAborted, name);
      assert(performance.now() - start < STALL_MS, name);
      assert.equal(getEventListeners(controller.signal, "abort").length, 0, name);
    }
  } finally {
    context.server.resume();
  }
  // Everything is usable, and nothing was lost or doubled.
  const { producer, full, follower, committer } = prepared;
  await producer.flush();
  await full.flush();
  assert.equal(typeof (await producer.send("last")), "number");
  const appended = producer.nextSequence + full.nextSequence;
  const { endPosition } = await context.client.getLog(log);
  assert.equal(endPosition, 2 + appended);
  let next = 2;
  while (next < endPosition) {
    const batch = await follower.poll({ timeout: 10_000 });
    assert.equal(batch.firstPosition, next);
    next = batch.nextPosition;
  }
  assert.equal(await committer.commit(), 1);
  await Promise.all([producer.close(), full.close(), follower.close(), committer.close()]);
});

test("signal_that_is_aborted_afterwards_has_no_effect", async () => {
  const log = await context.logOf(["a"]);
  const { client } = context;
  const controller = new AbortController();
  const { signal } = controller;
  const producer = client.producer(log);
  const consumer = client.consumer(log, { cursor: "after" });
  assert.equal(await producer.send("b", { signal }), 1);
  await producer.flush({ signal, timeout: 5000 });
  await producer.drain({ signal });
  assert.equal((await consumer.poll({ signal, timeout: 5000, maxRecords: 1 })).length, 1);
  assert.equal(await consumer.commit({ signal }), 1);
  await consumer.seek(0, { signal });
  await client.getLog(log, { signal });
  assert.equal(getEventListeners(signal, "abort").length, 0);
  controller.abort(REASON);
  await producer.close();
  await consumer.close();
});

test("aborted_polls_lose_and_double_nothing", async () => {
  const log = await context.log();
  const consumer = context.client.consumer(log, { follow: true });
  const producer = context.client.producer(log);
  const positions = [];
  const reading = (async () => {
    for (let round = 0; positions.length < 500; round += 1) {
      const controller = new AbortController();
      const polled = consumer.poll({ signal: controller.signal, maxRecords: 1 + (round % 5) });
      setImmediate(() => controller.abort(REASON));
      try {
        positions.push(...[...(await polled)].map((record) => record.position));
      } catch (error) {
        assert.equal(error, REASON);
      }
    }
  })();
  for (const text of numbered(500)) {
    await producer.send(text);
  }
  await reading;
  assert.deepEqual(
    positions,
    Array.from({ length: 500 }, (_, at) => at),
  );
  await producer.close();
  await consumer.close();
});

test("signal_used_10_000_times_leaves_no_listener_and_no_warning", async () => {
  const warnings = [];
  const warn = (warning) => warnings.push(warning);
  process.on("warning", warn);
  const log = await context.logOf(["a"]);
  const { signal } = new AbortController();
  const producer = context.client.producer(log);
  const consumer = context.client.consumer(log, { follow: true });
  await consumer.poll();
  await Promise.all(numbered(10_000).map((text) => producer.send(text, { signal })));
  for (let count = 0; count < 10_000; count += 1) {
    await consumer.poll({ signal, timeout: 10_000, maxRecords: 1 });
  }
  await sleep(1);
  assert.equal(getEventListeners(signal, "abort").length, 0);
  process.off("warning", warn);
  assert.deepEqual(warnings, []);
  await producer.close();
  await consumer.close();
});

// An abort was noticed only when the source gave its next chunk.
test("signal_ends_a_restore_whose_source_waits", async () => {
  const controller = new AbortController();
  async function* silent() {
    yield Buffer.alloc(1);
    await new Promise(() => {});
  }
  const restoring = context.client.restoreLog("silent", silent(), { signal: controller.signal });
  await sleep(20);
  controller.abort(REASON);
  await assert.rejects(restoring, REASON);
});
