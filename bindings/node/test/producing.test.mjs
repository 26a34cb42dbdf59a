import assert from "node:assert/strict";
import { test } from "node:test";
import { runInNewContext } from "node:vm";
import { Producer, StyxError } from "styx-client";
import {
  isPending,
  numbered,
  readAll,
  rejectsWith,
  throwsWith,
  until,
  useServer,
} from "./support.mjs";

const context = useServer();

async function payloadsOf(log) {
  const payloads = [];
  for await (const batch of context.client.consumer(log)) {
    payloads.push(...batch.payloads());
  }
  return payloads;
}

test("producer_can_be_used_before_it_is_open", async () => {
  const log = await context.log();
  const producer = context.client.producer(log);
  assert(producer instanceof Producer);
  assert.equal(producer.log, log);
  assert.equal(producer.stats(), null);
  throwsWith("invalid_argument", () => producer.nextSequence);
  assert.equal(producer.append("a"), true);
  const sent = producer.send("b");
  await producer.ready;
  assert.equal(await sent, 1);
  assert.equal(producer.nextSequence, 2);
  assert.equal(producer.nextSequenceBigInt, 2n);
  assert.equal(producer.durableSequence, 2);
  assert.equal(typeof producer.producerId, "bigint");
  assert.equal(typeof producer.epoch, "number");
  assert.equal(producer.logId, (await context.client.getLogDetails(log)).logId);
  const stats = producer.stats();
  assert.equal(stats.ackedRecords, 2);
  assert.equal(stats.waitingRecords, 0);
  assert.equal(stats.isConnected, true);
  assert.equal(producer.closed, false);
  await producer.close();
  assert.equal(producer.closed, true);
  assert.deepEqual(await readAll(context.client, log), ["a", "b"]);
});

test("positions_are_in_the_order_of_the_calls", async () => {
  const log = await context.log();
  const producer = context.client.producer(log);
  const promises = [];
  const expected = [];
  let position = 0;
  for (let round = 0; round < 2000; round += 1) {
    promises.push(producer.send(`${position}`));
    expected.push(position);
    position += 1;
    producer.append(`${position}`);
    position += 1;
    promises.push(producer.sendMany([`${position}`, Buffer.from(`${position + 1}`)]));
    expected.push(position);
    position += 2;
    promises.push(producer.sendBigInt(`${position}`).then(Number));
    expected.push(position);
    position += 1;
  }
  assert.deepEqual(await Promise.all(promises), expected);
  await producer.close();
  assert.deepEqual(await readAll(context.client, log), numbered(position));
});

test("send_many_larger_than_1_mib_has_the_position_of_its_first_record", async () => {
  const log = await context.log();
  const producer = context.client.producer(log);
  const text = "x".repeat(1000);
  const positions = await Promise.all([
    producer.send("first"),
    producer.sendMany(numbered(5000, text)),
    producer.sendManyBigInt(new Set(numbered(3000, text))),
    producer.send("last"),
  ]);
  assert.deepEqual(positions, [0, 1, 5001n, 8001]);
  await producer.close();
  const read = await readAll(context.client, log);
  assert.deepEqual(read, ["first", ...numbered(5000, text), ...numbered(3000, text), "last"]);
});

test("send_many_appends_nothing_if_one_payload_is_invalid", async () => {
  const log = await context.log();
  const producer = context.client.producer(log);
  await rejectsWith("invalid_argument", producer.sendMany(["a", 5]));
  assert.equal(await producer.sendMany([]), 0);
  await rejectsWith("invalid_argument", producer.sendMany("text"));
  await rejectsWith("invalid_argument", producer.sendMany(Buffer.from("bytes")));
  await assert.rejects(producer.sendMany(undefined), TypeError);
  const failure = new Error("the iterable has failed");
  function* failing() {
    yield "a";
    throw failure;
  }
  await assert.rejects(producer.sendMany(failing()), failure);
  assert.equal(await producer.send("only"), 0);
  await producer.close();
});

