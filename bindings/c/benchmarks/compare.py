"""Compares libstyx with the Rust client: the same records, server and machine, in turn.

    cargo build --release --package styx --package styx-c
    cargo build --release --package styx-client --example shapes
    python3 bindings/c/benchmarks/compare.py

It compiles shapes.c with cc, and needs only the standard library of Python. batch_get and
batch_views are the time that a record takes in these functions.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tests/measure"))

from comparison import Comparison, Shape, parser  # noqa: E402

#: See Shape.
SHAPES: tuple[Shape, ...] = (
    ("append", "append", 4000),
    ("append_packed", "append_many", 4000),
    ("consume_get", "consume", 4000),
    ("consume_views", "consume", 4000),
    ("send", "send", 2),
    ("batch_get", None, 4000),
    ("batch_views", None, 4000),
)


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


class Logs:
    """The logs of a server, by its command line."""

    def __init__(self, styx: Path, address: str) -> None:
        self.call = [str(styx), "logs"]
        self.host = f"--host={address}"

    def create(self, name: str) -> None:
        self._run("create", name)

    def end_position(self, name: str) -> int:
        return int(json.loads(self._run("get", name, "-f", "json"))["end_position"])

    def delete(self, name: str) -> None:
        self._run("delete", name)

    def _run(self, *arguments: str) -> bytes:
        return subprocess.run([*self.call, *arguments, self.host], check=True, stdout=-1).stdout


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--target", type=Path, default=ROOT / "target/release")
    arguments.add_argument("--styx", type=Path, help="default: styx in the target")
    arguments.add_argument("--rust", type=Path, help="default: examples/shapes in the target")
    given = arguments.parse_args()
    styx = given.styx or given.target / "styx"
    rust = given.rust or given.target / "examples/shapes"
    with tempfile.TemporaryDirectory(dir=given.target) as name:
        folder = Path(name)
        program = compiled(given.target.resolve(), folder)
        server, address = started(styx, folder)
        logs = Logs(styx, address)
        Comparison(
            address=f"styx://{address}",
            rust=[str(rust)],
            binding=[str(program)],
            create=logs.create,
            end_position=logs.end_position,
            delete=logs.delete,
        ).run(given, SHAPES)
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
