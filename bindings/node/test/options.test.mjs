import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import { Client } from "styx-client";
import { PACKAGE, rejectsWith, throwsWith, useServer } from "./support.mjs";

const require = createRequire(import.meta.url);
const { native } = require(join(PACKAGE, "dist", "native.js"));
const { camelCase, optionTexts } = require(join(PACKAGE, "dist", "options.js"));

const context = useServer();
/** Without the option that this package sets itself. */
const ROWS = JSON.parse(native.options()).filter(({ name }) => name !== "track_settled");
/** Options that belong to this package alone. */
const OWN = ["consumer external"];

/** The options of the TypeScript types: `client token` and so on. */
function typed() {
  const text = readFileSync(join(PACKAGE, "lib", "options.ts"), "utf8");
  const names = [];
  for (const of of ["Client", "Producer", "Consumer"]) {
    const [, body] = text.match(new RegExp(`export interface ${of}Options {\n(.*?)\n}`, "s"));
    for (const [, name] of body.matchAll(/^ {2}(\w+)\?:/gm)) {
      names.push(`${of.toLowerCase()} ${name}`);
    }
  }
  return names;
}

test("types_have_the_options_of_the_core", () => {
  const rows = ROWS.map(({ of, name }) => `${of} ${camelCase(name)}`);
  assert.deepEqual(typed().sort(), [...rows, ...OWN].sort());
});

/** A valid value of each unit, and its text for the core. */
const VALUES = {
  duration: [
    [2500, "2500000 us"],
    [0.5, "500 us"],
    [Number.POSITIVE_INFINITY, "none"],
  ],
  "true or false": [
    [true, "true"],
    [false, "false"],
  ],
  number: [
    [5, "5"],
    [5n, "5"],
    [2n ** 64n - 1n, "18446744073709551615"],
  ],
  bytes: [
    [65_536, "65536"],
    [65_536n, "65536"],
  ],
  start: [
    ["end", "end"],
    [5, "5"],
    [new Date(0), "time:1970-01-01T00:00:00.000Z"],
  ],
  codecs: [
    [["lz4", "zstd"], "lz4,zstd"],
    [[], "none"],
    [["zstd"], "zstd"],
  ],
};

test("options_reach_the_core_as_keys_and_values", () => {
  for (const { of, name, unit } of ROWS) {
    for (const [value, text] of VALUES[unit] ?? [["text", "text"]]) {
      assert.deepEqual(optionTexts(of, { [camelCase(name)]: value }), [name, text]);
    }
    assert.deepEqual(optionTexts(of, { [camelCase(name)]: undefined }), []);
    assert.deepEqual(optionTexts(of, { [camelCase(name)]: null }), []);
  }
  assert.deepEqual(optionTexts("client", { caPem: Buffer.from("pem") }), ["ca_pem", "pem"]);
});

test("values_of_another_type_are_invalid_argument", () => {
  const wrong = {
    duration: ["1", -1, Number.NaN, true, 5n, {}],
    "true or false": [1, "true", {}],
    number: ["5", -1, 1.5, 2 ** 53, Number.NaN, true, -1n, {}],
    bytes: ["5", -1, 1.5, Number.POSITIVE_INFINITY, true, {}],
    start: [-1, 1.5, true, {}, [], new Date(Number.NaN)],
  };
  for (const { of, name, unit } of ROWS) {
    for (const value of wrong[unit] ?? []) {
      const error = throwsWith("invalid_argument", () =>
        optionTexts(of, { [camelCase(name)]: value }),
      );
      assert(error.message.startsWith(unit === "start" ? "start" : camelCase(name)), error.message);
    }
  }
});

test("every_option_is_accepted", async () => {
  const log = await context.logOf(["a"]);
  const client = await Client.connect(context.server.address, {
    token: "token",
    serverName: "localhost",
    connectTimeout: 5000,
    timeout: 5000,
    silenceTimeout: 5000,
    retry: false,
    threads: 2,
    userAgent: "test",
    traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
  });
  const producer = client.producer(log, {
    compression: "lz4",
    linger: 0.1,
    blockBytes: 65_536,
    inFlightBytes: 1_048_576n,
    deadline: 5000,
    closeTimeout: 5000,
    idempotent: true,
    producerId: 5,
    epoch: 1n,
    expectedPosition: 1,
  });
  assert.equal(await producer.send("b"), 1);
  const consumer = client.consumer(log, {
    start: 0,
    cursor: "c",
    count: 2,
    follow: true,
    deadline: Number.POSITIVE_INFINITY,
    bufferBytes: 1_048_576,
    codecs: ["lz4"],
    external: true,
  });
  const texts = [];
  for await (const record of consumer.records()) {
    texts.push(record.text);
  }
  assert.deepEqual(texts, ["a", "b"]);
  await client.close();
});

test("infinity_is_no_deadline_of_a_consumer", async () => {
  const log = await context.logOf(["a"]);
  throwsWith("invalid_argument", () =>
    context.client.producer(log, { deadline: Number.POSITIVE_INFINITY }),
  );
  const consumer = context.client.consumer(log, { deadline: Number.POSITIVE_INFINITY });
  assert.deepEqual((await consumer.poll()).texts(), ["a"]);
  await consumer.close();
});

test("invalid_options_are_thrown_at_once", async () => {
  const { client } = context;
  const { message } = throwsWith("invalid_argument", () => client.producer("a", { lingr: 5 }));
  assert.match(message, /lingr.*linger/);
  throwsWith("invalid_argument", () => client.producer("a", { compression: "gzip" }));
  throwsWith("invalid_argument", () => client.producer("a", { trackSettled: false }));
  throwsWith("invalid_argument", () => client.producer("a", { blockBytes: 2 ** 30 }));
  throwsWith("invalid_argument", () => client.producer("a", { closeTimeout: "5" }));
  throwsWith("invalid_argument", () =>
    client.producer("a", { signal: new AbortController().signal }),
  );
  throwsWith("invalid_argument", () => client.consumer("a", { follows: true }));
  throwsWith("invalid_argument", () => client.consumer("a", { codecs: ["gzip"] }));
  throwsWith("invalid_argument", () => client.consumer("a", { codecs: "lz5" }));
  await rejectsWith("invalid_argument", Client.connect(context.server.address, { tokn: "a" }));
  await rejectsWith("invalid_argument", Client.connect(context.server.address, { threads: 0 }));
  await rejectsWith(
    "invalid_argument",
    Client.connect(context.server.address, { silenceTimeout: 1 }),
  );
  assert.deepEqual(
    (await client.listLogs()).map(({ name }) => name).filter((name) => name === "a"),
    [],
  );
});

test("close_timeout_of_another_type_is_invalid_argument", async () => {
  const producer = context.client.producer(await context.log());
  await rejectsWith("invalid_argument", producer.close({ timeout: "5" }));
  assert(producer.closed);
});
