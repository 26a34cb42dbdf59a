"""Compares the package with the Rust client: the same records, server and machine, in turn.

    cargo build --release --package styx
    cargo build --release --package styx-client --example shapes
    pip install ./bindings/python numpy
    STYX_BIN=target/release/styx python bindings/python/benchmarks/compare.py

Each figure is the median of several rounds. In a round, each shape runs in a process of its
own, right after the shape of the Rust client that it is compared with, because the speed of
most machines changes within minutes. Appended records are durable, and the server's
end position is compared with their number. Records that are read are in the page cache.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import styx_client
from styx_client.testing import Server

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent

#: The shape, the shape of the Rust client, and the records of a run in thousands.
SHAPES = (
    ("append_many", "append_many", 4000),
    ("append_packed", "append_many", 4000),
    ("append", "append", 4000),
    ("lengths", "consume", 4000),
    ("payloads", "consume", 4000),
    ("payloads_full_heap", "consume", 4000),
    ("iter_payloads", "consume", 4000),
    ("iter_payloads_full_heap", "consume", 4000),
    ("records", "consume", 4000),
    ("record_payloads", "consume", 4000),
    ("numpy", "consume", 4000),
    ("aio_batches", "consume", 4000),
    ("aio_send", "append", 400),
    ("aio_tasks", "append", 400),
    ("send", "send", 2),
)


def seconds(command: list[str]) -> float:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} has failed:\n{done.stderr}")
    return float(json.loads(done.stdout)["seconds"])


class Comparison:
    def __init__(self, address: str, rust: Path) -> None:
        self.client = styx_client.Client(address)
        self.address = address
        self.commands = {
            "rust": [str(rust)],
            "python": [sys.executable, str(HERE / "shapes.py")],
        }

    def run(self, side: str, shape: str, records: int) -> float:
        """Records in a second."""
        reads = shape not in ("append_many", "append_packed", "append", "send")
        reads = reads and not shape.startswith(("aio_send", "aio_tasks"))
        log = "read" if reads else "written"
        if not reads:
            self.client.create_log(log)
        command = [*self.commands[side], self.address, log, shape, str(records)]
        rate = records / seconds(command)
        if not reads:
            end = self.client.get_log(log).end_position
            assert end == records, f"the log has {end} of {records} records"
            self.client.delete_log(log)
        return rate

    def prepare(self, records: int) -> None:
        """A log to read, in the page cache."""
        self.client.create_log("read")
        seconds([*self.commands["rust"], self.address, "read", "append_many", str(records)])
        seconds([*self.commands["rust"], self.address, "read", "consume", str(records)])


def shown(rate: float, shape: str) -> str:
    return f"{1e6 / rate:8.0f} us" if shape == "send" else f"{rate / 1e6:8.2f} M/s"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shape", action="append", help="only this shape; may be repeated")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of records")
    parser.add_argument("--rust", type=Path, default=ROOT / "target/release/examples/shapes")
    given = parser.parse_args()
    chosen = [row for row in SHAPES if given.shape is None or row[0] in given.shape]
    with (
        tempfile.TemporaryDirectory(dir=ROOT / "target") as folder,
        Server(folder) as server,
    ):
        comparison = Comparison(server.address, given.rust)
        count = {row: max(int(row[2] * given.scale), 1) * 1000 for row in chosen}
        comparison.prepare(max(count.values()))
        rates: dict[str, list[tuple[float, float]]] = {row[0]: [] for row in chosen}
        for number in range(given.rounds):
            print(f"round {number + 1} of {given.rounds}", file=sys.stderr)
            for row in chosen:
                shape, rust, _ = row
                rates[shape].append(
                    (
                        comparison.run("rust", rust, count[row]),
                        comparison.run("python", shape, count[row]),
                    )
                )
        print(f"Python {platform.python_version()}, styx-client {styx_client.__version__},")
        print(f"{given.rounds} rounds, payloads of 100 bytes, medians (lowest to highest)")
        for shape, _, _ in chosen:
            rust_rates, python_rates = zip(*rates[shape], strict=True)
            ratio = statistics.median(p / r for r, p in rates[shape])
            low, high = min(python_rates), max(python_rates)
            print(
                f"{shape:24} {shown(statistics.median(python_rates), shape)}"
                f" ({shown(low, shape).strip()} to {shown(high, shape).strip()})"
                f"   Rust {shown(statistics.median(rust_rates), shape)}   ratio {ratio:.2f}"
            )


if __name__ == "__main__":
    main()
