// A small web service in front of a log: POST appends a record, GET streams records as
// server-sent events.
//
// Shows: the client in a web server. All requests share one client and one producer for each log,
// so the appends of concurrent requests are committed together. Each reader has a consumer of its
// own, which is closed with its connection.
//
//     node gateway.mjs 8080
//     curl -d 'a book' http://localhost:8080/logs/orders
//     curl -N http://localhost:8080/logs/orders
//
// A browser reads the stream with `new EventSource(url)`. When its connection breaks, it sends the
// id of the last event, and the stream continues after it.

import { once } from "node:events";
import { createServer } from "node:http";
import { Client, StyxError } from "styx-client";

/** @typedef {import("node:http").IncomingMessage} Request */
/** @typedef {import("node:http").ServerResponse} Response */
/** @typedef {import("styx-client").Producer} Producer */
/** @typedef {import("styx-client").Consumer} Consumer */

/** Milliseconds without a record after which a comment is sent, so that broken connections are noticed. */
const HEARTBEAT_MS = 15_000;
/**
 * Larger bodies are answered 413. A record over the log's maxRecordSize (by default 1 MiB) would
 * end the producer that all requests share.
 */
const RECORD_BYTES_MAX = 256 * 1024;

/** @type {{ [code: string]: number }} */
const STATUS = {
  invalid_argument: 400,
  log_invalid_name: 400,
  log_not_found: 404,
  record_too_large: 413,
  out_of_range: 416,
  log_changed: 409,
};

class Gateway {
  #client;
  /** @type {Map<string, Producer>} */
  #producers = new Map();
  /** @type {Set<Consumer>} */
  #consumers = new Set();

  /** @param {Client} client */
  constructor(client) {
    this.#client = client;
  }

  /**
   * @param {Request} request
   * @param {Response} response
   */
  async answer(request, response) {
    const url = new URL(request.url ?? "/", "http://gateway");
    const log = /^\/logs\/([\w-]+)$/.exec(url.pathname)?.[1];
    try {
      if (log === undefined) {
        reply(response, 404, { code: "not_found", message: "use /logs/NAME" });
      } else if (request.method === "POST") {
        await this.#append(log, request, response);
      } else if (request.method === "GET") {
        const start = request.headers["last-event-id"] ?? url.searchParams.get("start") ?? "end";
        await this.#stream(log, String(start), response);
      } else {
        reply(response, 405, { code: "method_not_allowed", message: "use GET or POST" });
      }
    } catch (error) {
      if (!(error instanceof StyxError)) {
        throw error;
      }
      const { code, message, retriable } = error;
      if (response.headersSent) {
        // It is too late for a status.
        response.end(`event: error\ndata: ${code}\n\n`);
      } else {
        reply(response, STATUS[code] ?? (retriable ? 503 : 500), { code, message });
      }
    }
  }

  /**
   * Appends the body as one record. The answer means that the record is durable.
   *
   * @param {string} log
   * @param {Request} request
   * @param {Response} response
   */
  async #append(log, request, response) {
    const payload = await body(request);
    if (payload === undefined) {
      const message = `the body is larger than ${RECORD_BYTES_MAX} bytes`;
      reply(response, 413, { code: "record_too_large", message });
      return;
    }
    const producer = this.#producers.get(log) ?? this.#client.producer(log);
    this.#producers.set(log, producer);
    try {
      reply(response, 200, { position: await producer.send(payload) });
    } catch (error) {
      // An error ends the producer. The next request opens another one.
      if (this.#producers.get(log) === producer) {
        this.#producers.delete(log);
        // Each request has reported its own error.
        producer.close().catch(() => {});
      }
      throw error;
    }
  }

  /**
   * Streams the log as server-sent events.
   *
   * @param {string} log
   * @param {string} start
   * @param {Response} response
   */
  async #stream(log, start, response) {
    const consumer = this.#client.consumer(log, { start, follow: true });
    this.#consumers.add(consumer);
    response.once("close", () => consumer.close());
    try {
      // An error is answered with a status, because nothing was written yet.
      await consumer.ready;
      response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
      response.flushHeaders();
      while (!consumer.ended) {
        const batch = await consumer.poll({ timeout: HEARTBEAT_MS });
        const text = batch === null ? ": nothing new\n\n" : [...batch].map(event).join("");
        if (!consumer.closed && !response.write(text)) {
          // Until the reader has read, no more is taken from the log.
          await Promise.race([once(response, "drain"), once(response, "close")]);
        }
      }
      response.end();
    } catch (error) {
      if (!consumer.closed) {
        throw error;
      }
    } finally {
      this.#consumers.delete(consumer);
      await consumer.close();
    }
  }

  /** Ends all streams, and waits for the last acks. */
  async close() {
    await Promise.all([...this.#consumers].map((consumer) => consumer.close()));
    await this.#client.close();
  }
}

/**
 * A record as a server-sent event. Its id says where to continue.
 *
 * @param {import("styx-client").Record} record
 */
function event(record) {
  const lines = record.text.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`);
  return `id: ${record.checkpoint}\n${lines.join("")}\n`;
}

/**
 * The body of a request; undefined if it is too large.
 *
 * @param {Request} request
 */
async function body(request) {
  const chunks = [];
  let size = 0;
  // A body that is too large is read to its end, so that the client sees the answer.
  for await (const chunk of request) {
    size += chunk.length;
    if (size <= RECORD_BYTES_MAX) {
      chunks.push(chunk);
    }
  }
  return size <= RECORD_BYTES_MAX ? Buffer.concat(chunks) : undefined;
}

/**
 * @param {Response} response
 * @param {number} status
 * @param {object} value
 */
function reply(response, status, value) {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(value));
}

/** @param {number} port */
async function main(port) {
  const gateway = new Gateway(await Client.connect());
  const server = createServer((request, response) => {
    gateway.answer(request, response).catch((error) => {
      response.destroy();
      // A client may close its connection while it sends a body.
      if (error.code !== "ECONNRESET") {
        console.error(error);
      }
    });
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const address = /** @type {import("node:net").AddressInfo} */ (server.address());
  console.log(`listening on http://127.0.0.1:${address.port}`);
  await once(process, "SIGINT");
  server.close();
  await gateway.close();
  server.closeAllConnections();
  console.log("stopped");
}

main(Number(process.argv[2] ?? 8080)).catch((error) => {
  const isExpected = error instanceof StyxError || error.syscall === "listen";
  console.error(isExpected ? `error: ${error.message}` : error);
  process.exitCode = 1;
});
