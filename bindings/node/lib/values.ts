// What the server says about itself, about logs and about cursors.

import { toNumber } from "./integers.js";

/** What the server is. */
export interface ServerInfo {
  /** The version of the server. */
  readonly version: string;
  /** What it can do. */
  readonly features: readonly string[];
  /** The largest record that it accepts, in bytes. */
  readonly maxRecordSize: number;
  /** The largest block of records that it accepts, in bytes. */
  readonly maxBlockSize: number;
}

/** The limits of a log. -1 means no limit. */
export interface LogConfig {
  /** The largest record in bytes: payload plus 8. */
  readonly maxRecordSize: number;
  readonly indexAfterSize: number;
  readonly segmentMaxCount: number;
  readonly segmentMaxSize: number;
  readonly segmentMaxAge: number;
  readonly logMaxCount: number;
  readonly logMaxSize: number;
  /** The age in seconds at which records are removed. */
  readonly logMaxAge: number;
}

/** Information about a log. */
export class LogInfo {
  readonly name: string;
  /** Whether the log can be used: `ok`, `corrupt` and so on. */
  readonly status: string;
  readonly recordCountBigInt: bigint;
  readonly fileSizeBigInt: bigint;
  readonly startPositionBigInt: bigint;
  readonly endPositionBigInt: bigint;

  /** Tests can make it too. */
  constructor(values: {
    name: string;
    status?: string;
    recordCount?: bigint | number | string;
    fileSize?: bigint | number | string;
    startPosition?: bigint | number | string;
    endPosition?: bigint | number | string;
  }) {
    this.name = values.name;
    this.status = values.status ?? "ok";
    this.recordCountBigInt = BigInt(values.recordCount ?? 0);
    this.fileSizeBigInt = BigInt(values.fileSize ?? 0);
    this.startPositionBigInt = BigInt(values.startPosition ?? 0);
    this.endPositionBigInt = BigInt(values.endPosition ?? 0);
  }

  /** The number of records. */
  get recordCount(): number {
    return toNumber(this.recordCountBigInt, "recordCountBigInt");
  }

  /** The bytes of these records: payloads plus 8 bytes each. */
  get fileSize(): number {
    return toNumber(this.fileSizeBigInt, "fileSizeBigInt");
  }

  /** The position of the first record that the log still has. */
  get startPosition(): number {
    return toNumber(this.startPositionBigInt, "startPositionBigInt");
  }

  /** The position of the next record to be appended. */
  get endPosition(): number {
    return toNumber(this.endPositionBigInt, "endPositionBigInt");
  }
}

/** Information about a log, and its configuration. */
export interface LogDetails {
  /** The id of the log, which changes when it is created, restored or truncated. */
  readonly logId: string;
  readonly info: LogInfo;
  readonly config: LogConfig;
  /** When the first record that the log still has was appended, in µs since 1970. */
  readonly timestampFirst: number | null;
  /** When the last record was appended, in µs since 1970. */
  readonly timestampLast: number | null;
}

/** A position that the server keeps under a name. */
export class CursorInfo {
  readonly cursor: string;
  /** The id of the log that it belongs to. */
  readonly logId: string;
  readonly positionBigInt: bigint;
  /** When it was stored, in RFC 3339. */
  readonly updated: string;
  readonly version: number;

  constructor(values: {
    cursor: string;
    logId: string;
    position: bigint | number | string;
    updated: string;
    version: number;
  }) {
    this.cursor = values.cursor;
    this.logId = values.logId;
    this.positionBigInt = BigInt(values.position);
    this.updated = values.updated;
    this.version = values.version;
  }

  /** The position of the next record to read. */
  get position(): number {
    return toNumber(this.positionBigInt, "positionBigInt");
  }
}

/** The numbers of a client. */
export interface ClientStats {
  readonly requests: number;
  readonly retries: number;
  readonly connections: number;
  readonly failedConnections: number;
  readonly openConnections: number;
  readonly openStreams: number;
  /** Milliseconds since anything was received; null before. */
  readonly sinceLastHeard: number | null;
}

/** The numbers of a producer. */
export interface ProducerStats {
  /** Records that are durable. */
  readonly ackedRecords: number;
  readonly ackedBytes: number;
  readonly ackedBlocks: number;
  readonly failedRecords: number;
  /** Records that were sent or wait to be sent. */
  readonly inFlightRecords: number;
  readonly inFlightBytes: number;
  /** The part of `inFlightBytes` that waits to be sent. */
  readonly bufferedBytes: number;
  /** Records that wait in this library, because `inFlightBytes` are in flight. */
  readonly waitingRecords: number;
  readonly resentBlocks: number;
  readonly isConnected: boolean;
  readonly reconnects: number;
  /** Milliseconds since the last ack; null before. */
  readonly sinceLastAck: number | null;
  /** Milliseconds since anything was received; null before. */
  readonly sinceLastHeard: number | null;
}

/** The numbers of a consumer. */
export interface ConsumerStats {
  readonly receivedRecords: number;
  readonly receivedBytes: number;
  readonly receivedBatches: number;
  /** Bytes that were received and not yet taken. */
  readonly bufferedBytes: number;
  readonly isConnected: boolean;
  readonly reconnects: number;
  /** Milliseconds since anything was received; null before. */
  readonly sinceLastHeard: number | null;
}
