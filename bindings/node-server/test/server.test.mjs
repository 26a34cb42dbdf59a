// The installed package styx-server: its commands run the binary as if in its place. The current
// directory is a project in which the package is installed.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const project = process.cwd();
const require = createRequire(join(project, "index.js"));
const bin = join(project, "node_modules/.bin/styx-server");
const DEADLINE_MS = 20_000;

/** Starts `command serve` in a process group of its own, and waits until the server listens. */
async function started(t, command, ...args) {
  const data = mkdtempSync(join(tmpdir(), "styx-npm-"));
  const pidFile = join(data, "pid");
  const serve = ["serve", "--bind-address", "127.0.0.1:0", "--data-directory", join(data, "data")];
  const child = spawn(command, [...args, ...serve, "--pid-file", pidFile], {
    cwd: project,
    detached: true,
    stdio: ["ignore", "pipe", "ignore"],
  });
  t.after(() => {
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {
      // It has ended.
    }
    rmSync(data, { recursive: true, force: true });
  });
  for await (const chunk of child.stdout) {
    if (String(chunk).includes("listening on")) {
      break;
    }
  }
  const server = Number(readFileSync(pidFile, "utf8"));
  return { child, server };
}

function isRunning(pid) {
  try {
    process.kill(pid, 0);
    return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return false;
  }
}

async function ends(pid) {
  const deadline = Date.now() + DEADLINE_MS;
  while (isRunning(pid)) {
    assert.ok(Date.now() < deadline, `process ${pid} has not ended`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("path is that of the binary, for both kinds of modules", async () => {
  const path = require("styx-server").path();
  assert.match(path, /\/@styx-server\/linux-[^/]+\/bin\/styx$/);
  const version = spawnSync(path, ["version"], { encoding: "utf8" });
  assert.match(version.stdout, /^styx \d/);
  const code = 'import { path } from "styx-server"; console.log(path())';
  const module = spawnSync(process.execPath, ["--input-type=module", "-e", code], {
    cwd: project,
    encoding: "utf8",
  });
  assert.equal(module.stdout.trim(), path);
});

test("arguments, streams and the exit code are those of the binary", () => {
  const call = (...args) => spawnSync(bin, args, { encoding: "utf8" });
  const good = call("version");
  assert.equal(good.status, 0);
  assert.match(good.stdout, /^styx \d/);
  const bad = call("a b;'$(exit)");
  assert.equal(bad.status, 2);
  assert.match(bad.stderr, /unrecognized subcommand 'a b;'\$\(exit\)'/);
});

for (const signal of ["SIGTERM", "SIGINT"]) {
  test(`${signal} stops the server, and the exit code is 0`, async (t) => {
    const { child, server } = await started(t, bin);
    child.kill(signal);
    const [code] = await once(child, "exit");
    assert.equal(code, 0);
    assert.equal(isRunning(server), false);
  });
}

test("SIGTERM stops a server that npx has started", async (t) => {
  const { child, server } = await started(t, "npx", "--no", "styx-server");
  child.kill("SIGTERM");
  await ends(server);
  await ends(child.pid);
});

test("Ctrl-C in a terminal, which all its processes get, stops the server", async (t) => {
  const { child, server } = await started(t, "npx", "--no", "styx-server");
  process.kill(-child.pid, "SIGINT");
  await ends(server);
  await ends(child.pid);
});

test("SIGHUP does not stop a server", async (t) => {
  const { child, server } = await started(t, bin);
  child.kill("SIGHUP");
  child.kill("SIGUSR1");
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.ok(isRunning(server) && isRunning(child.pid));
});

test("a binary that a signal ends ends the command by the same signal", async (t) => {
  const { child, server } = await started(t, bin);
  process.kill(server, "SIGKILL");
  const [code, signal] = await once(child, "exit");
  assert.deepEqual([code, signal], [null, "SIGKILL"]);
});

test("the server stops if its command is killed by SIGKILL", async (t) => {
  const { child, server } = await started(t, bin);
  child.kill("SIGKILL");
  await ends(server);
});

test("an error names the package that is missing", () => {
  const installed = join(project, "node_modules/styx-server");
  const alone = mkdtempSync(join(tmpdir(), "styx-npm-"));
  cpSync(installed, join(alone, "node_modules/styx-server"), { recursive: true });
  symlinkSync("styx-server/bin/styx.js", join(alone, "node_modules/styx"));
  const ended = spawnSync(process.execPath, [join(alone, "node_modules/styx"), "version"], {
    encoding: "utf8",
  });
  rmSync(alone, { recursive: true });
  assert.equal(ended.status, 126);
  assert.match(ended.stderr, /styx-server cannot find the package @styx-server\/linux-/);
  assert.match(ended.stderr, /--omit=optional/);
  assert.equal(existsSync(alone), false);
});
