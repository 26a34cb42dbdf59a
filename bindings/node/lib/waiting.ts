// How a call waits: with an AbortSignal, and with a timeout.

import { onAbort } from "./aborting.js";
import { timedOut } from "./errors.js";
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

/** The longest time of a timer. A longer timeout is none. */
const TIMER_MS_MAX = 0x7fff_ffff;

/** The errors of timeouts that have passed here, unlike those of the core. */
const passed = new WeakSet<object>();

/** Runs a call with a signal that also aborts after the timeout. `what` is for the message. */
export async function withTimeout<T>(
  options: TimedOptions,
  what: string,
  run: (signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  const { timeout, signal } = options;
  if (timeout === undefined || checkMilliseconds("timeout", timeout) > TIMER_MS_MAX) {
    return run(signal);
  }
  signal?.throwIfAborted();
  const limit = new AbortController();
  const timer = setTimeout(() => {
    const error = timedOut(`${what} did not finish within ${timeout} ms`);
    passed.add(error);
    limit.abort(error);
  }, timeout);
  // AbortSignal.any would leak memory for each call with a signal that lives long.
  const ignore = onAbort(signal, () => limit.abort(signal?.reason));
  try {
    return await run(limit.signal);
  } finally {
    clearTimeout(timer);
    ignore();
  }
}

/** Whether the error is that of a timeout of {@link withTimeout}. */
export function isTimeout(error: unknown): boolean {
  return typeof error === "object" && error !== null && passed.has(error);
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
        ignore();
        resolve();
      };
      const ignore = onAbort(signal, () => {
        this.#waiting.delete(done);
        reject(signal?.reason);
      });
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
      // Its own failure is not reported to anybody.
      promise.catch(() => {});
      reject(signal.reason);
      return;
    }
    const ignore = onAbort(signal, () => reject(signal.reason));
    promise.then(resolve, reject).finally(ignore);
  });
}
