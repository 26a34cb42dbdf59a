// Options and starts: from the names and values of the protocol to those of the package.

import { Checkpoint } from "./package.mjs";

/** Options that are durations: seconds in the protocol, milliseconds in the package. */
const DURATIONS = new Set([
  "connect_timeout",
  "timeout",
  "silence_timeout",
  "linger",
  "deadline",
  "close_timeout",
]);

/** Options that are integers, which the protocol writes as text if they are large. */
const INTEGERS = new Set(["producer_id", "epoch", "expected_position", "count"]);

/** `close_timeout` as `closeTimeout`. */
export function camelCase(name) {
  return name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
}

export function milliseconds(seconds) {
  return seconds * 1000;
}

/** The fields with the names of the package. */
export function renamed(fields) {
  return Object.fromEntries(
    Object.entries(fields ?? {}).map(([name, value]) => [camelCase(name), value]),
  );
}

/** A start. The constructor of Checkpoint fails if its text is wrong. */
export function start(value) {
  return typeof value === "object" ? new Checkpoint(value.checkpoint) : value;
}

export function options(given) {
  const converted = Object.entries(given ?? {}).map(([name, value]) => [name, option(name, value)]);
  return renamed(Object.fromEntries(converted));
}

function option(name, value) {
  if (name === "start") {
    return start(value);
  }
  if (name === "codecs") {
    return value === "none" ? [] : value.split(",");
  }
  if (DURATIONS.has(name)) {
    return value === null ? Number.POSITIVE_INFINITY : milliseconds(value);
  }
  return INTEGERS.has(name) ? BigInt(value) : value;
}