test("value_that_is_no_payload_is_a_type_error_and_not_appended", async () => {
  const log = await context.log();
  const producer = context.client.producer(log);
  for (const value of [
    undefined,
    null,
    5,
    5n,
    {},
    [1],
    true,
    new ArrayBuffer(4),
    new DataView(new ArrayBuffer(1)),
    new Uint16Array(1),
  ]) {
    assert.throws(() => producer.append(value), { name: "TypeError", code: "invalid_argument" });
    await assert.rejects(producer.send(value), { name: "TypeError", code: "invalid_argument" });
  }
  assert.equal(await producer.send("a"), 0);
  await producer.close();
});

const BYTES = Uint8Array.from({ length: 256 }, (_, byte) => byte);
const LARGE = Buffer.alloc(300_000, "large ");

test("payloads_of_every_form_arrive_as_they_were", async () => {
  const log = await context.log({ maxRecordSize: 2_000_000 });
  const shared = new Uint8Array(new SharedArrayBuffer(400_000), 1000, 300_000).fill(7);
  const payloads = [
    "",
    new Uint8Array(0),
    "plain",
    "ä€😀 combining é",
    "lone \ud800 and \udc00 surrogates",
    "ﬀ".repeat(40_000),
    "€".repeat(100_000),
    "x".repeat(262_144),
    "x".repeat(262_145),
    "y".repeat(87_381),
    "y".repeat(87_382),
    BYTES,
    BYTES.subarray(10, 20),
    Buffer.from(BYTES).subarray(100),
    new Uint8Array(BYTES.buffer, 200, 5),
    LARGE,
    LARGE.subarray(5, 280_005),
    new Uint8Array(new SharedArrayBuffer(16), 4, 8).fill(3),
    shared,
    Buffer.alloc(1_500_000, 9),
    runInNewContext("new Uint8Array([1, 2, 3])"),
  ];
  const expected = payloads.map((payload) => Buffer.from(payload));
  const producer = context.client.producer(log);
  for (const payload of payloads) {
    producer.append(payload);
  }
  const positions = await Promise.all(payloads.map((payload) => producer.send(payload)));
  assert.deepEqual(
    positions,
    payloads.map((_, at) => payloads.length + at),
  );
  await producer.sendMany(payloads);
  await producer.close();
  const read = await payloadsOf(log);
  assert.equal(read.length, 3 * payloads.length);
  for (const [at, payload] of read.entries()) {
    assert(payload.equals(expected[at % payloads.length]), `record ${at}`);
  }
});

test("payload_is_copied_by_the_call", async () => {
  const log = await context.log();
  const producer = context.client.producer(log);
  const small = Buffer.from("small");
  const large = Buffer.alloc(300_000, "a");
  producer.append(small);
  producer.append(large);
  const sent = producer.sendMany([small, large]);
  small.fill("z");
  large.fill("z");
  await sent;
  await producer.close();
  const a = "a".repeat(300_000);
  assert.deepEqual(await readAll(context.client, log), ["small", a, "small", a]);
});

test("append_returns_false_without_room_and_drain_waits_for_it", async () => {
  const log = await context.log();
  const producer = context.client.producer(log, { inFlightBytes: 1_048_576 });
  await producer.ready;
  await context.server.pause();
  let count = 0;
  while (producer.append("x".repeat(1000))) {
    count += 1;
    assert(count < 10_000, "append has always had room");
  }
  const drained = producer.drain();
  assert(await isPending(drained));
  // It takes the record in any case.
  assert.equal(producer.append("taken"), false);
  const stats = producer.stats();
  assert(stats.waitingRecords > 0 && stats.inFlightRecords > 0, JSON.stringify(stats));
  assert.equal(producer.nextSequence, count + 2);
  context.server.resume();
  await drained;
  await producer.close();
  assert.equal((await context.client.getLog(log)).endPosition, count + 2);
  assert.equal((await readAll(context.client, log, { start: "end-1" }))[0], "taken");
});

