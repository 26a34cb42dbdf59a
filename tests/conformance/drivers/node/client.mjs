// Clients, and the operations of log management and cursors.

import { createReadStream, createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { options, renamed } from "./options.mjs";
import { Client } from "./package.mjs";
import { cursorShown, logShown, shownFields } from "./values.mjs";

export function connect(request) {
  return Client.connect(request.address, options(request.options));
}

export const operations = {
  async create_log(client, { name, config, exist_ok }) {
    return logShown(await client.createLog(name, { ...renamed(config), existOk: exist_ok }));
  },
  async list_logs(client) {
    return { logs: (await client.listLogs()).map(logShown) };
  },
  async get_log(client, { name }) {
    return logShown(await client.getLog(name));
  },
  async get_log_details(client, { name }) {
    const details = await client.getLogDetails(name);
    return {
      ...logShown(details.info),
      id: details.logId,
      config: shownFields(details.config),
      timestamp_first: details.timestampFirst,
      timestamp_last: details.timestampLast,
    };
  },
  async delete_log(client, { name }) {
    await client.deleteLog(name);
    return {};
  },
  async truncate_log(client, { name }) {
    await client.truncateLog(name);
    return {};
  },
  async trim_log(client, { name, position }) {
    return logShown(await client.trimLog(name, BigInt(position)));
  },
  async backup_log(client, { name, file }) {
    await pipeline(client.backupLog(name), createWriteStream(file));
    return {};
  },
  async restore_log(client, { name, file }) {
    await client.restoreLog(name, createReadStream(file));
    return {};
  },
  async list_cursors(client, { log }) {
    return { cursors: (await client.listCursors(log)).map(cursorShown) };
  },
  async get_cursor(client, { log, cursor }) {
    return cursorShown(await client.getCursor(log, cursor));
  },
  async set_cursor(client, { log, cursor, position }) {
    return cursorShown(await client.setCursor(log, cursor, BigInt(position)));
  },
  async delete_cursor(client, { log, cursor }) {
    await client.deleteCursor(log, cursor);
    return {};
  },
};
