#!/usr/bin/env python3
"""Builds everything in this folder, starts it, and prints the address of the page.

    examples/polyglot/run.py

A program that ends is started again, so you can kill any of them. Ctrl-C ends all. The logs, the
database and the process ids are in target/polyglot; a second start continues there.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from building import HERE, ROOT, Built, FailedError, check_prerequisites

#: Seconds until a program must be ready, and until it must have ended.
READY_SECONDS = 60.0
END_SECONDS = 20.0


class Program:
    """A program that is started again when it ends."""

    def __init__(self, name: str, folder: Path, command: Callable[[], list[str | Path]]) -> None:
        self.name = name
        self._pid_file = folder / f"{name}.pid"
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        #: When it is to be started again.
        self._due: float | None = None
        self._has_finished = False
        self._ready: queue.SimpleQueue[str] = queue.SimpleQueue()

    def start(self, environment: dict[str, str]) -> None:
        """Starts it, and does not wait until it is ready."""
        # A session of its own: Ctrl-C is for run.py, which ends the programs in order.
        process = subprocess.Popen(
            self._command(),
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            text=True,
            start_new_session=True,
        )
        self._process = process
        self._pid_file.write_text(f"{process.pid}\n")
        threading.Thread(target=self._print, args=[process], daemon=True).start()

    def _print(self, process: subprocess.Popen[str]) -> None:
        """Prints its lines. The first one says that it is ready, and is empty if it never was."""
        assert process.stdout is not None
        with process.stdout as lines:
            first = lines.readline().rstrip()
            if first:
                print(f"{self.name} ({process.pid}): {first}", flush=True)
            self._ready.put(first)
            for line in lines:
                print(f"{self.name}: {line.rstrip()}", flush=True)

    def until_ready(self) -> str:
        """Waits until it is ready for the first time. Returns the line that says so."""
        try:
            line = self._ready.get(timeout=READY_SECONDS)
        except queue.Empty:
            line = ""
        if line == "":
            raise FailedError(f"{self.name} cannot be started")
        return line

    def keep_running(self, environment: dict[str, str], pause: float) -> None:
        """Starts it again after a pause, if it has failed or was killed."""
        assert self._process is not None
        code = self._process.poll()
        if code is None or self._has_finished:
            return
        if code == 0:
            print(f"{self.name} has finished", flush=True)
            self._has_finished = True
        elif self._due is None:
            how = f"was killed by signal {-code}" if code < 0 else f"has failed with {code}"
            print(f"{self.name} {how}, and is started again in {pause} s", flush=True)
            self._due = time.monotonic() + pause
        elif time.monotonic() >= self._due:
            self._due = None
            # It fails while Styx is away, and is then started once more.
            self.start(environment)

    def end(self) -> None:
        """Ends it, by force if it takes long."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"{self.name} does not end, and is killed", flush=True)
            self._process.kill()
            self._process.wait()


class Suite:
    """The four programs."""

    def __init__(self, built: Built, arguments: argparse.Namespace) -> None:
        self._pause = float(arguments.pause)
        self._is_stopped = False
        self._environment: dict[str, str] = {}
        #: The first start takes free ports if they are 0; later ones take the same again.
        self._address = "127.0.0.1:0"
        self._port = int(arguments.port)
        folder = built.folder
        rate = str(arguments.rate)
        worker = [str(HERE / "worker.py"), "readings", "results", str(folder / "sensors.sqlite")]
        self._styx = Program("styx", folder, lambda: [built.styx, *self._serve(folder)])
        self._sensors = Program("sensors", folder, lambda: [built.sensors, "readings", rate])
        self._worker = Program("worker", folder, lambda: [built.python, *worker])
        web = ["node", str(HERE / "server.mjs"), "results"]
        self._server = Program("server", folder, lambda: [*web, str(self._port)])
        self._programs = [self._styx, self._sensors, self._worker, self._server]

    def _serve(self, folder: Path) -> list[str | Path]:
        options = [f"--exit-with-parent={os.getpid()}", "--log-level=error"]
        address = ["--bind-address", self._address]
        return ["serve", *address, "--data-directory", folder / "data", *options]

    def start(self) -> str:
        """Starts all. Returns the address of the page."""
        self._styx.start({})
        self._address = self._styx.until_ready().rpartition("//")[2].strip("/")
        self._environment = {"STYX_HOST": f"styx://{self._address}"}
        for program in [self._sensors, self._worker]:
            program.start(self._environment)
            program.until_ready()
        self._server.start(self._environment)
        page = self._server.until_ready().rpartition(" ")[2]
        self._port = int(page.rpartition(":")[2].strip("/"))
        return page

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Ends `keep_running`. It is a signal handler, so it interrupts nothing."""
        self._is_stopped = True

    def keep_running(self) -> None:
        """Starts what has failed, until it is stopped."""
        while not self._is_stopped:
            for program in self._programs:
                program.keep_running(self._environment, self._pause)
            time.sleep(0.05)

    def end(self) -> None:
        """Ends all: Styx last, so that the others can store what they have."""
        for program in reversed(self._programs):
            program.end()


def arguments_of(line: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description="Build and run the brewery: C, Python, Node.js and a browser on one server."
    )
    option = parser.add_argument
    option("--port", type=int, default=8080, help="of the page, 0 for a free one (default: 8080)")
    option("--rate", type=float, default=24.0, help="readings a second (default: 24)")
    option("--pause", type=float, default=1.0, help="seconds before a restart (default: 1)")
    option("--folder", type=Path, help="where the data is (default: target/polyglot)")
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    option("--target", type=Path, default=target, help="cargo's target directory")
    option("--python", type=Path, help="a Python with styx-client (default: one of its own)")
    option("--no-build", action="store_true", help="use the server and the clients as they are")
    return parser.parse_args(line)


def main() -> None:
    """Builds, starts, and keeps everything running."""
    arguments = arguments_of()
    target = arguments.target.resolve()
    folder = (arguments.folder or target / "polyglot").resolve()
    built = Built(folder, target, arguments.python)
    check_prerequisites(arguments.no_build)
    if not arguments.no_build:
        built.build()
    built.link()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    suite = Suite(built, arguments)
    try:
        page = suite.start()
        for number in [signal.SIGINT, signal.SIGTERM]:
            signal.signal(number, suite.stop)
        print(f"\nOpen {page}\nCtrl-C ends everything.\n", flush=True)
        suite.keep_running()
    finally:
        suite.end()
    print("stopped")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped before everything was started")
    except FailedError as error:
        sys.exit(f"error: {error}")
