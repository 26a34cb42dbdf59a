"""The programs of examples/polyglot, started as their README says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/polyglot"

#: Seconds after which a test that waits for something fails.
LIMIT = 40.0


def until(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    """Waits until the condition is true."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"not after {LIMIT} s: {what()}"
        time.sleep(0.01)


class Suite:
    """`run.py` in a folder of its own, with the builds that the tests have made."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.output = ""
        target = Path(os.environ["STYX_BIN"]).resolve().parents[1]
        prebuilt = ["--no-build", f"--target={target}", f"--python={sys.executable}"]
        call = [sys.executable, str(EXAMPLE / "run.py"), f"--folder={folder}", *prebuilt, *options]
        # Variables of a step, such as STYX_BIN, are not for the programs.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("STYX_")}
        self._process = subprocess.Popen(
            call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            until(lambda: self._has_ended() or "\nOpen " in self.output, self._said)
            assert not self._has_ended(), self.output
        except BaseException:
            self.end()
            raise

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self.output += line

    def _has_ended(self) -> bool:
        return self._process.poll() is not None

    def _said(self) -> str:
        return self.output

    @property
    def page(self) -> str:
        """The address of the page."""
        return self._found(r"^Open (\S+)$")

    @property
    def address(self) -> str:
        """The address for clients of Styx."""
        return "styx://" + self._found(r"^styx \(\d+\): listening on http://(\S+)$").strip("/")

    def _found(self, pattern: str) -> str:
        found = re.search(pattern, self.output, re.MULTILINE)
        assert found is not None, self.output
        return found[1]

    def kill(self, *names: str) -> None:
        """Kills programs, and waits until they run again."""
        pids = [self._signalled(name, signal.SIGKILL) for name in names]
        until(lambda: all(map(self._is_newer, names, pids)), self._said)

    def finish(self, name: str) -> None:
        """Ends a program for good."""
        self._signalled(name, signal.SIGTERM)
        until(lambda: f"\n{name} has finished\n" in self.output, self._said)

    def _signalled(self, name: str, number: signal.Signals) -> int:
        """Sends a signal to a program that runs. Returns its process id."""
        pid = 0

        def is_sent() -> bool:
            nonlocal pid
            pid = self._pid(name)
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return False  # It has failed, and is about to be started again.
            return True

        until(is_sent, self._said)
        return pid

    def _is_newer(self, name: str, pid: int) -> bool:
        return self._pid(name) != pid

    def _pid(self, name: str) -> int:
        """The process id of a program since its last start."""
        return int(re.findall(rf"^{name} \((\d+)\): ", self.output, re.MULTILINE)[-1])

    def end(self) -> int:
        """Ends all programs, as Ctrl-C does."""
        if not self._has_ended():
            self._process.send_signal(signal.SIGINT)
        try:
            code = self._process.wait(LIMIT)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            raise AssertionError(f"it does not end: {self.output}") from error
        self._reader.join(LIMIT)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
