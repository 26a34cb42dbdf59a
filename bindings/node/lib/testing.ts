// A server for tests: `import { startServer } from "styx-client/testing"`. It belongs to the
// caller, so it works in node:test, vitest and jest alike.

import { type ChildProcess, spawn } from "node:child_process";
import {
  accessSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Milliseconds in which a server must accept connections, and in which it must stop. */
const START_MS = 30_000;
const STOP_MS = 30_000;
const POLL_MS = 10;

/** Options of {@link startServer}. */
export interface ServerOptions {
  /** The program styx. Default: `STYX_BIN`, the package styx-server, or `styx` on the PATH. */
  binary?: string;
  /** The directory of the logs. Default: a temporary one, which `stop` removes. */
  dataDirectory?: string;
  /** Configuration keys and their values, such as `{ max_log_record_size: 2048 }`. */
  settings?: { readonly [key: string]: string | number | boolean };
}

/**
 * A server on a free port of this machine. {@link startServer} makes it. It ends with this process
 * at the latest, and does not keep it alive.
 */
export class TestServer implements AsyncDisposable {
  /** The directory of the logs. */
  readonly dataDirectory: string;
  readonly #binary: string;
  readonly #settings: NonNullable<ServerOptions["settings"]>;
  /** The directory for the port and the messages; `stop` removes it. */
  readonly #directory: string;
  #port = 0;
  #process: ChildProcess | undefined;
  #logs = "";

  /** @internal */
  constructor(directory: string, options: ServerOptions) {
    this.#binary = findBinary(options.binary);
    this.#settings = options.settings ?? {};
    this.#directory = directory;
    this.dataDirectory = resolve(options.dataDirectory ?? join(directory, "data"));
  }

  /** The address for clients. It stays the same when the server is started again. */
  get address(): string {
    return `styx://127.0.0.1:${this.#port}`;
  }

  /** The address for HTTP. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get port(): number {
    return this.#port;
  }

  /** The process id; undefined while the server does not run. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** The messages of the server: what it has written to standard error. */
  get logs(): string {
    try {
      return readFileSync(this.#logFile, "utf8");
    } catch {
      return this.#logs;
    }
  }

  /** Stops the server as an operator does, and removes the temporary directory. */
  async stop(): Promise<void> {
    try {
      await this.#end("SIGTERM");
    } finally {
      this.#logs = this.logs;
      remove(this.#directory);
    }
  }

  /** Kills the server. `restart` starts it again, on the same port and with its logs. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Stops the server, if it runs, and starts it again, on the same port and with its logs. */
  async restart(): Promise<void> {
    await this.#end("SIGTERM");
    await this.start();
  }

  /** Suspends the server: the system accepts connections, but nobody answers. */
  async pause(): Promise<void> {
    const { pid } = this.#running();
    process.kill(pid, "SIGSTOP");
    // Threads run for a moment after the signal.
    while (process.platform === "linux" && !isStopped(pid)) {
      await sleep(1);
    }
  }

  /** Continues after `pause`. */
  resume(): void {
    process.kill(this.#running().pid, "SIGCONT");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** @internal */
  async start(): Promise<void> {
    rmSync(this.#portFile, { force: true });
    mkdirSync(this.#directory, { recursive: true });
    const settings = Object.entries(this.#settings).map(([key, value]) => `--set=${key}=${value}`);
    const log = openSync(this.#logFile, "a");
    try {
      this.#process = spawn(
        this.#binary,
        [
          "serve",
          `--bind-address=127.0.0.1:${this.#port}`,
          `--data-directory=${this.dataDirectory}`,
          `--port-file=${this.#portFile}`,
          `--exit-with-parent=${process.pid}`,
          ...settings,
        ],
        { stdio: ["ignore", log, log], env: environment() },
      );
    } finally {
      closeSync(log);
    }
    this.#process.unref();
    this.#port = await this.#started(this.#process);
  }

  get #portFile(): string {
    return join(this.#directory, "port");
  }

  get #logFile(): string {
    return join(this.#directory, "server.log");
  }

  #running(): ChildProcess & { pid: number } {
    if (this.#process?.pid === undefined) {
      throw new Error("the server does not run: call restart() first");
    }
    return this.#process as ChildProcess & { pid: number };
  }

  /** The port, once the server accepts connections. */
  async #started(child: ChildProcess): Promise<number> {
    let failure: Error | undefined;
    child.once("error", (error) => {
      failure = error;
    });
    const end = performance.now() + START_MS;
    while (performance.now() < end) {
      const text = await readFile(this.#portFile, "utf8").catch(() => "");
      if (text.endsWith("\n")) {
        return Number(text);
      }
      if (failure !== undefined) {
        this.#process = undefined;
        throw new Error(`cannot start ${this.#binary}: ${failure.message}`, { cause: failure });
      }
      if (hasEnded(child)) {
        this.#process = undefined;
        const code = child.exitCode ?? child.signalCode;
        throw new Error(`the server has ended with ${code}:\n${this.logs}`);
      }
      await sleep(POLL_MS);
    }
    await this.#end("SIGKILL");
    throw new Error(`the server does not accept connections:\n${this.logs}`);
  }

  async #end(by: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child?.pid === undefined || hasEnded(child)) {
      return;
    }
    const { pid } = child;
    const ended = new Promise<void>((done) => child.once("exit", () => done()));
    // The wait keeps the process alive.
    child.ref();
    // In Deno, the first call of child.kill() is the only one that sends a signal.
    child.kill(by);
    // A paused process does not act on other signals.
    sendIfAlive(pid, "SIGCONT");
    const late = setTimeout(() => sendIfAlive(pid, "SIGKILL"), STOP_MS);
    await ended;
    clearTimeout(late);
    if (child.signalCode === "SIGKILL" && by !== "SIGKILL") {
      throw new Error(`the server did not stop within ${STOP_MS} ms:\n${this.logs}`);
    }
  }
}

/**
 * Starts a server for a test. It accepts connections when the promise is resolved.
 *
 * Call `stop` in the end, or use `await using`.
 *
 * @throws Error with the server's last messages if it does not start, and if there is no program
 *   styx
 */
export async function startServer(options: ServerOptions = {}): Promise<TestServer> {
  const directory = await mkdtemp(join(tmpdir(), "styx-"));
  removeAtExit(directory);
  try {
    const server = new TestServer(directory, options);
    await server.start();
    return server;
  } catch (error) {
    remove(directory);
    throw error;
  }
}

/** The program styx: the given one, or the first that is found. */
function findBinary(given: string | undefined): string {
  const found = given ?? (process.env["STYX_BIN"] || packaged() || onPath());
  if (found === undefined) {
    throw new Error(
      "there is no program styx: pass its path as the option binary, set STYX_BIN to it, " +
        "install the package with `npm install --save-dev styx-server`, or put styx on the PATH",
    );
  }
  return found;
}

/** The program of the package styx-server. */
function packaged(): string | undefined {
  for (const from of [__dirname, process.cwd()]) {
    try {
      const module = require.resolve("styx-server", { paths: [from] });
      return (require(module) as { path(): string }).path();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "MODULE_NOT_FOUND") {
        throw error;
      }
    }
  }
  return undefined;
}

function onPath(): string | undefined {
  const program = process.platform === "win32" ? "styx.exe" : "styx";
  return (process.env["PATH"] ?? "")
    .split(delimiter)
    .map((directory) => join(directory, program))
    .find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Variables of Styx are for other servers and clients. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("STYX_")),
  );
}

function sendIfAlive(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended.
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Whether a process of Linux is stopped by a signal. */
function isStopped(pid: number): boolean {
  // The state follows the name of the program, which is in parentheses.
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).startsWith("T");
}

/** Directories of servers that were not stopped. They are removed when the process exits. */
const directories = new Set<string>();

function removeAtExit(directory: string): void {
  if (directories.size === 0) {
    process.once("exit", removeAll);
  }
  directories.add(directory);
}

function remove(directory: string): void {
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  directories.delete(directory);
  if (directories.size === 0) {
    process.removeListener("exit", removeAll);
  }
}

function removeAll(): void {
  for (const directory of directories) {
    // A server that still runs may write into it.
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  }
}
