// Every program in examples/node does what its first lines say.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Client } from "styx-client";
import {
  EXAMPLES,
  endAll,
  installExamples,
  LIMIT_MS,
  Program,
  Server,
  until,
} from "./example-programs.mjs";

const PROGRAMS = readdirSync(EXAMPLES).filter((name) => name.endsWith(".mjs"));
const PACKAGE = fileURLToPath(new URL("..", import.meta.url));

let server;
let directory;
/** A client that is not one of the examples. */
let client;

before(async () => {
  installExamples();
  directory = mkdtempSync(join(tmpdir(), "styx-examples-"));
  server = await Server.start();
  client = await Client.connect(server.url);
});

after(async () => {
  await client?.close();
  await endAll();
  rmSync(directory, { recursive: true });
});

function start(name, argv, options) {
  return new Program(server, name, argv, options);
}

/** The output of a program, which must succeed. */
async function run(name, argv, input) {
  const program = start(name, argv, { input });
  const code = await program.end();
  assert.equal(program.errors, "");
  assert.equal(code, 0);
  return program.output;
}

async function append(log, payloads) {
  await client.createLog(log, { existOk: true });
  const producer = client.producer(log);
  const position = payloads.length === 0 ? 0 : await producer.sendMany(payloads);
  await producer.close();
  return position;
}

test("every program is in the table of the README", () => {
  const readme = readFileSync(join(EXAMPLES, "README.md"), "utf8");
  const listed = [...readme.matchAll(/^\| \[([\w.]+)\]/gm)].map(([, name]) => name);
  assert.deepEqual(listed.sort(), PROGRAMS);
});

test("the programs pass strict type checks", () => {
  const config = join(directory, "tsconfig.json");
  const compilerOptions = {
    target: "es2022",
    lib: ["es2023", "esnext.disposable"],
    module: "nodenext",
    strict: true,
    noUncheckedIndexedAccess: true,
    noImplicitReturns: true,
    noUnusedLocals: true,
    noUnusedParameters: true,
    allowJs: true,
    checkJs: true,
    noEmit: true,
    types: ["node"],
    typeRoots: [join(PACKAGE, "node_modules/@types")],
  };
  const files = PROGRAMS.map((name) => join(EXAMPLES, name));
  writeFileSync(config, JSON.stringify({ compilerOptions, files }));
  const tsc = join(PACKAGE, "node_modules/.bin/tsc");
  const { status, stdout } = spawnSync(tsc, ["-p", config], { encoding: "utf8" });
  assert.equal(status, 0, stdout);
});

describe("errors", () => {
  for (const name of PROGRAMS) {
    test(`${name} says that no server runs`, async () => {
      const argv = ["gateway.mjs", "chat.mjs"].includes(name) ? ["0"] : ["orders", "file"];
      const nowhere = { url: "styx://127.0.0.1:1" };
      const program = new Program(nowhere, name, argv);
      assert.equal(await program.end(), 1);
      assert.match(program.errors, /^error: cannot connect to styx:\/\/127\.0\.0\.1:1: .*\n$/);
    });
  }

  for (const name of PROGRAMS.filter((name) => !["gateway.mjs", "chat.mjs"].includes(name))) {
    test(`${name} says how to use it`, async () => {
      const program = start(name, []);
      assert.equal(await program.end(), 2);
      assert.match(program.errors, new RegExp(`^usage: node ${name} LOG`));
    });
  }

  test("a missing log is named", async () => {
    for (const name of ["consume.mjs", "follow.mjs"]) {
      const program = start(name, ["nothing"]);
      assert.equal(await program.end(), 1);
      assert.match(program.errors, /^error: .*nothing/);
    }
  });

  test("a missing file is named", async () => {
    const program = start("words.mjs", ["no-words", join(directory, "missing")]);
    assert.equal(await program.end(), 1);
    assert.match(program.errors, /^error: ENOENT.*missing/);
  });
});

describe("produce and consume", () => {
  test("consume prints what produce has appended", async () => {
    const output = await run("produce.mjs", ["lines"], "one\n\nthree\n");
    assert.equal(output, "3 lines; the log ends at position 3\n");
    assert.equal(await run("consume.mjs", ["lines"]), "0 one\n1 \n2 three\n");
    assert.equal(await run("consume.mjs", ["lines", "end-1"]), "2 three\n");
  });

  test("produce without lines creates the log", async () => {
    assert.match(await run("produce.mjs", ["empty"]), /^0 lines/);
    assert.equal(await run("consume.mjs", ["empty"]), "");
  });

  test("produce waits for room when the input is large", async () => {
    const line = `${"x".repeat(999)}\n`;
    const output = await run("produce.mjs", ["large"], line.repeat(60_000));
    assert.equal(output, "60000 lines; the log ends at position 60000\n");
  });

  test("Ctrl-C ends produce after it has stored the lines so far", async () => {
    await append("interrupted", []);
    const program = start("produce.mjs", ["interrupted"], { input: "open" });
    program.input.write("one\ntwo\n");
    await until(async () => (await client.getLog("interrupted")).endPosition === 2, "two records");
    assert.equal(await program.end("SIGINT"), 0);
    assert.equal(program.output, "2 lines; the log ends at position 2\n");
  });
});

