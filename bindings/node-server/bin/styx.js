#!/usr/bin/env node
// Runs the server's binary in place of this program: with its arguments, streams and
// environment. Signals are passed on, and the exit code is that of the binary.

const { spawn } = require("node:child_process");
const { constants } = require("node:os");
const { path } = require("../lib/index.js");

/** The signals that end or control a program, and can be caught. */
const PASSED_ON = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCONT"];
/** The exit code of a shell for a program that cannot be started. */
const CANNOT_START = 126;
/** How often the parent is looked at, if it is the shell of npx. */
const PARENT_INTERVAL_MS = 200;

function run(program, args) {
  // Not through a shell, so no argument needs quotes.
  const child = spawn(program, args, { stdio: "inherit" });
  for (const signal of PASSED_ON) {
    // A Ctrl-C of a terminal reaches both programs. The second SIGINT changes nothing.
    process.on(signal, () => child.kill(signal));
  }
  stopWithNpx(child);
  child.on("error", (error) => fail(`cannot start ${program}: ${error.message}`));
  child.on("exit", (code, signal) => {
    if (signal === null) {
      process.exit(code);
    }
    // Ends by the same signal, so that a shell sees the same.
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
    // Only if the signal does not end this program.
    setTimeout(() => process.exit(128 + constants.signals[signal]), 100);
  });
}

/**
 * npx starts this program through a shell, and passes SIGINT and SIGTERM to the shell alone, which
 * then ends. So the end of the shell is the signal.
 */
function stopWithNpx(child) {
  const parent = process.ppid;
  if (process.env.npm_command === "exec" && process.env.npm_lifecycle_event === "npx") {
    const look = () => process.ppid !== parent && child.kill("SIGTERM");
    setInterval(look, PARENT_INTERVAL_MS).unref();
  }
}

/** A server must not stay behind if this program is killed by SIGKILL. */
function withParent(args) {
  const isServer = args[0] === "serve" && !args.some((one) => one.startsWith("--exit-with-parent"));
  return isServer ? ["serve", `--exit-with-parent=${process.pid}`, ...args.slice(1)] : args;
}

function fail(message) {
  console.error(message);
  process.exit(CANNOT_START);
}

let program;
try {
  program = path();
} catch (error) {
  fail(error.message);
}
run(program, withParent(process.argv.slice(2)));
