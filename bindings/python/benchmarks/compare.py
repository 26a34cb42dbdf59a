"""Compares the package with the Rust client: the same records, server and machine, in turn.

cargo build --release --package styx
cargo build --release --package styx-client --example shapes
pip install ./bindings/python numpy
STYX_BIN=target/release/styx python bindings/python/benchmarks/compare.py
"""

from __future__ import annotations

import platform
import sys
import tempfile
from pathlib import Path

import styx_client
from styx_client.testing import Server

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tests/measure"))

from comparison import Comparison, Shape, parser  # noqa: E402

#: See Shape.
SHAPES: tuple[Shape, ...] = (
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


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rust", type=Path, default=ROOT / "target/release/examples/shapes")
    given = arguments.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=ROOT / "target") as folder,
        Server(folder) as server,
    ):
        print(f"Python {platform.python_version()}, styx-client {styx_client.__version__}")
        client = styx_client.Client(server.address)
        Comparison(
            address=server.address,
            rust=[str(given.rust)],
            binding=[sys.executable, str(HERE / "shapes.py")],
            create=client.create_log,
            end_position=lambda name: client.get_log(name).end_position,
            delete=client.delete_log,
        ).run(given, SHAPES)


if __name__ == "__main__":
    main()
