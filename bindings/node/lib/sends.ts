// Sends: the promises of records that are not durable yet, in the order of their sequences.

import { fromJson, maybeAppended, type StyxError } from "./errors.js";
import { toNumber } from "./integers.js";

/** The position of records that failed: see `src/producer.rs`. */
const FAILED = 0xffff_ffff_ffff_ffffn;
/** Settled sends at the front of the array that are kept, so that few sends are moved. */
const KEPT = 4096;

type Resolve = (position: number | bigint) => void;
type Reject = (error: unknown) => void;

/** What {@link take} was called with. */
let resolve: Resolve;
let reject: Reject;

/** The executor of every promise, so that none needs a closure of its own. */
function take(resolveOne: Resolve, rejectOne: Reject): void {
  resolve = resolveOne;
  reject = rejectOne;
}

export class Sends {
  // One array for each field: fewer objects than one for each send.
  #firsts: number[] = [];
  #lasts: number[] = [];
  #asBigInts: boolean[] = [];
  #resolves: Resolve[] = [];
  #rejects: Reject[] = [];
  /** The index of the first send that is not settled. */
  #at = 0;
  /** What is known of that send, if some of its records are settled. */
  #position: number | bigint = 0;
  #error: StyxError | undefined;
  #count = 0;

  /** The number of records that were added. */
  get count(): number {
    return this.#count;
  }

  /** The promise of the position of the records with these sequences. */
  add(first: number, last: number, asBigInt: boolean): Promise<number | bigint> {
    this.#count += last - first + 1;
    const position = new Promise(take);
    this.#firsts.push(first);
    this.#lasts.push(last);
    this.#asBigInts.push(asBigInt);
    this.#resolves.push(resolve);
    this.#rejects.push(reject);
    return position;
  }

  /**
   * Settles promises, and returns the sequence behind the last settled record.
   *
   * @param settled - for each block: its first sequence, its records, and its position
   * @param failures - the errors of the failed blocks
   * @param report - a failed send has told its caller about this failure
   */
  settle(settled: BigUint64Array, failures: string[], report: (failure: number) => void): number {
    let failed = 0;
    let end = 0;
    for (let at = 0; at < settled.length; at += 3) {
      const first = Number(settled[at]);
      end = first + Number(settled[at + 1]);
      const position = settled[at + 2]!;
      if (position === FAILED) {
        const failure = failed;
        failed += 1;
        this.#failBlock(first, end, failures[failure]!, () => report(failure));
      } else {
        this.#resolveBlock(first, end, position);
      }
    }
    this.#compact();
    return end;
  }

  /** Fails every send with a record of this sequence or a later one. Returns how many there are. */
  fail(sequence: number, error: StyxError): number {
    let end = this.#at;
    while (end < this.#lasts.length && this.#lasts[end]! < sequence) {
      end += 1;
    }
    let records = 0;
    for (let at = end; at < this.#lasts.length; at += 1) {
      const first = this.#firsts[at]!;
      records += this.#lasts[at]! - Math.max(first, sequence) + 1;
      this.#rejects[at]!(first < sequence ? maybeAppended(error) : error);
    }
    this.#keep(this.#at, end);
    return records;
  }

  #resolveBlock(first: number, end: number, position: bigint): void {
    const base = Number(position);
    const isSafe = Number.isSafeInteger(base + (end - first));
    const [firsts, lasts] = [this.#firsts, this.#lasts];
    let at = this.#at;
    for (; at < firsts.length && firsts[at]! < end; at += 1) {
      const offset = firsts[at]! - first;
      if (offset >= 0) {
        this.#position = isSafe ? base + offset : position + BigInt(offset);
        this.#error = undefined;
      } else if (this.#error !== undefined) {
        this.#error = maybeAppended(this.#error);
      }
      if (lasts[at]! >= end) {
        break;
      }
      this.#finish(at);
    }
    this.#at = at;
  }

  #failBlock(first: number, end: number, failure: string, report: () => void): void {
    let error: StyxError | undefined;
    let at = this.#at;
    for (; at < this.#firsts.length && this.#firsts[at]! < end; at += 1) {
      if (error === undefined) {
        error = fromJson(failure);
        report();
      }
      if (this.#firsts[at]! >= first) {
        this.#error = error;
      } else if (this.#error === undefined) {
        // Its records before this block are in the log.
        this.#error = maybeAppended(error);
      } else if (error.maybeAppended) {
        this.#error = maybeAppended(this.#error);
      }
      if (this.#lasts[at]! >= end) {
        break;
      }
      this.#finish(at);
    }
    this.#at = at;
  }

  /** Settles the promise of the send at this index. */
  #finish(at: number): void {
    if (this.#error !== undefined) {
      this.#rejects[at]!(this.#error);
    } else if (this.#asBigInts[at]!) {
      this.#resolves[at]!(BigInt(this.#position));
    } else if (typeof this.#position === "number") {
      this.#resolves[at]!(this.#position);
    } else {
      try {
        this.#resolves[at]!(toNumber(this.#position, "sendBigInt"));
      } catch (error) {
        this.#rejects[at]!(error);
      }
    }
  }

  #compact(): void {
    const length = this.#firsts.length;
    if (this.#at === length || (this.#at > KEPT && this.#at > length / 2)) {
      this.#keep(this.#at, length);
    }
  }

  /** Forgets all sends but those of these indexes. */
  #keep(start: number, end: number): void {
    this.#firsts = this.#firsts.slice(start, end);
    this.#lasts = this.#lasts.slice(start, end);
    this.#asBigInts = this.#asBigInts.slice(start, end);
    this.#resolves = this.#resolves.slice(start, end);
    this.#rejects = this.#rejects.slice(start, end);
    this.#at = 0;
  }
}
