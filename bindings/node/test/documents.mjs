// The pages about the Node.js package, and the blocks of code on them.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./example-programs.mjs";

export const README = "bindings/node/README.md";
export const GUIDE = "docs/node.md";
export const PRACTICE = "docs/node-practice.md";
export const PAGES = [README, GUIDE, PRACTICE];

export function read(page) {
  return readFileSync(join(ROOT, page), "utf8");
}

/** All blocks of a page, in their order. `line` is that of the first line of the text. */
export function blocks(page) {
  const found = [];
  let opened;
  for (const [index, line] of read(page).split("\n").entries()) {
    if (!line.startsWith("```")) {
      opened?.lines.push(line);
    } else if (opened === undefined) {
      opened = { language: line.slice(3).trim(), line: index + 2, lines: [] };
    } else {
      const { language, line, lines } = opened;
      found.push({ language, line, text: lines.map((one) => `${one}\n`).join("") });
      opened = undefined;
    }
  }
  if (opened !== undefined) {
    throw new Error(`${page}: the block in line ${opened.line} has no end`);
  }
  return found;
}

/** The tables of a section, as rows of cells. The first row of each is the header. */
export function tables(page, heading) {
  const found = [];
  let isWithin = false;
  let before = "";
  for (const line of read(page).split("\n")) {
    if (line.startsWith("#")) {
      isWithin = line.replace(/^#+ /, "") === heading;
    } else if (isWithin && line.startsWith("|")) {
      if (!before.startsWith("|")) {
        found.push([]);
      }
      if (!line.startsWith("|---")) {
        found.at(-1).push(
          line
            .split("|")
            .slice(1, -1)
            .map((cell) => cell.trim()),
        );
      }
    }
    before = line;
  }
  return found;
}

/** The headings of a page, as they are in links. */
export function headings(page) {
  const lines = read(page)
    .replace(/```[\s\S]*?```/g, "")
    .split("\n");
  return lines
    .filter((line) => line.startsWith("#"))
    .map((line) =>
      line
        .replace(/^#+ /, "")
        .replace(/[^\w -]/g, "")
        .toLowerCase()
        .replaceAll(" ", "-"),
    );
}
