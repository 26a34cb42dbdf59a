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

const NOTHING: Packed = { data: Buffer.alloc(0), length: 0, ends: new Uint32Array(0), count: 0 };
let kept = NOTHING;

/** Packs records, and passes them to `use`. Their memory is used again afterwards. */
export function withPacked<T>(payloads: Iterable<Payload>, use: (packed: Packed) => T): T {
  if (typeof payloads === "string" || isBytes(payloads)) {
    throw invalidArgument("sendMany takes an iterable of records: for one record, use send");
  }
  // The iterable may call this function too, so the memory belongs to this call meanwhile.
  const packed = { ...kept, length: 0, count: 0 };
  kept = NOTHING;
  try {
    for (const payload of payloads) {
      pack(packed, payload);
    }
    return use(packed);
  } finally {
    if (packed.data.length <= KEPT_BYTES_MAX) {
      kept = packed;
    }
  }
}

function pack(packed: Packed, payload: Payload): void {
  const isText = typeof payload === "string";
  if (!isText && !isBytes(payload)) {
    throw wrongPayload(payload);
  }
  const most = packed.length + (isText ? payload.length * UTF8_MAX : payload.length);
  if (most > packed.data.length) {
    grow(packed, most);
  }
  if (packed.count === packed.ends.length) {
    const ends = new Uint32Array(Math.max(1024, 2 * packed.count));
    ends.set(packed.ends);
    packed.ends = ends;
  }
  if (isText) {
    packed.length += packed.data.write(payload, packed.length, "utf8");
  } else {
    packed.data.set(payload, packed.length);
    packed.length += payload.length;
  }
  packed.ends[packed.count++] = packed.length;
}

function grow(packed: Packed, bytes: number): void {
  if (bytes > BYTES_MAX) {
    throw invalidArgument("the records have more than 1 GiB: send them in parts");
  }
  const data = Buffer.allocUnsafeSlow(Math.min(Math.max(bytes, 2 * packed.data.length), BYTES_MAX));
  data.set(packed.data.subarray(0, packed.length));
  packed.data = data;
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
