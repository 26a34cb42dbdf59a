// The platform of this process, as the names of packages spell it, such as `linux-x64-gnu`.
//
// No program is run to find it. Bun and Deno are supported too, and Deno may forbid each of
// these calls.

import { readFileSync, statSync } from "node:fs";

/** The packages with a native module. package.json lists the same. */
export const SUPPORTED: ReadonlySet<string> = new Set(
  ["linux-x64-gnu", "linux-arm64-gnu", "linux-x64-musl"].map((name) => `@styx-client/${name}`),
);

/** A C library for Linux. */
export type Libc = "gnu" | "musl";

/** The name of this platform in the names of packages. */
export function platformName(): string {
  const base = `${process.platform}-${process.arch}`;
  return process.platform === "linux" ? `${base}-${libc()}` : base;
}

/** The C library and the runtime, for messages. */
export function describedRuntime(): string {
  const runtime =
    process.versions["bun"] !== undefined
      ? `Bun ${process.versions["bun"]}`
      : process.versions["deno"] !== undefined
        ? `Deno ${process.versions["deno"]}`
        : `Node.js ${process.version}`;
  return process.platform === "linux" ? `libc ${libc()}, ${runtime}` : runtime;
}

/** The C library in a list of the files that a process has mapped, as in `/proc/self/maps`. */
export function libcIn(maps: string): Libc | undefined {
  if (/\/(ld-musl-|libc\.musl-)/.test(maps)) {
    return "musl";
  }
  return /\/(libc\.so\.6|libc-2\.\d+\.so|ld-linux)/.test(maps) ? "gnu" : undefined;
}

/** Whether this is a file that this process may see. */
export function isFile(path: string): boolean {
  return attempt(() => statSync(path).isFile()) ?? false;
}

let found: Libc | undefined;

/** The C library of this process. */
function libc(): Libc {
  found ??= attempt(() => libcIn(readFileSync("/proc/self/maps", "latin1"))) ?? reportedLibc();
  return found;
}

/** The same where there is no `/proc`. A report takes milliseconds. */
function reportedLibc(): Libc {
  return (
    attempt(() => {
      const report: NodeJS.ProcessReport & { excludeNetwork?: boolean } = process.report;
      const before = report.excludeNetwork;
      // Without this, the report looks up the names of all connected hosts.
      report.excludeNetwork = true;
      try {
        const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } };
        return header === undefined || header.glibcVersionRuntime !== undefined ? "gnu" : "musl";
      } finally {
        report.excludeNetwork = before;
      }
    }) ?? "gnu"
  );
}

/** The result of a call; undefined if it throws. */
function attempt<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch {
    return undefined;
  }
}
