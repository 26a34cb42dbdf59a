// Positions and counts: 64-bit integers as JavaScript numbers, checked against 2^53.

import { invalidArgument } from "./errors.js";

/** A position or count. A number must be a safe integer. */
export type Integer = number | bigint;

/**
 * The integer as a number.
 *
 * @throws {RangeError} if it exceeds 2^53 - 1. `twin` is the name of the bigint property.
 */
export function toNumber(value: bigint, twin: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) {
    throw new RangeError(`${value} exceeds 2^53 - 1: use ${twin}`);
  }
  return number;
}

/** An integer of at least 0, as text. `name` is for the error. */
export function integerText(name: string, value: unknown): string {
  const isInteger =
    (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) ||
    (typeof value === "bigint" && value >= 0n);
  if (!isInteger) {
    throw invalidArgument(`${name} is ${shown(value)}: use an integer of at least 0`);
  }
  return String(value);
}

/** A value for a message. */
export function shown(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}
