// Uses the types of the installed package in a CommonJS module.

import styx = require("styx-client");
import server = require("styx-server");

async function main(): Promise<void> {
  const program: string = server.path();
  const client: styx.Client = await styx.Client.connect();
  await client.createLog("smoke");
  const position: number = await client.producer("smoke").send(program);
  const batch: styx.RecordBatch | null = await client.consumer("smoke").poll();
  if (position !== 0 || batch?.at(0)?.text !== program) {
    throw new Error("this is another record");
  }
  await client.close();
}

void main();
