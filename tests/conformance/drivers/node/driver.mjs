// The driver of the Node.js client for the conformance suite.
//
// It does what each line of standard input asks, and answers with a line.
// tests/conformance/README.md has the operations. It has no logic of its own: every operation is
// one call of styx-client.
//
//   driver.mjs      the protocol, and the objects that the runner has named
//   client.mjs      clients: logs and cursors
//   producer.mjs    producers and acks
//   consumer.mjs    consumers
//   options.mjs     options and starts as the package takes them
//   values.mjs      results and errors as the protocol has them

import { createInterface } from "node:readline";
import * as clients from "./client.mjs";
import * as consumers from "./consumer.mjs";
import { StyxError } from "./package.mjs";
import * as producers from "./producer.mjs";
import { errorShown, ReadError } from "./values.mjs";

/** How long records that are in flight may delay the exit. */
const EXIT_MS = 5000;

/** The objects that the runner has named: what they are, and the operations on them. */
const objects = new Map();

function add(name, target, operations) {
  objects.set(name, { target, operations });
  return {};
}

/** Operations that make an object. */
const makers = {
  connect: async (request) => add(request.as, await clients.connect(request), clients.operations),
  producer: async (request, client) =>
    add(request.as, await producers.open(client, request), producers.operations),
  consumer: async (request, client) =>
    add(request.as, await consumers.open(client, request), consumers.operations),
  append: async (request, producer) =>
    add(request.as, await producers.append(producer, request), producers.ackOperations),
  append_many: async (request, producer) =>
    add(request.as, await producers.appendMany(producer, request), producers.ackOperations),
};

async function run(request) {
  const { op, on: name } = request;
  if (op === "hello") {
    return { driver: "node" };
  }
  const on = objects.get(name);
  const operation = makers[op] ?? ((_, target) => on?.operations[op]?.(target, request));
  const result = await operation(request, on?.target);
  if (result === undefined) {
    throw new Error(`there is no operation ${op} on ${name}`);
  }
  return result;
}

async function answer(line) {
  try {
    return { ok: await run(JSON.parse(line)) };
  } catch (error) {
    if (error instanceof ReadError && error.cause instanceof StyxError) {
      return { error: errorShown(error.cause), records: error.records };
    }
    if (error instanceof StyxError) {
      return { error: errorShown(error), records: [] };
    }
    return { driver_error: String(error?.stack ?? error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(line))}\n`);
}
// An open object does not keep the process alive, but a record in flight does.
setTimeout(() => process.exit(0), EXIT_MS).unref();
