import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import * as styx from "styx-client";
import * as testing from "styx-client/testing";

const require = createRequire(import.meta.url);

for (const [name, module] of Object.entries({
  "styx-client": styx,
  "styx-client/testing": testing,
})) {
  test(`modules_of_both_kinds_export_the_same_objects_from_${name}`, () => {
    const common = require(name);
    const names = Object.keys(common).filter((key) => key !== "default" && key !== "__esModule");
    const others = Object.keys(module).filter(
      (key) => key !== "default" && key !== "module.exports" && key !== "__esModule",
    );
    assert.deepEqual(names.sort(), others.sort());
    for (const key of names) {
      assert.equal(module[key], common[key], key);
    }
  });
}

test("exported_names", () => {
  assert.deepEqual(Object.keys(require("styx-client")).sort(), [
    "Checkpoint",
    "Client",
    "Consumer",
    "CursorInfo",
    "LogInfo",
    "Producer",
    "Record",
    "RecordBatch",
    "StyxError",
    "version",
  ]);
  assert.equal(
    styx.version,
    JSON.parse(readFileSync(require.resolve("styx-client/package.json"))).version,
  );
});

test("other_files_of_the_package_are_private", () => {
  assert.throws(() => require("styx-client/dist/native.js"), {
    code: "ERR_PACKAGE_PATH_NOT_EXPORTED",
  });
});

test("clients_producers_and_consumers_are_not_thenable", () => {
  for (const made of [styx.Client, styx.Producer, styx.Consumer]) {
    assert.equal(made.prototype.then, undefined);
    assert.equal(typeof made.prototype[Symbol.asyncDispose], "function");
  }
});
