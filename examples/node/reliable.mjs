// Counts the records of a log by their first word. It counts each record exactly once, even if
// the program, the server or the machine is stopped at any time.
//
// Shows: exactly-once processing. The program stores its checkpoint in the transaction that
// stores its output, so the checkpoint and the output always match.
//
//     node reliable.mjs orders totals.sqlite
//     sqlite3 totals.sqlite 'SELECT * FROM totals'
//
// Stop it with Ctrl-C or kill -9 at any time and start it again. Only run one process per file
// at a time.

import { rmSync } from "node:fs";
import sqlite from "node-sqlite3-wasm";
import { Checkpoint, Client, StyxError } from "styx-client";

const TABLES = `
CREATE TABLE IF NOT EXISTS totals (word TEXT PRIMARY KEY, records INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS checkpoint (one INTEGER PRIMARY KEY CHECK (one = 1), text TEXT);
`;
const ADD = `INSERT INTO totals VALUES (?, ?)
ON CONFLICT (word) DO UPDATE SET records = records + excluded.records`;

const [log, file] = process.argv.slice(2);
if (log === undefined || file === undefined) {
  console.error("usage: node reliable.mjs LOG FILE.sqlite");
  process.exit(2);
}

/**
 * Opens the database.
 *
 * @param {string} file
 */
function open(file) {
  // This build of SQLite locks a database with a directory, which a killed process leaves behind.
  rmSync(`${file}.lock`, { recursive: true, force: true });
  const database = new sqlite.Database(file);
  database.exec(TABLES);
  return database;
}

/**
 * Where the last transaction ended; undefined before the first one.
 *
 * @param {InstanceType<typeof sqlite.Database>} database
 */
function storedCheckpoint(database) {
  const row = database.get("SELECT text FROM checkpoint");
  return row === null ? undefined : new Checkpoint(String(row.text));
}

/**
 * Adds a batch to the totals and stores its checkpoint, in one transaction.
 *
 * @param {InstanceType<typeof sqlite.Database>} database
 * @param {import("styx-client").RecordBatch} batch
 */
function store(database, batch) {
  /** @type {Map<string, number>} */
  const words = new Map();
  for (const text of batch.texts()) {
    const word = text.trim().split(/\s+/)[0] ?? "";
    words.set(word, (words.get(word) ?? 0) + 1);
  }
  database.exec("BEGIN");
  try {
    for (const [word, count] of words) {
      database.run(ADD, [word, count]);
    }
    const checkpoint = String(batch.checkpoint);
    database.run("INSERT OR REPLACE INTO checkpoint VALUES (1, ?)", [checkpoint]);
    database.exec("COMMIT");
  } catch (error) {
    if (database.inTransaction) {
      database.exec("ROLLBACK");
    }
    throw error;
  }
}

/**
 * @param {string} log
 * @param {string} file
 */
async function main(log, file) {
  const client = await Client.connect();
  const database = open(file);
  try {
    // If the log was truncated or recreated since the checkpoint, this fails with log_changed, so
    // that other records are not mistaken for the old ones.
    const start = storedCheckpoint(database) ?? "start";
    const consumer = client.consumer(log, { start, follow: true });
    await consumer.ready;
    console.error(`counting from position ${consumer.position}`);
    process.once("SIGINT", () => consumer.close());
    for await (const batch of consumer) {
      store(database, batch);
    }
    console.error("stopped");
  } finally {
    database.close();
    await client.close();
  }
}

main(log, file).catch((error) => {
  console.error(error instanceof StyxError ? `error: ${error.message}` : error);
  process.exitCode = 1;
});
