import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { PACKAGE } from "./support.mjs";

const require = createRequire(import.meta.url);

test("strict_program_with_await_using_compiles_and_runs", () => {
  const compiler = join(dirname(require.resolve("typescript/package.json")), "bin", "tsc");
  const run = (...args) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: PACKAGE });
    assert.deepEqual([status, String(stderr)], [0, ""], String(stdout));
    return String(stdout);
  };
  run(compiler, "-p", "test/types");
  assert.equal(run("dist/test/program.mjs"), "one\n");
});
