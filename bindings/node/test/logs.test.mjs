import assert from "node:assert/strict";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import { Client, CursorInfo, LogInfo, version } from "styx-client";
import { numbered, readAll, rejectsWith, until, useServer, write } from "./support.mjs";

const context = useServer();

test("check_returns_the_server", async () => {
  const info = await context.client.check();
  assert.equal(info.version, version);
  assert(info.features.includes("styx/1"));
  assert.equal(info.maxRecordSize, 67_108_864);
  assert.equal(info.maxBlockSize, 1_048_576);
  assert.equal(context.client.address, context.server.address);
});

test("created_log_has_the_limits_of_the_options", async () => {
  const created = await context.client.createLog("created", {
    maxRecordSize: 2048,
    indexAfterSize: 4096,
    segmentMaxCount: 100,
    segmentMaxSize: 1_048_576,
    segmentMaxAge: 60,
    logMaxCount: 1000,
    logMaxSize: -1,
    logMaxAge: 3600,
  });
  assert(created instanceof LogInfo);
  assert.equal(created.name, "created");
  assert.equal(created.status, "ok");
  assert.equal(created.recordCount, 0);
  const details = await context.client.getLogDetails("created");
  assert.match(details.logId, /^[0-9a-f]{32}$/);
  assert.deepEqual(details.config, {
    maxRecordSize: 2048,
    indexAfterSize: 4096,
    segmentMaxCount: 100,
    segmentMaxSize: 1_048_576,
    segmentMaxAge: 60,
    logMaxCount: 1000,
    logMaxSize: -1,
    logMaxAge: 3600,
  });
  assert.equal(details.timestampFirst, null);
  assert.equal(details.info.name, "created");
});

test("log_that_exists_is_an_error_unless_it_may_exist", async () => {
  const log = await context.logOf(["a"]);
  const error = await rejectsWith("log_exist", context.client.createLog(log));
  assert.equal(error.retriable, false);
  const found = await context.client.createLog(log, { existOk: true, logMaxAge: 5 });
  assert.equal(found.endPosition, 1);
});

test("invalid_values_are_invalid_argument", async () => {
  const { client } = context;
  await rejectsWith("log_invalid_name", client.createLog("not valid"));
  await rejectsWith("invalid_argument", client.createLog("a", { logMaxAge: 1.5 }));
  await rejectsWith("invalid_argument", client.createLog("a", { logMaxAge: "1" }));
  await rejectsWith("invalid_argument", client.createLog("a", { logMaxAgee: 1 }));
  await rejectsWith("invalid_argument", client.createLog("a", { existOk: 1 }));
  await rejectsWith("invalid_argument", client.createLog(undefined));
  await rejectsWith("invalid_argument", client.createLog(5));
  await rejectsWith("invalid_argument", client.trimLog("a", -1));
  await rejectsWith("invalid_argument", client.trimLog("a", 2 ** 53));
  await rejectsWith("invalid_argument", client.setCursor("a", "c", 0.5));
  await rejectsWith("invalid_argument", client.setCursor("a", "c", 2n ** 64n));
});

test("logs_are_listed_in_order_and_deleted", async () => {
  const { client } = context;
  await client.createLog("zz");
  await client.createLog("aa");
  const names = (await client.listLogs()).map((info) => info.name);
  assert.deepEqual(names, [...names].sort());
  assert(names.includes("zz") && names.includes("aa"));
  assert.equal(await client.deleteLog("zz"), undefined);
  await rejectsWith("log_not_found", client.getLog("zz"));
  await rejectsWith("log_not_found", client.deleteLog("zz"));
  await rejectsWith("log_not_found", client.getLogDetails("zz"));
  await rejectsWith("log_not_found", client.truncateLog("zz"));
  await rejectsWith("log_not_found", client.trimLog("zz", 0));
});

test("truncated_log_is_empty_and_has_another_id", async () => {
  const log = await context.logOf(["a", "b"]);
  const before = await context.client.getLogDetails(log);
  assert(before.timestampFirst > 1.7e15 && before.timestampLast >= before.timestampFirst);
  assert.equal(before.archivedPosition, null);
  await context.client.truncateLog(log);
  const after = await context.client.getLogDetails(log);
  assert.equal(after.info.recordCount, 0);
  assert.notEqual(after.logId, before.logId);
});

test("trimmed_log_begins_later", async () => {
  const log = await context.logOf(numbered(1000), { segmentMaxCount: 100 });
  await write(context.client, log, numbered(1000));
  const info = await context.client.trimLog(log, 1000n);
  assert(info.startPosition > 0 && info.startPosition <= 1000, String(info.startPosition));
  assert.equal(info.startPositionBigInt, BigInt(info.startPosition));
  const error = await rejectsWith(
    "out_of_range",
    context.client.consumer(log, { start: 0 }).poll(),
  );
  assert.equal(error.startPosition, info.startPosition);
  assert.equal((await context.client.consumer(log).poll()).firstPosition, info.startPosition);
});

test("log_without_damage_can_be_adopted", async () => {
  const log = await context.logOf(["a"]);
  assert.equal((await context.client.adoptLog(log)).endPosition, 1);
});

