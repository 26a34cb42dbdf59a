import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "styx-client";
import { numbered, rejectsWith, STALL_MS, throwsWith, until, useServer } from "./support.mjs";

/** So long that the records are sent before it ends, so it is not known whether they are appended. */
const CLOSE_MS = 1000;

const context = useServer();

test("closing_twice_has_no_effect", async () => {
  const client = await Client.connect(context.server.address);
  const producer = client.producer(await context.log());
  const consumer = client.consumer(await context.log());
  for (const one of [producer, consumer, client]) {
    await Promise.all([one.close(), one.close()]);
    await one.close();
    await one[Symbol.asyncDispose]();
    assert.equal(one.closed, true);
  }
});

test("calls_after_close_are_closed", async () => {
  const client = await Client.connect(context.server.address);
  const log = await context.logOf(["a"]);
  const producer = client.producer(log);
  const consumer = client.consumer(log);
  await client.close();
  assert(producer.closed && consumer.closed);
  throwsWith("closed", () => producer.append("a"));
  throwsWith("closed", () => client.producer(log));
  throwsWith("closed", () => client.consumer(log));
  throwsWith("closed", () => client.backupLog(log));
  throwsWith("closed", () => client.stats());
  throwsWith("closed", () => consumer.position);
  await rejectsWith("closed", producer.send("a"));
  await rejectsWith("closed", producer.flush());
  await rejectsWith("closed", consumer.poll());
  await rejectsWith("closed", consumer.seek(0));
  await rejectsWith("closed", consumer.commit());
  await rejectsWith("closed", consumer.batches().next());
  await rejectsWith("closed", client.getLog(log));
  await rejectsWith("closed", client.restoreLog("r", []));
});

test("close_ends_waiting_calls_of_a_consumer", async () => {
  const log = await context.log();
  const consumer = context.client.consumer(log, { follow: true });
  const waiting = [
    consumer.poll(),
    consumer.poll({ timeout: 60_000 }),
    consumer
      .batches()
      .next()
      .then(({ done }) => (done ? null : "record")),
    consumer
      .records()
      .next()
      .then(({ done }) => (done ? null : "record")),
  ];
  await consumer.ready;
  await consumer.close();
  assert.deepEqual(await Promise.all(waiting), [null, null, null, null]);
});

test("consumer_can_be_closed_while_it_opens", async () => {
  const log = await context.logOf(["a"]);
  const consumer = context.client.consumer(log);
  const polled = consumer.poll();
  const closing = consumer.close();
  assert.equal(await polled, null);
  await closing;
  await rejectsWith("closed", consumer.ready);
  await until(() => context.client.stats().openStreams === 0, 2000);
});

// It opened after close had failed, and appended records that were reported as lost.
test("producer_that_was_closed_while_it_opens_appends_nothing", async () => {
  const log = await context.log();
  await context.server.pause();
  const producer = context.client.producer(log);
  const sent = producer.send("a");
  producer.append("b");
  await Promise.all([
    rejectsWith("timed_out", producer.close({ timeout: 20 })),
    rejectsWith("closed", sent),
    rejectsWith("closed", producer.ready),
  ]);
  context.server.resume();
  await until(() => context.client.stats().openStreams === 0, 2000);
  assert.equal((await context.client.getLog(log)).endPosition, 0);
});

test("close_waits_until_everything_is_durable", async () => {
  const log = await context.log();
  const producer = context.client.producer(log, { inFlightBytes: 65_536 });
  for (const text of numbered(20_000)) {
    producer.append(text);
  }
  await producer.close();
  assert.equal((await context.client.getLog(log)).endPosition, 20_000);
});

test("close_fails_after_its_timeout_with_what_was_lost", async () => {
  const log = await context.log();
  const producer = context.client.producer(log);
  await producer.ready;
  await context.server.pause();
  try {
    const sent = producer.send("a");
    producer.append("b");
    const start = performance.now();
    await Promise.all([
      assert.rejects(sent, (error) => error.maybeAppended),
      rejectsWith("timed_out", producer.close({ timeout: CLOSE_MS })),
    ]);
    assert(performance.now() - start < CLOSE_MS + STALL_MS);
  } finally {
    context.server.resume();
  }
});

test("client_close_reports_what_its_producers_have_lost", async () => {
  const log = await context.log({ maxRecordSize: 100 });
  const client = await Client.connect(context.server.address);
  client.producer(log).append("x".repeat(1000));
  const consumer = client.consumer(log, { follow: true });
  const waiting = consumer.poll();
  await rejectsWith("record_too_large", client.close());
  assert.equal(await waiting, null);
  const other = await Client.connect(context.server.address);
  other.producer(log).append("x".repeat(1000));
  other.producer(log).append("x".repeat(1000));
  await assert.rejects(other.close(), (error) => error.errors.length === 2);
});

test("calls_that_wait_while_the_client_closes_are_settled", async () => {
  const client = await Client.connect(context.server.address);
  const log = await context.log();
  const calls = [client.listLogs(), client.getLog(log), client.producer(log).send("a")];
  await client.close();
  const results = await Promise.allSettled(calls);
  assert.equal(results[2].value, 0);
});
