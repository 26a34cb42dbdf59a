import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Checkpoint, Consumer, Record, RecordBatch } from "styx-client";
import {
  isPending,
  numbered,
  readAll,
  rejectsWith,
  throwsWith,
  until,
  useServer,
  write,
} from "./support.mjs";

const context = useServer();
const COUNT = 30_000;
let large;

/** A log of 30,000 records, which are several batches. */
async function largeLog() {
  large ??= await context.logOf(numbered(COUNT, "record "));
  return large;
}

test("iteration_gives_batches_in_order_and_ends", async () => {
  const consumer = context.client.consumer(await largeLog());
  assert(consumer instanceof Consumer);
  let next = 0;
  let batches = 0;
  for await (const batch of consumer) {
    assert(batch instanceof RecordBatch);
    assert.equal(batch.firstPosition, next);
    assert.equal(batch.nextPosition, next + batch.length);
    next = batch.nextPosition;
    batches += 1;
  }
  assert.equal(next, COUNT);
  assert(batches > 1);
  assert.equal(consumer.ended, true);
  assert.equal(consumer.closed, false);
  assert.equal(consumer.position, COUNT);
  assert.equal(await consumer.poll(), null);
  await consumer.close();
});

test("records_of_a_log", async () => {
  const consumer = context.client.consumer(await largeLog(), { start: 29_990n });
  const texts = [];
  for await (const record of consumer.records()) {
    assert(record instanceof Record);
    assert.equal(consumer.position, record.position + 1);
    assert.equal(String(consumer.checkpoint), String(record.checkpoint));
    texts.push(record.text);
  }
  assert.deepEqual(texts, numbered(COUNT, "record ").slice(29_990));
  await consumer.close();
});

for (const kind of ["batches", "records"]) {
  test(`break_return_and_throw_close_the_consumer_of_${kind}`, async () => {
    const log = await largeLog();
    const failure = new Error("from the body");
    const bodies = [
      async (items) => {
        for await (const _ of items) {
          break;
        }
      },
      async (items) => {
        for await (const _ of items) {
          return;
        }
      },
      async (items) => {
        for await (const _ of items) {
          throw failure;
        }
      },
    ];
    for (const body of bodies) {
      const consumer = context.client.consumer(log);
      await body(consumer[kind]()).catch((error) => assert.equal(error, failure));
      assert.equal(consumer.closed, true);
      await rejectsWith("closed", consumer.poll());
      await assert.rejects(consumer[kind]().next(), { code: "closed" });
    }
  });

  test(`return_of_an_iterator_ends_a_waiting_next_of_${kind}`, async () => {
    const consumer = context.client.consumer(await largeLog(), { start: "end", follow: true });
    const iterator = consumer[kind]();
    const waiting = iterator.next();
    assert(await isPending(waiting));
    assert.deepEqual(await iterator.return(), { value: undefined, done: true });
    assert.deepEqual(await waiting, { value: undefined, done: true });
    assert.deepEqual(await iterator.next(), { value: undefined, done: true });
    const other = context.client.consumer(await largeLog());
    await assert.rejects(other[kind]().throw(new Error("thrown")), { message: "thrown" });
    assert(other.closed);
  });
}

test("two_iterators_share_the_records", async () => {
  const consumer = context.client.consumer(await largeLog());
  const [one, two] = [consumer.records(), consumer.records()];
  const positions = [];
  for (let round = 0; round < 1000; round += 1) {
    const pair = await Promise.all([one.next(), two.next()]);
    positions.push(...pair.map(({ value }) => value.position));
  }
  assert.deepEqual(
    positions.sort((a, b) => a - b),
    Array.from({ length: 2000 }, (_, at) => at),
  );
  await consumer.close();
});

test("poll_records_and_batches_continue_where_the_other_stopped", async () => {
  const consumer = context.client.consumer(await largeLog());
  const first = await consumer.poll({ maxRecords: 3 });
  assert.deepEqual(first.texts(), numbered(3, "record "));
  assert.equal(first.firstPosition, 0);
  const { value } = await consumer.records().next();
  assert.equal(value.position, 3);
  const rest = await consumer.batches().next();
  assert.equal(rest.value.firstPosition, 4);
  const one = await consumer.poll({ maxRecords: 1 });
  assert.equal(one.firstPosition, rest.value.nextPosition);
  assert.equal(one.length, 1);
  await consumer.close();
});