test("cursors_are_stored_listed_and_deleted", async () => {
  const { client } = context;
  const log = await context.logOf(numbered(10));
  await rejectsWith("cursor_not_found", client.getCursor(log, "b"));
  const set = await client.setCursor(log, "b", 5);
  assert(set instanceof CursorInfo);
  assert.equal(set.cursor, "b");
  assert.equal(set.position, 5);
  assert.equal(set.positionBigInt, 5n);
  assert(Math.abs(set.updated / 1000 - Date.now()) < 60_000, String(set.updated));
  assert.equal(set.logId, (await client.getLogDetails(log)).logId);
  await client.setCursor(log, "a", 6n);
  const moved = await client.setCursor(log, "b", 7);
  assert(moved.version > set.version);
  assert.deepEqual(
    (await client.listCursors(log)).map((info) => [info.cursor, info.position]),
    [
      ["a", 6],
      ["b", 7],
    ],
  );
  await client.deleteCursor(log, "b");
  await rejectsWith("cursor_not_found", client.deleteCursor(log, "b"));
  await rejectsWith("log_not_found", client.listCursors("nolog"));
});

test("backup_is_restored_through_files", async (t) => {
  const { client } = context;
  const texts = numbered(50_000, "record ");
  const log = await context.logOf(texts);
  const directory = await mkdtemp(join(tmpdir(), "styx-backup-"));
  t.after(() => rm(directory, { recursive: true }));
  const file = join(directory, "archive");
  await pipeline(client.backupLog(log), createWriteStream(file));
  await client.restoreLog("restored", createReadStream(file));
  assert.deepEqual(await readAll(client, "restored"), texts);
  await rejectsWith("log_exist", client.restoreLog("restored", createReadStream(file)));
});

test("restore_takes_arrays_generators_and_web_streams", async () => {
  const { client } = context;
  const log = await context.logOf(numbered(100));
  const archive = await buffer(client.backupLog(log));
  const halves = [archive.subarray(0, 50), new Uint8Array(archive.subarray(50))];
  const sources = {
    array: halves,
    generator: (function* () {
      yield* halves;
    })(),
    web: Readable.toWeb(Readable.from(halves)),
    log: client.backupLog(log),
  };
  for (const [name, source] of Object.entries(sources)) {
    await client.restoreLog(`from-${name}`, source);
    assert.equal((await client.getLog(`from-${name}`)).endPosition, 100);
  }
});

// A restore whose source had failed stayed open until its handle was collected.
test("source_that_fails_leaves_no_log_and_no_stream", async () => {
  const { client } = context;
  const log = await context.logOf(numbered(100_000));
  const archive = await buffer(client.backupLog(log));
  const failure = new Error("the source has failed");
  async function* failing() {
    yield archive.subarray(0, archive.length / 2);
    throw failure;
  }
  await assert.rejects(client.restoreLog("failed", failing()), failure);
  await until(() => client.stats().openStreams === 0, 2000);
  await rejectsWith("log_not_found", client.getLog("failed"));
  // The server may learn a moment later that the stream has ended.
  await until(() => client.restoreLog("failed", [archive]).then(() => true, isTaken), 2000);
  assert.equal((await client.getLog("failed")).endPosition, 100_000);
  await rejectsWith("invalid_argument", client.restoreLog("text", ["text"]));
  await rejectsWith("invalid_argument", client.restoreLog("text", Readable.from("text")));
});

function isTaken(error) {
  assert.equal(error.code, "log_exist");
  return false;
}

test("failed_restore_ends_its_source", async () => {
  let isOver = false;
  async function* source() {
    try {
      for (;;) {
        yield Buffer.from("no archive");
        await new Promise(setImmediate);
      }
    } finally {
      isOver = true;
    }
  }
  await assert.rejects(context.client.restoreLog("damaged", source()));
  assert(isOver);
});

test("damaged_archive_is_an_error_and_leaves_no_log", async () => {
  const { client } = context;
  const archive = await buffer(client.backupLog(await context.logOf(numbered(100))));
  archive[archive.length >> 1] ^= 1;
  await assert.rejects(client.restoreLog("damaged", [archive]), { name: "StyxError" });
  await rejectsWith("log_not_found", client.getLog("damaged"));
});

test("backup_that_fails_is_an_error_of_the_stream", async () => {
  await rejectsWith("log_not_found", buffer(context.client.backupLog("nolog")));
});

// A backup that was destroyed between two chunks stayed open until its handle was collected.
test("destroyed_backup_ends_its_stream", async () => {
  const { client } = context;
  const log = await context.logOf(numbered(300_000));
  for await (const chunk of client.backupLog(log)) {
    assert(chunk.length > 0);
    break;
  }
  await until(() => client.stats().openStreams === 0, 2000);
  client.backupLog(log).destroy();
  const stream = client.backupLog(log);
  stream.read();
  await new Promise((done) => stream.once("readable", done));
  stream.destroy();
  await until(() => client.stats().openStreams === 0, 2000);
});

test("connect_needs_a_server", async () => {
  const error = await rejectsWith("connection_failed", Client.connect("styx://127.0.0.1:1"));
  assert.equal(error.retriable, true);
  assert.equal(error.maybeAppended, false);
  await rejectsWith("invalid_argument", Client.connect("ftp://127.0.0.1"));
  await rejectsWith("invalid_argument", Client.connect(7123));
});

test("connect_without_an_address_uses_the_environment", async () => {
  process.env.STYX_HOST = context.server.url;
  try {
    const client = await Client.connect();
    assert.equal(client.address, context.client.address);
    await client.close();
  } finally {
    delete process.env.STYX_HOST;
  }
});

test("stats_of_a_client_count_requests", async () => {
  const client = await Client.connect(context.server.address);
  await client.listLogs();
  const stats = client.stats();
  assert.equal(stats.requests, 2);
  assert.equal(stats.openConnections, 1);
  assert.equal(typeof stats.sinceLastHeard, "number");
  await client.close();
});
