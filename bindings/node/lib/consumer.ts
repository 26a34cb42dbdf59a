// Consumer: reads a log.

import { Readable, type ReadableOptions } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { type Record, RecordBatch } from "./batch.js";
import { Checkpoint } from "./checkpoint.js";
import { closed, fromNative, invalidArgument } from "./errors.js";
import type { Hub } from "./hub.js";
import { shown, toNumber } from "./integers.js";
import { type ClientHandle, type ConsumerHandle, native } from "./native.js";
import { type ConsumerOptions, optionTexts, type Start, startText } from "./options.js";
import type { ConsumerStats } from "./values.js";
import {
  abortable,
  type CallOptions,
  isTimeout,
  type TimedOptions,
  Waiters,
  withTimeout,
} from "./waiting.js";

/** Records that a stream of {@link Consumer.readable} buffers. */
const READABLE_RECORDS = 1024;
/** Batches that such a stream buffers. */
const READABLE_BATCHES = 2;
/** Milliseconds of reading without a wait, after which the event loop gets its turn. */
const READING_MS_MAX = 10;
/** Records after which the time is looked up. */
const READING_RECORDS = 256;

interface Info {
  logId: string;
  position: string;
  lag: string;
  caughtUp: boolean;
  stats: ConsumerStats;
}

/** Options of {@link Consumer.poll}. */
export interface PollOptions extends TimedOptions {
  /** The most records that the batch may have. Default: no limit. */
  maxRecords?: number;
  /** Milliseconds after which null is returned. Default: no limit. */
  timeout?: number | undefined;
}

/** Options of {@link Consumer.readable}. */
export type ConsumerStreamOptions = Pick<ReadableOptions, "highWaterMark" | "signal"> & {
  /** Chunks are batches instead of records. Default: false. */
  batches?: boolean;
};

/**
 * Reads the records of one log, in order.
 *
 * {@link Client.consumer} makes it. `ready` is a promise that it is open; it need not be awaited.
 * It reconnects by itself and continues at its position: no record is returned twice or skipped.
 *
 * Iterate over it for batches, which is fastest, or over `records()`. `poll` has a timeout. All of
 * them continue where the other stopped. An iteration ends at the end of the log, or with
 * `follow` never. `break`, `return` and `throw` in a `for await` close the consumer.
 *
 * To process each record exactly once, store its checkpoint with the output, in one transaction,
 * and pass it as `start`. If processing a record twice is harmless, use a cursor and `commit`.
 *
 * Errors: `log_changed` and `log_end_regressed` if the log was replaced or has lost records;
 * `out_of_range` if retention has removed records that were not read; `corrupt_record`;
 * `timed_out` if there was no connection for the whole deadline; `log_not_found` after the log was
 * deleted. Later calls fail with the same error, until `seek`.
 */
export class Consumer implements AsyncIterable<RecordBatch>, AsyncDisposable {
  /** The name of the log. */
  readonly log: string;
  /** Resolved when the consumer is open. It need not be awaited. */
  readonly ready: Promise<void>;

