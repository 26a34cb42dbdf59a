import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import { StyxError } from "styx-client";
import { PACKAGE } from "./support.mjs";

const require = createRequire(import.meta.url);
// The package does not export it.
const { native } = require(join(PACKAGE, "dist", "native.js"));
const { fromNative } = require(join(PACKAGE, "dist", "errors.js"));

/** Codes that the server does not send, so docs/errors.md does not list them. */
const CLIENT_CODES = [
  "bad_answer",
  "closed",
  "connection_failed",
  "forked",
  "invalid_argument",
  "panicked",
  "timed_out",
  "unknown_host",
  "untrusted_server",
  "would_block",
];

/** The rows of the table in docs/errors.md. */
function documented() {
  const text = readFileSync(join(PACKAGE, "..", "..", "docs", "errors.md"), "utf8");
  return text
    .split("\n")
    .filter((line) => /^\| `\w+` \|/.test(line))
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .map((cells) => ({ code: cells[1].slice(1, -1), retry: cells[5], meaning: cells[7] }));
}

test("kinds_are_those_of_the_documentation", () => {
  const kinds = JSON.parse(native.kinds());
  const rows = documented();
  assert.deepEqual(
    kinds.map(({ code }) => code).sort(),
    [...rows.map(({ code }) => code), ...CLIENT_CODES].sort(),
  );
  for (const { code, retriable, meaning, number } of kinds) {
    assert(Number.isInteger(number) && meaning.length > 0, code);
    const row = rows.find((one) => one.code === code);
    if (row !== undefined) {
      assert.equal(row.meaning, meaning, code);
      assert.equal(row.retry, retriable ? "yes" : "no", code);
    }
  }
  assert.equal(new Set(kinds.map(({ number }) => number)).size, kinds.length);
});

test("errors_can_be_made_for_tests", () => {
  const cause = new Error("cause");
  const error = new StyxError("log_not_found", "there is no log a", {
    retriable: true,
    maybeAppended: true,
    cause,
    facts: { startPosition: 5, status: "corrupt" },
  });
  assert(error instanceof Error);
  assert.equal(error.name, "StyxError");
  assert.equal(error.code, "log_not_found");
  assert.equal(error.message, "there is no log a");
  assert.equal(error.retriable, true);
  assert.equal(error.maybeAppended, true);
  assert.equal(error.cause, cause);
  assert.equal(error.startPosition, 5);
  assert.equal(error.status, "corrupt");
  assert.equal("endPosition" in error, false);
  assert.match(String(error), /^StyxError: there is no log a$/);
  const plain = new StyxError("closed", "closed");
  assert.equal(plain.retriable, false);
  assert.equal(plain.maybeAppended, false);
  assert.equal("cause" in plain, false);
});

test("errors_of_the_native_module_are_styx_errors", () => {
  const text = JSON.stringify({
    code: "out_of_range",
    message: "gone",
    retriable: false,
    maybeAppended: false,
    facts: { startPosition: "18446744073709551615", retryAfter: 5, status: "ok" },
  });
  const error = fromNative(new Error(text));
  assert(error instanceof StyxError);
  assert.equal(error.startPosition, 2 ** 64);
  assert.equal(error.retryAfter, 5);
  assert.equal(error.status, "ok");
  const other = new TypeError("no JSON");
  assert.equal(fromNative(other), other);
  for (const value of [null, undefined, 5, "text"]) {
    assert.equal(fromNative(value), value);
  }
});
