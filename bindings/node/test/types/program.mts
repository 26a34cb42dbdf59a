// A strict program, for `npx tsc -p test/types`: `await using` closes what it opens.

import { Client } from "styx-client";
import { startServer } from "styx-client/testing";

await using server = await startServer();
await using client = await Client.connect(server.address);
await client.createLog("a");
{
  await using producer = client.producer("a");
  producer.append("one");
}
await using consumer = client.consumer("a");
const texts: string[] = [];
for await (const record of consumer.records()) {
  texts.push(record.text);
}
console.log(texts.join());
