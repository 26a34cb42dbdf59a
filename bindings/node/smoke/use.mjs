// Uses the installed package as an ECMAScript module, with Node.js, Bun or Deno. The program ends
// by itself once the client is closed.

import assert from "node:assert/strict";
import { pipeline } from "node:stream/promises";
import { Client, RecordBatch, StyxError, version } from "styx-client";
import * as testing from "styx-client/testing";

assert.match(version, /^\d+\.\d+\.\d+/);
assert.equal(typeof testing, "object");
const client = await Client.connect();
await client.createLog("smoke");

const producer = client.producer("smoke");
producer.append("zero");
assert.equal(await producer.send(Buffer.from("one")), 1);
assert.equal(await producer.sendMany(["two", new Uint8Array([51])]), 2);
await producer.flush();

const texts = [];
for await (const batch of client.consumer("smoke")) {
  assert.ok(batch instanceof RecordBatch);
  texts.push(...batch.texts());
}
assert.deepEqual(texts, ["zero", "one", "two", "3"]);

const following = client.consumer("smoke", { start: "end", follow: true });
await following.ready;
setTimeout(() => producer.append("later"), 50);
for await (const record of following.records()) {
  assert.deepEqual([record.position, record.text], [4, "later"]);
  break;
}

let streamed = 0;
await pipeline(client.consumer("smoke").readable(), async (records) => {
  for await (const _ of records) {
    streamed += 1;
  }
});
assert.equal(streamed, 5);

await assert.rejects(client.getLog("none"), (error) => {
  return error instanceof StyxError && error.code === "log_not_found";
});
await assert.rejects(client.consumer("smoke", { start: 99 }).ready, StyxError);
const aborted = client.consumer("smoke", { start: "end", follow: true });
const signal = AbortSignal.timeout(50);
await assert.rejects(aborted.poll({ signal }), (error) => error === signal.reason);
await client.close();