test("position_lag_and_checkpoint_are_exact_within_a_batch", async () => {
  const log = await largeLog();
  await context.server.pause();
  const consumer = context.client.consumer(log);
  throwsWith("invalid_argument", () => consumer.position);
  throwsWith("invalid_argument", () => consumer.lag);
  throwsWith("invalid_argument", () => consumer.checkpoint);
  assert.equal(consumer.stats(), null);
  context.server.resume();
  await consumer.ready;
  assert.equal(consumer.position, 0);
  for (let read = 7; read < 5000; read += 7) {
    await consumer.poll({ maxRecords: 7 });
    if (consumer.position !== read) {
      // The last poll has reached the end of a batch.
      await consumer.seek(read);
    }
    assert.equal(consumer.position, read);
    assert.equal(consumer.positionBigInt, BigInt(read));
    assert.equal(consumer.checkpoint.position, read);
    assert.equal(consumer.lag, COUNT - read);
    assert.equal(consumer.caughtUp, false);
    assert.equal(consumer.ended, false);
  }
  assert.equal(consumer.checkpoint.logId, consumer.logId);
  const stats = consumer.stats();
  assert(stats.receivedRecords > 0 && stats.receivedBatches > 0);
  await consumer.close();
  assert.equal(consumer.stats(), null);
});

test("poll_returns_null_after_the_timeout_and_loses_nothing", async () => {
  const log = await context.log();
  const consumer = context.client.consumer(log, { follow: true });
  assert.equal(await consumer.poll({ timeout: 0 }), null);
  await consumer.ready;
  const start = performance.now();
  assert.equal(await consumer.poll({ timeout: 30 }), null);
  assert(performance.now() - start >= 29);
  assert.equal(consumer.ended, false);
  const waiting = consumer.poll({ timeout: 10_000 });
  await write(context.client, log, ["a"]);
  assert.deepEqual((await waiting).texts(), ["a"]);
  await until(() => consumer.caughtUp);
  assert.equal(consumer.lag, 0);
  for (const options of [
    { timeout: -1 },
    { timeout: "1" },
    { timeout: Number.NaN },
    { maxRecords: 0 },
    { maxRecords: Number.NaN },
  ]) {
    await rejectsWith("invalid_argument", consumer.poll(options));
  }
  await consumer.close();
});

// It was an error, but "null when the timeout passes" has no exception.
test("poll_with_a_timeout_returns_null_while_the_consumer_opens", async () => {
  const log = await context.logOf(["a"]);
  await context.server.pause();
  try {
    const consumer = context.client.consumer(log);
    assert.equal(await consumer.poll({ timeout: 20 }), null);
    assert.equal(consumer.ended, false);
    context.server.resume();
    assert.deepEqual((await consumer.poll()).texts(), ["a"]);
    await consumer.close();
  } finally {
    context.server.resume();
  }
});

test("starts", async () => {
  const log = await context.logOf(["a", "b", "c"]);
  const { logId } = await context.client.getLogDetails(log);
  await sleep(5);
  const middle = new Date();
  await sleep(5);
  await write(context.client, log, ["d", "e"]);
  const starts = [
    ["start", 0],
    [0, 0],
    [2n, 2],
    ["3", 3],
    ["end", 5],
    ["end-1", 4],
    ["end-5", 0],
    [middle, 3],
    [`time:${middle.toISOString()}`, 3],
    [new Checkpoint(`${logId}:4`), 4],
    [`${logId}:4`, 4],
  ];
  for (const [start, position] of starts) {
    assert.deepEqual(
      await readAll(context.client, log, { start }),
      ["a", "b", "c", "d", "e"].slice(position),
      String(start),
    );
    const consumer = context.client.consumer(log, { start: "end" });
    await consumer.seek(start);
    assert.equal(consumer.position, position);
    await consumer.close();
  }
});

test("invalid_starts_are_errors", async () => {
  const log = await context.logOf(["a"]);
  for (const start of [
    -1,
    1.5,
    2 ** 53,
    2n ** 64n,
    "middle",
    "end+1",
    new Date(Number.NaN),
    {},
    true,
  ]) {
    throwsWith("invalid_argument", () => context.client.consumer(log, { start }));
    const consumer = context.client.consumer(log);
    await rejectsWith("invalid_argument", consumer.seek(start));
    assert.deepEqual((await consumer.poll()).texts(), ["a"]);
    await consumer.close();
  }
  const error = await rejectsWith(
    "out_of_range",
    context.client.consumer(log, { start: 5 }).poll(),
  );
  assert.equal(error.endPosition, 1);
  await rejectsWith(
    "log_changed",
    context.client.consumer(log, { start: `${"1".repeat(32)}:0` }).poll(),
  );
});

test("seek_leaves_the_rest_of_a_batch_and_an_ended_read", async () => {
  const consumer = context.client.consumer(await largeLog());
  await consumer.poll({ maxRecords: 1 });
  await consumer.seek(100);
  assert.equal((await consumer.poll({ maxRecords: 1 })).firstPosition, 100);
  await consumer.seek("end");
  assert.equal(await consumer.poll(), null);
  assert(consumer.ended);
  await consumer.seek("end-2");
  assert.equal(consumer.ended, false);
  assert.equal((await consumer.poll()).length, 2);
  await consumer.close();
});