test("follow prints new records across a restart of the server", async () => {
  const own = await Server.start();
  const writer = await Client.connect(own.url);
  await writer.createLog("orders");
  const producer = writer.producer("orders");
  await producer.send("old");
  const program = new Program(own, "follow.mjs", ["orders"]);
  await program.wrote("following orders from position 1\n");
  await producer.send("before");
  await program.wrote("before\n");
  await own.kill();
  await own.restart();
  await producer.send("after");
  await program.wrote("after\n");
  assert.equal(await program.end("SIGINT"), 0);
  assert.equal(program.output, "before\nafter\n");
  assert.match(program.errors, /lost the connection of orders: /);
  assert.match(program.errors, /stopped at position 3\n$/);
  await writer.close();
  await own.stop();
});

test("words counts the words of a file, also those that two pieces of it share", async () => {
  const file = join(directory, "words.txt");
  // A piece of a file has 64 KiB, so some words are cut.
  const text = "Styx the log, the LOG; Größe\n".repeat(10_000);
  writeFileSync(file, text);
  const expected = "20000 log\n20000 the\n10000 größe\n10000 styx\n";
  assert.equal(await run("words.mjs", ["words", file]), expected);
  // The words of the first run are in the log, and are not counted again.
  assert.equal(await run("words.mjs", ["words", file]), expected);
  assert.equal((await client.getLog("words")).recordCount, 120_000);
});

describe("reliable", () => {
  const sqlite = createRequire(join(EXAMPLES, "package.json"))("node-sqlite3-wasm");

  /** A copy is read, because this SQLite lets one process at a time use a database. */
  function query(file, sql) {
    const copy = join(directory, "copy.sqlite");
    for (const suffix of ["", "-journal"]) {
      rmSync(copy + suffix, { force: true });
    }
    rmSync(`${copy}.lock`, { recursive: true, force: true });
    writeFileSync(copy, readFileSync(file));
    try {
      writeFileSync(`${copy}-journal`, readFileSync(`${file}-journal`));
    } catch {
      // No transaction is under way.
    }
    const database = new sqlite.Database(copy);
    try {
      return database.all(sql);
    } finally {
      database.close();
    }
  }

  test("counts each record once although program and server are killed", async () => {
    const own = await Server.start();
    const writer = await Client.connect(own.url);
    await writer.createLog("orders");
    const producer = writer.producer("orders");
    const file = join(directory, "totals.sqlite");
    const expected = new Map();
    let appended = 0;
    let killedInTheMiddle = 0;

    for (let round = 0; round < 5; round += 1) {
      for (let block = 0; block < 40; block += 1) {
        const rest = "x".repeat(800);
        const payloads = Array.from({ length: 250 }, (_, at) => `word${at % 7} ${rest}`);
        for (const payload of payloads) {
          const word = payload.split(" ")[0];
          expected.set(word, (expected.get(word) ?? 0) + 1);
        }
        producer.sendMany(payloads);
        appended += payloads.length;
      }
      await producer.flush();
      const before = existsSync(file) ? statSync(file).mtimeMs : 0;
      const program = new Program(own, "reliable.mjs", ["orders", file]);
      await program.wrote("counting from position");
      await until(() => statSync(file).mtimeMs !== before, "a transaction");
      // Each round kills it a little later.
      await sleep(5 * round);
      assert.equal(await program.end("SIGKILL"), "SIGKILL");
      const counted = total(file);
      killedInTheMiddle += counted > 0 && counted < appended ? 1 : 0;
    }

    const program = new Program(own, "reliable.mjs", ["orders", file]);
    await program.wrote("counting from position");
    // It continues by itself when the server is there again.
    await own.kill();
    await own.restart();
    await producer.send("last");
    expected.set("last", 1);
    await until(() => total(file) === appended + 1, "all records");
    assert.equal(await program.end("SIGINT"), 0);
    assert.match(program.errors, /\nstopped\n$/);
    const rows = query(file, "SELECT word, records FROM totals");
    assert.deepEqual(new Map(rows.map(({ word, records }) => [word, records])), expected);
    assert.ok(killedInTheMiddle > 0, "it was never killed between two transactions");
    await writer.close();
    await own.stop();
  });

  function total(file) {
    try {
      return Number(query(file, "SELECT sum(records) AS total FROM totals")[0].total);
    } catch {
      // The copy was made in the middle of a write, or there is no table yet.
      return -1;
    }
  }

  test("refuses a log that was created again", async () => {
    await append("recreated", ["one"]);
    const file = join(directory, "recreated.sqlite");
    const program = start("reliable.mjs", ["recreated", file]);
    await until(() => total(file) === 1, "a stored record");
    assert.equal(await program.end("SIGINT"), 0);
    await client.deleteLog("recreated");
    await append("recreated", ["another"]);
    const again = start("reliable.mjs", ["recreated", file]);
    assert.equal(await again.end(), 1);
    assert.match(again.errors, /^error: /);
    assert.equal(total(file), 1);
  });
});