test("flush_waits_until_everything_is_durable", async () => {
  const log = await context.log();
  const producer = context.client.producer(log);
  producer.append("a");
  const flushed = producer.flush();
  producer.append("b");
  await flushed;
  assert((await context.client.getLog(log)).endPosition >= 1);
  await context.server.pause();
  producer.append("c");
  const error = await rejectsWith("timed_out", producer.flush({ timeout: 30 }));
  assert.match(error.message, /30 ms/);
  assert(error.retriable && error.maybeAppended);
  await rejectsWith("invalid_argument", producer.flush({ timeout: -1 }));
  await rejectsWith("invalid_argument", producer.flush({ timeout: "1" }));
  context.server.resume();
  await producer.flush({ timeout: 10_000 });
  await producer.close();
  assert.equal((await context.client.getLog(log)).endPosition, 3);
});

// Timers of more than 2^31 ms fire at once.
test("timeout_longer_than_a_timer_is_no_timeout", async () => {
  const log = await context.log();
  const producer = context.client.producer(log);
  for (const timeout of [2 ** 31, Number.MAX_SAFE_INTEGER, Number.POSITIVE_INFINITY]) {
    await context.server.pause();
    producer.append("a");
    const flushed = producer.flush({ timeout });
    assert(await isPending(flushed));
    context.server.resume();
    await flushed;
  }
  await producer.close({ timeout: Number.POSITIVE_INFINITY });
});

test("record_over_the_limit_of_the_log_ends_the_producer", async () => {
  const log = await context.log({ maxRecordSize: 1000 });
  const producer = context.client.producer(log);
  assert.equal(await producer.send("a"), 0);
  const error = await rejectsWith("record_too_large", producer.send("x".repeat(2000)));
  assert.equal(error.maybeAppended, false);
  // The rejection of a send is enough: later calls fail at once.
  throwsWith("record_too_large", () => producer.append("b"));
  await rejectsWith("record_too_large", producer.send("b"));
  await rejectsWith("record_too_large", producer.sendMany(["b"]));
  await rejectsWith("record_too_large", producer.drain());
  await rejectsWith("record_too_large", producer.flush());
  // Every failure was reported.
  await producer.close();
  throwsWith("closed", () => producer.append("b"));
  assert.deepEqual(await readAll(context.client, log), ["a"]);
});

test("payload_of_70_mb_is_refused", async () => {
  const log = await context.log();
  const producer = context.client.producer(log);
  const large = Buffer.alloc(70_000_000);
  await rejectsWith("record_too_large", producer.send(large));
  await producer.close().catch((error) => assert.equal(error.code, "record_too_large"));
  assert.equal((await context.client.getLog(log)).endPosition, 0);
});

test("flush_and_close_report_what_append_has_lost", async () => {
  const log = await context.log({ maxRecordSize: 1000 });
  const one = context.client.producer(log);
  one.append("x".repeat(2000));
  await rejectsWith("record_too_large", one.flush());
  await one.close();
  const two = context.client.producer(log);
  two.append("x".repeat(2000));
  await rejectsWith("record_too_large", two.close());
  await rejectsWith("record_too_large", two.close());
});

// Records that were waiting in the library when the producer ended were reported by their sends,
// and once more by close.
test("close_does_not_report_what_sends_have_reported", async () => {
  const log = await context.log({ maxRecordSize: 1000 });
  const producer = context.client.producer(log, { inFlightBytes: 65_536 });
  await producer.ready;
  const sends = [producer.send("x".repeat(2000))];
  for (let count = 0; count < 1000; count += 1) {
    sends.push(producer.send("x".repeat(900)));
  }
  for (const { status, reason } of await Promise.allSettled(sends)) {
    assert.equal(status, "rejected");
    assert.equal(reason.code, "record_too_large");
  }
  await producer.close();
});

