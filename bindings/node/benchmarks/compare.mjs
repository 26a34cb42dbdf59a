// Compares the package with the Rust client: the same records, server and machine, in turn.
//
//     cargo build --release --package styx
//     cargo build --release --package styx-client --example shapes
//     (cd bindings/node && npm ci && npm run build)
//     STYX_BIN=target/release/styx node bindings/node/benchmarks/compare.mjs
//
// Each figure is the median of several rounds. In a round, each shape runs in a process of its
// own, right after the shape of the Rust client that it is compared with, because the speed of
// most machines changes within minutes. Appended records are durable, and the server's end
// position is compared with their number. Records that are read are in the page cache.

import { execFileSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Client, version } from "styx-client";
import { startServer } from "styx-client/testing";
import { PRODUCING } from "./shapes.mjs";

const ROOT = resolve(import.meta.dirname, "../../..");

/** The shape, the shape of the Rust client, and the records of a run in thousands. */
const SHAPES = [
  ["append", "append_many", 4000],
  ["append_text", "append_many", 4000],
  ["send_many", "append_many", 4000],
  ["send_many_buffers", "append_many", 4000],
  ["lengths", "consume", 4000],
  ["lengths_external", "consume", 4000],
  ["payloads", "consume", 4000],
  ["payloads_external", "consume", 4000],
  ["payload_arrays", "consume", 4000],
  ["texts", "consume", 4000],
  ["records", "consume", 4000],
  ["send_windows", "append", 1000],
  ["send_tasks", "append", 1000],
  ["send", "send", 2],
];
const RUST_PRODUCING = ["append_many", "append", "send"];

const { values: given } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    shape: { type: "string", multiple: true },
    scale: { type: "string", default: "1" },
    rust: { type: "string", default: join(ROOT, "target/release/examples/shapes") },
  },
});

class Comparison {
  constructor(client) {
    this.client = client;
    this.commands = {
      rust: [given.rust],
      node: [process.execPath, join(import.meta.dirname, "shapes.mjs")],
    };
  }

  seconds(side, log, shape, records) {
    const [program, ...first] = this.commands[side];
    const call = [...first, this.client.address, log, shape, String(records)];
    return JSON.parse(execFileSync(program, call, { encoding: "utf8" })).seconds;
  }

  /** Records in a second. */
  async run(side, shape, records) {
    const writes = side === "rust" ? RUST_PRODUCING.includes(shape) : shape in PRODUCING;
    const log = writes ? "written" : "read";
    if (writes) {
      await this.client.createLog(log);
    }
    const rate = records / this.seconds(side, log, shape, records);
    if (writes) {
      const { endPosition } = await this.client.getLog(log);
      if (endPosition !== records) {
        throw new Error(`the log has ${endPosition} of ${records} records`);
      }
      await this.client.deleteLog(log);
    }
    return rate;
  }

  /** A log to read, in the page cache. */
  async prepare(records) {
    await this.client.createLog("read");
    this.seconds("rust", "read", "append_many", records);
    this.seconds("rust", "read", "consume", records);
  }
}

function median(numbers) {
  const sorted = [...numbers].sort((one, other) => one - other);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function shown(rate, shape) {
  return shape === "send" ? `${(1e6 / rate).toFixed(0)} us` : `${(rate / 1e6).toFixed(2)} M/s`;
}

const chosen = SHAPES.filter(([shape]) => given.shape?.includes(shape) ?? true);
const counts = new Map(
  chosen.map(([shape, , thousands]) => [
    shape,
    Math.max(Math.trunc(thousands * Number(given.scale)), 1) * 1000,
  ]),
);
const server = await startServer();
const client = await Client.connect(server.address);
const comparison = new Comparison(client);
await comparison.prepare(Math.max(...counts.values()));
const rates = new Map(chosen.map(([shape]) => [shape, []]));
for (let round = 1; round <= Number(given.rounds); round += 1) {
  console.error(`round ${round} of ${given.rounds}`);
  for (const [shape, rust] of chosen) {
    const records = counts.get(shape);
    const reference = await comparison.run("rust", rust, records);
    rates.get(shape).push([reference, await comparison.run("node", shape, records)]);
  }
}
console.log(`Node.js ${process.version}, styx-client ${version}, ${availableParallelism()} cores`);
console.log(`${given.rounds} rounds, payloads of 100 bytes, medians (lowest to highest)`);
for (const [shape] of chosen) {
  const pairs = rates.get(shape);
  const node = pairs.map(([, rate]) => rate);
  const ratio = median(pairs.map(([rust, rate]) => rate / rust)).toFixed(2);
  const range = `${shown(Math.min(...node), shape)} to ${shown(Math.max(...node), shape)}`;
  const rust = shown(median(pairs.map(([rate]) => rate)), shape);
  console.log(
    `${shape.padEnd(20)} ${shown(median(node), shape).padStart(10)} (${range})   Rust ${rust}   ratio ${ratio}`,
  );
}
await client.close();
await server.stop();
