// Builds the server's binary for this machine, and copies it into the package of its platform.

import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";

const packages = join(import.meta.dirname, "../npm");
const build = ["build", "--locked", "--release", "--package", "styx"];
const cargo = spawnSync("cargo", [...build, "--message-format=json-render-diagnostics"], {
  cwd: join(import.meta.dirname, "../../.."),
  stdio: ["inherit", "pipe", "inherit"],
  maxBuffer: 2 ** 30,
});
if (cargo.error !== undefined || cargo.status !== 0) {
  console.error(`cargo ${build.join(" ")} failed: ${cargo.error?.message ?? "see above"}`);
  process.exit(1);
}
const messages = String(cargo.stdout)
  .split("\n")
  .filter(Boolean)
  .map((line) => JSON.parse(line));
const binary = messages.findLast((message) => message.executable)?.executable;
const libc = process.report.getReport().header.glibcVersionRuntime === undefined ? "musl" : "gnu";
const folder = join(packages, `${process.platform}-${process.arch}-${libc}`, "bin");
mkdirSync(folder, { recursive: true });
rmSync(join(folder, "styx"), { force: true });
copyFileSync(binary, join(folder, "styx"));
console.log(`wrote ${join(folder, "styx")}`);
