// Loads the native module, and says why if that fails. Its functions are written in Rust
// (`src/`); they take handles that JavaScript cannot look into.

import { join } from "node:path";
import { describedRuntime, isFile, platformName, SUPPORTED } from "./platform.js";

declare const handle: unique symbol;
/** A value of the native module that JavaScript only passes on. */
interface Handle<Name extends string> {
  readonly [handle]: Name;
}
export type HubHandle = Handle<"hub">;
export type ClientHandle = Handle<"client">;
export type ProducerHandle = Handle<"producer">;
export type ConsumerHandle = Handle<"consumer">;
export type BackupHandle = Handle<"backup">;
export type RestoreHandle = Handle<"restore">;

/** A batch as the native module makes it: see `src/batch.rs`. */
export interface NativeBatch {
  data: Buffer;
  index: Uint32Array;
  runs: Float64Array;
  timestamps?: BigUint64Array;
  first: bigint;
}

/** The outcomes of appended records: see `src/producer.rs`. */
export interface Pumped {
  settled: BigUint64Array;
  failures: string[];
  accepted: number;
  hasRoom: boolean;
  ended?: string;
}

/** The functions of the native module. Errors are thrown as JSON; see `errors.ts`. */
export interface Native {
  version(): string;
  kinds(): string;
  options(): string;
  parseCheckpoint(text: string): [logId: string, position: string];

  createHub(notify: () => void): HubHandle;
  drain(hub: HubHandle): { token: number; error?: string }[];
  take(hub: HubHandle, token: number): string | Buffer | null;
  cancel(hub: HubHandle, token: number): void;

  createClient(hub: HubHandle, address: string | undefined, options: string[]): ClientHandle;
  clientAddress(client: ClientHandle): string;
  request(client: ClientHandle, token: number, request: string): void;
  watchEvents(client: ClientHandle, token: number): void;
  takeEvents(client: ClientHandle): string;
  clientStats(client: ClientHandle): string;
  closeClient(client: ClientHandle): void;

  openProducer(
    client: ClientHandle,
    token: number,
    source: number,
    log: string,
    options: string[],
  ): ProducerHandle;
  push(
    producer: ProducerHandle,
    data: Uint8Array,
    length: number,
    ends: Uint32Array,
    count: number,
  ): boolean;
  pump(producer: ProducerHandle): Pumped;
  markReported(producer: ProducerHandle, failure: number): void;
  flushProducer(producer: ProducerHandle, token: number): void;
  closeProducer(producer: ProducerHandle, token: number, within: number | undefined): void;
  abandonProducer(producer: ProducerHandle): void;
  producerInfo(producer: ProducerHandle): string;

  openConsumer(
    client: ClientHandle,
    token: number,
    source: number,
    log: string,
    options: string[],
  ): ConsumerHandle;
  takeBatch(consumer: ConsumerHandle, external: boolean): { batch?: NativeBatch; ended: boolean };
  seek(consumer: ConsumerHandle, token: number, start: string): void;
  commit(consumer: ConsumerHandle, token: number, rest: number): void;
  closeConsumer(consumer: ConsumerHandle, token: number): void;
  consumerInfo(consumer: ConsumerHandle): string;

  openBackup(client: ClientHandle, token: number, name: string): BackupHandle;
  readBackup(backup: BackupHandle, token: number): void;
  dropBackup(backup: BackupHandle): void;
  openRestore(client: ClientHandle, token: number, name: string): RestoreHandle;
  writeRestore(restore: RestoreHandle, token: number, chunk: Uint8Array): void;
  finishRestore(restore: RestoreHandle, token: number): void;
  dropRestore(restore: RestoreHandle): void;
}

/**
 * Loads the native module. An error names the package, the platform, the C library and the
 * loader's own message.
 */
function load(): Native {
  const platform = platformName();
  const name = `@styx-client/${platform}`;
  // A checkout has the addon beside the package. The published package has no such folder.
  const local = join(__dirname, "..", "npm", platform, `styx-client.${platform}.node`);
  const { version } = require("../package.json") as { version: string };
  const failed = (reason: string, advice: string, cause?: unknown) =>
    new Error(
      `styx-client ${version} cannot load its native module, the package ${name}, on ` +
        `${platform} (${describedRuntime()}): ${reason}\n${advice}`,
      { cause },
    );
  let loaded: Native;
  try {
    loaded = require(isFile(local) ? local : name) as Native;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw failed(reason, advice(error, name), error);
  }
  if (loaded.version() !== version) {
    throw failed(
      `it has version ${loaded.version()}`,
      `Remove node_modules and the lock file, and install styx-client again.`,
    );
  }
  return loaded;
}

/** The advice for an error of the loader. */
function advice(error: unknown, name: string): string {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (code === "MODULE_NOT_FOUND" || code === "ERR_MODULE_NOT_FOUND") {
    return SUPPORTED.has(name)
      ? "Install styx-client again on this platform, with optional dependencies: without " +
          "--omit=optional, and not with node_modules or a lock file from another platform."
      : `This platform is not supported. There are packages for ` +
          `${[...SUPPORTED].map((other) => other.slice("@styx-client/".length)).join(", ")}.`;
  }
  return (
    "The file is there but cannot be loaded: its processor or C library differs from that of " +
    "this process, or it is damaged. Remove node_modules and install styx-client again."
  );
}

/** The native module. */
export const native: Native = load();
