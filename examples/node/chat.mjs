// A chat with a language model whose answers survive a reload of the page, a broken connection
// and a crash of this program. The model is a small fake, so it needs no account.
//
// Shows: a log for each conversation. The answer is appended token by token, whether or not a
// browser is connected. A browser reads the log as server-sent events, and says with the id of
// its last event where to continue. It gets every token once, in order.
//
//     node chat.mjs 8080
//
// Open http://localhost:8080, ask something, and reload the page in the middle of the answer.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, StyxError } from "styx-client";

/** @typedef {import("node:http").IncomingMessage} Request */
/** @typedef {import("node:http").ServerResponse} Response */
/** @typedef {import("styx-client").Consumer} Consumer */

/**
 * The records of a conversation, as JSON: the prompt first, then the tokens, then the end.
 *
 * @typedef {{ prompt: string } | { token: string } | { done: true }} Entry
 */

/** Milliseconds that the fake model needs for a token. */
const TOKEN_MS = Number(process.env.TOKEN_MS ?? 60);
const PROMPT_BYTES_MAX = 16 * 1024;
/** Retention removes the records of old conversations. */
const AGE_SECONDS_MAX = 7 * 24 * 60 * 60;
/** Milliseconds without a token after which a comment is sent. */
const HEARTBEAT_MS = 15_000;
const PREFIX = "chat-";

/**
 * The fake model. A real one is asked over its API; everything else stays the same.
 *
 * @param {string} prompt
 * @param {number} skipped - the number of tokens that exist already
 * @param {AbortSignal} signal
 */
async function* tokens(prompt, skipped, signal) {
  const words = `You asked: ${prompt}\nI am not a real model, so I count.`.split(/(?<=\s)/);
  const numbers = Array.from({ length: 100 }, (_, number) => ` ${number + 1}`);
  for (const token of [...words, ...numbers].slice(skipped)) {
    await sleep(TOKEN_MS, undefined, { signal });
    yield token;
  }
}

class Chat {
  #client;
  /** @type {Set<Consumer>} */
  #readers = new Set();
  /** @type {Set<Promise<void>>} */
  #answers = new Set();
  #stop = new AbortController();

  /** @param {Client} client */
  constructor(client) {
    this.#client = client;
  }

  /** Continues the answers that were not finished when the program ended. */
  async resume() {
    for (const { name, recordCount, endPosition } of await this.#client.listLogs()) {
      if (!name.startsWith(PREFIX) || recordCount === 0) {
        continue;
      }
      const first = await this.#entry(name, "start");
      const last = await this.#entry(name, "end-1");
      if (first !== undefined && "prompt" in first && last !== undefined && !("done" in last)) {
        this.#answer(name, first.prompt, endPosition);
      }
    }
  }

