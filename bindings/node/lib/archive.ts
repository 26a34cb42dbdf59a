// Backups and restores as streams.

import { Readable } from "node:stream";
import { invalidArgument } from "./errors.js";
import type { Hub } from "./hub.js";
import { type BackupHandle, type ClientHandle, native, type RestoreHandle } from "./native.js";
import type { CallOptions } from "./waiting.js";

/** The most bytes that one call of a restore sends. */
const CHUNK_BYTES = 256 * 1024;

/** A stream with the archive of a log. It reads ahead one chunk. */
export function backup(
  hub: Hub,
  client: ClientHandle,
  name: string,
  options: CallOptions,
): Readable {
  const stopped = new AbortController();
  let opened: BackupHandle;
  return new Readable({
    highWaterMark: CHUNK_BYTES,
    signal: options.signal,
    construct(done) {
      const opening = hub.call(this, stopped.signal, (token) => {
        opened = native.openBackup(client, token, name);
      });
      opening.then(() => done(), done);
    },
    read() {
      const chunk = hub.call(this, stopped.signal, (token) => native.readBackup(opened, token));
      chunk.then(
        (bytes) => this.push(bytes),
        (error) => this.destroy(error),
      );
    },
    destroy(error, done) {
      stopped.abort(error ?? undefined);
      done(error);
    },
  });
}

/** Creates a log from an archive. If the source fails, there is no log. */
export async function restore(
  hub: Hub,
  client: ClientHandle,
  name: string,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: CallOptions,
): Promise<void> {
  const { signal } = options;
  let opened: RestoreHandle | undefined;
  await hub.call(hub, signal, (token) => {
    opened = native.openRestore(client, token, name);
  });
  const target = opened as RestoreHandle;
  for await (const chunk of source) {
    if (!(chunk instanceof Uint8Array)) {
      throw invalidArgument("an archive consists of bytes: do not set an encoding on the stream");
    }
    for (let from = 0; from < chunk.length; from += CHUNK_BYTES) {
      const part = chunk.subarray(from, from + CHUNK_BYTES);
      await hub.call(hub, signal, (token) => native.writeRestore(target, token, part));
    }
  }
  await hub.call(hub, signal, (token) => native.finishRestore(target, token));
}
