// The pages about the package are right: their programs run, and their tables match the code.
//
// All `js` and `ts` blocks of a page are one program, which runs in the order of the page. A block
// that declares `client` begins a new one, and a block with tests is a program for `node --test`.
// Each page has a server, whose address is in STYX_HOST and replaces localhost:7123. If the next
// block is `text`, it is the output of the block before it.
//
// Commands are in `console` blocks, which are not run here. `sh` blocks would be run by the tests
// of the server, where no npm package is installed.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { blocks, GUIDE, headings, PAGES, PRACTICE, README, read, tables } from "./documents.mjs";
import { endAll, LIMIT_MS, ROOT, Server } from "./example-programs.mjs";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const { native } = createRequire(import.meta.url)("../dist/native.js");
const EXAMPLES_README = "examples/node/README.md";
const LANGUAGES = ["js", "ts"];
/** Printed between the output of two blocks. */
const MARK = "\u0001";

after(endAll);

const isProgram = ({ language }) => LANGUAGES.includes(language);
const hasTests = ({ text }) => text.includes('from "node:test"');

/** A project with the package and what some programs use besides it. */
function project() {
  const directory = mkdtempSync(join(tmpdir(), "styx-docs-"));
  after(() => rmSync(directory, { recursive: true }));
  const modules = join(directory, "node_modules");
  mkdirSync(join(modules, "@opentelemetry/api"), { recursive: true });
  mkdirSync(join(modules, "@types"));
  symlinkSync(PACKAGE, join(modules, "styx-client"));
  symlinkSync(join(PACKAGE, "node_modules/@types/node"), join(modules, "@types/node"));
  symlinkSync(join(PACKAGE, "node_modules/jose"), join(modules, "jose"));
  writeFileSync(join(directory, "package.json"), '{ "type": "module" }');
  // The part of OpenTelemetry that the guide uses. It prints what it gets when the program ends.
  writeFileSync(
    join(modules, "@opentelemetry/api/package.json"),
    '{ "name": "@opentelemetry/api", "type": "module", "exports": "./index.js" }',
  );
  writeFileSync(
    join(modules, "@opentelemetry/api/index.js"),
    `const callbacks = [];
const counts = {};
export const metrics = {
  getMeter: () => ({
    createCounter: (name) => ({
      add(value, { kind }) { counts[name + " " + kind] = (counts[name + " " + kind] ?? 0) + value; },
    }),
    createObservableGauge: (name) => ({
      addCallback: (callback) => callbacks.push([name, callback]),
    }),
  }),
};
export function collected() {
  const gauges = [];
  for (const [name, callback] of callbacks) {
    callback({ observe: (value, attributes) => gauges.push([name, value, attributes]) });
  }
  return { counts, gauges };
}
`,
  );
  writeFileSync(
    join(modules, "@opentelemetry/api/index.d.ts"),
    `type Attributes = { [name: string]: string };
interface Result { observe(value: number, attributes?: Attributes): void }
export declare const metrics: {
  getMeter(name: string): {
    createCounter(name: string): { add(value: number, attributes?: Attributes): void };
    createObservableGauge(name: string): { addCallback(callback: (result: Result) => void): void };
  };
};
export declare function collected(): unknown;
`,
  );
  const compilerOptions = {
    target: "es2022",
    lib: ["es2023", "esnext.disposable"],
    module: "nodenext",
    strict: true,
    noImplicitReturns: true,
    outDir: "out",
    types: ["node"],
  };
  writeFileSync(
    join(directory, "tsconfig.json"),
    JSON.stringify({ compilerOptions, include: ["*.ts"] }),
  );
  return directory;
}

/** The programs of a page: lists of blocks. */
function programs(page) {
  const found = [];
  let current;
  for (const block of blocks(page).filter(isProgram)) {
    if (hasTests(block)) {
      found.push([block]);
    } else if (current === undefined || /^const client = /m.test(block.text)) {
      current = [block];
      found.push(current);
    } else {
      current.push(block);
    }
  }
  return found;
}

