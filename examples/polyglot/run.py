#!/usr/bin/env python3
"""Builds everything in this folder, starts it, and prints the address of the page.

    examples/polyglot/run.py

A program that ends is started again, so you can kill any of them. Ctrl-C ends all. The logs, the
database and the process ids are in target/polyglot; a second start continues there.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NODE_PACKAGE = ROOT / "bindings/node"

#: Seconds until a program must be ready, and until it must have ended.
READY_SECONDS = 60.0
END_SECONDS = 20.0

#: A call that shows that a program is there, what needs it, and how to install it.
NODE_VERSION = (
    "const [a, b] = process.versions.node.split('.');"
    "process.exit(a > 20 || a == 20 && b >= 19 ? 0 : 1)"
)
PREREQUISITES = [
    (["cc", "--version"], "sensors.c", "apt-get install gcc"),
    (["node", "-e", NODE_VERSION], "server.mjs, version 20.19 or newer", "https://nodejs.org"),
    (["npm", "--version"], "server.mjs", "apt-get install npm, or https://nodejs.org"),
]
#: The same for building the server and the clients.
BUILD_PREREQUISITES = [
    (["cargo", "--version"], "the server and the clients", "https://rustup.rs"),
    (["make", "--version"], "the server", "apt-get install make"),
    (
        [sys.executable, "-c", "import venv, ensurepip"],
        "worker.py, with the module venv",
        "apt-get install python3-venv",
    ),
]


class FailedError(Exception):
    """Something that the user must mend."""


def check_prerequisites(is_built: bool) -> None:
    """Fails with every missing program."""
    missing = []
    for call, what_for, how in PREREQUISITES + ([] if is_built else BUILD_PREREQUISITES):
        try:
            subprocess.run(call, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            missing.append(f"missing: {call[0]}, for {what_for}: {how}")
    if missing:
        raise FailedError("\n".join(missing))


def run(*command: str | Path, environment: dict[str, str] | None = None) -> None:
    """Runs a command that must succeed."""
    variables = {**os.environ, **(environment or {})}
    try:
        subprocess.run(command, check=True, cwd=ROOT, env=variables)
    except (OSError, subprocess.CalledProcessError) as error:
        raise FailedError(f"cannot build: {error}") from error


class Built:
    """The programs and libraries, and how to build them."""

    def __init__(self, folder: Path, target: Path, python: Path | None) -> None:
        self.folder = folder
        self.target = target
        self.styx = target / "debug/styx"
        self.libstyx = target / "debug/libstyx.so"
        self.venv = target / "polyglot/venv"
        self.python = python or self.venv / "bin/python"
        self.sensors = folder / "sensors"

    def build(self) -> None:
        """Builds the server and the clients. The first time takes some minutes."""
        packages = ["--package=styx", "--package=styx-c", "--package=styx-node"]
        print("building the server and the clients", flush=True)
        environment = {"CARGO_TARGET_DIR": str(self.target)}
        run("cargo", "build", "--locked", *packages, environment=environment)
        self.build_node_package()
        if not self.venv.exists():
            run(sys.executable, "-m", "venv", self.venv)
            # Without optimisation, which takes longer than it saves here.
            environment["MATURIN_PEP517_ARGS"] = "--profile dev"
            pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            try:
                run(self.python, *pip, "./bindings/python", environment=environment)
            except FailedError:
                shutil.rmtree(self.venv)
                raise

    def build_node_package(self) -> None:
        """Compiles TypeScript, and puts the native module where the package looks for it."""
        if not (NODE_PACKAGE / "node_modules/.bin/tsc").exists():
            run("npm", "ci", "--no-audit", "--no-fund", "--prefix", NODE_PACKAGE)
        run("npm", "run", "--silent", "build:dist", "--prefix", NODE_PACKAGE)
        name = "linux-arm64-gnu" if platform.machine() == "aarch64" else "linux-x64-gnu"
        addon = NODE_PACKAGE / f"npm/{name}/styx-client.{name}.node"
        # A process may use the old one, so it is not overwritten.
        addon.unlink(missing_ok=True)
        shutil.copyfile(self.target / "debug/libstyx_node.so", addon)

    def link(self) -> None:
        """Compiles the C program, and makes the package known to the web server."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # A program finds the library by this name.
        name = self.folder / "libstyx.so.1"
        name.unlink(missing_ok=True)
        name.symlink_to(self.libstyx)
        compiler = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1"]
        include = f"-I{ROOT / 'bindings/c/include'}"
        libraries = [str(name), "-lm", f"-Wl,-rpath,{self.folder}"]
        run(*compiler, HERE / "sensors.c", "-o", self.sensors, include, *libraries)
        if not (HERE / "node_modules/styx-client/package.json").exists():
            # The package is a link to bindings/node, so nothing is downloaded.
            options = ["--silent", "--no-audit", "--no-fund", "--no-package-lock"]
            run("npm", "install", *options, "--prefix", HERE)


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

    def start(self, environment: dict[str, str]) -> str:
        """Starts it and waits until it is ready. Returns the line that says so."""
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
        assert process.stdout is not None
        timer = threading.Timer(READY_SECONDS, process.kill)
        timer.start()
        line = process.stdout.readline().rstrip()
        timer.cancel()
        if line == "":
            raise FailedError(f"{self.name} has ended with {process.wait()} before it was ready")
        print(f"{self.name} ({process.pid}): {line}", flush=True)
        threading.Thread(target=self._copy, args=[process.stdout], daemon=True).start()
        return line

    def _copy(self, lines: Iterator[str]) -> None:
        for line in lines:
            print(f"{self.name}: {line.rstrip()}", flush=True)

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
            with contextlib.suppress(FailedError):
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
        self._address = self._styx.start({}).rpartition("//")[2].strip("/")
        self._environment = {"STYX_HOST": f"styx://{self._address}"}
        self._sensors.start(self._environment)
        self._worker.start(self._environment)
        page = self._server.start(self._environment).rpartition(" ")[2]
        self._port = int(page.rpartition(":")[2].strip("/"))
        return page

    def keep_running(self) -> None:
        """Starts what has failed, until a signal ends this program."""
        while True:
            for program in self._programs:
                program.keep_running(self._environment, self._pause)
            time.sleep(0.05)

    def end(self) -> None:
        """Ends all: the server last, so that the others can store what they have."""
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
    option("--target", type=Path, default=ROOT / "target", help="cargo's target directory")
    option("--python", type=Path, help="a Python with styx-client (default: one of its own)")
    option("--no-build", action="store_true", help="use the server and the clients as they are")
    return parser.parse_args(line)


def raise_interrupt(number: int, frame: FrameType | None) -> None:
    """A signal ends the program as Ctrl-C does."""
    raise KeyboardInterrupt


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
    signal.signal(signal.SIGTERM, raise_interrupt)
    suite = Suite(built, arguments)
    try:
        page = suite.start()
        print(f"\nOpen {page}\nCtrl-C ends everything.\n", flush=True)
        suite.keep_running()
    finally:
        suite.end()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("stopped")
    except FailedError as error:
        sys.exit(f"error: {error}")
