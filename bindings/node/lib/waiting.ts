// How a call waits: with an AbortSignal, and with a timeout.

import { StyxError, timedOut } from "./errors.js";
import { checkMilliseconds } from "./options.js";

/** Options of every call that can wait. */
export interface CallOptions {
  /** Ends the wait; the call then fails with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** Options of a call that can wait for a limited time. */
export interface TimedOptions extends CallOptions {
  /** Milliseconds after which the call fails with `timed_out`. Default: none. */
  timeout?: number | undefined;
}

/** Runs a call with a signal that also aborts after the timeout. `what` is for the message. */
export async function withTimeout<T>(
  options: TimedOptions,
  what: string,
  run: (signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  const { timeout, signal } = options;
  if (timeout === undefined || checkMilliseconds("timeout", timeout) === Number.POSITIVE_INFINITY) {
    return run(signal);
  }
  const limit = new AbortController();
  const timer = setTimeout(
    () => limit.abort(timedOut(`${what} did not finish within ${timeout} ms`)),
    timeout,
  );
  try {
    return await run(signal ? AbortSignal.any([signal, limit.signal]) : limit.signal);
  } finally {
    clearTimeout(timer);
  }
}

/** Whether the error is that of a timeout. */
export function isTimeout(error: unknown): boolean {
  return error instanceof StyxError && error.code === "timed_out";
}

/** Promises that wait for the same thing. */
export class Waiters {
  readonly #waiting = new Set<() => void>();

  /** Waits until `wake` is called. */
  wait(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const done = () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      };
      const abort = () => {
        this.#waiting.delete(done);
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiting.add(done);
    });
  }

  /** Ends every wait. */
  wake(): void {
    if (this.#waiting.size > 0) {
      const waiting = [...this.#waiting];
      this.#waiting.clear();
      for (const done of waiting) {
        done();
      }
    }
  }
}

/** Waits for a promise, or until the signal aborts. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) {
    return promise;
  }
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
