// Producer: appends records to a log.

import { Writable, type WritableOptions } from "node:stream";
import { closed, fromJson, fromNative, invalidArgument, type StyxError } from "./errors.js";
import type { Hub } from "./hub.js";
import { toNumber } from "./integers.js";
import { type ClientHandle, native, type ProducerHandle } from "./native.js";
import { optionTexts, type ProducerOptions } from "./options.js";
import { Packer, type Payload, withPacked } from "./packer.js";
import { Sends } from "./sends.js";
import type { ProducerStats } from "./values.js";
import { abortable, type CallOptions, type TimedOptions, Waiters, withTimeout } from "./waiting.js";

const CLOSE_TIMEOUT_MS = 30_000;
/**
 * Packed bytes that `send` passes to the core at once, so that they are committed while the
 * caller makes more records.
 */
const SEND_BYTES = 32 * 1024;
/** Records that a stream of {@link Producer.writable} buffers. */
const WRITABLE_RECORDS = 1024;

interface Info {
  nextSequence: string;
  durableSequence: string;
  producerId: string | null;
  epoch: number | null;
  logId: string;
  stats: ProducerStats;
}

/**
 * Appends records to one log, in order and each exactly once.
 *
 * {@link Client.producer} makes it. It can be used at once: records wait until it is open, and
 * `ready` is a promise of that. It reconnects by itself; until then records wait, up to the
 * deadline of the oldest one. An error that cannot be retried ends it. Then every record that was
 * not acknowledged fails with that error, and so does every later call.
 *
 * `append` returns before the record is durable; the promise of `send` is resolved afterwards.
 * `flush` and `close` fail with what was lost. Records in flight keep the process alive.
 */
export class Producer implements AsyncDisposable {
  /** The name of the log. */
  readonly log: string;
  /** Resolved when the producer is open. It need not be awaited. */
  readonly ready: Promise<void>;

