// Uses the installed package as a CommonJS module, and compares it with the ECMAScript module.

const assert = require("node:assert/strict");
const styx = require("styx-client");
const testing = require("styx-client/testing");

async function main() {
  const client = await styx.Client.connect();
  await client.createLog("smoke");
  assert.equal(await client.producer("smoke").send("text"), 0);
  const batch = await client.consumer("smoke").poll();
  assert.deepEqual(batch?.texts(), ["text"]);
  await client.close();

  // Both kinds of modules have the same names, and the same classes.
  for (const [name, required] of [
    ["styx-client", styx],
    ["styx-client/testing", testing],
  ]) {
    const imported = await import(name);
    const names = (module) =>
      Object.keys(module).filter(
        (one) => !["default", "__esModule", "module.exports"].includes(one),
      );
    assert.deepEqual(names(imported).sort(), names(required).sort());
    for (const one of names(required)) {
      assert.equal(imported[one], required[one], one);
    }
  }
}

main();
