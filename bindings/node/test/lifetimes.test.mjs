import assert from "node:assert/strict";
import { test } from "node:test";
import { runQuietly, useServer } from "./support.mjs";

const context = useServer();
const GC = { flags: ["--expose-gc"] };
const COLLECT = `
const collected = async (check) => {
  for (let round = 0; round < 400; round += 1) {
    gc();
    await sleep(10);
    if (await check()) return true;
  }
  return false;
};
const client = await Client.connect(address);
`;

test("dropped_producers_and_consumers_are_closed", async () => {
  const log = await context.logOf(["a"]);
  const { output } = await runQuietly(
    context.server,
    `${COLLECT}
     const refs = [];
     await (async () => {
       for (let at = 0; at < 20; at += 1) {
         const producer = client.producer("${log}");
         await producer.send("x");
         const consumer = client.consumer("${log}", { follow: true });
         await consumer.poll();
         refs.push(new WeakRef(producer), new WeakRef(consumer));
       }
     })();
     console.log(client.stats().openStreams > 0);
     const left = () => refs.filter((ref) => ref.deref() !== undefined).length;
     // The frame of an asynchronous function may keep the last ones.
     if (!(await collected(() => left() <= 2))) console.log(left());
     console.log(await collected(() => client.stats().openStreams === 0));
     await client.close();`,
    GC,
  );
  assert.equal(output, "true\ntrue\n");
});

test("dropped_clients_are_collected", async () => {
  const { output } = await runQuietly(
    context.server,
    `${COLLECT}
     const refs = [];
     await (async () => {
       for (let at = 0; at < 10; at += 1) refs.push(new WeakRef(await Client.connect(address)));
     })();
     console.log(await collected(() => refs.filter((ref) => ref.deref() !== undefined).length <= 1));
     await client.close();`,
    GC,
  );
  assert.equal(output, "true\n");
});

test("external_batches_are_freed_and_outlive_their_consumer", async () => {
  const log = await context.logOf(Array.from({ length: 200 }, () => "x".repeat(10_000)));
  const { output } = await runQuietly(
    context.server,
    `${COLLECT}
     const kept = await (async () => {
       let kept;
       for (let at = 0; at < 100; at += 1) {
         for await (const batch of client.consumer("${log}", { external: true })) kept = batch.at(-1);
       }
       return kept;
     })();
     console.log(await collected(() => process.memoryUsage().external < 30_000_000));
     console.log(kept.text === "x".repeat(10_000));
     await client.close();`,
    GC,
  );
  assert.equal(output, "true\ntrue\n");
});

test("waiting_calls_keep_their_objects", async () => {
  const log = await context.log();
  const { output } = await runQuietly(
    context.server,
    `${COLLECT}
     const waiting = client.consumer("${log}", { follow: true }).poll();
     await collected(() => client.stats().openStreams > 0);
     for (let round = 0; round < 5; round += 1) { gc(); await sleep(5); }
     await client.producer("${log}").send("late");
     console.log((await waiting).texts().join());
     await client.close();`,
    GC,
  );
  assert.equal(output, "late\n");
});