/** The URL on which a program listens. */
async function listening(program) {
  await program.wrote("listening on http://");
  return program.output.match(/http:\S+/)?.[0] ?? "";
}

/** The server-sent events of a URL. Comments are left out. */
async function* events(url, lastId) {
  const headers = new Headers(lastId === undefined ? [] : [["Last-Event-ID", lastId]]);
  const stop = new AbortController();
  const response = await fetch(url, { headers, signal: stop.signal });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  try {
    let rest = "";
    assert.ok(response.body);
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
      const found = (rest + text).split("\n\n");
      rest = found.pop() ?? "";
      for (const lines of found.map((one) => one.split("\n"))) {
        const values = (name) =>
          lines
            .filter((line) => line.startsWith(`${name}: `))
            .map((line) => line.slice(name.length + 2));
        if (values("data").length > 0) {
          yield { type: values("event")[0], id: values("id")[0], data: values("data").join("\n") };
        }
      }
    }
  } finally {
    stop.abort();
  }
}

/**
 * The body of a response.
 *
 * @returns {Promise<any>}
 */
async function json(response) {
  return response.json();
}

/** The next value of an iterator, within the limit. */
async function next(iterator) {
  const timer = new Promise((_, reject) => {
    setTimeout(() => reject(new Error("there is no event")), LIMIT_MS).unref();
  });
  return (await Promise.race([iterator.next(), timer])).value;
}

describe("gateway", () => {
  let program;
  let url;

  before(async () => {
    await append("events", []);
    program = start("gateway.mjs", ["0"]);
    url = await listening(program);
  });

  async function post(path, body) {
    const response = await fetch(url + path, { method: "POST", body });
    return { status: response.status, ...(await json(response)) };
  }

  test("streams what was posted, and continues after an event", async () => {
    assert.deepEqual(await post("/logs/events", "a book"), { status: 200, position: 0 });
    assert.deepEqual(await post("/logs/events", "two\r\nlines"), { status: 200, position: 1 });
    const reader = events(`${url}/logs/events?start=0`);
    const [first, second] = [await next(reader), await next(reader)];
    assert.deepEqual([first.data, second.data], ["a book", "two\nlines"]);
    await reader.return();
    const again = events(`${url}/logs/events`, first.id);
    assert.deepEqual(await next(again), second);
    await again.return();
  });

  test("answers errors with their codes", async () => {
    const missing = await post("/logs/nothing", "x");
    assert.deepEqual([missing.status, missing.code], [404, "log_not_found"]);
    const large = await post("/logs/events", "x".repeat(300_000));
    assert.deepEqual([large.status, large.code], [413, "record_too_large"]);
    /** @type {[string, number, string][]} */
    const cases = [
      ["/logs/events?start=soon", 400, "invalid_argument"],
      ["/logs/events?start=99", 416, "out_of_range"],
      ["/logs/nothing", 404, "log_not_found"],
      ["/elsewhere", 404, "not_found"],
    ];
    for (const [path, status, code] of cases) {
      const response = await fetch(url + path);
      assert.deepEqual([response.status, (await json(response)).code], [status, code], path);
    }
    // The shared producer still works.
    assert.equal((await post("/logs/events", "x")).status, 200);
  });

  test("creates a producer again after an error", async () => {
    assert.equal((await post("/logs/later", "x")).status, 404);
    await append("later", []);
    assert.deepEqual(await post("/logs/later", "x"), { status: 200, position: 0 });
  });

  test("ends a stream with the code of its error", async () => {
    await append("deleted", ["a book"]);
    const reader = events(`${url}/logs/deleted?start=0`);
    assert.equal((await next(reader)).data, "a book");
    await client.deleteLog("deleted");
    const last = await next(reader);
    assert.deepEqual([last.type, last.data], ["error", "log_not_found"]);
    assert.equal(await next(reader), undefined);
  });

  test("continues when the server restarts", async () => {
    const own = await Server.start();
    const writer = await Client.connect(own.url);
    await writer.createLog("orders");
    const gateway = new Program(own, "gateway.mjs", ["0"]);
    const path = `${await listening(gateway)}/logs/orders`;
    const reader = events(`${path}?start=0`);
    await fetch(path, { method: "POST", body: "before" });
    assert.equal((await next(reader)).data, "before");
    await own.kill();
    await own.restart();
    const response = await fetch(path, { method: "POST", body: "after" });
    assert.deepEqual(await response.json(), { position: 1 });
    assert.equal((await next(reader)).data, "after");
    assert.equal(await gateway.end("SIGINT"), 0);
    assert.equal(await next(reader), undefined);
    assert.equal(gateway.errors, "");
    await writer.close();
    await own.stop();
  });

  test("Ctrl-C ends it although a reader is connected", async () => {
    const reader = events(`${url}/logs/events?start=0`);
    assert.equal((await next(reader)).data, "a book");
    assert.equal(await program.end("SIGINT"), 0);
    assert.match(program.output, /\nstopped\n$/);
    assert.equal(program.errors, "");
    await reader.return();
  });
});

