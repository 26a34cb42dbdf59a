// Packer: packs records into one buffer, so that the border to the native module is crossed once
// for many of them.

import { isUint8Array } from "node:util/types";
import { invalidArgument } from "./errors.js";

/** A record: bytes, or text that is encoded in UTF-8. */
export type Payload = Uint8Array | string;

/** Bytes and records after which a packer is full. */
const SIZE = 256 * 1024;
const RECORDS = 16 * 1024;
/** The most bytes that a character of a JavaScript string takes in UTF-8. */
const UTF8_MAX = 3;

/** Takes packed records: the first `length` bytes, and where each of `count` records ends. */
export type Push = (data: Uint8Array, length: number, ends: Uint32Array, count: number) => void;

export class Packer {
  readonly #push: Push;
  readonly #data = Buffer.allocUnsafeSlow(SIZE);
  readonly #ends = new Uint32Array(RECORDS);
  #length = 0;
  #count = 0;

  constructor(push: Push) {
    this.#push = push;
  }

  /** Whether it has no records. */
  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** Adds a record. It pushes what it has when it is full. */
  add(payload: Payload): void {
    if (typeof payload === "string") {
      this.#addText(payload);
    } else if (isBytes(payload)) {
      this.#addBytes(payload);
    } else {
      throw wrongPayload(payload);
    }
  }

  #addBytes(payload: Uint8Array): void {
    const size = payload.length;
    if (this.#length + size > SIZE || this.#count === RECORDS) {
      this.flush();
      if (size > SIZE) {
        this.#push(payload, size, Uint32Array.of(size), 1);
        return;
      }
    }
    this.#data.set(payload, this.#length);
    this.#length += size;
    this.#ends[this.#count++] = this.#length;
  }

  #addText(payload: string): void {
    const most = payload.length * UTF8_MAX;
    if (most > SIZE) {
      this.#addBytes(Buffer.from(payload));
      return;
    }
    if (this.#length + most > SIZE || this.#count === RECORDS) {
      this.flush();
    }
    this.#length += this.#data.write(payload, this.#length, "utf8");
    this.#ends[this.#count++] = this.#length;
  }

  /** Pushes what it has. */
  flush(): void {
    if (this.#count > 0) {
      const [length, count] = [this.#length, this.#count];
      this.#length = 0;
      this.#count = 0;
      this.#push(this.#data, length, this.#ends, count);
    }
  }
}

/** The memory of the last packed records, so that the next ones need no new pages. */
let reused = Buffer.alloc(0);
/** The most bytes that are kept for that. */
const REUSED_MAX = 2 * 1024 * 1024;

/** Packs records into one buffer, which is valid until the next call. */
export function packed(payloads: Iterable<Payload>): { data: Uint8Array; ends: Uint32Array } {
  if (typeof payloads === "string" || isBytes(payloads)) {
    throw invalidArgument("sendMany takes an iterable of records: for one record, use send");
  }
  const buffers: Uint8Array[] = [];
  let size = 0;
  for (const payload of payloads) {
    const buffer = typeof payload === "string" ? Buffer.from(payload) : payload;
    if (!isBytes(buffer)) {
      throw wrongPayload(payload);
    }
    buffers.push(buffer);
    size += buffer.length;
  }
  if (size > 0xffff_ffff) {
    throw invalidArgument(`the records have ${size} bytes: send at most 1 GiB at once`);
  }
  const data = size <= reused.length ? reused : Buffer.allocUnsafeSlow(size);
  if (size <= REUSED_MAX) {
    reused = data;
  }
  const ends = new Uint32Array(buffers.length);
  let end = 0;
  for (let at = 0; at < buffers.length; at += 1) {
    const buffer = buffers[at]!;
    data.set(buffer, end);
    end += buffer.length;
    ends[at] = end;
  }
  return { data: data.subarray(0, size), ends };
}

/** An Uint8Array of another realm, such as that of a test in jest, is one too. */
function isBytes(payload: unknown): payload is Uint8Array {
  return payload instanceof Uint8Array || isUint8Array(payload);
}

function wrongPayload(payload: unknown): TypeError {
  const type = payload === null ? "null" : typeof payload;
  const error = new TypeError(`a record is a Buffer, Uint8Array or string, not ${type}`);
  return Object.assign(error, { code: "invalid_argument" });
}
