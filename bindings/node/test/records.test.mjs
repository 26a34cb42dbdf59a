import assert from "node:assert/strict";
import { test } from "node:test";
import { Checkpoint, CursorInfo, LogInfo, Record, RecordBatch } from "styx-client";
import { numbered, throwsWith, useServer, write } from "./support.mjs";

const context = useServer();
const LOG_ID = "0123456789abcdef0123456789abcdef";

test("batch_made_by_hand", () => {
  const bytes = Buffer.from("bytes");
  const batch = new RecordBatch(["text", bytes, ""], {
    firstPosition: 7,
    timestamp: 1_500,
    logId: LOG_ID,
  });
  bytes.fill("z");
  assert.equal(batch.length, 3);
  assert.deepEqual(batch.texts(), ["text", "bytes", ""]);
  assert.deepEqual(batch.payloads(), [Buffer.from("text"), Buffer.from("bytes"), Buffer.alloc(0)]);
  assert.equal(batch.firstPosition, 7);
  assert.equal(batch.nextPosition, 10);
  assert.equal(String(batch.checkpoint), `${LOG_ID}:10`);
  const [first, , last] = batch;
  assert(first instanceof Record);
  assert.equal(first.position, 7);
  assert.equal(first.positionBigInt, 7n);
  assert.equal(first.timestamp, 1500);
  assert.equal(first.date.getTime(), 1);
  assert.equal(first.text, "text");
  assert.deepEqual(first.payload, Buffer.from("text"));
  assert.equal(String(last.checkpoint), `${LOG_ID}:10`);
  assert.deepEqual(JSON.parse(JSON.stringify(first)), {
    position: 7,
    timestamp: 1500,
    payload: JSON.parse(JSON.stringify(Buffer.from("text"))),
  });
  const iterator = batch[Symbol.iterator]();
  assert.equal(iterator[Symbol.iterator](), iterator);
  assert.equal([...iterator].length, 3);
  assert.deepEqual(iterator.next(), { value: undefined, done: true });
});

test("empty_batch", () => {
  const batch = new RecordBatch([]);
  assert.equal(batch.length, 0);
  assert.deepEqual([...batch], []);
  assert.deepEqual(batch.texts(), []);
  assert.deepEqual(batch.payloads(), []);
  assert.equal(batch.at(0), undefined);
  assert.equal(batch.at(-1), undefined);
  assert.equal(batch.slice().length, 0);
  assert.equal(batch.nextPosition, 0);
});

test("batch_cannot_be_made_of_one_payload", () => {
  throwsWith("invalid_argument", () => new RecordBatch("text"));
  throwsWith("invalid_argument", () => new RecordBatch(Buffer.from("bytes")));
  throwsWith("invalid_argument", () => new RecordBatch([], { firstPosition: -1 }));
  throwsWith("invalid_argument", () => new RecordBatch([], { firstPosition: 1.5 }));
  assert.throws(() => new RecordBatch([5]), TypeError);
  assert.throws(() => new RecordBatch(5), TypeError);
});

