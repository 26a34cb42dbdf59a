// Consumers.

import { milliseconds, options, start } from "./options.mjs";
import { number, ReadError, recordShown } from "./values.mjs";

export async function open(client, request) {
  const consumer = client.consumer(request.log, options(request.options));
  await consumer.ready;
  return consumer;
}

export const operations = {
  async read(consumer, { count }) {
    const wanted = count == null ? Number.POSITIVE_INFINITY : Number(count);
    const iterator = consumer.records();
    const records = [];
    try {
      // Without `for await`, which closes the consumer when it is left.
      while (records.length < wanted) {
        const next = await iterator.next();
        if (next.done) {
          return { records, ended: true };
        }
        records.push(recordShown(next.value));
      }
    } catch (error) {
      throw new ReadError(error, records);
    }
    return { records, ended: false };
  },
  async poll(consumer, { timeout }) {
    const batch = await consumer.poll({ timeout: milliseconds(timeout) });
    if (batch === null) {
      return { records: [], ended: consumer.ended };
    }
    return {
      records: [...batch].map(recordShown),
      ended: false,
      first_position: number(batch.firstPositionBigInt),
      next_position: number(batch.nextPositionBigInt),
      checkpoint: String(batch.checkpoint),
    };
  },
  async seek(consumer, request) {
    await consumer.seek(start(request.start));
    return {};
  },
  async commit(consumer) {
    return { position: number(await consumer.commit()) };
  },
  async state(consumer) {
    return {
      position: number(consumer.positionBigInt),
      checkpoint: String(consumer.checkpoint),
      lag: number(consumer.lag),
      caught_up: consumer.caughtUp,
    };
  },
  async close(consumer) {
    await consumer.close();
    return {};
  },
};
