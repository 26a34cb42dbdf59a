import assert from "node:assert/strict";
import { Readable, Transform, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import { numbered, readAll, useServer } from "./support.mjs";

const context = useServer();
const COUNT = 30_000;

test("pipeline_copies_a_log", async () => {
  const log = await context.logOf(numbered(COUNT));
  const copy = await context.log();
  const producer = context.client.producer(copy, { inFlightBytes: 65_536 });
  const consumer = context.client.consumer(log, { bufferBytes: 1_048_576 });
  await pipeline(
    consumer.readable(),
    new Transform({
      objectMode: true,
      transform: (record, _encoding, done) => done(null, record.payload),
    }),
    producer.writable(),
  );
  assert(consumer.closed);
  assert.equal(producer.closed, false);
  await producer.close();
  assert.deepEqual(await readAll(context.client, copy), numbered(COUNT));
});

test("readable_of_batches", async () => {
  const log = await context.logOf(numbered(COUNT));
  const texts = [];
  for await (const batch of context.client.consumer(log).readable({ batches: true })) {
    texts.push(...batch.texts());
  }
  assert.deepEqual(texts, numbered(COUNT));
});

test("web_stream_of_records", async () => {
  const log = await context.logOf(numbered(COUNT));
  const consumer = context.client.consumer(log);
  const texts = [];
  for await (const record of Readable.toWeb(consumer.readable())) {
    texts.push(record.text);
  }
  assert.deepEqual(texts, numbered(COUNT));
  const other = context.client.consumer(log);
  const reader = Readable.toWeb(other.readable()).getReader();
  await reader.read();
  await reader.cancel();
  await other.close();
  assert(other.closed);
});

test("slow_sink_holds_the_readable_back", async () => {
  const log = await context.logOf(numbered(COUNT));
  const consumer = context.client.consumer(log);
  const stream = consumer.readable({ highWaterMark: 10 });
  let seen = 0;
  let ahead = 0;
  const sink = new Writable({
    objectMode: true,
    highWaterMark: 1,
    write(_record, _encoding, done) {
      seen += 1;
      ahead = Math.max(ahead, consumer.closed ? 0 : consumer.position - seen);
      if (seen === 1000) {
        done(new Error("enough"));
      } else {
        setImmediate(done);
      }
    },
  });
  await assert.rejects(pipeline(stream, sink), { message: "enough" });
  assert(ahead <= 20, `${ahead} records ahead`);
  assert(consumer.closed);
});

test("writable_waits_for_room", async () => {
  const log = await context.log();
  const producer = context.client.producer(log, { inFlightBytes: 65_536 });
  await producer.ready;
  await context.server.pause();
  let made = 0;
  const source = Readable.from(
    (function* () {
      for (; made < 20_000; made += 1) {
        yield "x".repeat(100);
      }
    })(),
  );
  const copying = pipeline(source, producer.writable({ highWaterMark: 16 }));
  await new Promise((done) => setTimeout(done, 200));
  assert(made < 15_000, `${made} records were made`);
  context.server.resume();
  await copying;
  assert.equal((await context.client.getLog(log)).endPosition, 20_000);
  await producer.close();
});

test("error_in_the_middle_ends_both_sides", async () => {
  const log = await context.logOf(numbered(COUNT));
  const copy = await context.log({ maxRecordSize: 100 });
  const consumer = context.client.consumer(log);
  const producer = context.client.producer(copy);
  let count = 0;
  const growing = new Transform({
    objectMode: true,
    transform(record, _encoding, done) {
      count += 1;
      done(null, count === 5000 ? "x".repeat(1000) : record.payload);
    },
  });
  await assert.rejects(pipeline(consumer.readable(), growing, producer.writable()), {
    code: "record_too_large",
  });
  await new Promise(setImmediate);
  assert(consumer.closed);
  await producer.close().catch((error) => assert.equal(error.code, "record_too_large"));
});

test("readable_of_a_missing_log_fails", async () => {
  const consumer = context.client.consumer("nolog");
  await assert.rejects(consumer.readable().toArray(), { code: "log_not_found" });
  assert(consumer.closed);
});

test("destroyed_readable_and_an_aborted_signal_close_the_consumer", async () => {
  const log = await context.log();
  const one = context.client.consumer(log, { follow: true });
  const stream = one.readable();
  stream.read();
  stream.destroy();
  await new Promise((done) => stream.once("close", done));
  assert(one.closed);
  const two = context.client.consumer(log, { follow: true });
  const controller = new AbortController();
  const reading = two.readable({ signal: controller.signal }).toArray();
  setTimeout(() => controller.abort(), 10);
  await assert.rejects(reading, { name: "AbortError" });
  await two.close();
});
