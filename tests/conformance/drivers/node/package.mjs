// The package under test, from the folder in STYX_NODE.

import { join } from "node:path";
import { pathToFileURL } from "node:url";

const entry = join(process.env.STYX_NODE ?? ".", "dist", "index.mjs");

export const { Checkpoint, Client, StyxError } = await import(pathToFileURL(entry).href);
