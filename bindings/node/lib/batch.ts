// RecordBatch and Record: consecutive records of one log.

import { isUint8Array } from "node:util/types";
import { Checkpoint } from "./checkpoint.js";
import { invalidArgument } from "./errors.js";
import { type Integer, integerText, toNumber } from "./integers.js";
import type { NativeBatch } from "./native.js";
import type { Payload } from "./packer.js";

const NO_LOG = "0".repeat(32);

/**
 * The class of all buffers in Node.js, with the constructor of a Uint8Array: a view costs a third
 * of `buffer.subarray`, whose checks are not needed here.
 */
const View = viewClass();

function viewClass(): new (memory: ArrayBufferLike, offset: number, length: number) => Buffer {
  const species = (Buffer as unknown as { [Symbol.species]: typeof View })[Symbol.species];
  if (
    typeof species === "function" &&
    Object.getPrototypeOf(new species(new ArrayBuffer(1), 0, 1)) === Buffer.prototype
  ) {
    return species;
  }
  return function view(memory: ArrayBuffer, offset: number, length: number) {
    return Buffer.from(memory, offset, length);
  } as unknown as typeof View;
}

/** The parts of a {@link RecordBatch}. */
interface Parts extends NativeBatch {
  logId: string;
  /** The index of the first record in `index`, and of the one behind the last. */
  from: number;
  to: number;
}

/** One record. It belongs to a batch, whose memory it shares. */
export class Record {
  readonly #batch: RecordBatch;
  readonly #at: number;

  /** {@link RecordBatch} makes records. */
  constructor(batch: RecordBatch, at: number) {
    this.#batch = batch;
    this.#at = at;
  }

  /** The position in the log. Throws RangeError beyond 2^53 - 1. */
  get position(): number {
    return this.#batch.firstPosition + this.#at;
  }

  /** As {@link position}, as a bigint. */
  get positionBigInt(): bigint {
    return this.#batch.firstPositionBigInt + BigInt(this.#at);
  }

  /**
   * When the record was appended, in µs since 1970-01-01 UTC. Throws RangeError beyond 2^53 - 1.
   */
  get timestamp(): number {
    return this.#batch.timestamp(this.#at);
  }

  get timestampBigInt(): bigint {
    return this.#batch.timestampBigInt(this.#at);
  }

  /** When the record was appended, to the millisecond. */
  get date(): Date {
    return new Date(Number(this.timestampBigInt / 1000n));
  }

  /** The payload. It shares the memory of the batch. */
  get payload(): Buffer {
    return this.#batch.payload(this.#at);
  }

  /** The payload as text (UTF-8). */
  get text(): string {
    return this.#batch.text(this.#at);
  }

  /** Where to continue after this record. */
  get checkpoint(): Checkpoint {
    return new Checkpoint(`${this.#batch.logId}:${this.positionBigInt + 1n}`);
  }

  toJSON(): object {
    return { position: this.position, timestamp: this.timestamp, payload: this.payload };
  }
}

/**
 * Consecutive records of one log. A batch is never empty, unless you make it.
 *
 * The records share its memory, `data`. It is freed when the last record, payload and batch that
 * uses it is gone; copy a payload that you keep for long.
 */
export class RecordBatch implements Iterable<Record> {
  /** The memory with the payloads of these records, and possibly of others. */
  readonly data: Buffer;
  /** The start and end of the payload of each record in `data`. */
  readonly index: Uint32Array;
  /** The id of the log, as 32 hexadecimal digits. */
  readonly logId: string;
  /** As {@link firstPosition}, as a bigint. */
  readonly firstPositionBigInt: bigint;
  /** The number of records. */
  readonly length: number;
  /** The memory of `data`, and where it begins there. */
  readonly #memory: ArrayBufferLike;
  readonly #offset: number;
  readonly #runs: Float64Array;
  readonly #timestamps: BigUint64Array | undefined;
  /** The index of the first record in the batch that `#runs` belongs to. */
  readonly #from: number;
  readonly #first: number;