test("failed_open_surfaces_in_every_call", async () => {
  const producer = context.client.producer("nolog");
  await rejectsWith("log_not_found", producer.ready);
  throwsWith("log_not_found", () => producer.append("a"));
  await rejectsWith("log_not_found", producer.send("a"));
  await rejectsWith("log_not_found", producer.flush());
  await rejectsWith("log_not_found", producer.drain());
  throwsWith("log_not_found", () => producer.nextSequence);
  assert.equal(producer.stats(), null);
  const error = await rejectsWith("log_not_found", producer.close());
  assert(error instanceof StyxError);
});

test("sends_before_a_failed_open_fail", async () => {
  const producer = context.client.producer("nolog");
  await Promise.all([
    rejectsWith("log_not_found", producer.send("a")),
    rejectsWith("log_not_found", producer.sendMany(["b", "c"])),
    rejectsWith("log_not_found", producer.flush()),
    rejectsWith("log_not_found", producer.close()),
  ]);
});

test("producer_id_and_epoch_continue_an_import", async () => {
  const log = await context.log();
  const producerId = 2n ** 64n - 1n;
  const first = context.client.producer(log, { producerId, epoch: 1 });
  assert.equal(await first.sendMany(numbered(10)), 0);
  assert.equal(first.producerId, producerId);
  const second = context.client.producer(log, { producerId, epoch: 2n });
  await second.ready;
  assert.equal(second.nextSequence, 10);
  assert.equal(second.epoch, 2);
  assert.equal(await second.send("10"), 10);
  assert.equal(second.nextSequence, 11);
  assert.equal(second.durableSequence, 11);
  // Nothing told JavaScript that the producer had ended, and this waited for ever.
  const error = await rejectsWith("producer_fenced", first.send("late"));
  assert.equal(error.retriable, false);
  await first.close();
  await second.close();
  const plain = context.client.producer(log, { idempotent: false });
  await plain.ready;
  assert.equal(plain.producerId, null);
  assert.equal(plain.epoch, null);
  await plain.close();
});

test("expected_position_must_be_the_end_of_the_log", async () => {
  const log = await context.logOf(["a"]);
  const wrong = context.client.producer(log, { expectedPosition: 5 });
  await rejectsWith("position_mismatch", wrong.send("b"));
  const right = context.client.producer(log, { expectedPosition: 1n });
  assert.equal(await right.send("b"), 1);
  await right.close();
  await wrong.close().catch(() => {});
});

test("compressed_records_arrive", async () => {
  for (const compression of ["lz4", "zstd", "none"]) {
    const log = await context.log();
    const producer = context.client.producer(log, { compression, linger: 1 });
    await producer.sendMany(numbered(1000, "compressible ".repeat(10)));
    await producer.close();
    assert.equal((await readAll(context.client, log)).length, 1000);
  }
});

test("writable_finishes_once_everything_is_durable", async () => {
  const log = await context.log();
  const producer = context.client.producer(log);
  const stream = producer.writable();
  stream.write("a");
  stream.write(Buffer.from("b"));
  await new Promise((done) => stream.end(new Uint8Array([99]), done));
  assert.equal((await context.client.getLog(log)).endPosition, 3);
  assert.equal(await producer.send("d"), 3);
  await producer.close();
  assert.deepEqual(await readAll(context.client, log), ["a", "b", "c", "d"]);
});

test("records_in_flight_show_in_stats_and_waits_end_with_the_acks", async () => {
  const log = await context.log();
  const producer = context.client.producer(log);
  await producer.ready;
  await context.server.pause();
  const sent = producer.send("a");
  await until(() => producer.stats().inFlightRecords === 1);
  assert(await isPending(sent));
  context.server.resume();
  assert.equal(await sent, 0);
  assert.equal(producer.stats().inFlightRecords, 0);
  await producer.close();
});
