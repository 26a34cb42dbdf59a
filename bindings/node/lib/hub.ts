// Hub: the calls that wait for the native module in this JavaScript thread.
//
//   call(start) ─▶ native module ─▶ core's threads … notify ─▶ drain ─▶ promise
//
// A waiting call keeps the process alive, and the object that it belongs to. Nothing else does.

import { setInterval } from "node:timers";
import { onAbort } from "./aborting.js";
import { fromJson, fromNative } from "./errors.js";
import { type HubHandle, native } from "./native.js";

/** Something that is told when it has something new. */
export interface Ready {
  ready_(): void;
}

interface Call {
  resolve(result: string | Buffer | null): void;
  reject(error: unknown): void;
  forget(): void;
}

/** Far away: the timer only keeps the event loop alive. */
const NEVER_MS = 0x7fff_ffff;

export class Hub {
  readonly #native: HubHandle = native.createHub(() => this.#drain());
  readonly #calls = new Map<number, Call>();
  /** An object that is not used any more is collected although it was not closed. */
  readonly #sources = new Map<number, WeakRef<Ready>>();
  /** The objects for which something waits, and how many times. */
  readonly #held = new Map<object, number>();
  readonly #collected = new FinalizationRegistry<{
    token: number;
    forget: (token: number) => void;
  }>(({ token, forget }) => {
    this.#sources.delete(token);
    forget(token);
  });
  readonly #keepAlive = setInterval(() => {}, NEVER_MS).unref();
  #lastToken = 0;

  get native(): HubHandle {
    return this.#native;
  }

  /**
   * Starts a call of the native module. The promise has its result: JSON, bytes or null.
   *
   * @param owner - is kept from garbage collection meanwhile
   * @param start - starts the call with this token
   */
  call(
    owner: object,
    signal: AbortSignal | undefined,
    start: (token: number) => void,
  ): Promise<string | Buffer | null> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const token = this.token();
      try {
        start(token);
      } catch (error) {
        reject(fromNative(error));
        return;
      }
      this.hold(owner);
      const abort = () => {
        this.#end(token)?.reject(signal?.reason);
        native.cancel(this.#native, token);
      };
      const ignore = onAbort(signal, abort);
      const forget = () => {
        ignore();
        this.release(owner);
      };
      this.#calls.set(token, { resolve, reject, forget });
    });
  }

  /** A number for a call or a source. */
  token(): number {
    this.#lastToken += 1;
    return this.#lastToken;
  }

  /**
   * `target.ready_()` is called when the native module notifies the source.
   *
   * @param forget - is called if the target is collected before `unwatch`
   */
  watch(target: Ready, forget: (token: number) => void): number {
    const token = this.token();
    this.#sources.set(token, new WeakRef(target));
    this.#collected.register(target, { token, forget });
    return token;
  }

  /** The owner of a source; undefined if it is gone. */
  target(token: number): Ready | undefined {
    return this.#sources.get(token)?.deref();
  }

  unwatch(token: number): void {
    this.#sources.delete(token);
  }

  /** Keeps the process and the object alive until `release`. */
  hold(owner: object): void {
    if (this.#held.size === 0) {
      this.#keepAlive.ref();
    }
    this.#held.set(owner, (this.#held.get(owner) ?? 0) + 1);
  }

  release(owner: object): void {
    const count = this.#held.get(owner) ?? 0;
    if (count > 1) {
      this.#held.set(owner, count - 1);
    } else {
      this.#held.delete(owner);
    }
    if (this.#held.size === 0) {
      this.#keepAlive.unref();
    }
  }

  #end(token: number): Call | undefined {
    const call = this.#calls.get(token);
    if (call !== undefined) {
      this.#calls.delete(token);
      call.forget();
    }
    return call;
  }

  #drain(): void {
    for (const { token, error } of native.drain(this.#native)) {
      if (this.#sources.has(token)) {
        this.target(token)?.ready_();
        continue;
      }
      const call = this.#end(token);
      if (call === undefined) {
        continue;
      }
      if (error !== undefined) {
        native.cancel(this.#native, token);
        call.reject(fromJson(error));
        continue;
      }
      try {
        call.resolve(native.take(this.#native, token));
      } catch (failed) {
        call.reject(fromNative(failed));
      }
    }
  }
}

let shared: Hub | undefined;

/** The hub of this JavaScript thread. */
export function hub(): Hub {
  shared ??= new Hub();
  return shared;
}
