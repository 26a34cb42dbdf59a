// Loads the native module, and says why if that fails. Its functions are written in Rust
// (`src/`); they take handles that JavaScript cannot look into.

import { existsSync } from "node:fs";
import { join } from "node:path";

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

/** What became of appended records: see `src/producer.rs`. */
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
  producerInfo(producer: ProducerHandle): string;

  openConsumer(
    client: ClientHandle,
    token: number,
    source: number,
    log: string,
    options: string[],
  ): ConsumerHandle;
  takeBatch(
    consumer: ConsumerHandle,
    external: boolean,
  ): { batch?: NativeBatch; ended: boolean };
  seek(consumer: ConsumerHandle, token: number, start: string): void;
  commit(consumer: ConsumerHandle, token: number, rest: number): void;
  closeConsumer(consumer: ConsumerHandle, token: number): void;
  consumerInfo(consumer: ConsumerHandle): string;

  openBackup(client: ClientHandle, token: number, name: string): BackupHandle;
  readBackup(backup: BackupHandle, token: number): void;
  openRestore(client: ClientHandle, token: number, name: string): RestoreHandle;
  writeRestore(restore: RestoreHandle, token: number, chunk: Uint8Array): void;
  finishRestore(restore: RestoreHandle, token: number): void;
}

/** The libc of this process; `undefined` where there is only one. */
function libc(): "gnu" | "musl" | undefined {
  if (process.platform !== "linux") {
    return undefined;
  }
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } };
  return report?.header?.glibcVersionRuntime === undefined ? "musl" : "gnu";
}

/** The name of this platform in the names of packages, such as `linux-x64-gnu`. */
export function platformName(): string {
  const runtime = libc();
  return `${process.platform}-${process.arch}${runtime === undefined ? "" : `-${runtime}`}`;
}

function load(): Native {
  const platform = platformName();
  const name = `@styx-client/${platform}`;
  // A checkout has the addon beside the package.
  const local = join(__dirname, "..", "npm", platform, `styx-client.${platform}.node`);
  const target = existsSync(local) ? local : name;
  try {
    return require(target) as Native;
  } catch (error) {
    const cause = error as NodeJS.ErrnoException;
    const advice =
      cause.code === "MODULE_NOT_FOUND"
        ? `install styx-client again without --omit=optional or --no-optional, on this platform; ` +
          `if there is no package ${name}, the platform is not supported`
        : "the file is there but cannot be loaded: see the message of the loader";
    throw new Error(
      `styx-client cannot load its native module from ${target} ` +
        `(platform ${platform}, Node.js ${process.version}): ${cause.message}\n${advice}`,
      { cause },
    );
  }
}

/** The native module. */
export const native: Native = load();
