// A client of a server on a Unix socket.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Client } from "styx-client";
import { numbered, readAll, until, write } from "./support.mjs";

test("server_is_used_through_its_unix_socket", async () => {
  const directory = await mkdtemp(join(tmpdir(), "styx-unix-"));
  const path = join(directory, "styx.sock");
  const server = spawn(
    process.env.STYX_BIN ?? "styx",
    [
      "serve",
      `--bind-address=unix://${path}`,
      `--data-directory=${join(directory, "data")}`,
      `--port-file=${join(directory, "port")}`,
      `--exit-with-parent=${process.pid}`,
    ],
    { stdio: "ignore" },
  );
  const ended = once(server, "exit");
  try {
    await until(() => existsSync(join(directory, "port")));
    const client = await Client.connect(`unix://${path}`);
    assert.equal(client.address, `unix://${path}`);
    await client.createLog("log");
    await write(client, "log", numbered(100));
    assert.deepEqual(await readAll(client, "log"), numbered(100));
    await client.close();
    await assert.rejects(Client.connect(`unix://${directory}/none.sock`), /no such socket/);
  } finally {
    server.kill();
    await ended;
    await rm(directory, { recursive: true });
  }
});
