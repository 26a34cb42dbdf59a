// Checkpoint: where reading continues, as one opaque string.

import { translated } from "./errors.js";
import { toNumber } from "./integers.js";
import { native } from "./native.js";

/**
 * A log's id and the position of the next record to read.
 *
 * Store `String(checkpoint)` together with the output of the records before it, in one
 * transaction, and pass it back as the consumer's `start`. A consumer that starts at a checkpoint
 * of a log that was truncated or recreated fails with `log_changed`.
 */
export class Checkpoint {
  /** The id of the log, as 32 hexadecimal digits. */
  readonly logId: string;
  /** As {@link position}, as a bigint. */
  readonly positionBigInt: bigint;

  /**
   * @param text - what `String(checkpoint)` has returned. Another text is an error:
   *   `invalid_argument`.
   */
  constructor(text: string) {
    const [logId, position] = translated(() => native.parseCheckpoint(String(text)));
    this.logId = logId;
    this.positionBigInt = BigInt(position);
  }

  /** The position of the next record to read. Throws RangeError beyond 2^53 - 1. */
  get position(): number {
    return toNumber(this.positionBigInt, "positionBigInt");
  }

  /** The text to store. `new Checkpoint(text)` and the option `start` read it. */
  toString(): string {
    return `${this.logId}:${this.positionBigInt}`;
  }

  toJSON(): string {
    return this.toString();
  }
}
