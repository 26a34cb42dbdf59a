// Memory stays flat, however many records pass through. STYX_SOAK_RECORDS=20000000 is a soak.

import assert from "node:assert/strict";
import { test } from "node:test";
import { runQuietly, useServer } from "./support.mjs";

const RECORDS = Number(process.env.STYX_SOAK_RECORDS ?? 2_000_000);
const RSS_BYTES_MAX = 120 * 1024 * 1024;

const context = useServer();

test("memory_is_flat", async (t) => {
  const { output } = await runQuietly(
    context.server,
    `const RECORDS = ${RECORDS};
     const client = await Client.connect(address);
     await client.createLog("memory", { logMaxCount: 1_000_000, segmentMaxCount: 250_000 });
     const producer = client.producer("memory", { inFlightBytes: 4_194_304 });
     const consumer = client.consumer("memory", { start: "end", follow: true });
     await Promise.all([producer.ready, consumer.ready]);
     const payload = Buffer.alloc(100, "memory");
     let [written, read, bytes] = [0, 0, 0];
     const writing = (async () => {
       while (written < RECORDS) {
         const sends = [];
         for (let at = 0; at < 100; at += 1) sends.push(producer.send(payload));
         for (let at = 0; at < 9900; at += 1) if (!producer.append(payload)) await producer.drain();
         await Promise.all(sends);
         written += 10000;
         while (written - read > 200000) await sleep(1);
       }
       await producer.flush();
     })();
     for await (const batch of consumer) {
       for (const part of batch.payloads()) bytes += part.length;
       read += batch.length;
       if (read >= RECORDS) break;
     }
     await writing;
     await client.close();
     console.log(bytes, process.resourceUsage().maxRSS * 1024);`,
    { milliseconds: RECORDS > 2_000_000 ? 3_600_000 : 60_000 },
  );
  const [bytes, peak] = output.split(" ").map(Number);
  t.diagnostic(`${RECORDS} records: at most ${(peak / 1048576).toFixed(1)} MiB resident`);
  assert.equal(bytes, RECORDS * 100);
  assert(peak <= RSS_BYTES_MAX, output);
});

// AbortSignal.any keeps something for each call with a signal that lives long.
test("calls_with_a_signal_and_a_timeout_leave_nothing_behind", async () => {
  const log = await context.logOf(["a"]);
  await runQuietly(
    context.server,
    `const client = await Client.connect(address);
     const consumer = client.consumer("${log}");
     await consumer.poll();
     const { signal } = new AbortController();
     const used = () => { gc(); gc(); return process.memoryUsage().heapUsed; };
     const round = async () => { for (let at = 0; at < 50000; at += 1) await consumer.poll({ signal, timeout: 60000 }); };
     await round();
     await sleep(10);
     const before = used();
     await round();
     await sleep(10);
     const grown = used() - before;
     if (grown > 1_000_000) throw new Error("grown by " + grown);
     await client.close();`,
    { flags: ["--expose-gc"] },
  );
});
