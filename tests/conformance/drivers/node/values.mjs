// Results and errors of the package as the protocol has them.

/** A read that failed after some records. The cause is the error of the package. */
export class ReadError extends Error {
  constructor(cause, records) {
    super("the read has failed", { cause });
    this.records = records;
  }
}

/** An integer; text if it exceeds 2^53 - 1. */
export function number(value) {
  return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
}

/** `startPosition` as `start_position`. */
function snakeCase(name) {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** The fields with the names of the protocol. */
export function shownFields(fields) {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [snakeCase(name), value]),
  );
}

export function logShown(info) {
  return {
    name: info.name,
    status: info.status,
    record_count: number(info.recordCountBigInt),
    file_size: number(info.fileSizeBigInt),
    start_position: number(info.startPositionBigInt),
    end_position: number(info.endPositionBigInt),
  };
}

export function cursorShown(info) {
  return {
    cursor: info.cursor,
    log_id: info.logId,
    position: number(info.positionBigInt),
    updated: info.updated,
  };
}

export function recordShown(record) {
  return {
    position: number(record.positionBigInt),
    timestamp: number(record.timestampBigInt),
    payload: record.payload.toString("hex"),
  };
}

export function errorShown(error) {
  return {
    code: error.code,
    retriable: error.retriable,
    maybe_appended: error.maybeAppended,
    message: error.message,
    start_position: error.startPosition,
    end_position: error.endPosition,
    fork_position: error.forkPosition,
    position: error.position,
    next_intact_position: error.nextIntactPosition,
    expected_sequence: error.expectedSequence,
    status: error.status,
  };
}
