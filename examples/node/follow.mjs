// Prints the records that are appended to a log from now on, until Ctrl-C.
//
// Shows: following a log. When the server restarts, the consumer reconnects and continues at its
// position; the client publishes both on diagnostics channels.
//
//     node follow.mjs orders

import { subscribe } from "node:diagnostics_channel";
import { Client, StyxError } from "styx-client";

const [log] = process.argv.slice(2);
if (log === undefined || log.startsWith("-")) {
  console.error("usage: node follow.mjs LOG");
  process.exit(2);
}

/** @typedef {import("styx-client").StyxEvent} StyxEvent */
subscribe("styx-client:lost", (message) => {
  const { log, error } = /** @type {StyxEvent} */ (message);
  console.error(`lost the connection of ${log}: ${error?.message}`);
});
subscribe("styx-client:connected", (message) => {
  const { address } = /** @type {StyxEvent} */ (message);
  console.error(`connected to ${address}`);
});

/** @param {string} log */
async function main(log) {
  const client = await Client.connect();
  try {
    const consumer = client.consumer(log, { start: "end", follow: true });
    await consumer.ready;
    console.error(`following ${log} from position ${consumer.position}`);
    let position = consumer.position;
    process.once("SIGINT", () => consumer.close());
    // Waits for new records, until the consumer is closed.
    for await (const batch of consumer) {
      process.stdout.write(`${batch.texts().join("\n")}\n`);
      position = batch.nextPosition;
    }
    console.error(`stopped at position ${position}`);
  } finally {
    await client.close();
  }
}

main(log).catch((error) => {
  console.error(error instanceof StyxError ? `error: ${error.message}` : error);
  process.exitCode = 1;
});