const IMPORT = /^import (type )?(?:\{([^}]*)\}|(\w+)) from "([^"]+)";\n/gm;

/** One source of a list of blocks. A name is imported once, and `Client` always. */
function source(found) {
  const names = new Map([["styx-client", new Set(["Client"])]]);
  const bodies = found.map(({ line, text }) => {
    const body = text.replace(IMPORT, (_, type, list, whole, from) => {
      const of = names.get(from) ?? new Set();
      names.set(from, of);
      const imported = list === undefined ? [`default as ${whole}`] : list.split(",");
      for (const name of imported.map((one) => one.trim()).filter(Boolean)) {
        of.add(type === undefined ? name : `type ${name}`);
      }
      return "";
    });
    return `process.stdout.write("${MARK}${line}${MARK}");\n${body}`;
  });
  const imports = [...names].map(
    ([from, of]) => `import { ${[...of].join(", ")} } from "${from}";\n`,
  );
  return [...imports, ...bodies].join("");
}

/** Runs a program: its output. */
async function run(directory, argv, server) {
  const child = spawn(process.execPath, argv, {
    cwd: directory,
    env: { ...environment(), STYX_HOST: server.url },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: LIMIT_MS,
  });
  let [output, errors] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text) => {
    output += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    errors += text;
  });
  const code = await new Promise((resolve) => child.once("close", (...how) => resolve(how[0])));
  assert.equal(code, 0, output + errors);
  return output;
}

/** Otherwise `node --test` in a test reports to the outer one and prints nothing. */
function environment() {
  const { NODE_TEST_CONTEXT: _, ...others } = process.env;
  return others;
}

for (const page of PAGES) {
  test(`every program of ${page} passes strict type checks and runs`, async () => {
    const directory = project();
    const server = await Server.start();
    const found = programs(page);
    assert.ok(found.length > 0);
    const sources = found.map((program) =>
      source(program).replaceAll("localhost:7123", server.url.replace("styx://", "")),
    );
    if (page === PRACTICE) {
      const last = sources.findIndex((text) => text.includes("@opentelemetry"));
      sources[last] = `import { collected } from "@opentelemetry/api";\n${sources[last]}
process.stdout.write("${MARK}0${MARK}" + JSON.stringify(collected()));\n`;
    }
    for (const [number, text] of sources.entries()) {
      writeFileSync(join(directory, `program${number}.ts`), text);
    }
    const tsc = join(PACKAGE, "node_modules/.bin/tsc");
    const { status, stdout } = spawnSync(tsc, ["-p", directory], { encoding: "utf8" });
    assert.equal(status, 0, stdout);

    const outputs = new Map();
    for (const [number, program] of found.entries()) {
      const file = join(directory, `out/program${number}.js`);
      if (hasTests(program[0])) {
        const output = await run(directory, ["--test-reporter=tap", file], server);
        assert.match(output, /^# pass [1-9]\d*$/m, output);
        assert.match(output, /^# fail 0$/m, output);
        continue;
      }
      const parts = (await run(directory, [file], server)).split(MARK).slice(1);
      for (let at = 0; at < parts.length; at += 2) {
        outputs.set(Number(parts[at]), parts[at + 1]);
      }
    }
    const all = blocks(page);
    for (const [at, block] of all.entries()) {
      if (block.language === "text" && isProgram(all[at - 1])) {
        assert.equal(outputs.get(all[at - 1].line), block.text, `${page}:${block.line}`);
      }
    }
    if (page === PRACTICE) {
      const { counts, gauges } = JSON.parse(outputs.get(0));
      assert.ok(counts["styx.client.events connected"] >= 1, JSON.stringify(counts));
      assert.deepEqual(gauges, [["styx.consumer.lag", 3, { log: "numbers" }]]);
    }
    await server.stop();
  });

  test(`the js blocks of ${page} are JavaScript, without types`, () => {
    const directory = project();
    for (const { language, line, text } of blocks(page)) {
      if (language === "js") {
        const file = join(directory, `line${line}.mjs`);
        writeFileSync(file, text);
        const { status, stderr } = spawnSync(process.execPath, ["--check", file], {
          encoding: "utf8",
        });
        assert.equal(status, 0, `${page}:${line}: ${stderr}`);
      }
    }
  });
}

test("blocks have only languages that a test knows", () => {
  for (const page of [...PAGES, EXAMPLES_README]) {
    for (const { language, line } of blocks(page)) {
      assert.ok([...LANGUAGES, "text", "console"].includes(language), `${page}:${line}`);
    }
  }
});

test("commands name files that exist", () => {
  for (const page of [...PAGES, EXAMPLES_README]) {
    for (const { language, line, text } of blocks(page)) {
      if (language === "console") {
        // These make files.
        const commands = text.replace(/^(mkdir|cp) .*$/gm, "");
        for (const [path] of commands.matchAll(/(?:examples|bindings)\/[\w./-]+/g)) {
          assert.ok(existsSync(join(ROOT, path)), `${page}:${line}: ${path}`);
        }
      }
    }
  }
});

test("every link points to a file or a heading", () => {
  for (const page of [...PAGES, EXAMPLES_README]) {
    for (const [, target] of read(page).matchAll(/\]\(([^)]*)\)/g)) {
      if (!target.includes("://")) {
        const [name, heading] = target.split("#");
        const file = name === "" ? page : join(dirname(page), name);
        assert.ok(existsSync(join(ROOT, file)), `${page}: ${target}`);
        assert.ok(heading === undefined || headings(file).includes(heading), `${page}: ${target}`);
      }
    }
  }
});

