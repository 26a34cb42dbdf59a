// Backups and restores as streams.

import { Readable } from "node:stream";
import { isUint8Array } from "node:util/types";
import { invalidArgument } from "./errors.js";
import type { Hub } from "./hub.js";
import { type BackupHandle, type ClientHandle, native, type RestoreHandle } from "./native.js";
import { abortable, type CallOptions } from "./waiting.js";

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
  let opened: BackupHandle | undefined;
  const next = async (stream: Readable): Promise<string | Buffer | null> => {
    // Not in `construct`: a stream cannot be destroyed before that is over.
    if (opened === undefined) {
      await hub.call(stream, stopped.signal, (token) => {
        opened = native.openBackup(client, token, name);
      });
    }
    const backup = opened as BackupHandle;
    return hub.call(stream, stopped.signal, (token) => native.readBackup(backup, token));
  };
  return new Readable({
    highWaterMark: CHUNK_BYTES,
    signal: options.signal,
    read() {
      next(this).then(
        (bytes) => this.push(bytes),
        (error) => this.destroy(error),
      );
    },
    destroy(error, done) {
      stopped.abort(error ?? undefined);
      if (opened !== undefined) {
        native.dropBackup(opened);
      }
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
  try {
    for await (const chunk of stoppable(source, signal)) {
      if (!isUint8Array(chunk)) {
        throw invalidArgument("an archive consists of bytes: do not set an encoding on the stream");
      }
      for (let from = 0; from < chunk.length; from += CHUNK_BYTES) {
        const part = chunk.subarray(from, from + CHUNK_BYTES);
        await hub.call(hub, signal, (token) => native.writeRestore(target, token, part));
      }
    }
    await hub.call(hub, signal, (token) => native.finishRestore(target, token));
  } finally {
    native.dropRestore(target);
  }
}

/** The same values; but the wait for one ends when the signal aborts. */
async function* stoppable<T>(
  source: AsyncIterable<T> | Iterable<T>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T> {
  const iterator =
    Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  let isOver = false;
  try {
    for (;;) {
      let next: IteratorResult<T>;
      try {
        next = await abortable(Promise.resolve(iterator.next()), signal);
      } catch (error) {
        // An iterator that has failed is over. One that still waits cannot be waited for.
        isOver = true;
        if (signal?.aborted) {
          Promise.resolve(iterator.return?.()).catch(() => {});
        }
        throw error;
      }
      if (next.done) {
        isOver = true;
        return;
      }
      yield next.value;
    }
  } finally {
    if (!isOver) {
      await iterator.return?.();
    }
  }
}
