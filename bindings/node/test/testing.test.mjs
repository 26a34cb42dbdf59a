import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { Client } from "styx-client";
import { startServer } from "styx-client/testing";
import { runQuietly } from "./support.mjs";

test("server_starts_stops_and_removes_its_directory", async () => {
  const server = await startServer();
  assert.equal(server.address, `styx://127.0.0.1:${server.port}`);
  assert.equal(server.url, `http://127.0.0.1:${server.port}`);
  assert.match(server.logs, /listening/);
  const client = await Client.connect(server.url);
  await client.createLog("a");
  await client.close();
  assert(existsSync(server.dataDirectory));
  await server.stop();
  await server.stop();
  assert.equal(server.pid, undefined);
  assert(!existsSync(server.dataDirectory));
  assert.match(server.logs, /listening/);
});

test("killed_server_restarts_on_the_same_port_with_its_logs", async () => {
  const server = await startServer();
  const { address } = server;
  const client = await Client.connect(address);
  await client.createLog("a");
  await client.producer("a").send("kept");
  await server.kill();
  await assert.rejects(server.pause(), /restart/);
  await server.restart();
  await server.restart();
  assert.equal(server.address, address);
  assert.equal((await client.getLog("a")).endPosition, 1);
  await client.close();
  await server[Symbol.asyncDispose]();
});

test("paused_server_stops", async () => {
  const server = await startServer();
  await server.pause();
  await server.stop();
});

test("settings_are_those_of_the_configuration", async () => {
  await assert.rejects(startServer({ settings: { no_such_key: 1 } }), /no_such_key/);
});

test("missing_program_is_an_error_that_says_what_to_do", async () => {
  await assert.rejects(startServer({ binary: "/no/such/styx" }), /\/no\/such\/styx/);
  const [bin, path] = [process.env.STYX_BIN, process.env.PATH];
  delete process.env.STYX_BIN;
  process.env.PATH = "";
  try {
    await assert.rejects(startServer(), /option binary.*STYX_BIN.*styx-server.*PATH/);
  } finally {
    process.env.STYX_BIN = bin;
    process.env.PATH = path;
  }
});

test("server_that_is_not_stopped_ends_with_the_process", async () => {
  const { output } = await runQuietly(
    undefined,
    `import { startServer } from "styx-client/testing";
     const server = await startServer();
     console.log(server.dataDirectory);`,
  );
  assert(!existsSync(output.trim()));
});
