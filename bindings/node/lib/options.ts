// Options of clients, producers and consumers: from JavaScript values to the core's text.

import { isDate, isUint8Array } from "node:util/types";
import { Checkpoint } from "./checkpoint.js";
import { invalidArgument } from "./errors.js";
import { type Integer, integerText, shown } from "./integers.js";
import { native } from "./native.js";

/** A codec of compressed blocks. */
export type Codec = "lz4" | "zstd";

/**
 * Where a consumer begins: a position, `"start"` (the first record that the log still has),
 * `"end"`, `"end-100"`, a Date, `"time:"` and a time in RFC 3339, or a checkpoint (also as text).
 */
export type Start = Integer | string | Date | Checkpoint;

/** Options of {@link Client.connect}. Durations are in milliseconds. */
export interface ClientOptions {
  /** A bearer token to send with every request. Default: `STYX_TOKEN`, or none. */
  token?: string;
  /** A file with the only certificate authorities to trust. Default: `STYX_CA_FILE`, or the system's. */
  caFile?: string;
  /** The contents of such a file. */
  caPem?: string | Uint8Array;
  /** The name that the server's certificate must have. Default: the host of the address. */
  serverName?: string;
  /** Time to establish a connection, and for the check of `connect`. Default: 10,000. */
  connectTimeout?: number;
  /** Time for a call, including retries; also for opening a producer or consumer. Default: 30,000. */
  timeout?: number;
  /** Replace a connection after this time without any bytes; at least 2,000. Default: 30,000. */
  silenceTimeout?: number;
  /** Retry calls that change nothing. Default: true. */
  retry?: boolean;
  /** Threads that own the sockets, up to 64. Default: 1. */
  threads?: number;
  /** The client's name in requests. */
  userAgent?: string;
  /** The trace that its requests belong to, as in W3C Trace Context. Default: none. */
  traceparent?: string;
}

/** Options of {@link Client.producer}. Durations are in milliseconds. */
export interface ProducerOptions {
  /** Compress blocks if that makes them smaller. Default: "none". */
  compression?: Codec | "none";
  /** How long a block waits for more records. Default: 0, until the connection is free. */
  linger?: number;
  /** Bytes at which a block is complete, up to 1 MiB. Default: 256 KiB. */
  blockBytes?: number;
  /** Bytes that may be waiting or unacknowledged before `append` returns false. Default: 32 MiB. */
  inFlightBytes?: number;
  /** Time from the append of a record to its ack. Default: 120,000. */
  deadline?: number;
  /** Time for `close`. Default: 30,000. */
  closeTimeout?: number;
  /** Number the records, so that each is stored once. Default: true. */
  idempotent?: boolean;
  /** For a producer that continues after its program restarts. Default: random. */
  producerId?: Integer;
  /** A higher epoch fences producers with a lower one. Default: the log's epoch plus one. */
  epoch?: Integer;
  /** Append only if the log ends here. Default: none. */
  expectedPosition?: Integer;
}

/** Options of {@link Client.consumer}. Durations are in milliseconds. */
export interface ConsumerOptions {
  /** Where to begin. Default: "start". */
  start?: Start;
  /** The server keeps the position under this name: see {@link Consumer.commit}. */
  cursor?: string;
  /** Stop after this number of records. Default: none. */
  count?: Integer;
  /** Wait for new records at the end of the log. Default: false. */
  follow?: boolean;
  /**
   * How long the consumer may be without a connection; Infinity for no limit. Default: 120,000,
   * and no limit with `follow`.
   */
  deadline?: number;
  /** Bytes that may wait for the program before the server has to wait. Default: 8 MiB. */
  bufferBytes?: number;
  /** Codecs in which the server may send blocks. Default: all. */
  codecs?: readonly Codec[];
  /**
   * Do not copy batches into the memory of JavaScript. Faster for batches of large records, but
   * the memory counts less for the garbage collector, and must not be written to. Default: false.
   */
  external?: boolean;
}

interface OptionRow {
  of: "client" | "producer" | "consumer";
  name: string;
  unit: string;
}

/** The native module needs it, so users cannot set it. */
const HIDDEN = "track_settled";

const ROWS = new Map<string, OptionRow>(
  (JSON.parse(native.options()) as OptionRow[])
    .filter((row) => row.name !== HIDDEN)
    .map((row) => [`${row.of} ${camelCase(row.name)}`, row]),
);

/** `close_timeout` as `closeTimeout`. */
export function camelCase(name: string): string {
  return name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** `closeTimeout` as `close_timeout`. */
export function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** The options that are set, as the core's keys and values, one after the other. */
export function optionTexts(of: OptionRow["of"], options: object): string[] {
  const texts: string[] = [];
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && value !== null) {
      const row = ROWS.get(`${of} ${name}`);
      if (row === undefined && ROWS.has(`${of} ${camelCase(name)}`)) {
        throw invalidArgument(`unknown ${of} option ${name}: use ${camelCase(name)}`);
      }
      // The core says what is wrong with an unknown name.
      texts.push(row?.name ?? name, row === undefined ? "" : optionText(name, row.unit, value));
    }
  }
  return texts;
}

function optionText(name: string, unit: string, value: unknown): string {
  switch (unit) {
    case "duration":
      return durationText(name, value);
    case "true or false":
      if (typeof value !== "boolean") {
        throw invalidArgument(`${name} is ${shown(value)}: use true or false`);
      }
      return String(value);
    case "number":
    case "bytes":
      return integerText(name, value);
    case "start":
      return startText(value);
    case "codecs":
      return Array.isArray(value) ? value.join(",") || "none" : String(value);
    default:
      return isUint8Array(value) ? Buffer.from(value).toString() : String(value);
  }
}

/** A start as the core's text. */
export function startText(start: unknown): string {
  if (isDate(start)) {
    if (Number.isNaN(start.getTime())) {
      throw invalidArgument("start is an invalid Date");
    }
    return `time:${start.toISOString()}`;
  }
  if (start instanceof Checkpoint || typeof start === "string") {
    return start.toString();
  }
  return integerText("start", start);
}

/** Milliseconds as the core's text. */
function durationText(name: string, value: unknown): string {
  const milliseconds = checkMilliseconds(name, value);
  return milliseconds === Number.POSITIVE_INFINITY
    ? "none"
    : `${Math.round(milliseconds * 1000)} us`;
}

/** Checks a number of milliseconds; Infinity means no limit. */
export function checkMilliseconds(name: string, value: unknown): number {
  if (typeof value !== "number" || Number.isNaN(value) || value < 0) {
    throw invalidArgument(`${name} is ${shown(value)}: use a number of milliseconds of at least 0`);
  }
  return value;
}
