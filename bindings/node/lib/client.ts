// Client: logs, cursors, and the way to producers and consumers.

import type { Readable } from "node:stream";
import { backup, restore } from "./archive.js";
import { Consumer } from "./consumer.js";
import { closed, invalidArgument, translated } from "./errors.js";
import { publish } from "./events.js";
import { type Hub, hub } from "./hub.js";
import { type Integer, integerText, shown } from "./integers.js";
import { type ClientHandle, native } from "./native.js";
import {
  type ClientOptions,
  type ConsumerOptions,
  camelCase,
  optionTexts,
  type ProducerOptions,
  snakeCase,
} from "./options.js";
import { Producer } from "./producer.js";
import {
  type ClientStats,
  CursorInfo,
  type LogConfig,
  type LogDetails,
  LogInfo,
  type ServerInfo,
} from "./values.js";
import type { CallOptions } from "./waiting.js";

/** A closure of the constructor would keep the client from being collected. */
function nothing(): void {}

/** The values of a {@link LogInfo}. */
type RawInfo = ConstructorParameters<typeof LogInfo>[0];
type RawCursor = ConstructorParameters<typeof CursorInfo>[0];

/** Options of {@link Client.createLog}: the limits of the log, and whether it may exist. */
export type CreateOptions = Partial<LogConfig> &
  CallOptions & {
    /** Return the log that has the name already, whatever its limits are. Default: false. */
    existOk?: boolean;
  };

/**
 * A client of one server. Its calls may run at the same time. Calls that change nothing are
 * retried until the client's `timeout`.
 *
 * Every call that waits takes a `signal`, which ends the wait.
 */