  /**
   * The record at a place of a log.
   *
   * @param {string} log
   * @param {string} start
   * @returns {Promise<Entry | undefined>}
   */
  async #entry(log, start) {
    for await (const record of this.#client.consumer(log, { start, count: 1 }).records()) {
      return JSON.parse(record.text);
    }
    return undefined;
  }

  /**
   * Starts a conversation, and returns its id.
   *
   * @param {string} prompt
   */
  async ask(prompt) {
    const id = crypto.randomUUID();
    const log = PREFIX + id;
    await this.#client.createLog(log, { logMaxAge: AGE_SECONDS_MAX });
    const producer = this.#client.producer(log);
    await producer.send(JSON.stringify({ prompt }));
    await producer.close();
    this.#answer(log, prompt, 1);
    return id;
  }

  /**
   * Appends the tokens of the answer, in the background.
   *
   * @param {string} log
   * @param {string} prompt
   * @param {number} end - the position of the next record
   */
  #answer(log, prompt, end) {
    const answer = this.#append(log, prompt, end).catch((error) => {
      if (!this.#stop.signal.aborted) {
        console.error(`${log}: ${error.message}`);
      }
    });
    this.#answers.add(answer);
    answer.then(() => this.#answers.delete(answer));
  }

  /**
   * @param {string} log
   * @param {string} prompt
   * @param {number} end
   */
  async #append(log, prompt, end) {
    // If another program has continued this answer, the log does not end here, and this fails.
    const producer = this.#client.producer(log, { expectedPosition: end });
    try {
      for await (const token of tokens(prompt, end - 1, this.#stop.signal)) {
        // Does not wait until the token is durable. Readers get it when it is.
        producer.append(JSON.stringify({ token }));
      }
      producer.append(JSON.stringify({ done: true }));
    } finally {
      await producer.close();
    }
  }

  /**
   * Streams a conversation as server-sent events.
   *
   * @param {string} id
   * @param {string} start - where the browser continues
   * @param {Response} response
   */
  async stream(id, start, response) {
    const consumer = this.#client.consumer(PREFIX + id, { start, follow: true });
    this.#readers.add(consumer);
    response.once("close", () => consumer.close());
    try {
      await consumer.ready;
      response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
      response.flushHeaders();
      while (!consumer.ended) {
        const batch = await consumer.poll({ timeout: HEARTBEAT_MS });
        if (batch === null) {
          response.write(": waiting\n\n");
          continue;
        }
        for (const record of batch) {
          response.write(`id: ${record.checkpoint}\ndata: ${record.text}\n\n`);
        }
      }
    } catch (error) {
      if (!consumer.closed) {
        throw error;
      }
    } finally {
      this.#readers.delete(consumer);
      await consumer.close();
      // Before the head is written, the caller answers the error.
      if (response.headersSent) {
        response.end();
      }
    }
  }

  /** Ends all streams and answers. Answers that are not finished continue at the next start. */
  async close() {
    this.#stop.abort();
    await Promise.all([...this.#answers, ...[...this.#readers].map((reader) => reader.close())]);
    await this.#client.close();
  }
}

/**
 * @param {Chat} chat
 * @param {Request} request
 * @param {Response} response
 */
async function answer(chat, request, response) {
  const url = new URL(request.url ?? "/", "http://chat");
  const id = /^\/chats\/([0-9a-f-]{36})$/.exec(url.pathname)?.[1];
  if (request.method === "GET" && url.pathname === "/") {
    response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" });
    response.end(await readFile(new URL("chat.html", import.meta.url)));
  } else if (request.method === "POST" && url.pathname === "/chats") {
    let prompt = "";
    for await (const chunk of request.setEncoding("utf8")) {
      prompt = (prompt + chunk).slice(0, PROMPT_BYTES_MAX);
    }
    reply(response, 201, { id: await chat.ask(prompt) });
  } else if (request.method === "GET" && id !== undefined) {
    // EventSource sends the header when it reconnects by itself. After a reload, the page passes
    // the position that it has kept.
    const start = request.headers["last-event-id"] ?? url.searchParams.get("start") ?? "start";
    await chat.stream(id, String(start), response);
  } else {
    reply(response, 404, { code: "not_found" });
  }
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
  const chat = new Chat(await Client.connect());
  await chat.resume();
  const server = createServer((request, response) => {
    answer(chat, request, response).catch((error) => {
      if (response.headersSent || !(error instanceof StyxError)) {
        response.destroy();
      } else {
        const { code, message, retriable } = error;
        const status = code === "log_not_found" ? 404 : retriable ? 503 : 400;
        reply(response, status, { code, message });
      }
    });
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const address = /** @type {import("node:net").AddressInfo} */ (server.address());
  console.log(`listening on http://127.0.0.1:${address.port}`);
  await once(process, "SIGINT");
  server.close();
  await chat.close();
  server.closeAllConnections();
  console.log("stopped");
}

main(Number(process.argv[2] ?? 8080)).catch((error) => {
  const isExpected = error instanceof StyxError || error.syscall === "listen";
  console.error(isExpected ? `error: ${error.message}` : error);
  process.exitCode = 1;
});
