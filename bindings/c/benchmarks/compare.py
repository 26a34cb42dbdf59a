"""Compares libstyx with the Rust client: the same records, server and machine, in turn.

    cargo build --release --package styx --package styx-c
    cargo build --release --package styx-client --example shapes
    python3 bindings/c/benchmarks/compare.py

It compiles shapes.c with cc, and needs only the standard library of Python.

Each figure is the median of several rounds. In a round, each shape runs in a process of its
own, right after the shape of the Rust client that it is compared with, because the speed of
most machines changes within minutes. Appended records are durable. Records that are read are in
the page cache. batch_get and batch_views are the time that a record takes in these functions.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent

#: The shape, the shape of the Rust client, and the records of a run in thousands.
SHAPES = (
    ("append", "append", 4000),
    ("append_packed", "append_many", 4000),
    ("consume_get", "consume", 4000),
    ("consume_views", "consume", 4000),
    ("send", "send", 2),
    ("batch_get", None, 4000),
    ("batch_views", None, 4000),
)


def run(command: list[str]) -> float:
    """The seconds that a shape has taken."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} has failed:\n{done.stderr}")
    return float(json.loads(done.stdout)["seconds"])


def compiled(target: Path, folder: Path) -> Path:
    program = folder / "shapes"
    command = ["cc", "-std=c11", "-O2", f"-I{ROOT / 'bindings/c/include'}", "-o", str(program)]
    # The program loads the library by its SONAME, which cargo's folder does not have.
    (folder / "libstyx.so.1").symlink_to(target / "libstyx.so")
    command += [str(HERE / "shapes.c"), f"-L{target}", "-lstyx"]
    command += [f"-Wl,-rpath,{folder}", f"-Wl,-rpath,{target}"]
    subprocess.run(command, check=True)
    return program


def started(program: Path, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A server, and its address."""
    port_file = folder / "port"
    server = subprocess.Popen(
        [
            str(program),
            "serve",
            "--bind-address=127.0.0.1:0",
            f"--data-directory={folder / 'data'}",
            f"--port-file={port_file}",
            f"--exit-with-parent={os.getpid()}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(3000):
        text = port_file.read_text() if port_file.exists() else ""
        if text.endswith("\n"):
            return server, f"127.0.0.1:{int(text)}"
        time.sleep(0.01)
    raise SystemExit("styx does not start")


class Comparison:
    def __init__(self, address: str, styx: Path, rust: Path, c: Path) -> None:
        self.address = address
        self.styx = styx
        self.programs = {"rust": rust, "c": c}

    def log(self, command: str, name: str) -> None:
        """Creates or deletes a log."""
        call = [str(self.styx), "logs", command, name, f"--host={self.address}"]
        subprocess.run(call, check=True, stdout=subprocess.DEVNULL)

    def run(self, side: str, shape: str, records: int) -> float:
        """Records in a second."""
        reads = shape.startswith(("consume", "batch"))
        name = "read" if reads else "written"
        if not reads:
            self.log("create", name)
        command = [str(self.programs[side]), f"styx://{self.address}", name, shape, str(records)]
        rate = records / run(command)
        if not reads:
            self.log("delete", name)
        return rate

    def prepare(self, records: int) -> None:
        """A log to read, in the page cache."""
        self.log("create", "read")
        for shape in ("append_many", "consume"):
            program = str(self.programs["rust"])
            run([program, f"styx://{self.address}", "read", shape, str(records)])


def shown(rate: float, shape: str) -> str:
    if shape == "send":
        return f"{1e6 / rate:8.0f} us"
    return f"{1e9 / rate:8.2f} ns" if shape.startswith("batch") else f"{rate / 1e6:8.2f} M/s"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shape", action="append", help="only this shape; may be repeated")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of records")
    parser.add_argument("--target", type=Path, default=ROOT / "target/release")
    parser.add_argument("--styx", type=Path, help="default: styx in the target")
    parser.add_argument("--rust", type=Path, help="default: examples/shapes in the target")
    given = parser.parse_args()
    styx = given.styx or given.target / "styx"
    rust = given.rust or given.target / "examples/shapes"
    chosen = [row for row in SHAPES if given.shape is None or row[0] in given.shape]
    with tempfile.TemporaryDirectory(dir=given.target) as name:
        folder = Path(name)
        program = compiled(given.target.resolve(), folder)
        server, address = started(styx, folder)
        comparison = Comparison(address, styx, rust, program)
        count = {row: max(int(row[2] * given.scale), 1) * 1000 for row in chosen}
        comparison.prepare(max(*count.values(), 10_000))
        rates: dict[str, list[tuple[float, float]]] = {row[0]: [] for row in chosen}
        for number in range(given.rounds):
            print(f"round {number + 1} of {given.rounds}", file=sys.stderr)
            for row in chosen:
                shape, other, _ = row
                other_rate = comparison.run("rust", other, count[row]) if other else 0.0
                rates[shape].append((other_rate, comparison.run("c", shape, count[row])))
        server.terminate()
        server.wait()
    print(f"{given.rounds} rounds, payloads of 100 bytes, medians (lowest to highest)")
    for shape, other, _ in chosen:
        rust_rates, c_rates = zip(*rates[shape], strict=True)
        line = (
            f"{shape:16} {shown(statistics.median(c_rates), shape)}"
            f" ({shown(min(c_rates), shape).strip()} to {shown(max(c_rates), shape).strip()})"
        )
        if other:
            ratio = statistics.median(c / r for r, c in rates[shape])
            rust_median = shown(statistics.median(rust_rates), shape)
            line += f"   Rust {rust_median}   ratio {ratio:.2f}"
        print(line)


if __name__ == "__main__":
    main()
