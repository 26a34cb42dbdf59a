import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isMainThread, threadId } from "node:worker_threads";
import { Client, StyxError } from "styx-client";
import { startServer } from "styx-client/testing";
import { STALL_MS, until } from "./support.mjs";

const KILLS = 20;
/** The shortest silenceTimeout. */
const SILENCE_MS = 2000;

test("each_record_is_stored_and_read_once_though_the_server_is_killed", async (t) => {
  const server = await startServer();
  t.after(() => server.stop());
  const client = await Client.connect(server.address);
  await client.createLog("a");
  let isStopped = false;
  const producer = client.producer("a");
  const writing = (async () => {
    let count = 0;
    while (!isStopped) {
      const sends = [];
      for (let at = 0; at < 10; at += 1, count += 1) {
        producer.append(`${count}`);
        count += 1;
        sends.push(
          producer.send(`${count}`).then(
            (
              (sent) => (position) =>
                assert.equal(position, sent)
            )(count),
          ),
        );
      }
      await Promise.all(sends);
    }
    await producer.send("end");
    return count;
  })();
  const consumer = client.consumer("a", { follow: true });
  const reading = (async () => {
    let next = 0;
    for await (const record of consumer.records()) {
      assert.equal(record.position, next);
      if (record.text === "end") {
        break;
      }
      assert.equal(record.text, `${next}`);
      next += 1;
    }
    return next;
  })();
  for (let kill = 0; kill < KILLS; kill += 1) {
    await sleep(30);
    await server.kill();
    await server.restart();
  }
  isStopped = true;
  const count = await writing;
  assert.equal(await reading, count);
  assert(count > KILLS, String(count));
  await client.close();
});

test("paused_server_shows_in_stats_and_events", async (t) => {
  const server = await startServer();
  t.after(() => server.stop());
  const events = [];
  const listen = (event, name) => {
    assert(isMainThread && threadId === 0);
    events.push([name, event]);
  };
  const channels = ["connected", "lost", "again", "closed"].map((kind) => `styx-client:${kind}`);
  for (const channel of channels) {
    subscribe(channel, listen);
  }
  t.after(() => {
    for (const channel of channels) {
      unsubscribe(channel, listen);
    }
  });
  const client = await Client.connect(server.address, { silenceTimeout: SILENCE_MS });
  await client.createLog("a");
  const consumer = client.consumer("a", { follow: true });
  await consumer.ready;
  await server.pause();
  await sleep(300);
  const { sinceLastHeard } = consumer.stats();
  assert(sinceLastHeard >= 200, String(sinceLastHeard));
  const waiting = consumer.poll();
  const [, lost] = await until(
    () => events.find(([name]) => name === "styx-client:lost"),
    SILENCE_MS + STALL_MS,
  );
  assert.equal(lost.kind, "lost");
  assert.equal(lost.subject, "consumer");
  assert.equal(lost.log, "a");
  assert.equal(lost.address, client.address);
  assert(lost.error instanceof StyxError);
  server.resume();
  const producer = client.producer("a");
  await producer.send("later");
  assert.deepEqual((await waiting).texts(), ["later"]);
  await client.close();
  assert(events.some(([name]) => name === "styx-client:connected"));
});
