// Prints the records of a log with their positions, and exits.
//
// Shows: reading from any position of a log to its current end, batch by batch.
//
//     node consume.mjs orders
//     node consume.mjs orders end-100
//     node consume.mjs orders time:2026-11-28T16:00:00Z

import { once } from "node:events";
import { Client, StyxError } from "styx-client";

const [log, start = "start"] = process.argv.slice(2);
if (log === undefined || log.startsWith("-")) {
  console.error(
    "usage: node consume.mjs LOG [start | end-N | POSITION | time:RFC3339 | CHECKPOINT]",
  );
  process.exit(2);
}

/** @param {string} log */
async function main(log) {
  const client = await Client.connect();
  try {
    const consumer = client.consumer(log, { start });
    // Closing ends the iteration.
    process.once("SIGINT", () => consumer.close());
    for await (const batch of consumer) {
      let text = "";
      for (const record of batch) {
        text += `${record.position} ${record.text}\n`;
      }
      if (!process.stdout.write(text)) {
        await once(process.stdout, "drain");
      }
    }
  } finally {
    await client.close();
  }
}

// For example, `head` closes the pipe after ten lines.
process.stdout.on("error", () => process.exit(1));

main(log).catch((error) => {
  console.error(error instanceof StyxError ? `error: ${error.message}` : error);
  process.exitCode = 1;
});
