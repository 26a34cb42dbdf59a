import assert from "node:assert/strict";
import { test } from "node:test";
import { run, runQuietly, STALL_MS, useServer } from "./support.mjs";

const context = useServer(async ({ logOf }) => assert.equal(await logOf(["a", "b"]), "log1"));

const IDLE = `
const client = await Client.connect(address);
const producer = client.producer("log1");
const consumer = client.consumer("log1", { follow: true });
await Promise.all([producer.ready, consumer.ready]);
`;

test("idle_client_producer_and_consumer_let_the_process_exit", async () => {
  const ended = await runQuietly(context.server, `${IDLE} console.log("idle");`);
  assert.equal(ended.output, "idle\n");
  assert(ended.milliseconds < STALL_MS, String(ended.milliseconds));
});

test("a_pending_send_holds_the_process", async () => {
  const { output } = await runQuietly(
    context.server,
    `${IDLE} producer.send("sent").then((position) => console.log(typeof position));`,
  );
  assert.equal(output, "number\n");
});

test("records_in_flight_hold_the_process", async () => {
  const log = await context.log();
  await runQuietly(
    context.server,
    `const client = await Client.connect(address);
     const producer = client.producer("${log}");
     for (let count = 0; count < 5000; count += 1) producer.append("x".repeat(100));`,
  );
  assert.equal((await context.client.getLog(log)).endPosition, 5000);
});

for (const [name, wait] of Object.entries({
  poll: "consumer.poll()",
  iteration: "consumer.batches().next()",
  records: "consumer.records().next()",
})) {
  test(`waiting_${name}_holds_the_process`, async () => {
    const { output } = await runQuietly(
      context.server,
      `${IDLE} await consumer.seek("end");
       setTimeout(() => console.log("still here"), 300).unref();
       setTimeout(() => consumer.close(), 400).unref();
       ${wait}.then(() => console.log("over"));`,
    );
    assert.equal(output, "still here\nover\n");
  });
}

test("process_exit_in_the_middle_of_calls_ends_the_process", async () => {
  const ended = await run(
    context.server,
    `${IDLE} consumer.poll(); client.listLogs(); producer.ready.then(() => {});
     for (let count = 0; count < 100000; count += 1) producer.append("x".repeat(100));
     setImmediate(() => process.exit(3));`,
  );
  assert.deepEqual([ended.code, ended.signal, ended.errors], [3, null, ""]);
});

test("import_alone_does_not_hold_the_process", async () => {
  const ended = await runQuietly(context.server, "");
  assert(ended.milliseconds < STALL_MS);
});