  /**
   * Makes a batch, for a test.
   *
   * @param payloads - bytes, or texts that are encoded in UTF-8
   */
  constructor(
    payloads: Iterable<Payload>,
    options?: { firstPosition?: Integer; timestamp?: Integer; logId?: string },
  );
  /** @internal */
  constructor(parts: Parts);
  constructor(
    source: Iterable<Payload> | Parts,
    options: { firstPosition?: Integer; timestamp?: Integer; logId?: string } = {},
  ) {
    const parts = isIterable(source) ? partsOf(source, options) : source;
    const { data, index, runs, timestamps, first, logId, from, to } = parts;
    this.data = data;
    this.#memory = data.buffer;
    this.#offset = data.byteOffset;
    this.index = from === 0 && to * 2 === index.length ? index : index.subarray(2 * from, 2 * to);
    this.logId = logId;
    this.firstPositionBigInt = first;
    this.length = to - from;
    this.#runs = runs;
    this.#timestamps = timestamps;
    this.#from = from;
    const last = Number(first) + this.length;
    this.#first = Number.isSafeInteger(last) ? Number(first) : Number.NaN;
  }

  /** The position of the first record. Throws RangeError beyond 2^53 - 1. */
  get firstPosition(): number {
    return Number.isNaN(this.#first)
      ? toNumber(this.nextPositionBigInt, "firstPositionBigInt or positionBigInt")
      : this.#first;
  }

  /** The position after the last record. */
  get nextPosition(): number {
    return toNumber(this.nextPositionBigInt, "nextPositionBigInt");
  }

  /** As {@link nextPosition}, as a bigint. */
  get nextPositionBigInt(): bigint {
    return this.firstPositionBigInt + BigInt(this.length);
  }

  /** Where to continue after this batch. */
  get checkpoint(): Checkpoint {
    return new Checkpoint(`${this.logId}:${this.nextPositionBigInt}`);
  }

  /** The record at an index; from the end if it is negative. Undefined if there is none. */
  at(index: number): Record | undefined {
    const at = index < 0 ? index + this.length : index;
    return Number.isInteger(at) && at >= 0 && at < this.length ? new Record(this, at) : undefined;
  }

  /** The records from index `start` up to but not including `end`, without a copy. */
  slice(start = 0, end = this.length): RecordBatch {
    const from = clamp(start, this.length);
    const to = Math.max(from, clamp(end, this.length));
    const runs = this.#runsFrom(from);
    return new RecordBatch({
      data: this.data,
      index: this.index.subarray(2 * from, 2 * to),
      runs,
      timestamps: this.#timestamps?.subarray(this.#timestamps.length - runs.length / 2),
      first: this.firstPositionBigInt + BigInt(from),
      logId: this.logId,
      from: 0,
      to: to - from,
    });
  }

  /** The payload of the record at an index, as {@link Record.payload}. */
  payload(index: number): Buffer {
    this.#check(index);
    const start = this.index[2 * index]!;
    return new View(this.#memory, this.#offset + start, this.index[2 * index + 1]! - start);
  }

  /** The payload of the record at an index, as text (UTF-8). */
  text(index: number): string {
    this.#check(index);
    return text(this.data, this.index[2 * index]!, this.index[2 * index + 1]!);
  }

  /**
   * When the record at an index was appended, in µs since 1970-01-01 UTC. Throws RangeError beyond
   * 2^53 - 1.
   */
  timestamp(index: number): number {
    const timestamp = this.#runs[2 * this.#run(index) + 1]!;
    return Number.isSafeInteger(timestamp)
      ? timestamp
      : toNumber(this.timestampBigInt(index), "timestampBigInt");
  }

  timestampBigInt(index: number): bigint {
    const run = this.#run(index);
    return this.#timestamps?.[run] ?? BigInt(this.#runs[2 * run + 1]!);
  }

  /** The number of the run with the record at an index. */
  #run(index: number): number {
    this.#check(index);
    const runs = this.#runs;
    const wanted = index + this.#from;
    // The last run that begins at or before the record.
    let low = 0;
    let high = runs.length / 2 - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (runs[2 * middle]! <= wanted) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    return low;
  }

  /** All payloads. */
  payloads(): Buffer[] {
    const payloads: Buffer[] = [];
    for (let at = 0; at < this.length; at += 1) {
      payloads.push(this.payload(at));
    }
    return payloads;
  }

  /** All payloads as texts (UTF-8). */
  texts(): string[] {
    const texts: string[] = [];
    for (let at = 0; at < this.length; at += 1) {
      texts.push(this.text(at));
    }
    return texts;
  }

  [Symbol.iterator](): IterableIterator<Record> {
    return new Records(this);
  }

  #check(index: number): void {
    if (!(index >>> 0 === index && index < this.length)) {
      throw new RangeError(`index ${index} is out of range: the batch has ${this.length} records`);
    }
  }

