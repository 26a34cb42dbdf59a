"""Writes and reads a log with the installed package: `python smoke.py PATH_OF_STYX`.

The steps that install a package call this where nothing else is installed.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import styx_client
from styx_client import Client

PAYLOADS = [b"one", b"", b"three" * 1000]


def main(styx: str) -> None:
    """Starts a server for one round of appending and reading."""
    with tempfile.TemporaryDirectory() as folder:
        data = ["--data-directory", str(Path(folder) / "data")]
        call = [
            styx,
            "serve",
            "--bind-address",
            "127.0.0.1:0",
            "--log-level",
            "error",
            *data,
        ]
        with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as server:
            try:
                check(url_of(server))
            finally:
                server.terminate()


def url_of(server: subprocess.Popen[str]) -> str:
    """The address in the line that the server prints when it is ready."""
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith("listening on "):
            return line.removeprefix("listening on ").strip()
    raise SystemExit("the server ended before it listened")


def check(url: str) -> None:
    """Reads back what it appends, and checks what else the package must contain."""
    with Client(url) as client:
        client.create_log("smoke")
        with client.producer("smoke") as producer:
            producer.append_many(PAYLOADS)
        with client.consumer("smoke", start=0) as consumer:
            payloads = [record.payload for record in consumer]
    assert payloads == PAYLOADS, payloads
    package = Path(styx_client.__file__).parent
    assert (package / "py.typed").is_file(), "without py.typed type checkers ignore the package"
    print(f"styx_client works in Python {sys.version.split()[0]}: {package}")


if __name__ == "__main__":
    main(*sys.argv[1:])
