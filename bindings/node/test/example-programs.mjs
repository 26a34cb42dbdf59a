// The programs of examples/node, started as their users start them, and a server for them.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
export const EXAMPLES = join(ROOT, "examples/node");

/** Milliseconds after which a test that waits for something fails. */
export const LIMIT_MS = 30_000;

/** Installs the packages of the examples, as their README says. */
export function installExamples() {
  if (!existsSync(join(EXAMPLES, "node_modules/styx-client/package.json"))) {
    const done = spawnSync("npm", ["install"], { cwd: EXAMPLES, encoding: "utf8" });
    if (done.status !== 0) {
      throw new Error(`npm install failed in ${EXAMPLES}:\n${done.stderr}`);
    }
  }
}

/** Waits until the condition is true. */
export async function until(condition, what) {
  const end = Date.now() + LIMIT_MS;
  while (!(await condition())) {
    if (Date.now() > end) {
      throw new Error(`after ${LIMIT_MS} ms, there is still not: ${what}`);
    }
    await sleep(10);
  }
}

/** Servers and programs that have been started. */
const started = [];

/** Ends what a failed test has left. */
export async function endAll() {
  await Promise.all(started.map((one) => one.discard()));
}

/** A server on a free port. `restart` starts it again after `kill`, with the same port and logs. */
export class Server {
  #directory = mkdtempSync(join(tmpdir(), "styx-node-"));
  #port = "0";
  #process;

  static async start() {
    const server = new Server();
    started.push(server);
    await server.restart();
    return server;
  }

  get url() {
    return `styx://127.0.0.1:${this.#port}`;
  }

  async restart() {
    const portFile = join(this.#directory, "port");
    rmSync(portFile, { force: true });
    const environment = Object.entries(process.env).filter(([name]) => !name.startsWith("STYX_"));
    this.#process = spawn(
      process.env.STYX_BIN ?? "styx",
      [
        "serve",
        `--bind-address=127.0.0.1:${this.#port}`,
        `--data-directory=${join(this.#directory, "data")}`,
        `--port-file=${portFile}`,
        `--exit-with-parent=${process.pid}`,
      ],
      { stdio: "ignore", env: Object.fromEntries(environment) },
    );
    await once(this.#process, "spawn");
    await until(() => {
      if (this.#process.exitCode !== null) {
        throw new Error(`styx has ended with ${this.#process.exitCode}`);
      }
      return existsSync(portFile) && readFileSync(portFile, "utf8").endsWith("\n");
    }, "a server that listens");
    this.#port = readFileSync(portFile, "utf8").trim();
  }

  async kill(signal = "SIGKILL") {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = once(this.#process, "exit");
      this.#process.kill(signal);
      await ended;
    }
  }

  async discard() {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async stop() {
    await this.kill("SIGTERM");
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** A running example. */
export class Program {
  /** Its output. */
  output = "";
  errors = "";
  #process;
  #ended;

  constructor(server, name, argv, options = {}) {
    started.push(this);
    this.#process = spawn(process.execPath, [join(EXAMPLES, name), ...argv], {
      env: { ...process.env, STYX_HOST: server.url, ...options.env },
    });
    this.#process.stdout.setEncoding("utf8").on("data", (text) => {
      this.output += text;
    });
    this.#process.stderr.setEncoding("utf8").on("data", (text) => {
      this.errors += text;
    });
    // A program may end before it has read its input.
    this.#process.stdin.on("error", () => {});
    if (options.input !== "open") {
      this.#process.stdin.end(options.input ?? "");
    }
    this.#ended = once(this.#process, "close");
  }

  /** Its standard input. */
  get input() {
    return this.#process.stdin;
  }

  /** Waits until it has written the text. */
  async wrote(text) {
    await until(
      () => {
        if (this.#process.exitCode !== null) {
          throw new Error(`it has ended with ${this.#process.exitCode}: ${this.errors}`);
        }
        return (this.output + this.errors).includes(text);
      },
      `${JSON.stringify(text)} in ${JSON.stringify(this.output + this.errors)}`,
    );
  }

  async discard() {
    await this.end("SIGKILL");
  }

  /** Sends it a signal and waits until it has ended: its exit code, or the signal. */
  async end(signal) {
    if (signal !== undefined) {
      this.#process.kill(signal);
    }
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), LIMIT_MS);
    const [code, by] = await this.#ended;
    clearTimeout(timer);
    return code ?? by;
  }
}