test("the page on npm has no links into the repository", () => {
  const targets = [...read(README).matchAll(/\]\(([^)]*)\)/g)].map(([, target]) => target);
  assert.ok(targets.length > 0, "it has links");
  assert.deepEqual(
    targets.filter((target) => !target.includes("://")),
    [],
  );
});

for (const kind of ["client", "producer", "consumer"]) {
  test(`the guide has every option of a ${kind} with its default`, () => {
    // How the package learns positions; not an option of users.
    const hidden = "track_settled";
    const expected = JSON.parse(native.options())
      .filter((row) => row.of === kind && row.name !== hidden)
      .map((row) => [row.name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase()), row]);
    const heading = `${kind[0].toUpperCase()}${kind.slice(1)}s`;
    const [[, ...rows]] = tables(GUIDE, heading).filter(([header]) => header[0] === "option");
    const listed = rows.map(([name]) => name.replaceAll("`", ""));
    const here = kind === "consumer" ? ["external"] : [];
    assert.deepEqual(listed, [...expected.map(([name]) => name), ...here]);
    for (const [index, [name, row]] of expected.entries()) {
      const seconds = /^(\d+)(?: s)?/.exec(row.default);
      if (row.unit === "duration") {
        const milliseconds = (Number(seconds?.[1]) * 1000).toLocaleString("en-US");
        assert.ok(rows[index][2].startsWith(`${milliseconds} ms`), `${name}: ${row.default}`);
      } else if (row.unit === "bytes") {
        assert.equal(rows[index][2], row.default, name);
      } else if (row.unit === "true or false") {
        assert.equal(rows[index][2], `\`${row.default}\``, name);
      }
    }
  });
}

test("the codes of the errors exist", () => {
  const known = new Set(JSON.parse(native.kinds()).map(({ code }) => code));
  const [[, ...rows]] = tables(PRACTICE, "Errors").filter(([header]) => header[0] === "code");
  const listed = rows.flatMap(([cell]) => [...cell.matchAll(/`(\w+)`/g)].map(([, code]) => code));
  assert.deepEqual(
    listed.filter((code) => !known.has(code)),
    [],
  );
  assert.equal(new Set(listed).size, listed.length);
});
