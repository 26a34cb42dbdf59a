// Runs a program with a server, whose address is in STYX_HOST: node with-server.mjs PROGRAM …
//
// The binary is that of the package styx-server.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { path } from "styx-server";

const [program, ...args] = process.argv.slice(2);
const data = mkdtempSync(join(tmpdir(), "styx-smoke-"));
const server = spawn(
  path(),
  ["serve", "--bind-address", "127.0.0.1:0", "--data-directory", data, "--exit-with-parent"],
  { stdio: ["ignore", "pipe", "ignore"] },
);
for await (const line of createInterface(server.stdout)) {
  const [, host] = /^listening on http:\/\/(.*)$/.exec(line) ?? [];
  if (host !== undefined) {
    const env = { ...process.env, STYX_HOST: `styx://${host}` };
    const child = spawn(program, args, { stdio: "inherit", env });
    const code = await new Promise((resolve) => child.on("exit", resolve));
    server.kill();
    process.exitCode = code ?? 1;
  }
}
rmSync(data, { recursive: true, force: true });