describe("chat", () => {
  const PROMPT = "what is a log?";
  const ANSWER = [
    ...["You ", "asked: ", ...PROMPT.split(/(?<=\s)/).slice(0, -1), "log?\n"],
    ...["I ", "am ", "not ", "a ", "real ", "model, ", "so ", "I ", "count."],
    ...Array.from({ length: 100 }, (_, number) => ` ${number + 1}`),
  ];

  function startChat() {
    return start("chat.mjs", ["0"], { env: { TOKEN_MS: "5" } });
  }

  async function ask(url) {
    const response = await fetch(`${url}/chats`, { method: "POST", body: PROMPT });
    assert.equal(response.status, 201);
    return (await json(response)).id;
  }

  /** Reads up to `count` tokens. As the page does, it remembers the text and the last id. */
  async function read(url, chat, count) {
    const query = chat.lastId === undefined ? "" : `?start=${encodeURIComponent(chat.lastId)}`;
    const reader = events(`${url}/chats/${chat.id}${query}`);
    for (let left = count; left > 0 && !chat.done; ) {
      const { id, data } = await next(reader);
      const { token, done = false } = JSON.parse(data);
      chat.lastId = id;
      chat.done = done;
      if (token !== undefined) {
        chat.tokens.push(token);
        left -= 1;
      }
    }
    await reader.return();
  }

  test("a reader that reconnects sees every token once, in order", async () => {
    const program = startChat();
    const url = await listening(program);
    const chat = { id: await ask(url), tokens: [], lastId: undefined, done: false };
    for (const count of [1, 10, 3, 40, 1, Number.POSITIVE_INFINITY]) {
      await read(url, chat, count);
    }
    assert.deepEqual(chat.tokens, ANSWER);
    const other = { id: chat.id, tokens: [], lastId: undefined, done: false };
    await read(url, other, Number.POSITIVE_INFINITY);
    assert.deepEqual(other.tokens, ANSWER);
    assert.equal(await program.end("SIGINT"), 0);
    assert.equal(program.errors, "");
  });

  test("an answer survives the end of the program, by kill and by Ctrl-C", async () => {
    const first = startChat();
    let url = await listening(first);
    const chat = { id: await ask(url), tokens: [], lastId: undefined, done: false };
    await read(url, chat, 20);
    assert.equal(await first.end("SIGKILL"), "SIGKILL");
    const second = startChat();
    url = await listening(second);
    await read(url, chat, 20);
    assert.equal(await second.end("SIGINT"), 0);
    const third = startChat();
    url = await listening(third);
    await read(url, chat, Number.POSITIVE_INFINITY);
    assert.deepEqual(chat.tokens, ANSWER);
    assert.equal(await third.end("SIGINT"), 0);
  });

  test("the page and errors are answered", async () => {
    const program = startChat();
    const url = await listening(program);
    const page = await fetch(url);
    assert.match(page.headers.get("content-type") ?? "", /^text\/html/);
    assert.match(await page.text(), /^<!doctype html>/);
    const missing = await fetch(`${url}/chats/${"0".repeat(8)}-0000-0000-0000-${"0".repeat(12)}`);
    assert.deepEqual([missing.status, (await json(missing)).code], [404, "log_not_found"]);
    assert.equal((await fetch(`${url}/other`)).status, 404);
    assert.equal(await program.end("SIGINT"), 0);
  });
});
