"""The common part of bindings/c/benchmarks/compare.py and bindings/python/benchmarks/compare.py.

Each figure is the median of several rounds. In a round, each shape runs in a process of its
own, right after the shape of the Rust client that it is compared with, because the speed of
most machines changes within minutes. Appended records are durable, and the server's end position
is compared with their number. Records that are read are in the page cache.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: The shape, the shape of the Rust client or None, and the records of a run in thousands.
Shape = tuple[str, "str | None", int]


def parser(doc: str) -> argparse.ArgumentParser:
    """The arguments of every comparison. `doc` is the text of the script."""
    arguments = argparse.ArgumentParser(
        description=f"{doc}\n{__doc__.partition('compare.py.')[2]}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--shape", action="append", help="only this shape; may be repeated")
    arguments.add_argument("--scale", type=float, default=1.0, help="of the number of records")
    return arguments


@dataclass
class Comparison:
    """A server, the two programs, and how logs of the server are managed."""

    address: str
    rust: list[str]
    binding: list[str]
    create: Callable[[str], object]
    end_position: Callable[[str], int]
    delete: Callable[[str], object]

    def run(self, given: argparse.Namespace, shapes: Sequence[Shape]) -> None:
        """Measures the chosen shapes and prints a line for each."""
        chosen = [row for row in shapes if given.shape is None or row[0] in given.shape]
        counts = [max(int(thousands * given.scale), 1) * 1000 for _, _, thousands in chosen]
        self._prepare(max(*counts, 10_000))
        rates: list[list[tuple[float, float]]] = [[] for _ in chosen]
        for number in range(given.rounds):
            print(f"round {number + 1} of {given.rounds}", file=sys.stderr)
            for (shape, other, _), count, pairs in zip(chosen, counts, rates, strict=True):
                reads = other in (None, "consume")
                rust = self._rate(self.rust, other, count, reads) if other else 0.0
                pairs.append((rust, self._rate(self.binding, shape, count, reads)))
        print(f"{given.rounds} rounds, payloads of 100 bytes, medians (lowest to highest)")
        for (shape, other, _), pairs in zip(chosen, rates, strict=True):
            print(_line(shape, other, pairs))

    def _prepare(self, records: int) -> None:
        """A log to read, in the page cache."""
        self.create("read")
        for shape in ("append_many", "consume"):
            _seconds([*self.rust, self.address, "read", shape, str(records)])

    def _rate(self, program: list[str], shape: str, records: int, reads: bool) -> float:
        """Records in a second."""
        log = "read" if reads else "written"
        if not reads:
            self.create(log)
        rate = records / _seconds([*program, self.address, log, shape, str(records)])
        if not reads:
            end = self.end_position(log)
            if end != records:
                raise SystemExit(f"{shape}: the log has {end} of {records} records")
            self.delete(log)
        return rate


def _seconds(command: list[str]) -> float:
    """The seconds that a shape has taken."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} has failed:\n{done.stderr}")
    return float(json.loads(done.stdout)["seconds"])


def _line(shape: str, other: str | None, pairs: list[tuple[float, float]]) -> str:
    rust, binding = zip(*pairs, strict=True)
    line = (
        f"{shape:24} {_shown(statistics.median(binding), shape)}"
        f" ({_shown(min(binding), shape).strip()} to {_shown(max(binding), shape).strip()})"
    )
    if other:
        ratio = statistics.median(mine / theirs for theirs, mine in pairs)
        line += f"   Rust {_shown(statistics.median(rust), shape)}   ratio {ratio:.2f}"
    return line


def _shown(rate: float, shape: str) -> str:
    if shape == "send":
        return f"{1e6 / rate:8.0f} us"
    return f"{1e9 / rate:8.2f} ns" if shape.startswith("batch_") else f"{rate / 1e6:8.2f} M/s"
