// Serves the page, and streams the log of results to it as server-sent events.
//
//     node server.mjs RESULTS PORT
//
// The id of each event says where to continue after it. When a connection breaks, the browser sends
// the last id again, so it misses no result and gets none twice. This server stores nothing: kill
// it at any time and start it again.

import { subscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { Client, StyxError } from "styx-client";

/** @typedef {import("node:http").IncomingMessage} Request */
/** @typedef {import("node:http").ServerResponse} Response */

/** Milliseconds between pings. The page connects again if it hears nothing for a while. */
const PING_MS = 2000;
/** Milliseconds after which a browser connects again. */
const RETRY_MS = 500;
/** A page without a start begins with this number of results. */
const NEWEST = 360;

/** @type {{ [path: string]: { type: string, body: Buffer } }} */
const FILES = {
  "/": file("index.html", "text/html"),
  "/page.js": file("page.js", "text/javascript"),
  "/style.css": file("style.css", "text/css"),
  "/icon.svg": file("icon.svg", "image/svg+xml"),
};

/**
 * @param {string} name
 * @param {string} type
 */
function file(name, type) {
  const body = readFileSync(new URL(`page/${name}`, import.meta.url));
  return { type: `${type}; charset=utf-8`, body };
}

class Streams {
  #client;
  #log;
  /**
   * Those whose consumer is open.
   *
   * @type {Set<Response>}
   */
  #open = new Set();
  /** Whether the log can be read. */
  #state = "connected";

  /**
   * @param {Client} client
   * @param {string} log
   */
  constructor(client, log) {
    this.#client = client;
    this.#log = log;
    for (const state of ["connected", "lost"]) {
      subscribe(`styx-client:${state}`, () => this.#tell(state));
    }
  }

  /**
   * Tells all pages whether the log can be read.
   *
   * @param {string} state
   */
  #tell(state) {
    if (state !== this.#state) {
      this.#state = state;
      for (const response of this.#open) {
        response.write(stateEvent(state));
      }
    }
  }

  /**
   * Streams results until the page goes away.
   *
   * @param {string | undefined} start
   * @param {Response} response
   */
  async stream(start, response) {
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
    response.write(`retry: ${RETRY_MS}\n\n`);
    const ping = setInterval(() => {
      const isOpen = this.#open.has(response);
      response.write(isOpen ? "event: ping\ndata:\n\n" : stateEvent("lost"));
    }, PING_MS);
    try {
      await this.#copy(start ?? (await this.#newest()), response);
    } catch (error) {
      if (!(error instanceof StyxError)) {
        throw error;
      }
      // After a failure that may pass, the page connects again.
      if (!error.retriable && !response.closed) {
        response.write(`event: failed\ndata: ${error.message.replaceAll("\n", " ")}\n\n`);
      }
    } finally {
      clearInterval(ping);
      this.#open.delete(response);
      response.end();
    }
  }

  /** The position of the first of the newest results. */
  async #newest() {
    const { startPosition, endPosition } = await this.#client.getLog(this.#log);
    return String(Math.max(startPosition, endPosition - NEWEST));
  }

  /**
   * @param {string} start
   * @param {Response} response
   */
  async #copy(start, response) {
    const consumer = this.#client.consumer(this.#log, { start, follow: true });
    response.once("close", () => consumer.close());
    try {
      await consumer.ready;
      this.#open.add(response);
      response.write(stateEvent("connected"));
      for await (const batch of consumer) {
        if (!response.write([...batch].map(event).join(""))) {
          // Until the page has read, no more is taken from the log.
          await Promise.race([once(response, "drain"), once(response, "close")]);
        }
      }
    } catch (error) {
      if (!consumer.closed) {
        throw error;
      }
    } finally {
      await consumer.close();
    }
  }

  close() {
    for (const response of this.#open) {
      response.destroy();
    }
  }
}

/**
 * A result as a server-sent event. Its id says where to continue.
 *
 * @param {import("styx-client").Record} record
 */
function event(record) {
  return `id: ${record.checkpoint}\ndata: ${record.text}\n\n`;
}

/** @param {string} state */
function stateEvent(state) {
  return `event: styx\ndata: ${state}\n\n`;
}

/**
 * @param {Streams} streams
 * @param {Request} request
 * @param {Response} response
 */
async function answer(streams, request, response) {
  const url = new URL(request.url ?? "/", "http://server");
  const found = FILES[url.pathname];
  if (request.method !== "GET") {
    response.writeHead(405, { Allow: "GET" }).end("use GET\n");
  } else if (url.pathname === "/events") {
    const last = request.headers["last-event-id"] ?? url.searchParams.get("start");
    await streams.stream(last ? String(last) : undefined, response);
  } else if (found) {
    const headers = {
      "Content-Type": found.type,
      "Cache-Control": "no-store",
      "Content-Security-Policy": "default-src 'self'",
    };
    response.writeHead(200, headers).end(found.body);
  } else {
    response.writeHead(404).end("there is no such page\n");
  }
}

/**
 * @param {string} log
 * @param {number} port
 */
async function main(log, port) {
  const client = await Client.connect();
  await client.createLog(log, { existOk: true });
  const streams = new Streams(client, log);
  const server = createServer((request, response) => {
    answer(streams, request, response).catch((error) => {
      console.error(error);
      response.destroy();
    });
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const address = /** @type {import("node:net").AddressInfo} */ (server.address());
  console.log(`listening on http://127.0.0.1:${address.port}/`);
  await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
  server.close();
  streams.close();
  server.closeAllConnections();
  await client.close();
}

const [log, port] = process.argv.slice(2);
if (log === undefined || port === undefined) {
  console.error("usage: node server.mjs RESULTS PORT");
  process.exit(2);
}
main(log, Number(port)).catch((error) => {
  if (error.syscall === "listen") {
    console.error(`error: ${error.message}; choose another port`);
  } else {
    console.error(error instanceof StyxError ? `error: ${error.message}` : error);
  }
  process.exitCode = 1;
});