test("at_counts_from_the_end_if_negative", () => {
  const batch = new RecordBatch(numbered(5), { firstPosition: 100 });
  const expected = numbered(5);
  for (const index of [0, 1, 4, 5, 6, -1, -5, -6, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    const wanted = Number.isInteger(index) ? expected.at(index) : undefined;
    assert.equal(batch.at(index)?.text, wanted, String(index));
  }
  assert.equal(batch.at(-1).position, 104);
});

test("index_out_of_range_is_a_range_error", () => {
  const batch = new RecordBatch(numbered(5)).slice(1, 3);
  for (const index of [-1, 2, 0.5, Number.NaN, undefined, 2 ** 32, 2 ** 32 + 1]) {
    for (const method of ["payload", "text", "timestamp"]) {
      assert.throws(() => batch[method](index), RangeError, `${method}(${index})`);
    }
  }
});

test("slices_are_those_of_an_array", () => {
  const texts = numbered(6);
  const batch = new RecordBatch(texts, { firstPosition: 10n, logId: LOG_ID });
  const bounds = [undefined, 0, 1, 3, 6, 7, -1, -3, -6, -7, 2.9, -2.9, -0.5, Number.NaN];
  for (const start of bounds) {
    for (const end of bounds) {
      const slice = batch.slice(start, end);
      assert.deepEqual(slice.texts(), texts.slice(start, end), `${start}, ${end}`);
      assert.equal(slice.length, slice.texts().length);
      if (slice.length > 0) {
        assert.equal(slice.firstPosition, 10 + Number(slice.text(0)));
        assert.equal(slice.index.length, 2 * slice.length);
        assert.equal(slice.logId, LOG_ID);
      }
    }
  }
  assert.deepEqual(batch.slice(1).slice(1).slice(1, 3).texts(), ["3", "4"]);
  assert.equal(batch.slice(2).data, batch.data);
});

test("timestamps_of_a_batch_with_several_runs", () => {
  // Made by the native module: pairs of a first index and a timestamp.
  const made = new RecordBatch(numbered(10));
  const batch = new RecordBatch({
    data: made.data,
    index: made.index,
    runs: Float64Array.of(0, 1000, 3, 2000, 4, 3000, 9, 4000),
    first: 5n,
    logId: LOG_ID,
    from: 0,
    to: 10,
  });
  const expected = [1000, 1000, 1000, 2000, 3000, 3000, 3000, 3000, 3000, 4000];
  assert.deepEqual(
    [...batch].map((record) => record.timestamp),
    expected,
  );
  for (let from = 0; from <= 10; from += 1) {
    for (let to = from; to <= 10; to += 1) {
      const slice = batch.slice(from, to);
      assert.deepEqual(
        [...slice].map((record) => record.timestamp),
        expected.slice(from, to),
      );
      const inner = slice.slice(1);
      assert.deepEqual(
        [...inner].map((record) => record.timestamp),
        expected.slice(from + 1, to),
      );
    }
  }
});

test("timestamps_of_records_that_were_written_at_different_times", async () => {
  const log = await context.log();
  const before = Date.now() * 1000;
  for (let round = 0; round < 20; round += 1) {
    await write(context.client, log, numbered(3));
  }
  const after = (Date.now() + 1) * 1000;
  const consumer = context.client.consumer(log);
  const stamps = [];
  for await (const batch of consumer) {
    const own = [...batch].map((record) => record.timestamp);
    assert.deepEqual(
      [...batch.slice(1)].map((record) => record.timestamp),
      own.slice(1),
    );
    stamps.push(...own);
  }
  assert.equal(stamps.length, 60);
  assert(new Set(stamps).size >= 20, String(new Set(stamps).size));
  for (const [at, stamp] of stamps.entries()) {
    assert(stamp >= before && stamp <= after, `${before} ${stamp} ${after}`);
    assert(at === 0 || stamp >= stamps[at - 1]);
  }
  await consumer.close();
});

test("positions_beyond_2_53_have_bigint_twins", () => {
  const first = 2n ** 63n;
  const batch = new RecordBatch(["a", "b"], { firstPosition: first, logId: LOG_ID });
  assert.equal(batch.firstPositionBigInt, first);
  assert.equal(batch.nextPositionBigInt, first + 2n);
  assert.equal(batch.at(1).positionBigInt, first + 1n);
  assert.equal(batch.slice(1).firstPositionBigInt, first + 1n);
  assert.equal(batch.checkpoint.positionBigInt, first + 2n);
  assert.equal(String(batch.at(0).checkpoint), `${LOG_ID}:${first + 1n}`);
  for (const call of [
    () => batch.firstPosition,
    () => batch.nextPosition,
    () => batch.at(0).position,
    () => batch.checkpoint.position,
  ]) {
    assert.throws(call, { name: "RangeError", message: /BigInt/ });
  }
  const largest = new RecordBatch([], { firstPosition: Number.MAX_SAFE_INTEGER });
  assert.equal(largest.firstPosition, Number.MAX_SAFE_INTEGER);
});

test("checkpoint_is_one_string", () => {
  const checkpoint = new Checkpoint(`${LOG_ID}:42`);
  assert.equal(checkpoint.logId, LOG_ID);
  assert.equal(checkpoint.position, 42);
  assert.equal(checkpoint.positionBigInt, 42n);
  assert.equal(`${checkpoint}`, `${LOG_ID}:42`);
  assert.equal(JSON.stringify({ checkpoint }), `{"checkpoint":"${LOG_ID}:42"}`);
  assert.equal(String(new Checkpoint(String(checkpoint))), String(checkpoint));
  for (const text of [
    "",
    "42",
    LOG_ID,
    `${LOG_ID}:`,
    `${LOG_ID}:-1`,
    `${LOG_ID}:01`,
    `x${LOG_ID}:1`,
    undefined,
    null,
    5,
  ]) {
    throwsWith("invalid_argument", () => new Checkpoint(text));
  }
});

test("infos_can_be_made_for_tests", () => {
  const info = new LogInfo({ name: "a", recordCount: 5, endPosition: 2n ** 60n });
  assert.equal(info.status, "ok");
  assert.equal(info.recordCount, 5);
  assert.equal(info.endPositionBigInt, 2n ** 60n);
  assert.throws(() => info.endPosition, RangeError);
  const cursor = new CursorInfo({
    cursor: "c",
    logId: LOG_ID,
    position: 7,
    updated: 5,
    version: 1,
  });
  assert.equal(cursor.position, 7);
});

test("batches_outlive_their_consumer_and_client", async () => {
  const log = await context.logOf(numbered(1000));
  for (const external of [false, true]) {
    const consumer = context.client.consumer(log, { external });
    const batches = [];
    for await (const batch of consumer) {
      batches.push(batch);
    }
    await consumer.close();
    assert.deepEqual(
      batches.flatMap((batch) => batch.texts()),
      numbered(1000),
    );
  }
});
