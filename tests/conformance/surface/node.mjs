// Prints the public names of the Node.js package as JSON: of each class, interface and union of
// texts that it exports, the members or texts. It reads the declarations of types, and checks that
// members of classes exist.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const folder = join(process.env.STYX_NODE, "dist");
const library = await import(pathToFileURL(join(folder, "index.mjs")).href);
const exported = readFileSync(join(folder, "index.d.ts"), "utf8");

const surface = {};
for (const file of readdirSync(folder).filter((name) => name.endsWith(".d.ts"))) {
  const text = readFileSync(join(folder, file), "utf8");
  const blocks = text.matchAll(/^export (?:declare )?(class|interface) (\w+)[^{]*\{\n(.*?)^\}/gms);
  for (const [, kind, name, body] of blocks) {
    if (new RegExp(`\\b${name}\\b`).test(exported)) {
      surface[name] = members(body);
      if (kind === "class") {
        check(name, body);
      }
    }
  }
}
console.log(JSON.stringify(surface));

/** The names that are declared in a block. */
function members(body) {
  const names = body.matchAll(/^ {4}(?:static |readonly |get )*(\w+)\??[(<:]/gm);
  const distinct = new Set([...names].map(([, name]) => name));
  distinct.delete("constructor");
  return [...distinct].sort();
}

/** Fails if a method or getter of a class does not exist. A field exists only in objects. */
function check(kind, body) {
  const { [kind]: type } = library;
  for (const [, isStatic, name] of body.matchAll(/^ {4}(static )?(?:get )?(\w+)(?:\(|<)/gm)) {
    if (!(name in (isStatic ? type : type.prototype))) {
      throw new Error(`${kind} has no ${name}`);
    }
  }
}
