// The native module: which package it is loaded from, and the error if it cannot be loaded.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "..");
const { libcIn, platformName, SUPPORTED } = createRequire(import.meta.url)("../dist/platform.js");
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const platform = platformName();
const name = `@styx-client/${platform}`;
const addon = `styx-client.${platform}.node`;

/** A project with the package, but without a native module. */
function project(t) {
  const folder = mkdtempSync(join(tmpdir(), "styx-loading-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const installed = join(folder, "node_modules/styx-client");
  cpSync(join(root, "dist"), join(installed, "dist"), { recursive: true });
  cpSync(join(root, "package.json"), join(installed, "package.json"));
  return folder;
}

/** Installs the package of this platform with this file as its addon. */
function install(folder, content) {
  const installed = join(folder, "node_modules", name);
  mkdirSync(installed, { recursive: true });
  cpSync(join(root, "npm", platform, "package.json"), join(installed, "package.json"));
  writeFileSync(join(installed, addon), content);
}

function run(folder, code, ...args) {
  return spawnSync(process.execPath, [...args, "-e", code], { cwd: folder, encoding: "utf8" });
}

/** The error of `require("styx-client")`. */
function error(folder, before = "") {
  const code = `${before}
    try { require("styx-client"); }
    catch (error) { console.log(JSON.stringify([error.message, error.cause?.message ?? ""])); }`;
  const { stdout, stderr } = run(folder, code);
  assert.notEqual(stdout, "", stderr);
  const [message, cause] = JSON.parse(stdout);
  return { message, cause };
}

/** Every message names the package, the platform, the C library and the runtime. */
function checkNames(message) {
  assert.ok(message.startsWith(`styx-client ${manifest.version} cannot load its native module`));
  const libc = platform.endsWith("-musl") ? "musl" : "gnu";
  for (const part of [name, ` on ${platform} `, `libc ${libc}`, `Node.js ${process.version}`]) {
    assert.ok(message.includes(part), `${part} is not in: ${message}`);
  }
}

test("the addon is loaded from the package of the platform", (t) => {
  const folder = project(t);
  install(folder, readFileSync(join(root, "npm", platform, addon)));
  const code = 'console.log(require("styx-client").version)';
  assert.equal(run(folder, code).stdout.trim(), manifest.version);
  const module = 'import { version } from "styx-client"; console.log(version)';
  assert.equal(run(folder, module, "--input-type=module").stdout.trim(), manifest.version);
});

test("an addon beside the package is preferred, as in a checkout", (t) => {
  const folder = project(t);
  const local = join(folder, "node_modules/styx-client/npm", platform);
  install(folder, "not a library");
  mkdirSync(local, { recursive: true });
  writeFileSync(join(local, addon), readFileSync(join(root, "npm", platform, addon)));
  const code = 'console.log(require("styx-client").version)';
  assert.equal(run(folder, code).stdout.trim(), manifest.version);
});

test("an error names a missing package, and says how to install it", (t) => {
  const { message, cause } = error(project(t));
  checkNames(message);
  assert.match(cause, new RegExp(`Cannot find module '${name}'`));
  assert.ok(message.includes(cause));
  assert.match(message, /--omit=optional/);
});

test("an error on a platform without a package lists the platforms", (t) => {
  const before = 'Object.defineProperty(process, "arch", { value: "mips" });';
  const { message } = error(project(t), before);
  assert.match(message, /@styx-client\/linux-mips-/);
  assert.match(message, /not supported.*linux-x64-gnu, linux-arm64-gnu, linux-x64-musl/);
});

for (const [what, content] of [
  ["is empty", ""],
  ["is text", "not a library"],
  ["is damaged", "\x7fELF but not a library"],
]) {
  test(`an error has the loader's own message if the addon ${what}`, (t) => {
    const folder = project(t);
    install(folder, content);
    const { message, cause } = error(folder);
    checkNames(message);
    assert.match(cause, /too short|invalid ELF header|file too short/);
    assert.ok(message.includes(cause) && message.includes(addon));
    assert.match(message, /C library differs/);
  });
}

test("an error has the loader's own message if the addon is for another C library", (t) => {
  const folder = project(t);
  install(folder, "");
  const source = join(folder, "empty.c");
  writeFileSync(source, "int styx_stub(void) { return 0; }\n");
  const other = join(folder, "libc.musl-x86_64.so.1");
  const cc = (...args) => {
    const done = spawnSync("cc", ["-shared", "-fPIC", "-nostdlib", source, ...args]);
    assert.equal(done.status, 0, String(done.stderr));
  };
  cc("-Wl,-soname,libc.musl-x86_64.so.1", "-o", other);
  cc("-Wl,--no-as-needed", other, "-o", join(folder, "node_modules", name, addon));
  rmSync(other);
  const { message, cause } = error(folder);
  checkNames(message);
  assert.match(cause, /libc\.musl-x86_64\.so\.1: cannot open shared object file/);
  assert.match(message, /C library differs/);
});

test("an error names the version of an addon from another version of the package", (t) => {
  const folder = project(t);
  install(folder, "");
  const installed = join(folder, "node_modules", name);
  rmSync(join(installed, addon));
  writeFileSync(join(installed, "package.json"), '{"main": "index.js"}');
  writeFileSync(join(installed, "index.js"), 'exports.version = () => "0.9.0";');
  const { message } = error(folder);
  checkNames(message);
  assert.match(message, /it has version 0\.9\.0/);
});

test("the C library is found in the list of mapped files", () => {
  const line = (path) => `7f0000000000-7f0000001000 r-xp 00000000 08:01 42  ${path}\n`;
  assert.equal(libcIn(line("/usr/bin/node") + line("/lib/ld-musl-x86_64.so.1")), "musl");
  assert.equal(libcIn(line("/lib/libc.musl-x86_64.so.1")), "musl");
  assert.equal(libcIn(line("/usr/lib/x86_64-linux-gnu/libc.so.6")), "gnu");
  assert.equal(libcIn(line("/lib/x86_64-linux-gnu/libc-2.31.so")), "gnu");
  assert.equal(libcIn(line("/usr/bin/a-static-node")), undefined);
});

test("the C library is found without /proc", () => {
  const code = `
    const { platformName } = require("./dist/platform.js");
    require("node:fs").readFileSync = () => { throw new Error("no /proc"); };
    console.log(platformName(), process.report.excludeNetwork);`;
  const { stdout } = run(root, code);
  assert.deepEqual(stdout.trim().split(" "), [platform, "false"]);
});

test("loading runs no program and does not look up hosts", (t) => {
  const folder = project(t);
  install(folder, readFileSync(join(root, "npm", platform, addon)));
  const code = `
    const refuse = () => { throw new Error("must not be called"); };
    Object.assign(require("node:child_process"), {
      spawnSync: refuse, execSync: refuse, execFileSync: refuse, spawn: refuse, exec: refuse,
    });
    process.report.getReport = refuse;
    console.log(require("styx-client").version);`;
  assert.equal(run(folder, code).stdout.trim(), manifest.version);
});

test("every platform has a package, which package.json lists with its version", () => {
  const listed = Object.entries(manifest.optionalDependencies);
  assert.deepEqual(new Set(listed.map(([package_]) => package_)), SUPPORTED);
  for (const [package_, version] of listed) {
    assert.equal(version, manifest.version);
    const folder = join(root, "npm", package_.slice("@styx-client/".length));
    const own = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    assert.deepEqual([own.name, own.version], [package_, manifest.version]);
  }
});
