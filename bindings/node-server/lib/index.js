// Finds the binary of the server, in the package of this platform. Nothing is downloaded.

const { existsSync, readFileSync } = require("node:fs");
const { dirname, join } = require("node:path");

/** The packages with a binary. package.json lists the same. */
const PLATFORMS = ["linux-x64-gnu", "linux-arm64-gnu", "linux-x64-musl"];

/** Whether a list of mapped files, as in /proc/self/maps, has the C library musl. */
function hasMusl(maps) {
  return /\/(ld-musl-|libc\.musl-)/.test(maps);
}

/** The name of this platform in the names of packages, such as linux-x64-gnu. */
function platformName() {
  const base = `${process.platform}-${process.arch}`;
  if (process.platform !== "linux") {
    return base;
  }
  let maps = "";
  try {
    maps = readFileSync("/proc/self/maps", "latin1");
  } catch {
    // Without /proc, the C library is that of most distributions.
  }
  return `${base}-${hasMusl(maps) ? "musl" : "gnu"}`;
}

function path() {
  const platform = platformName();
  const name = `@styx-server/${platform}`;
  // A checkout has the binary beside the package. The published package has no such folder.
  const local = join(__dirname, "..", "npm", platform, "bin", "styx");
  if (existsSync(local)) {
    return local;
  }
  try {
    return join(dirname(require.resolve(`${name}/package.json`)), "bin", "styx");
  } catch (error) {
    const advice = PLATFORMS.includes(platform)
      ? "install styx-server again on this platform, with optional dependencies: without " +
        "--omit=optional, and not with node_modules or a lock file from another platform"
      : `this platform is not supported; there are packages for ${PLATFORMS.join(", ")}`;
    throw new Error(`styx-server cannot find the package ${name}: ${advice}`, { cause: error });
  }
}

module.exports = { path };
