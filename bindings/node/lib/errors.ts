// StyxError: every error of the client core.

/** Facts that some errors have. */
export interface ErrorFacts {
  /** The first position that the log still has. */
  startPosition?: number;
  /** The position of the next record to be appended. */
  endPosition?: number;
  /**
   * With `log_changed`: the log was restored from the one that you know, and both are the same up
   * to this position.
   */
  forkPosition?: number;
  /** The position that the error is about. */
  position?: number;
  /** The first position after a damaged part of the log. */
  nextIntactPosition?: number;
  /** The sequence that the server expects of the producer. */
  expectedSequence?: number;
  /** The version of a cursor. */
  version?: number;
  /** The version of the cursor that was replaced. */
  replacedVersion?: number;
  /** How many of something the error is about. */
  count?: number;
  /** The status of the answer if the server or a proxy refused the upgrade to styx/1. */
  refusedUpgrade?: number;
  /** The status of the log, such as `corrupt`. */
  status?: string;
  /** After how many milliseconds the server wants to be asked again. */
  retryAfter?: number;
}

/**
 * An error of Styx. `code` says which, such as `log_not_found` or `connection_failed`: it is the
 * same in every client library and in the HTTP API.
 */
export class StyxError extends Error implements ErrorFacts {
  override readonly name = "StyxError";
  /** The code of the error. docs/errors.md lists them all. */
  readonly code: string;
  /** Whether the same call may succeed later. */
  readonly retriable: boolean;
  /** Whether the records of the call may be in the log although it failed. */
  readonly maybeAppended: boolean;
  declare readonly startPosition?: number;
  declare readonly endPosition?: number;
  declare readonly forkPosition?: number;
  declare readonly position?: number;
  declare readonly nextIntactPosition?: number;
  declare readonly expectedSequence?: number;
  declare readonly version?: number;
  declare readonly replacedVersion?: number;
  declare readonly count?: number;
  declare readonly refusedUpgrade?: number;
  declare readonly status?: string;
  declare readonly retryAfter?: number;

  /**
   * Tests can make errors too.
   *
   * @param code - such as `log_not_found`
   * @param message - what failed
   */
  constructor(
    code: string,
    message: string,
    options: {
      retriable?: boolean;
      maybeAppended?: boolean;
      cause?: unknown;
      facts?: ErrorFacts;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retriable = options.retriable ?? false;
    this.maybeAppended = options.maybeAppended ?? false;
    Object.assign(this, options.facts);
  }
}

/** The error for a value that the caller has passed. */
export function invalidArgument(message: string): StyxError {
  return new StyxError("invalid_argument", message);
}

/** The error of a call that took too long. It may still be carried out. */
export function timedOut(message: string): StyxError {
  return new StyxError("timed_out", message, { retriable: true, maybeAppended: true });
}

/** The same error of records of which a part may be in the log. */
export function maybeAppended(error: StyxError): StyxError {
  if (error.maybeAppended) {
    return error;
  }
  const copy = new StyxError(error.code, error.message, { cause: error.cause });
  return Object.assign(copy, error, { maybeAppended: true });
}

/** The error of a call on something that is closed. */
export function closed(what: string): StyxError {
  return new StyxError("closed", `the ${what} is closed`);
}

interface NativeError {
  code: string;
  message: string;
  retriable: boolean;
  maybeAppended: boolean;
  facts: Record<string, string | number>;
}

/** The error that the native module describes as JSON. */
export function fromJson(text: string): StyxError {
  const { code, message, facts: native, ...rest } = JSON.parse(text) as NativeError;
  const facts: Record<string, string | number> = {};
  for (const [name, value] of Object.entries(native)) {
    // Integers are texts. An error with a position beyond 2^53 still has to be an error.
    facts[name] = name === "status" || typeof value === "number" ? value : Number(value);
  }
  return new StyxError(code, message, { ...rest, facts });
}

/** The error for the user, made of an error of the native module. */
export function fromNative(error: unknown): unknown {
  // In jest it is an Error of another realm, so instanceof would say no.
  const message = (error as { message?: unknown } | null)?.message;
  return typeof message === "string" && message.startsWith("{") ? fromJson(message) : error;
}

/** Calls the native module. */
export function translated<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw fromNative(error);
  }
}
