// Sends: the promises of records that are not durable yet, in the order of their sequences.

import { fromJson, maybeAppended, type StyxError } from "./errors.js";
import { toNumber } from "./integers.js";

/** The position of records that failed: see `src/producer.rs`. */
const FAILED = 0xffff_ffff_ffff_ffffn;
/** Settled sends at the front of the array that are kept, so that few sends are moved. */
const KEPT = 4096;

interface Send {
  first: number;
  last: number;
  /** The position of the first record, once it is known. */
  position: number | bigint;
  error: StyxError | undefined;
  asBigInt: boolean;
  resolve(position: number | bigint): void;
  reject(error: unknown): void;
}

export class Sends {
  #sends: Send[] = [];
  /** The index of the first send that is not settled. */
  #at = 0;
  #count = 0;

  /** The number of records that were added. */
  get count(): number {
    return this.#count;
  }

  /** The promise of the position of the records with these sequences. */
  add(first: number, last: number, asBigInt: boolean): Promise<number | bigint> {
    this.#count += last - first + 1;
    return new Promise((resolve, reject) => {
      this.#sends.push({ first, last, position: 0, error: undefined, asBigInt, resolve, reject });
    });
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
    const sends = this.#sends.slice(this.#at);
    let records = 0;
    this.#at = 0;
    this.#sends = sends.filter((send) => send.last < sequence);
    for (const send of sends) {
      if (send.last >= sequence) {
        records += send.last - Math.max(send.first, sequence) + 1;
        send.reject(send.first < sequence ? maybeAppended(error) : error);
      }
    }
    return records;
  }

  #resolveBlock(first: number, end: number, position: bigint): void {
    const base = Number(position);
    const isSafe = Number.isSafeInteger(base + (end - first));
    while (this.#at < this.#sends.length) {
      const send = this.#sends[this.#at]!;
      if (send.first >= end) {
        return;
      }
      if (send.first >= first) {
        const offset = send.first - first;
        send.position = isSafe ? base + offset : position + BigInt(offset);
      } else if (send.error !== undefined) {
        send.error = maybeAppended(send.error);
      }
      if (send.last >= end) {
        return;
      }
      this.#at += 1;
      finish(send);
    }
  }

  #failBlock(first: number, end: number, failure: string, report: () => void): void {
    let error: StyxError | undefined;
    while (this.#at < this.#sends.length) {
      const send = this.#sends[this.#at]!;
      if (send.first >= end) {
        return;
      }
      if (error === undefined) {
        error = fromJson(failure);
        report();
      }
      if (send.first >= first) {
        send.error = error;
      } else if (send.error === undefined) {
        // Its records before this block are in the log.
        send.error = maybeAppended(error);
      } else if (error.maybeAppended) {
        send.error = maybeAppended(send.error);
      }
      if (send.last >= end) {
        return;
      }
      this.#at += 1;
      finish(send);
    }
  }

  #compact(): void {
    if (this.#at === this.#sends.length) {
      this.#sends = [];
      this.#at = 0;
    } else if (this.#at > KEPT && this.#at > this.#sends.length / 2) {
      this.#sends.splice(0, this.#at);
      this.#at = 0;
    }
  }
}

function finish(send: Send): void {
  if (send.error !== undefined) {
    send.reject(send.error);
  } else if (send.asBigInt) {
    send.resolve(BigInt(send.position));
  } else if (typeof send.position === "number") {
    send.resolve(send.position);
  } else {
    try {
      send.resolve(toNumber(send.position, "sendBigInt"));
    } catch (error) {
      send.reject(error);
    }
  }
}
