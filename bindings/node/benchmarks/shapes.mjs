// One way of using the package, timed. compare.mjs runs it and says what the shapes are.
//
//     node shapes.mjs ADDRESS LOG SHAPE RECORDS
//
// Prints a line such as {"shape":"append","records":1000000,"seconds":0.09}. Appending ends when
// all records are durable.

import { performance } from "node:perf_hooks";
import { Client } from "styx-client";

const PAYLOAD = Buffer.alloc(100, "x");
const TEXT = "x".repeat(100);
/** Records of a batch for `sendMany`. */
const BATCH = 10_000;
/** Batches that wait to be durable. */
const BATCHES = 32;
/** Promises of one window, and tasks that each await their records. */
const WINDOW = 2_000;
const TASKS = 1_000;

/** Seconds. */
async function timed(work) {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

function appender(payload) {
  return (producer, records) =>
    timed(async () => {
      for (let at = 0; at < records; at += 1) {
        if (!producer.append(payload)) {
          await producer.drain();
        }
      }
      await producer.flush();
    });
}

function sendManyOf(batch) {
  return (producer, records) => sendMany(producer, records, batch);
}

async function sendMany(producer, records, batch) {
  return timed(async () => {
    const waiting = [];
    for (let at = 0; at < records; at += BATCH) {
      waiting.push(producer.sendMany(batch));
      if (waiting.length === BATCHES) {
        await waiting.shift();
      }
    }
    await Promise.all(waiting);
  });
}

async function sendWindows(producer, records) {
  return timed(async () => {
    for (let at = 0; at < records; at += WINDOW) {
      await Promise.all(Array.from({ length: WINDOW }, () => producer.send(PAYLOAD)));
    }
  });
}

async function sendTasks(producer, records) {
  const one = async () => {
    for (let at = 0; at < records / TASKS; at += 1) {
      await producer.send(PAYLOAD);
    }
  };
  return timed(() => Promise.all(Array.from({ length: TASKS }, one)));
}

/** The median time of one record, multiplied by their number. */
async function send(producer, records) {
  await producer.ready;
  const times = [];
  for (let at = 0; at < records; at += 1) {
    times.push(await timed(() => producer.send(PAYLOAD)));
  }
  times.sort((one, other) => one - other);
  return times[Math.floor(records / 2)] * records;
}

async function lengths(consumer) {
  let count = 0;
  for await (const batch of consumer) {
    count += batch.length;
  }
  return count;
}

async function payloads(consumer) {
  let count = 0;
  for await (const batch of consumer) {
    for (const record of batch) {
      count += record.payload.length > 0 ? 1 : 0;
    }
  }
  return count;
}

async function payloadArrays(consumer) {
  let count = 0;
  for await (const batch of consumer) {
    count += batch.payloads().length;
  }
  return count;
}

async function texts(consumer) {
  let count = 0;
  for await (const batch of consumer) {
    for (const record of batch) {
      count += record.text.length > 0 ? 1 : 0;
    }
  }
  return count;
}

async function records(consumer) {
  let count = 0;
  for await (const _ of consumer.records()) {
    count += 1;
  }
  return count;
}

export const PRODUCING = {
  append: appender(PAYLOAD),
  append_text: appender(TEXT),
  // One buffer 10,000 times, and as many buffers, which are all read from memory.
  send_many: sendManyOf(Array(BATCH).fill(PAYLOAD)),
  send_many_buffers: sendManyOf(Array.from({ length: BATCH }, () => Buffer.from(PAYLOAD))),
  send_windows: sendWindows,
  send_tasks: sendTasks,
  send,
};
export const CONSUMING = { lengths, payloads, payload_arrays: payloadArrays, texts, records };

async function main() {
  const [address, log, shape, count] = process.argv.slice(2);
  const wanted = Number(count);
  const client = await Client.connect(address);
  let seconds;
  if (shape in PRODUCING) {
    const producer = client.producer(log);
    await producer.ready;
    seconds = await PRODUCING[shape](producer, wanted);
  } else if (shape.replace("_external", "") in CONSUMING) {
    const external = shape.endsWith("_external");
    const consumer = client.consumer(log, { count: wanted, external });
    await consumer.ready;
    seconds = await timed(async () => {
      const read = await CONSUMING[shape.replace("_external", "")](consumer);
      if (read !== wanted) {
        throw new Error(`${read} of ${wanted} records were read`);
      }
    });
  } else {
    throw new Error(`there is no shape ${shape}`);
  }
  await client.close();
  console.log(JSON.stringify({ shape, records: wanted, seconds }));
}

if (process.argv[1] === import.meta.filename) {
  await main();
}