export class Client implements AsyncDisposable {
  readonly #hub: Hub;
  readonly #native: ClientHandle;
  readonly #events: { ready_(): void };
  readonly #eventSource: number;
  readonly #address: string;
  /** The sources of producers and consumers that are not closed. */
  readonly #open = new Set<number>();
  readonly #forget = (source: number) => {
    this.#open.delete(source);
  };
  #closing: Promise<void> | undefined;

  private constructor(address: string | undefined, options: ClientOptions) {
    this.#hub = hub();
    const texts = optionTexts("client", options);
    this.#native = translated(() => native.createClient(this.#hub.native, address, texts));
    const handle = this.#native;
    const resolved = translated(() => native.clientAddress(handle));
    this.#address = resolved;
    this.#events = { ready_: () => publish(handle, resolved) };
    this.#eventSource = this.#hub.watch(this.#events, nothing);
    native.watchEvents(handle, this.#eventSource);
  }

  /**
   * Connects to a server, once: `connection_failed` if nobody listens.
   *
   * @param address - `styx://host:7123`, `styxs://` with TLS, `http://` or `https://`, or
   *   `host:port`, or `unix:///path` for a Unix socket. Default: the environment variable `STYX_HOST`, or `localhost:7123`.
   */
  static async connect(
    address?: string,
    options: ClientOptions & CallOptions = {},
  ): Promise<Client> {
    if (address !== undefined && typeof address !== "string") {
      throw invalidArgument(
        `the address is ${shown(address)}: use a text such as styx://host:7123`,
      );
    }
    const { signal, ...others } = options;
    const client = new Client(address, others);
    try {
      await client.check({ signal });
    } catch (error) {
      await client.close();
      throw error;
    }
    return client;
  }

  /** The address of the server. */
  get address(): string {
    return this.#address;
  }

  /** Whether `close` was called. */
  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Asks the server what it is. */
  async check(options: CallOptions = {}): Promise<ServerInfo> {
    return (await this.#request({ op: "check" }, options)) as ServerInfo;
  }

  /**
   * Creates a log.
   *
   * @param name - 1 to 255 of A-Z a-z 0-9 _ -
   * @param options - the limits: sizes in bytes, ages in seconds, -1 for no limit
   */
  async createLog(name: string, options: CreateOptions = {}): Promise<LogInfo> {
    const { existOk = false, signal, ...limits } = options;
    const config: [string, number][] = [];
    for (const [limit, value] of Object.entries(limits)) {
      if (value !== undefined) {
        if (!Number.isSafeInteger(value)) {
          throw invalidArgument(`${limit} is ${shown(value)}: use an integer`);
        }
        config.push([snakeCase(limit), value]);
      }
    }
    const request = { op: "create_log", name, limits: config, exist_ok: existOk };
    return new LogInfo((await this.#request(request, { signal })) as RawInfo);
  }

  /** All logs, ordered by name. */
  async listLogs(options: CallOptions = {}): Promise<LogInfo[]> {
    const logs = (await this.#request({ op: "list_logs" }, options)) as RawInfo[];
    return logs.map((info) => new LogInfo(info));
  }

  /** A log, or `log_not_found`. */
  async getLog(name: string, options: CallOptions = {}): Promise<LogInfo> {
    return new LogInfo((await this.#request({ op: "get_log", name }, options)) as RawInfo);
  }

  /** A log with its id and its limits. */
  async getLogDetails(name: string, options: CallOptions = {}): Promise<LogDetails> {
    const raw = (await this.#request({ op: "get_log_details", name }, options)) as Omit<
      LogDetails,
      "info" | "config"
    > & { info: RawInfo; config: { [limit: string]: number } };
    const config = Object.fromEntries(
      Object.entries(raw.config).map(([limit, value]) => [camelCase(limit), value]),
    ) as unknown as LogConfig;
    return { ...raw, info: new LogInfo(raw.info), config };
  }

  /** Deletes a log with all its records. */
  async deleteLog(name: string, options: CallOptions = {}): Promise<void> {
    await this.#request({ op: "delete_log", name }, options);
  }

  /** Removes all records of a log, which gets a new id. */
  async truncateLog(name: string, options: CallOptions = {}): Promise<void> {
    await this.#request({ op: "truncate_log", name }, options);
  }

  /** Removes the records before a position, as far as whole segments allow. */
  async trimLog(name: string, position: Integer, options: CallOptions = {}): Promise<LogInfo> {
    const request = { op: "trim_log", name, position: integerText("position", position) };
    return new LogInfo((await this.#request(request, options)) as RawInfo);
  }

  /** Makes a log usable that lost records: see docs/operating.md. */
  async adoptLog(name: string, options: CallOptions = {}): Promise<LogInfo> {
    return new LogInfo((await this.#request({ op: "adopt_log", name }, options)) as RawInfo);
  }

  /** An archive of a log, as a stream of bytes. */
  backupLog(name: string, options: CallOptions = {}): Readable {
    this.#check();
    return backup(this.#hub, this.#native, String(name), options);
  }

  /**
   * Creates a log from an archive that {@link backupLog} has written. If the source fails or the
   * archive is damaged, there is no new log.
   */
  async restoreLog(
    name: string,
    source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: CallOptions = {},
  ): Promise<void> {
    this.#check();
    await restore(this.#hub, this.#native, String(name), source, options);
  }

  /** The cursors of a log, ordered by name. */
  async listCursors(log: string, options: CallOptions = {}): Promise<CursorInfo[]> {
    const cursors = (await this.#request({ op: "list_cursors", log }, options)) as RawCursor[];
    return cursors.map((info) => new CursorInfo(info));
  }

  /** A cursor, or `cursor_not_found`. */
  async getCursor(log: string, cursor: string, options: CallOptions = {}): Promise<CursorInfo> {
    const request = { op: "get_cursor", log, cursor };
    return new CursorInfo((await this.#request(request, options)) as RawCursor);
  }

  /**
   * Creates a cursor, or moves it. A consumer that uses it then fails with `cursor_taken` at its
   * next commit.
   */
  async setCursor(
    log: string,
    cursor: string,
    position: Integer,
    options: CallOptions = {},
  ): Promise<CursorInfo> {
    const text = integerText("position", position);
    const request = { op: "set_cursor", log, cursor, position: text };
    return new CursorInfo((await this.#request(request, options)) as RawCursor);
  }

  /** Deletes a cursor. */
  async deleteCursor(log: string, cursor: string, options: CallOptions = {}): Promise<void> {
    await this.#request({ op: "delete_cursor", log, cursor }, options);
  }

  /** A producer for a log. It can be used at once. Throws if an option is invalid. */
  producer(log: string, options: ProducerOptions = {}): Producer {
    this.#check();
    const producer = new Producer(this.#hub, this.#native, String(log), options, this.#forget);
    this.#open.add(producer.source);
    return producer;
  }

  /** A consumer of a log. It can be used at once. Throws if an option is invalid. */
  consumer(log: string, options: ConsumerOptions = {}): Consumer {
    this.#check();
    const consumer = new Consumer(this.#hub, this.#native, String(log), options, this.#forget);
    this.#open.add(consumer.source);
    return consumer;
  }

  /** The numbers of the client. */
  stats(): ClientStats {
    return JSON.parse(translated(() => native.clientStats(this.#native))) as ClientStats;
  }

  /**
   * Closes the client: its consumers, and its producers as {@link Producer.close} does. Fails with
   * what was lost. Closing again has no effect.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const open = [...this.#open].map((source) => this.#hub.target(source));
    const closing = open.filter((one) => one instanceof Producer || one instanceof Consumer);
    const results = await Promise.allSettled(closing.map((one) => one.close()));
    publish(this.#native, this.#address);
    this.#hub.unwatch(this.#eventSource);
    native.closeClient(this.#native);
    const failures = results.filter((result) => result.status === "rejected");
    if (failures.length > 1) {
      const reasons = failures.map(({ reason }) => reason as unknown);
      throw new AggregateError(reasons, `${reasons.length} producers have lost records`);
    }
    if (failures[0] !== undefined) {
      throw failures[0].reason;
    }
  }

  #check(): void {
    if (this.#closing !== undefined) {
      throw closed("client");
    }
  }

  async #request(
    request: { op: string; [field: string]: unknown },
    options: CallOptions,
  ): Promise<unknown> {
    this.#check();
    const text = JSON.stringify(request);
    const answer = await this.#hub.call(this, options.signal, (token) =>
      native.request(this.#native, token, text),
    );
    return answer === null ? undefined : JSON.parse(answer as string);
  }
}
