// Uses the server for tests of the installed package. Its binary is that of the package
// styx-server.

import assert from "node:assert/strict";
import { readlinkSync } from "node:fs";
import { Client } from "styx-client";
import { startServer } from "styx-client/testing";

delete process.env.STYX_BIN;
const server = await startServer();
assert.match(readlinkSync(`/proc/${server.pid}/exe`), /node_modules\/@styx-server\//);
const client = await Client.connect(server.address);
await client.createLog("smoke");
assert.equal(await client.producer("smoke").send("text"), 0);
await client.close();
await server.stop();
