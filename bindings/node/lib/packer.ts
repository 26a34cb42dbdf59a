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

  /** The bytes of the records that it has. */
  get length(): number {
    return this.#length;
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

/** Records that lie one after the other in the first `length` bytes, and where each ends. */
export interface Packed {
  data: Buffer;
  length: number;
  ends: Uint32Array;
  count: number;
}

/** The most bytes of memory that are kept for the next records. */
const KEPT_BYTES_MAX = 2 * 1024 * 1024;
/** The most bytes of records: more do not fit into their index. */
const BYTES_MAX = 0xffff_ffff;

let keptData = Buffer.alloc(0);
let keptEnds = new Uint32Array(1024);

/** Packs records, and passes them to `use`. Their memory is used again afterwards. */
export function withPacked<T>(payloads: Iterable<Payload>, use: (packed: Packed) => T): T {
  if (typeof payloads === "string" || isBytes(payloads)) {
    throw invalidArgument("sendMany takes an iterable of records: for one record, use send");
  }
  // The iterable may call this function too, so the memory belongs to this call meanwhile. Local
  // variables, because fields of an object cost four times as much for each record.
  let [data, ends] = [keptData, keptEnds];
  keptData = Buffer.alloc(0);
  keptEnds = new Uint32Array(1024);
  let [length, count] = [0, 0];
  try {
    for (const payload of payloads) {
      if (count === ends.length) {
        ends = longer(ends);
      }
      if (typeof payload === "string") {
        const most = length + payload.length * UTF8_MAX;
        if (most > data.length) {
          data = larger(data, length, most);
        }
        length += data.write(payload, length, "utf8");
      } else if (isBytes(payload)) {
        const end = length + payload.length;
        if (end > data.length) {
          data = larger(data, length, end);
        }
        data.set(payload, length);
        length = end;
      } else {
        throw wrongPayload(payload);
      }
      ends[count] = length;
      count += 1;
    }
    return use({ data, length, ends, count });
  } finally {
    if (data.length <= KEPT_BYTES_MAX) {
      keptData = data;
      keptEnds = ends;
    }
  }
}

/** An array of twice the length with the same numbers. */
function longer(ends: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const twice = new Uint32Array(2 * ends.length);
  twice.set(ends);
  return twice;
}

/** Memory for at least `bytes` with the same first `length` bytes. */
function larger(data: Buffer<ArrayBuffer>, length: number, bytes: number): Buffer<ArrayBuffer> {
  if (bytes > BYTES_MAX) {
    throw invalidArgument("the records have more than 1 GiB: send them in parts");
  }
  const larger = Buffer.allocUnsafeSlow(Math.min(Math.max(bytes, 2 * data.length), BYTES_MAX));
  larger.set(data.subarray(0, length));
  return larger;
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
