// Uses the types of the installed package in an ECMAScript module.

import { Client, type LogInfo, type RecordBatch, StyxError } from "styx-client";
import type {} from "styx-client/testing";

const client: Client = await Client.connect();
const log: LogInfo = await client.createLog("smoke", { logMaxAge: 86_400, existOk: true });
const producer = client.producer(log.name, { compression: "lz4" });
const hasRoom: boolean = producer.append("text");
const position: number = await producer.send(new Uint8Array([1]));
for await (const batch of client.consumer(log.name, { start: 0 })) {
  const same: RecordBatch = batch;
  for (const record of same) {
    const { position: at, payload }: { position: number; payload: Buffer } = record;
    console.assert(at <= position && payload.length > 0 && hasRoom);
  }
}
try {
  await client.getLog("none");
} catch (error) {
  if (!(error instanceof StyxError) || error.code !== "log_not_found" || error.retriable) {
    throw error;
  }
}
// @ts-expect-error A position is not a text.
client.trimLog("smoke", {}).catch(() => {});
await client.close();