  readonly #hub: Hub;
  readonly #native: ProducerHandle;
  readonly #source: number;
  readonly #onClosed: () => void;
  readonly #closeTimeout: number;
  readonly #packer = new Packer((...records) => this.#push(...records));
  readonly #cross = () => {
    this.#isCrossing = false;
    this.#packer.flush();
  };
  readonly #opening = new AbortController();
  readonly #sends = new Sends();
  readonly #changed = new Waiters();
  /** Records that were appended, accepted by the core, and that succeeded or failed. */
  #appended = 0;
  #accepted = 0;
  #settled = 0;
  /** Records that were not accepted, and of which the caller knows. */
  #reported = 0;
  #hasRoom = true;
  #isOpen = false;
  #isCrossing = false;
  #isHeld = false;
  #ended: StyxError | undefined;
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor(
    hub: Hub,
    client: ClientHandle,
    log: string,
    options: ProducerOptions,
    onClosed: (source: number) => void,
  ) {
    this.log = log;
    this.#hub = hub;
    this.#closeTimeout = options.closeTimeout ?? CLOSE_TIMEOUT_MS;
    this.#source = hub.watch(this, onClosed);
    this.#onClosed = () => onClosed(this.#source);
    const texts = optionTexts("producer", options);
    let opened: ProducerHandle | undefined;
    let failure: unknown;
    const opening = hub.call(this, this.#opening.signal, (token) => {
      try {
        opened = native.openProducer(client, token, this.#source, log, texts);
      } catch (error) {
        failure = fromNative(error);
        throw error;
      }
    });
    this.ready = opening.then(
      () => {
        this.#isOpen = true;
        this.#update();
      },
      (error) => {
        this.#end(error);
        if (this.#sends.count === this.#appended) {
          // Every record has reported the error. `close` still does, if it is called.
          this.#onClosed();
        }
        throw error;
      },
    );
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

  /**
   * Appends a record: bytes, or text that is encoded in UTF-8. Copies it, and takes it in any
   * case.
   *
   * @returns whether there is room for more. If not, await {@link drain} before you append more;
   *   otherwise records pile up in memory.
   * @throws StyxError `closed`, `record_too_large` (over 1 GiB), or the error that ended the
   *   producer. TypeError if it is no Uint8Array or string. The record was not appended then.
   */
  append(payload: Payload): boolean {
    this.#check();
    this.#packer.add(payload);
    this.#appended += 1;
    this.#crossSoon();
    return this.#hasRoom;
  }

  /** Waits until there is room for more records; see {@link append}. */
  async drain(options: CallOptions = {}): Promise<void> {
    this.#packer.flush();
    while (!this.#hasRoom && this.#ended === undefined) {
      await this.#changed.wait(options.signal);
    }
    if (this.#ended !== undefined) {
      throw this.#ended;
    }
  }

  /**
   * Appends a record, and resolves to its position once it is durable.
   *
   * The signal ends the wait, but takes the record back only if it was aborted before. A position
   * beyond 2^53 - 1 is a RangeError: use {@link sendBigInt}.
   */
  send(payload: Payload, options?: CallOptions): Promise<number> {
    return this.#sendOne(payload, options, false) as Promise<number>;
  }

  /** As {@link send}, with the position as a bigint. */
  sendBigInt(payload: Payload, options?: CallOptions): Promise<bigint> {
    return this.#sendOne(payload, options, true) as Promise<bigint>;
  }

  /**
   * Appends records in their order, and resolves to the position of the first one once all are
   * durable.
   *
   * Up to 1 MiB of records (each counts 8 bytes and its payload) are atomic: all of them are
   * appended, or none. More are split into parts of at most 1 MiB, each of them atomic. At most
   * 1 GiB. If one payload is invalid or the iterable throws, none is appended. Without a record,
   * resolves to 0 and does not ask the server.
   */
  sendMany(payloads: Iterable<Payload>, options?: CallOptions): Promise<number> {
    return this.#send(options, false, () => this.#appendMany(payloads)) as Promise<number>;
  }

  /** As {@link sendMany}, with the position as a bigint. */
  sendManyBigInt(payloads: Iterable<Payload>, options?: CallOptions): Promise<bigint> {
    return this.#send(options, true, () => this.#appendMany(payloads)) as Promise<bigint>;
  }

  /**
   * Waits until everything that was appended before is durable.
   *
   * Fails with the first failure that no `send` has reported.
   */
  flush(options: TimedOptions = {}): Promise<void> {
    if (this.#closing !== undefined) {
      return Promise.reject(closed("producer"));
    }
    return withTimeout(options, "flush", async (signal) => {
      await this.#allAccepted(signal);
      await this.#hub.call(this, signal, (token) => native.flushProducer(this.#native, token));
    });
  }

  /**
   * Waits until everything is durable, and closes the producer. Records that are not durable
   * after `timeout` milliseconds are lost; default: `closeTimeout`.
   *
   * Fails with the first failure that no `send` has reported. Closing again has no effect.
   */
  close(options: { timeout?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options.timeout ?? this.#closeTimeout);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * A stream that appends what is written to it, one record a chunk. It finishes once everything
   * is durable. The producer stays open.
   */
  writable(options: Pick<WritableOptions, "highWaterMark" | "signal"> = {}): Writable {
    return new Writable({
      highWaterMark: WRITABLE_RECORDS,
      ...options,
      objectMode: true,
      decodeStrings: false,
      write: (payload: Payload, _encoding, done) => {
        try {
          if (this.append(payload)) {
            done();
          } else {
            this.drain().then(() => done(), done);
          }
        } catch (error) {
          done(error as Error);
        }
      },
      final: (done) => {
        this.flush().then(() => done(), done);
      },
    });
  }

  /** The id of the log, as 32 hexadecimal digits. */
  get logId(): string {
    return this.#info().logId;
  }

  /**
   * The number of the next record in this producer. Right after opening with a `producerId`, it
   * says with which record an import continues.
   */
  get nextSequence(): number {
    return toNumber(this.nextSequenceBigInt, "nextSequenceBigInt");
  }

  /** As {@link nextSequence}, as a bigint. */
  get nextSequenceBigInt(): bigint {
    const info = this.#info();
    this.#update();
    return BigInt(info.nextSequence) + BigInt(this.#appended - this.#accepted);
  }

  /** The number before which every record is durable. */
  get durableSequence(): number {
    return toNumber(BigInt(this.#info().durableSequence), "a smaller producer");
  }

  /** The id of the producer; null if it is not idempotent. */
  get producerId(): bigint | null {
    const id = this.#info().producerId;
    return id === null ? null : BigInt(id);
  }

  /** The epoch of the producer; null if it is not idempotent. */
  get epoch(): number | null {
    return this.#info().epoch;
  }

  /** Whether `close` was called. */
  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** The numbers of the producer; null before it is open. */
  stats(): ProducerStats | null {
    const info = JSON.parse(native.producerInfo(this.#native)) as Info | null;
    this.#update();
    return info && { ...info.stats, waitingRecords: this.#appended - this.#accepted };
  }

  /**
   * The native module has something new.
   *
   * @internal
   */
  ready_(): void {
    this.#update();
  }

  #info(): Info {
    const info = JSON.parse(native.producerInfo(this.#native)) as Info | null;
    if (info === null) {
      throw this.#ended ?? invalidArgument("the producer is not open yet: await producer.ready");
    }
    return info;
  }

  #check(): void {
    if (this.#closing !== undefined) {
      throw closed("producer");
    }
    if (this.#ended !== undefined) {
      throw this.#ended;
    }
  }

  /** As `#send` for one record: it needs no closure, and no array of sequences. */
  #sendOne(
    payload: Payload,
    options: CallOptions | undefined,
    asBigInt: boolean,
  ): Promise<number | bigint> {
    const signal = options?.signal;
    if (signal?.aborted) {
      return Promise.reject(signal.reason);
    }
    try {
      this.append(payload);
      if (this.#packer.length >= SEND_BYTES) {
        this.#packer.flush();
      }
    } catch (error) {
      return Promise.reject(error);
    }
    const sequence = this.#appended - 1;
    return this.#position(sequence, sequence, asBigInt, signal);
  }

  /** The sequences of the first and of the last record; undefined if there is no record. */
  #appendMany(payloads: Iterable<Payload>): [number, number] | undefined {
    return withPacked(payloads, ({ data, length, ends, count }) => {
      if (count === 0) {
        return undefined;
      }
      this.#check();
      this.#packer.flush();
      const first = this.#appended;
      this.#push(data, length, ends, count);
      this.#appended += count;
      this.#hold();
      return [first, this.#appended - 1];
    });
  }

  #send(
    options: CallOptions | undefined,
    asBigInt: boolean,
    append: () => [number, number] | undefined,
  ): Promise<number | bigint> {
    const signal = options?.signal;
    if (signal?.aborted) {
      return Promise.reject(signal.reason);
    }
    try {
      const appended = append();
      if (appended === undefined) {
        return Promise.resolve(asBigInt ? 0n : 0);
      }
      const [first, last] = appended;
      return this.#position(first, last, asBigInt, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** The promise of the position of records that were appended. */
  #position(
    first: number,
    last: number,
    asBigInt: boolean,
    signal: AbortSignal | undefined,
  ): Promise<number | bigint> {
    if (this.#ended !== undefined) {
      this.#reported += last - first + 1;
      return Promise.reject(this.#ended);
    }
    const position = this.#sends.add(first, last, asBigInt);
    return signal === undefined ? position : abortable(position, signal);
  }

  /** Crosses the border to the native module after the caller's code. */
  #crossSoon(): void {
    if (!this.#isCrossing) {
      this.#isCrossing = true;
      this.#hold();
      queueMicrotask(this.#cross);
    }
  }

  #push(data: Uint8Array, length: number, ends: Uint32Array, count: number): void {
    if (this.#ended !== undefined) {
      return;
    }
    try {
      this.#hasRoom = native.push(this.#native, data, length, ends, count);
    } catch (error) {
      this.#update();
      if (this.#ended === undefined) {
        throw fromNative(error);
      }
    }
  }

  /** Learns from the native module what became of records. */
  #update(): void {
    const pumped = native.pump(this.#native);
    this.#accepted = pumped.accepted;
    this.#hasRoom = pumped.hasRoom;
    if (pumped.settled.length > 0) {
      this.#settled = this.#sends.settle(pumped.settled, pumped.failures, (failure) =>
        native.markReported(this.#native, failure),
      );
    }
    if (pumped.ended !== undefined && this.#ended === undefined) {
      this.#end(fromJson(pumped.ended));
    }
    this.#changed.wake();
    this.#release();
  }

  /** No more records are accepted. Those that were not accepted have failed. */
  #end(error: StyxError): void {
    this.#ended ??= error;
    this.#reported += this.#sends.fail(this.#accepted, error);
    this.#changed.wake();
    this.#release();
  }

  /** Keeps the process and this object alive while records are in flight. */
  #hold(): void {
    if (!this.#isHeld && this.#ended === undefined) {
      this.#isHeld = true;
      this.#hub.hold(this);
    }
  }

  #release(): void {
    const last = this.#ended === undefined ? this.#appended : this.#accepted;
    if (this.#isHeld && this.#settled >= last) {
      this.#isHeld = false;
      this.#hub.release(this);
    }
  }

  /** Waits until the core has accepted everything that was appended before. */
  async #allAccepted(signal: AbortSignal | undefined): Promise<void> {
    this.#packer.flush();
    const wanted = this.#appended;
    await abortable(this.ready, signal);
    this.#update();
    while (this.#accepted < wanted) {
      if (this.#ended !== undefined) {
        const lost = this.#appended - this.#accepted;
        if (this.#reported >= lost) {
          return;
        }
        this.#reported = lost;
        throw this.#ended;
      }
      await this.#changed.wait(signal);
    }
  }

  async #close(timeout: number): Promise<void> {
    const start = performance.now();
    try {
      await withTimeout({ timeout }, "close", (signal) => this.#allAccepted(signal));
      await this.#closeNative(Math.max(0, timeout - (performance.now() - start)));
    } catch (error) {
      if (this.#isOpen) {
        await this.#closeNative(0).catch(() => {});
      }
      throw error;
    } finally {
      if (this.#isOpen) {
        this.#update();
      } else {
        // It must not open, and append the records of which the caller knows that they are lost.
        native.abandonProducer(this.#native);
        this.#opening.abort(closed("producer"));
      }
      this.#end(this.#ended ?? closed("producer"));
      this.#sends.fail(0, closed("producer"));
      this.#settled = Number.POSITIVE_INFINITY;
      this.#release();
      this.#hub.unwatch(this.#source);
      this.#onClosed();
    }
  }

  #closeNative(within: number): Promise<unknown> {
    return this.#hub.call(this, undefined, (token) =>
      native.closeProducer(this.#native, token, within),
    );
  }
}