  /** The runs of the records from this index on. */
  #runsFrom(from: number): Float64Array {
    const runs: number[] = [];
    for (let at = 0; at < this.#runs.length; at += 2) {
      const first = Math.max(0, this.#runs[at]! - this.#from - from);
      if (first === 0) {
        runs.length = 0;
      }
      runs.push(first, this.#runs[at + 1]!);
    }
    return Float64Array.from(runs);
  }
}

/** Text in UTF-8. Where it exists, the function behind `toString` saves its checks. */
const text: (data: Buffer, start: number, end: number) => string =
  "utf8Slice" in Buffer.prototype
    ? (data, start, end) => (data as unknown as { utf8Slice: Slice }).utf8Slice(start, end)
    : (data, start, end) => data.toString("utf8", start, end);

type Slice = (start: number, end: number) => string;

class Records implements IterableIterator<Record> {
  readonly #batch: RecordBatch;
  #at = 0;

  constructor(batch: RecordBatch) {
    this.#batch = batch;
  }

  next(): IteratorResult<Record> {
    const at = this.#at;
    if (at >= this.#batch.length) {
      return { value: undefined, done: true };
    }
    this.#at = at + 1;
    return { value: new Record(this.#batch, at), done: false };
  }

  [Symbol.iterator](): this {
    return this;
  }
}

function isIterable(source: Iterable<Payload> | Parts): source is Iterable<Payload> {
  return Symbol.iterator in Object(source);
}

function clamp(index: number, length: number): number {
  const whole = Math.trunc(index) || 0;
  return Math.min(Math.max(whole < 0 ? whole + length : whole, 0), length);
}

function partsOf(
  payloads: Iterable<Payload>,
  options: { firstPosition?: Integer; timestamp?: Integer; logId?: string },
): Parts {
  if (typeof payloads === "string" || isUint8Array(payloads)) {
    throw invalidArgument("a batch is made of an iterable of payloads, not of one payload");
  }
  const buffers = [...payloads].map((payload) =>
    typeof payload === "string" ? Buffer.from(payload) : payload,
  );
  const index = new Uint32Array(2 * buffers.length);
  let end = 0;
  for (const [at, buffer] of buffers.entries()) {
    index[2 * at] = end;
    end += buffer.length;
    index[2 * at + 1] = end;
  }
  const first = BigInt(integerText("firstPosition", options.firstPosition ?? 0));
  const logId = options.logId ?? NO_LOG;
  const timestamps = BigUint64Array.of(BigInt(integerText("timestamp", options.timestamp ?? 0)));
  const runs = Float64Array.of(0, Number(timestamps[0]));
  const data = Buffer.concat(buffers);
  return { data, index, runs, timestamps, first, logId, from: 0, to: buffers.length };
}