test("failed_read_fails_again_until_seek", async () => {
  const log = await context.logOf(["a"]);
  const consumer = context.client.consumer(log, { follow: true });
  await consumer.poll();
  await context.client.truncateLog(log);
  await rejectsWith("log_changed", consumer.poll());
  await rejectsWith("log_changed", consumer.poll({ timeout: 10 }));
  await rejectsWith("log_changed", consumer.records().next());
  await rejectsWith("log_changed", consumer.seek(0));
  await consumer.close();
});

test("consumer_of_a_missing_log_fails_in_every_call", async () => {
  const consumer = context.client.consumer("nolog");
  await rejectsWith("log_not_found", consumer.ready);
  await rejectsWith("log_not_found", consumer.poll());
  await rejectsWith("log_not_found", consumer.batches().next());
  await rejectsWith("log_not_found", consumer.seek(0));
  await rejectsWith("log_not_found", consumer.commit());
  await consumer.close();
});

test("count_ends_the_read", async () => {
  const log = await largeLog();
  assert.equal((await readAll(context.client, log, { count: 12_345 })).length, 12_345);
  assert.equal((await readAll(context.client, log, { count: 5n, follow: true })).length, 5);
});

test("commit_stores_the_position_behind_the_last_returned_record", async () => {
  const log = await largeLog();
  const consumer = context.client.consumer(log, { cursor: "exact" });
  const records = consumer.records();
  const positions = [];
  for (let read = 0; read < 500; read += 1) {
    positions.push((await records.next()).value.position);
    if (read % 50 === 0) {
      assert.equal(await consumer.commit(), read + 1);
      assert.equal(consumer.position, read + 1);
    }
  }
  assert.deepEqual(
    positions,
    Array.from({ length: 500 }, (_, at) => at),
  );
  await consumer.close();
  const again = context.client.consumer(log, { cursor: "exact" });
  assert.equal((await again.poll({ maxRecords: 1 })).firstPosition, 451);
  assert.equal((await context.client.getCursor(log, "exact")).position, 451);
  await again.close();
});

// The native module had the rest of the batch again, and JavaScript still had it too.
test("commit_that_fails_returns_no_record_twice", async () => {
  const consumer = context.client.consumer(await largeLog());
  await consumer.poll({ maxRecords: 10 });
  await rejectsWith("invalid_argument", consumer.commit());
  assert.equal(consumer.position, 10);
  let next = 10;
  for await (const batch of consumer) {
    assert.equal(batch.firstPosition, next);
    next = batch.nextPosition;
  }
  assert.equal(next, COUNT);
  await consumer.close();
});

test("cursor_that_was_moved_is_taken", async () => {
  const log = await context.logOf(numbered(10));
  const consumer = context.client.consumer(log, { cursor: "taken" });
  await consumer.poll({ maxRecords: 3 });
  await consumer.commit();
  await context.client.setCursor(log, "taken", 9);
  await consumer.poll({ maxRecords: 3 });
  await rejectsWith("cursor_taken", consumer.commit());
  await consumer.close();
});

test("external_batches_are_equal", async () => {
  const log = await largeLog();
  const texts = await readAll(context.client, log, { external: true });
  assert.deepEqual(texts, numbered(COUNT, "record "));
  throwsWith("invalid_argument", () => context.client.consumer(log, { external: 1 }));
});

// A log that is read as fast as it arrives kept timers and sockets waiting.
test("long_read_leaves_time_for_timers", async () => {
  const log = await largeLog();
  const consumer = context.client.consumer(log);
  await consumer.ready;
  await until(() => consumer.stats().bufferedBytes > 400_000 || consumer.lag === 0);
  const reads = {
    records: async () => {
      for await (const record of consumer.records()) {
        spin(record.position % 100 === 0 ? 1 : 0);
      }
    },
    polls: async () => {
      while ((await consumer.poll({ maxRecords: 100 })) !== null) {
        spin(1);
      }
    },
  };
  for (const [name, read] of Object.entries(reads)) {
    let ticks = 0;
    const ticking = setInterval(() => {
      ticks += 1;
    }, 1);
    await read();
    clearInterval(ticking);
    // The reads take at least 300 ms.
    assert(ticks >= 2, `${name}: ${ticks} ticks`);
    await consumer.seek(0);
    await until(() => consumer.stats().bufferedBytes > 400_000 || consumer.lag === 0);
  }
  await consumer.close();
});

function spin(milliseconds) {
  const end = performance.now() + milliseconds;
  while (performance.now() < end) {}
}
