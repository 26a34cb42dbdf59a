// The types of the package, for tsd: `npx tsd --typings dist/index.d.ts --files test/types/*.test-d.ts`.

import type { Readable, Writable } from "node:stream";
import {
  Checkpoint,
  Client,
  type ClientStats,
  type Consumer,
  type CursorInfo,
  type LogDetails,
  type LogInfo,
  type Producer,
  type ProducerStats,
  type Record,
  RecordBatch,
  type ServerInfo,
  StyxError,
  version,
} from "styx-client";
import { startServer, type TestServer } from "styx-client/testing";
import { expectAssignable, expectError, expectType } from "tsd";

/** It is only compiled. */
export async function uses(): Promise<void> {
  const { signal } = new AbortController();
  const client = await Client.connect("styx://localhost", {
    threads: 2,
    caPem: Buffer.alloc(1),
    signal,
  });
  expectType<Client>(client);
  expectType<string>(version);
  expectAssignable<AsyncDisposable>(client);
  expectType<ServerInfo>(await client.check({ signal }));
  expectType<LogInfo>(await client.createLog("a", { logMaxAge: 5, existOk: true, signal }));
  expectType<LogInfo[]>(await client.listLogs());
  expectType<LogDetails>(await client.getLogDetails("a"));
  expectType<void>(await client.deleteLog("a"));
  expectType<LogInfo>(await client.trimLog("a", 5n));
  expectType<Readable>(client.backupLog("a"));
  expectType<void>(await client.restoreLog("a", [new Uint8Array(1)]));
  expectType<CursorInfo>(await client.setCursor("a", "c", 5));
  expectType<ClientStats>(client.stats());
  expectError(client.createLog("a", { maxAge: 5 }));
  expectError(client.createLog(5));
  expectError(Client.connect("a", { tokn: "x" }));

  const producer = client.producer("a", { compression: "lz4", producerId: 5n, epoch: 1 });
  expectType<Producer>(producer);
  expectAssignable<AsyncDisposable>(producer);
  expectType<boolean>(producer.append("text"));
  expectType<boolean>(producer.append(new Uint8Array(1)));
  expectType<Promise<number>>(producer.send(Buffer.alloc(1), { signal }));
  expectType<Promise<bigint>>(producer.sendBigInt("a"));
  expectType<Promise<number>>(producer.sendMany(new Set(["a"])));
  expectType<Promise<bigint>>(producer.sendManyBigInt(["a", Buffer.alloc(1)]));
  expectType<Promise<void>>(producer.flush({ timeout: 5, signal }));
  expectType<Promise<void>>(producer.drain({ signal }));
  expectType<Promise<void>>(producer.close({ timeout: 5 }));
  expectType<Promise<void>>(producer.ready);
  expectType<Writable>(producer.writable({ signal }));
  expectType<ProducerStats | null>(producer.stats());
  expectType<bigint | null>(producer.producerId);
  expectError(producer.append(5));
  expectError(producer.sendMany([5]));
  expectError(client.producer("a", { compression: "gzip" }));
  expectError(client.producer("a", { lingr: 5 }));

  const consumer = client.consumer("a", {
    start: new Date(),
    count: 5n,
    codecs: ["zstd"],
    external: true,
  });
  expectType<Consumer>(consumer);
  expectAssignable<AsyncDisposable>(consumer);
  expectAssignable<AsyncIterable<RecordBatch>>(consumer);
  for await (const batch of consumer) {
    expectType<RecordBatch>(batch);
    for (const record of batch) {
      expectType<Record>(record);
      expectType<number>(record.position);
      expectType<bigint>(record.positionBigInt);
      expectType<Checkpoint>(record.checkpoint);
    }
    expectType<string[]>(batch.texts());
    expectType<Record | undefined>(batch.at(-1));
    expectType<RecordBatch>(batch.slice(1));
  }
  for await (const record of consumer.records({ signal })) {
    expectType<string>(record.text);
  }
  expectType<RecordBatch | null>(await consumer.poll({ timeout: 5, maxRecords: 5, signal }));
  expectType<number>(await consumer.commit());
  expectType<void>(await consumer.seek(new Checkpoint("a")));
  expectType<Readable>(consumer.readable({ batches: true, highWaterMark: 1 }));
  expectError(client.consumer("a", { start: [] }));
  expectError(consumer.poll({ max: 5 }));

  expectType<string>(new StyxError("closed", "closed", { facts: { startPosition: 5 } }).code);
  expectType<number | undefined>(new StyxError("closed", "closed").startPosition);
  expectError(new RecordBatch([5]));
  expectType<RecordBatch>(new RecordBatch(["a"], { firstPosition: 5n, timestamp: 5 }));

  const server = await startServer({ settings: { max_streams: 5 } });
  expectType<TestServer>(server);
  expectAssignable<AsyncDisposable>(server);
  expectType<string>(server.address);
}