  readonly #hub: Hub;
  readonly #native: ConsumerHandle;
  readonly #source: number;
  readonly #external: boolean;
  readonly #onClosed: () => void;
  readonly #opening = new AbortController();
  readonly #changed = new Waiters();
  #logId = "";
  /** The rest of a batch of which some records were returned: the records from `#at` on. */
  #current: RecordBatch | undefined;
  #at = 0;
  /** When the event loop had its turn for the last time, as far as known. */
  #paused = 0;
  /** Whether it should have one now. */
  #isPauseDue = false;
  #isOpen = false;
  #ended = false;
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor(
    hub: Hub,
    client: ClientHandle,
    log: string,
    options: ConsumerOptions,
    onClosed: (source: number) => void,
  ) {
    this.log = log;
    this.#hub = hub;
    const { external = false, ...others } = options;
    if (typeof external !== "boolean") {
      throw invalidArgument(`external is ${shown(external)}: use true or false`);
    }
    this.#external = external;
    this.#source = hub.watch(this, onClosed);
    this.#onClosed = () => onClosed(this.#source);
    const texts = optionTexts("consumer", others);
    let opened: ConsumerHandle | undefined;
    let failure: unknown;
    const opening = hub.call(this, this.#opening.signal, (token) => {
      try {
        opened = native.openConsumer(client, token, this.#source, log, texts);
      } catch (error) {
        failure = fromNative(error);
        throw error;
      }
    });
    this.ready = opening.then((info) => {
      this.#logId = (JSON.parse(info as string) as { logId: string }).logId;
      this.#isOpen = true;
      this.#changed.wake();
    });
    this.ready.catch(() => {});
    if (opened === undefined) {
      hub.unwatch(this.#source);
      throw failure;
    }
    this.#native = opened;
  }

  /** @internal */
  get source(): number {
    return this.#source;
  }

  /** The batches of records. The same as iterating over the consumer. */
  batches(options: CallOptions = {}): AsyncIterableIterator<RecordBatch> {
    return this.#iterate(options.signal, () => this.#take(Number.POSITIVE_INFINITY));
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<RecordBatch> {
    return this.batches();
  }

  /** The records one by one. */
  records(options: CallOptions = {}): AsyncIterableIterator<Record> {
    return this.#iterate(options.signal, () => this.#takeRecord());
  }

  /**
   * The next batch. Null when the timeout passes and when the read has ended; `ended` tells which.
   * Without a timeout, waits for records. A signal that aborts loses no record.
   */
  async poll(options: PollOptions = {}): Promise<RecordBatch | null> {
    this.#check();
    const { maxRecords = Number.POSITIVE_INFINITY, timeout, signal } = options;
    if (!(maxRecords >= 1)) {
      throw invalidArgument(`maxRecords is ${maxRecords}: use a number of at least 1`);
    }
    const take = () => this.#take(maxRecords);
    try {
      return (
        (await withTimeout({ timeout, signal }, "poll", (limit) => this.#next(limit, take))) ?? null
      );
    } catch (error) {
      if (isTimeout(error)) {
        return null;
      }
      throw error;
    }
  }

  /** Continues at another place. Waits until that has happened. */
  async seek(start: Start, options: CallOptions = {}): Promise<void> {
    const text = startText(start);
    await abortable(this.ready, options.signal);
    this.#check();
    await this.#hub.call(this, options.signal, (token) => {
      native.seek(this.#native, token, text);
      this.#current = undefined;
      this.#ended = false;
    });
  }

  /**
   * Stores the position after the last record that was returned in the cursor, and resolves to it
   * once it is durable. It is a later one if more was committed meanwhile. Needs the option
   * `cursor`. Fails with `cursor_taken` if another consumer uses the cursor.
   */
  async commit(options: CallOptions = {}): Promise<number> {
    await abortable(this.ready, options.signal);
    this.#check();
    const stored = await this.#hub.call(this, options.signal, (token) => {
      native.commit(this.#native, token, this.#rest);
      // The native module has these records again.
      this.#current = undefined;
    });
    return toNumber(BigInt(JSON.parse(stored as string) as string), "getCursor");
  }

  /** Closes the consumer. A waiting call ends without a record. Closing again has no effect. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * A stream of records, or of batches. It ends at the end of the read, and closes the consumer
   * when it is destroyed.
   */
  readable(options: ConsumerStreamOptions = {}): Readable {
    const { batches = false, ...others } = options;
    const take: () => RecordBatch | Record | undefined = batches
      ? () => this.#take(Number.POSITIVE_INFINITY)
      : () => this.#takeRecord();
    const stopped = new AbortController();
    const fill = async (stream: Readable): Promise<void> => {
      let wanted = true;
      while (wanted) {
        const next = await this.#next(stopped.signal, take);
        if (next === undefined) {
          stream.push(null);
          return;
        }
        wanted = stream.push(next);
        // Pass on the records that are there, without waiting.
        for (let more = wanted ? take() : undefined; more !== undefined; more = take()) {
          wanted = stream.push(more);
          if (!wanted) {
            break;
          }
        }
      }
    };
    let isFilling = false;
    return new Readable({
      highWaterMark: batches ? READABLE_BATCHES : READABLE_RECORDS,
      ...others,
      objectMode: true,
      read() {
        if (!isFilling) {
          isFilling = true;
          fill(this).then(
            () => {
              isFilling = false;
            },
            (error) => this.destroy(error),
          );
        }
      },
      destroy: (error, done) => {
        stopped.abort(error ?? closed("stream"));
        this.close().then(
          () => done(error),
          (failed) => done(error ?? failed),
        );
      },
    });
  }

  /** The position of the next record. Throws before the consumer is open. */
  get position(): number {
    return toNumber(this.positionBigInt, "positionBigInt");
  }

  /** As {@link position}, as a bigint. */
  get positionBigInt(): bigint {
    return BigInt(this.#info().position) - BigInt(this.#rest);
  }

  /** Where to continue after the last record that was returned. */
  get checkpoint(): Checkpoint {
    return new Checkpoint(`${this.logId}:${this.positionBigInt}`);
  }

  /** The id of the log, as 32 hexadecimal digits. */
  get logId(): string {
    return this.#info().logId;
  }

  /** The number of records between the position and the end of the log, as far as known. */
  get lag(): number {
    return Number(BigInt(this.#info().lag)) + this.#rest;
  }

  /** Whether the consumer has returned everything that the log had when the server last said so. */
  get caughtUp(): boolean {
    return this.#info().caughtUp && this.#rest === 0;
  }

  /** Whether the read has ended: there will be no more records. */
  get ended(): boolean {
    return this.#ended || this.#closing !== undefined;
  }

  /** Whether `close` was called. */
  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** The numbers of the consumer; null before it is open and after it is closed. */
  stats(): ConsumerStats | null {
    return (JSON.parse(native.consumerInfo(this.#native)) as Info | null)?.stats ?? null;
  }

  /**
   * The native module has something new.
   *
   * @internal
   */
  ready_(): void {
    this.#changed.wake();
  }

  get #rest(): number {
    return this.#current === undefined ? 0 : this.#current.length - this.#at;
  }

  #info(): Info {
    this.#check();
    const info = JSON.parse(native.consumerInfo(this.#native)) as Info | null;
    if (info === null) {
      throw invalidArgument("the consumer is not open yet: await consumer.ready");
    }
    return info;
  }

  #check(): void {
    if (this.#closing !== undefined) {
      throw closed("consumer");
    }
  }

  /** Makes sure that `#current` has a record, if there is one. */
  #fill(): RecordBatch | undefined {
    if (this.#current === undefined && !this.#ended) {
      try {
        const { batch, ended } = native.takeBatch(this.#native, this.#external);
        this.#ended = ended;
        if (batch !== undefined) {
          const to = batch.index.length / 2;
          this.#current = new RecordBatch({ ...batch, logId: this.#logId, from: 0, to });
          this.#at = 0;
        }
      } catch (error) {
        throw fromNative(error);
      }
    }
    return this.#current;
  }

  /** Up to `max` records that are there. */
  #take(max: number): RecordBatch | undefined {
    const batch = this.#fill();
    if (batch === undefined) {
      return undefined;
    }
    this.#checkTime();
    const from = this.#at;
    const to = Math.min(batch.length, from + max);
    if (to === batch.length) {
      this.#current = undefined;
    } else {
      this.#at = to;
    }
    return from === 0 && to === batch.length ? batch : batch.slice(from, to);
  }

  #takeRecord(): Record | undefined {
    const batch = this.#fill();
    const record = batch?.at(this.#at);
    if (batch !== undefined) {
      if (this.#at % READING_RECORDS === 0) {
        this.#checkTime();
      }
      this.#at += 1;
      if (this.#at === batch.length) {
        this.#current = undefined;
      }
    }
    return record;
  }

  /** Takes something, or waits for it. Undefined at the end, and when the consumer is closed. */
  async #next<T>(
    signal: AbortSignal | undefined,
    take: () => T | undefined,
  ): Promise<T | undefined> {
    this.#hub.hold(this);
    try {
      if (!this.#isOpen) {
        await abortable(this.ready, signal);
      }
      for (;;) {
        if (this.#isPauseDue) {
          // Timers and sockets would wait for as long as there are records.
          await setImmediate();
          this.#hadPause();
        }
        signal?.throwIfAborted();
        if (this.#closing !== undefined) {
          return undefined;
        }
        const taken = take();
        if (taken !== undefined || this.#ended) {
          return taken;
        }
        await this.#changed.wait(signal);
        this.#hadPause();
      }
    } catch (error) {
      if (this.#closing !== undefined && error === this.#opening.signal.reason) {
        return undefined;
      }
      throw error;
    } finally {
      this.#hub.release(this);
    }
  }

  #checkTime(): void {
    this.#isPauseDue = performance.now() - this.#paused > READING_MS_MAX;
  }

  #hadPause(): void {
    this.#isPauseDue = false;
    this.#paused = performance.now();
  }

  #iterate<T>(
    signal: AbortSignal | undefined,
    take: () => T | undefined,
  ): AsyncIterableIterator<T> {
    let isOver = false;
    const done = { value: undefined, done: true } as const;
    const wait = async (): Promise<IteratorResult<T>> => {
      const value = await this.#next(signal, take);
      return value === undefined ? done : { value, done: false };
    };
    // A closed consumer cannot be iterated over; one that is closed later ends the iteration.
    const failure = this.#closing === undefined ? undefined : closed("consumer");
    return {
      next: () => {
        if (failure !== undefined) {
          return Promise.reject(failure);
        }
        if (isOver) {
          return Promise.resolve(done);
        }
        if (!this.#isOpen || this.#isPauseDue || this.#closing !== undefined || signal?.aborted) {
          return wait();
        }
        try {
          const value = take();
          return value === undefined ? wait() : Promise.resolve({ value, done: false });
        } catch (error) {
          return Promise.reject(error);
        }
      },
      return: async () => {
        isOver = true;
        await this.close();
        return done;
      },
      throw: async (error) => {
        isOver = true;
        await this.close();
        throw error;
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  async #close(): Promise<void> {
    // The caller sets `#closing` when this function returns.
    await Promise.resolve();
    this.#current = undefined;
    this.#opening.abort(closed("consumer"));
    this.#changed.wake();
    try {
      await this.#hub.call(this, undefined, (token) => native.closeConsumer(this.#native, token));
    } finally {
      this.#hub.unwatch(this.#source);
      this.#onClosed();
    }
  }
}
