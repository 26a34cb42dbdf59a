import assert from "node:assert/strict";
import { test } from "node:test";
import { startServer } from "styx-client/testing";
import { runQuietly, useServer } from "./support.mjs";

const context = useServer();

// The programs end with code 70 at an unhandled rejection.
test("rejections_of_the_library_are_handled", async () => {
  const log = await context.logOf(["a"]);
  const { output } = await runQuietly(
    context.server,
    `const client = await Client.connect(address);
     client.producer("nolog");
     client.consumer("nolog");
     client.consumer("nolog").readable().on("error", () => {});
     client.backupLog("nolog").on("error", () => {});
     const lost = client.producer("nolog"); lost.append("x");
     const controller = new AbortController();
     const calls = [
       client.consumer("${log}", { start: "end", follow: true }).poll({ signal: controller.signal }),
       client.listLogs({ signal: controller.signal }),
       client.producer("${log}").send("b", { signal: controller.signal }),
       client.producer("nolog").sendMany((function* () { yield "x"; controller.abort(); yield "y"; })(), { signal: controller.signal }),
     ];
     const settled = Promise.allSettled(calls);
     controller.abort();
     console.log((await settled).map(({ status }) => status).join());
     client.consumer("${log}", { follow: true }).records().next();
     client.consumer("${log}", { follow: true }).batches();
     const other = await Client.connect(address);
     const waiting = other.consumer("${log}", { start: "end", follow: true }).poll();
     await other.close();
     console.log(await waiting);
     await client.close().catch((error) => console.log(error.code ?? error));
     await sleep(50);`,
  );
  assert.equal(output, "rejected,rejected,rejected,rejected\nnull\nlog_not_found\n");
});

test("rejections_after_the_server_has_gone_are_handled", async (t) => {
  const server = await startServer();
  t.after(() => server.stop());
  const running = runQuietly(
    server,
    `const client = await Client.connect(address, { timeout: 300, connectTimeout: 300 });
     await client.createLog("a");
     const producer = client.producer("a", { deadline: 300 });
     const consumer = client.consumer("a", { follow: true, deadline: 300 });
     await Promise.all([producer.ready, consumer.ready]);
     console.log("ready");
     process.kill(${server.pid}, "SIGKILL");
     producer.append("lost");
     const late = client.producer("a");
     const reader = client.consumer("a");
     const results = await Promise.allSettled([producer.send("x"), consumer.poll(), client.listLogs(), late.ready, reader.ready]);
     console.log(results.map(({ reason }) => reason?.code).join());
     await client.close().catch((error) => console.log(error.code ?? error.errors.length));`,
  );
  const { output } = await running;
  const [first, codes] = output.split("\n");
  assert.equal(first, "ready");
  for (const code of codes.split(",")) {
    assert.match(code, /timed_out|connection_failed/);
  }
});
