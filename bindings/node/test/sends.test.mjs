// The promises of sends whose records are in several blocks.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Sends } from "../dist/sends.js";

const FAILED = 2n ** 64n - 1n;
const failure = (maybeAppended) =>
  JSON.stringify({ code: "closed", message: "m", retriable: false, maybeAppended, facts: {} });

/** Settles blocks of one record each: a position, or the text of an error. */
function settle(sends, blocks) {
  const failures = blocks.filter((block) => typeof block === "string");
  const settled = blocks.flatMap((block, at) => [
    BigInt(at),
    1n,
    typeof block === "string" ? FAILED : block,
  ]);
  return sends.settle(BigUint64Array.from(settled), failures, () => {});
}

test("send_of_which_a_part_may_be_in_the_log_says_so", async () => {
  const outside = failure(false);
  const unknown = failure(true);
  for (const [blocks, expected] of [
    [[7n, outside, outside], true],
    [[outside, 8n, outside], true],
    [[outside, outside, unknown], true],
    [[unknown, outside, outside], true],
    [[outside, outside, outside], false],
  ]) {
    const sends = new Sends();
    const position = sends.add(0, 2, false);
    const next = sends.add(3, 3, false);
    settle(sends, blocks);
    await assert.rejects(position, { code: "closed", maybeAppended: expected });
    sends.settle(BigUint64Array.of(3n, 1n, 9n), [], () => {});
    assert.equal(await next, 9);
  }
});

test("send_that_was_accepted_in_part_when_the_producer_ended_may_be_in_the_log", async () => {
  const sends = new Sends();
  const error = Object.assign(new Error("ended"), { code: "closed", maybeAppended: false });
  const inPart = sends.add(0, 9, false);
  const outside = sends.add(10, 10, false);
  assert.equal(sends.fail(4, error), 7);
  await assert.rejects(inPart, { code: "closed", maybeAppended: true });
  await assert.rejects(outside, (rejected) => rejected === error);
});
