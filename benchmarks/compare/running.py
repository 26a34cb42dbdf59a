"""Servers as child processes: started, waited for, measured and stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

#: The seconds in which a server must accept connections.
START_SECONDS = 60
#: The seconds in which a server must end after SIGTERM.
STOP_SECONDS = 30
#: The characters of a server's output in an error.
OUTPUT_SHOWN = 2000


class Failed(Exception):
    """A program failed, or a server did what it must not do."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Running:
    """A server that accepts connections on a port of 127.0.0.1."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self._process = process

    def memory_bytes(self) -> int:
        """The resident memory of the server's process."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        for line in status.splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise Failed(f"the server with process id {self._process.pid} has ended")


@contextlib.contextmanager
def running(
    command: Sequence[object],
    port: int,
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Runs a server in `folder` until the block ends.

    Raises `Failed`, with the server's output, if it does not accept connections on `port`.
    """
    output = folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            # Ctrl-C reaches this program only, which then stops the server.
            start_new_session=True,
        )
    try:
        end = time.monotonic() + START_SECONDS
        while not _accepts(port):
            if process.poll() is not None or time.monotonic() > end:
                shown = output.read_text(errors="replace")[-OUTPUT_SHOWN:]
                raise Failed(f"{command[0]} does not accept connections; its output:\n{shown}")
            time.sleep(0.02)
        yield Running(process, port)
    finally:
        _stop(process)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
            return


def run(
    command: Sequence[object],
    seconds: float = 600,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    codes: Sequence[int] = (0,),
    both: bool = False,
) -> str:
    """Runs a program to its end and returns its standard output, or `both` outputs.

    Raises `Failed` with what it printed if its exit code is not one of `codes`, or if it
    takes longer than `seconds`.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(words)} took longer than {seconds:.0f} s") from error
    except OSError as error:
        raise Failed(f"cannot run {words[0]}: {error}") from error
    if done.returncode not in codes:
        shown = (done.stdout + done.stderr)[-OUTPUT_SHOWN:]
        raise Failed(f"{' '.join(words)} failed with exit code {done.returncode}:\n{shown}")
    return done.stdout + done.stderr if both else done.stdout
