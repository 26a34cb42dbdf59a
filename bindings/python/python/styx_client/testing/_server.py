"""Server: a styx server as a child process, for the time of a test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

#: Seconds in which a server must accept connections, and in which it must stop.
START_SECONDS = 30.0
STOP_SECONDS = 30.0


class ServerNotFoundError(FileNotFoundError):
    """There is no program styx."""


def find_styx() -> str:
    """The program styx: STYX_BIN, the one of the package styx-server, or the one on the PATH.

    Raises ServerNotFoundError.
    """
    given = os.environ.get("STYX_BIN")
    if given:
        return given
    beside = Path(sysconfig.get_path("scripts")) / "styx"
    if beside.is_file():
        return str(beside)
    found = shutil.which("styx")
    if found is None:
        raise ServerNotFoundError(
            "there is no program styx: install it with `pip install styx-server`, "
            "or set STYX_BIN to its path"
        )
    return found


class Server:
    """A server on a free port of this machine. It ends with this process at the latest.

    directory: for the logs. Default: a temporary one, which stop() removes.
    settings: configuration keys and their values, such as {"max_log_record_size": 2048}.
    program: the program styx. Default: find_styx().

    It accepts connections when the constructor returns. Raises RuntimeError with the server's
    last messages if it does not start. Use it in a with statement, or call stop().
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        settings: Mapping[str, str | int | float | bool] | None = None,
        program: str | os.PathLike[str] | None = None,
    ) -> None:
        self._program = os.fspath(program) if program is not None else find_styx()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="styx-")
            directory = self._temporary.name
        root = Path(directory)
        #: The directory of the logs.
        self.data_directory: Path = root / "data"
        self._port_file = root / "port"
        self._log_file = root / "server.log"
        self._settings = dict(settings or {})
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        root.mkdir(parents=True, exist_ok=True)
        try:
            self.start()
        except BaseException:
            self._clean()
            raise

    @property
    def address(self) -> str:
        """The address for clients. It stays the same when the server is started again."""
        return f"styx://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The address for HTTP."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """The process id; None while the server does not run."""
        return None if self._process is None else self._process.pid

    @property
    def log(self) -> str:
        """The messages of the server."""
        return self._log_file.read_text(errors="replace") if self._log_file.exists() else ""

    def start(self) -> None:
        """Starts the server again, after stop() or kill()."""
        if self._process is not None:
            return
        self._port_file.unlink(missing_ok=True)
        command = [
            self._program,
            "serve",
            f"--bind-address=127.0.0.1:{self._port}",
            f"--data-directory={self.data_directory}",
            f"--port-file={self._port_file}",
            f"--exit-with-parent={os.getpid()}",
        ]
        for key, value in self._settings.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            command.append(f"--set={key}={text}")
        # The variables are for clients of other servers.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("STYX_")
        }
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        self._port = self._started()

    def stop(self) -> None:
        """Stops the server as an operator does, and removes a temporary directory."""
        try:
            self._end(signal.SIGTERM)
        finally:
            self._clean()

    def kill(self) -> None:
        """Kills the server. start() starts it again, on the same port and with its logs."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stops the server's threads: it accepts connections, but does not answer."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        if hasattr(os, "waitid"):
            # Threads run for a moment after the signal. Leaves the state for others to see.
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Continues after pause()."""
        self._running().send_signal(signal.SIGCONT)

    def _clean(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server does not run: call start() first")
        return self._process

    def _started(self) -> int:
        process = self._running()
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            try:
                text = self._port_file.read_text()
            except FileNotFoundError:
                text = ""
            if text.endswith("\n"):
                return int(text)
            if process.poll() is not None:
                self._process = None
                raise RuntimeError(f"styx has ended with {process.returncode}:\n{self.log}")
            time.sleep(0.01)
        self.kill()
        raise RuntimeError(f"styx does not accept connections:\n{self.log}")

    def _end(self, by: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # A paused process does not act on other signals.
        process.send_signal(signal.SIGCONT)
        process.send_signal(by)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise RuntimeError(f"styx does not stop:\n{self.log}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<styx_client.testing.Server {self.address}>"
