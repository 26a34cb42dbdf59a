"""Builds the programs of this folder, and the server and the clients that they need."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NODE_PACKAGE = ROOT / "bindings/node"

NODE_VERSION = (
    "const [a, b] = process.versions.node.split('.');"
    "process.exit(a > 20 || a == 20 && b >= 19 ? 0 : 1)"
)
#: A call that shows that a program is there, what needs it, and how to install it.
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


#: The names of source files end so.
SOURCES = [".rs", ".py", ".toml"]


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


def newest(*folders: Path) -> str:
    """The time of the newest source file."""
    files = (file for folder in folders for file in folder.rglob("*"))
    return str(max(file.stat().st_mtime_ns for file in files if file.suffix in SOURCES))


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
        if self.python == self.venv / "bin/python":
            self.install_python_package(environment)

    def install_python_package(self, environment: dict[str, str]) -> None:
        """Installs it into an environment of its own, if a source file has changed."""
        stamp = self.venv / "installed.txt"
        state = newest(ROOT / "bindings/python", ROOT / "core-client")
        if stamp.exists() and stamp.read_text() == state:
            return
        run(sys.executable, "-m", "venv", "--clear", self.venv)
        # Without optimisation, which takes longer than it saves here.
        environment = {**environment, "MATURIN_PEP517_ARGS": "--profile dev"}
        pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run(self.python, *pip, "./bindings/python", environment=environment)
        stamp.write_text(state)

    def build_node_package(self) -> None:
        """Compiles TypeScript, and puts the native module where the package looks for it."""
        if not (NODE_PACKAGE / "node_modules/.bin/tsc").exists():
            options = ["--loglevel=error", "--no-audit", "--no-fund"]
            run("npm", "ci", *options, "--prefix", NODE_PACKAGE)
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
