// Information about the server, logs and cursors.

import { toNumber } from "./integers.js";

/** The version, features and limits of the server. */
export interface ServerInfo {
  /** The version of the server. */
  readonly version: string;
  /** The names of its features, such as `styx/1` and `zstd`. */
  readonly features: readonly string[];
  /** The largest record that it accepts, in bytes. */
  readonly maxRecordSize: number;
  /** The largest block of records that it accepts, in bytes. */
  readonly maxBlockSize: number;
}

/** The limits of a log. -1 means no limit, where that is allowed. */
export interface LogConfig {
  /** The largest record in bytes: its payload and 8. Default: 1 MiB. */
  readonly maxRecordSize: number;
  /** Bytes of a segment between two entries of its index. Default: 1 MiB. */
  readonly indexAfterSize: number;
  /** The number of records after which a segment ends. Default: -1. */
  readonly segmentMaxCount: number;
  /** Bytes after which a segment ends. Default: 1 GiB. */
  readonly segmentMaxSize: number;
  /** Seconds after which a segment ends. Default: -1. */
  readonly segmentMaxAge: number;
  /** The number of records to keep. Default: -1. */
  readonly logMaxCount: number;
  /** Bytes to keep. Default: -1. */
  readonly logMaxSize: number;
  /** Seconds to keep a record. Default: -1. */
  readonly logMaxAge: number;
}

/** Information about a log. Only durable records count. */
export class LogInfo {
  /** The name of the log. */
  readonly name: string;
  /** `ok`, or why the log cannot be used: `corrupt`, `tainted`, `scanning` or `unknown`. */
  readonly status: string;
  /** As {@link recordCount}, as a bigint. */
  readonly recordCountBigInt: bigint;
  /** As {@link fileSize}, as a bigint. */
  readonly fileSizeBigInt: bigint;
  /** As {@link startPosition}, as a bigint. */
  readonly startPositionBigInt: bigint;
  /** As {@link endPosition}, as a bigint. */
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
  /** The same as {@link Client.getLog} returns. */
  readonly info: LogInfo;
  /** The limits of the log. */
  readonly config: LogConfig;
  /** When the first record that the log still has was appended, in µs since 1970. */
  readonly timestampFirst: number | null;
  /** When the last record was appended, in µs since 1970. */
  readonly timestampLast: number | null;
  /**
   * Records before this position are also in the archive of the server; `null` if it has no
   * archive.
   */
  readonly archivedPosition: number | null;
}

/** A position that the server keeps under a name. */
export class CursorInfo {
  /** The name of the cursor. */
  readonly cursor: string;
  /** The id of the log that it belongs to. */
  readonly logId: string;
  /** As {@link position}, as a bigint. */
  readonly positionBigInt: bigint;
  /** When it was stored, in µs since 1970. */
  readonly updated: number;
  readonly version: number;

  /** Tests can make it too. */
  constructor(values: {
    cursor: string;
    logId: string;
    position: bigint | number | string;
    updated: number;
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
  /** Requests that were sent, including those that open producers and consumers. */
  readonly requests: number;
  /** How many times a call was tried again. Producers and consumers count their `reconnects`. */
  readonly retries: number;
  /** Connections that were opened. */
  readonly connections: number;
  /** Attempts to open a connection that failed. */
  readonly failedConnections: number;
  /** Connections that are open. Some may be kept for the next call. */
  readonly openConnections: number;
  /** Open connections of producers and consumers. */
  readonly openStreams: number;
  /** Milliseconds since anything was received; null before. */
  readonly sinceLastHeard: number | null;
}

/** The numbers of a producer. */
export interface ProducerStats {
  /** Records that are durable. */
  readonly ackedRecords: number;
  /** Bytes of these records. */
  readonly ackedBytes: number;
  /** Blocks in which these records were sent. */
  readonly ackedBlocks: number;
  /** Records that failed. */
  readonly failedRecords: number;
  /** Records that were sent or wait to be sent. */
  readonly inFlightRecords: number;
  /** Bytes of these records. */
  readonly inFlightBytes: number;
  /** The part of `inFlightBytes` that waits to be sent. */
  readonly bufferedBytes: number;
  /** Records that wait in this library, because `inFlightBytes` are in flight. */
  readonly waitingRecords: number;
  /** Blocks that were sent again after a connection broke. */
  readonly resentBlocks: number;
  /** Whether a connection is open. One that is silent is open until `silenceTimeout`. */
  readonly isConnected: boolean;
  /** Connections after the first one. */
  readonly reconnects: number;
  /** Milliseconds since the last ack; null before. */
  readonly sinceLastAck: number | null;
  /** Milliseconds since anything was received; null before. */
  readonly sinceLastHeard: number | null;
}

/** The numbers of a consumer. */
export interface ConsumerStats {
  /** Records that were received. */
  readonly receivedRecords: number;
  /** Bytes of these records. */
  readonly receivedBytes: number;
  /** Batches that were received. */
  readonly receivedBatches: number;
  /** Bytes that were received and not yet taken. */
  readonly bufferedBytes: number;
  /** Whether a connection is open. One that is silent is open until `silenceTimeout`. */
  readonly isConnected: boolean;
  /** Connections after the first one. */
  readonly reconnects: number;
  /** Milliseconds since anything was received; null before. */
  readonly sinceLastHeard: number | null;
}
