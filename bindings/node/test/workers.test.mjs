import assert from "node:assert/strict";
import { test } from "node:test";
import { runQuietly, useServer } from "./support.mjs";

const context = useServer(async ({ logOf }) => assert.equal(await logOf(["a", "b"]), "log1"));

/** A program whose workers run this text. */
function withWorker(body, main) {
  const text = `
    const { parentPort } = require("node:worker_threads");
    const { Client } = require("styx-client");
    (async () => { const client = await Client.connect(process.env.ADDRESS); ${body} })();
  `;
  return `import { Worker } from "node:worker_threads";
    const make = () => new Worker(${JSON.stringify(text)}, { eval: true, execArgv: [] });
    const next = (worker) => new Promise((done, failed) => {
      worker.once("message", done); worker.once("error", failed);
    });
    ${main}`;
}

test("workers_load_and_run_beside_the_main_thread", async () => {
  const { output } = await runQuietly(
    context.server,
    withWorker(
      `const texts = [];
       for await (const record of client.consumer("log1").records()) texts.push(record.text);
       await client.close();
       parentPort.postMessage(texts.join());`,
      `const client = await Client.connect(address);
       const texts = await Promise.all(Array.from({ length: 4 }, () => next(make())));
       console.log(texts.join(" "), (await client.getLog("log1")).endPosition);`,
    ),
  );
  assert.equal(output, "a,b a,b a,b a,b 2\n");
});

const MIDDLES = {
  poll: `const consumer = client.consumer("log1", { start: "end", follow: true });
    await consumer.ready; consumer.poll(); parentPort.postMessage(1);`,
  calls: `parentPort.postMessage(1); for (;;) await client.listLogs();`,
  append: `const producer = client.producer("log2"); await producer.ready; parentPort.postMessage(1);
    for (;;) { if (!producer.append(Buffer.alloc(100))) await producer.drain(); }`,
  send: `const producer = client.producer("log2"); parentPort.postMessage(1);
    for (;;) await Promise.all(Array.from({ length: 100 }, () => producer.send("x")));`,
  reads: `parentPort.postMessage(1);
    for (;;) for await (const batch of client.consumer("log2", { external: true })) batch.texts();`,
};
for (const [name, body] of Object.entries(MIDDLES)) {
  test(`worker_can_be_terminated_in_the_middle_of_${name}`, async () => {
    await context.client.createLog("log2", { existOk: true });
    const { output } = await runQuietly(
      context.server,
      withWorker(
        body,
        `for (let round = 0; round < 6; round += 1) {
           const worker = make(); await next(worker); await sleep(round * 5); await worker.terminate();
         }
         const client = await Client.connect(address);
         console.log((await client.getLog("log1")).endPosition);
         const last = make(); await next(last); process.exitCode = 0; process.exit();`,
      ),
    );
    assert.equal(output, "2\n");
  });
}
