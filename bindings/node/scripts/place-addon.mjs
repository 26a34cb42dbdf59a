// Copies the addon that `napi build` has written into the package of its platform.

import { copyFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

const package_ = join(import.meta.dirname, "..");
for (const name of readdirSync(join(package_, "build"))) {
  const platform = /^styx-client\.(.*)\.node$/.exec(name)?.[1];
  if (platform !== undefined) {
    const target = join(package_, "npm", platform, name);
    copyFileSync(join(package_, "build", name), target);
    console.log(`wrote ${target}`);
  }
}
