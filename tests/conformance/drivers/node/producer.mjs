// Producers, and acks: promises of positions.

import { milliseconds, options } from "./options.mjs";
import { number } from "./values.mjs";

export async function open(client, request) {
  const producer = client.producer(request.log, options(request.options));
  await producer.ready;
  return producer;
}

export function append(producer, { payload }) {
  return acked(producer.sendBigInt(Buffer.from(payload, "hex")));
}

export function appendMany(producer, { payloads }) {
  return acked(producer.sendManyBigInt(payloads.map((payload) => Buffer.from(payload, "hex"))));
}

/** An ack. Fails if the call was refused, which it says by a promise that is already rejected. */
async function acked(position) {
  const ack = { position, isSettled: false, error: undefined };
  position.then(
    () => {
      ack.isSettled = true;
    },
    (error) => {
      ack.isSettled = true;
      ack.error = error;
    },
  );
  // Before anything else happens in the event loop.
  await new Promise((resolve) => process.nextTick(resolve));
  if (ack.error !== undefined) {
    throw ack.error;
  }
  return ack;
}

/** The option of a timeout, in seconds or missing. */
function limit(timeout) {
  return timeout == null ? {} : { timeout: milliseconds(timeout) };
}

export const operations = {
  async send(producer, { payload }) {
    return { position: number(await producer.sendBigInt(Buffer.from(payload, "hex"))) };
  },
  async flush(producer, { timeout }) {
    await producer.flush(limit(timeout));
    return {};
  },
  async next_sequence(producer) {
    return { next_sequence: number(producer.nextSequenceBigInt) };
  },
  async close(producer, { timeout }) {
    await producer.close(limit(timeout));
    return {};
  },
};

export const ackOperations = {
  async result(ack) {
    return { position: number(await ack.position) };
  },
  async done(ack) {
    return { done: ack.isSettled };
  },
};
