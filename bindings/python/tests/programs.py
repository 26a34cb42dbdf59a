"""Programs that a test runs in an interpreter of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass

#: What every program begins with. Its first argument is the address of a server.
PROLOGUE = """
import asyncio, os, signal, sys, threading, time, warnings
import styx_client
from styx_client import aio
address = sys.argv[1]
"""


@dataclass(frozen=True)
class Ended:
    """A program that has ended."""

    code: int
    output: str
    errors: str
    #: From its start to its end.
    seconds: float


def run(program: str, address: str = "", *, seconds: float = 30.0) -> Ended:
    """Runs a program to its end. Warnings are shown, so that a test can look for them."""
    with start(program, address) as process:
        begin = time.monotonic()
        try:
            output, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            raise AssertionError(f"the program hangs:\n{output}\n{errors}") from None
        return Ended(process.returncode, output, errors, time.monotonic() - begin)


def start(program: str, address: str = "") -> subprocess.Popen[str]:
    """Starts a program."""
    return subprocess.Popen(
        [
            sys.executable,
            "-W",
            "always",
            "-c",
            PROLOGUE + textwrap.dedent(program),
            address,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def check_quiet(ended: Ended) -> None:
    """The program has ended well, and has written nothing to its standard error."""
    assert (ended.code, ended.errors) == (0, ""), ended
