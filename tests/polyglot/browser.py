"""A headless Chromium that a test controls, over the DevTools protocol.

The protocol runs over two pipes. So there is no port that another process may take, no driver
besides the standard library, and a browser that ends when the test process does: Chromium exits
when its pipe is closed.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

#: Where a step of `cargo xtask test` has put Chromium, and the names of installed ones.
VARIABLE = "STYX_TEST_CHROMIUM"
NAMES = ["chromium-headless-shell", "chromium", "google-chrome"]

#: Seconds for an answer. Starting a browser on a busy machine takes the longest.
ANSWER_SECONDS = 40.0

OPTIONS = [
    "--headless",
    "--remote-debugging-pipe",
    # Containers and root have no sandbox, and the only page is ours.
    "--no-sandbox",
    # /dev/shm is small in containers.
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    # Asks no other machine for anything.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_chromium() -> str | None:
    """The program; None if there is none."""
    found = (shutil.which(name) for name in [os.environ.get(VARIABLE, ""), *NAMES] if name)
    return next((program for program in found if program), None)


class Browser:
    """A browser with one page, which is empty at first."""

    def __init__(self, program: str, profile: Path) -> None:
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        # Chromium reads commands from descriptor 3 and writes answers to descriptor 4. bash moves
        # them there, because Python can only pass descriptors on under the number that they have.
        script = f'exec "$@" 3<&{commands} 4>&{answers}'
        call = ["bash", "-c", script, "bash", program, *OPTIONS, f"--user-data-dir={profile}"]
        with (profile.parent / f"{profile.name}.log").open("wb") as log:
            self._process = subprocess.Popen(
                call, pass_fds=[commands, answers], stdout=log, stderr=log
            )
        os.close(commands)
        os.close(answers)
        self._number = 0
        self._unread = b""
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]

    def call(self, method: str, /, **parameters: object) -> dict[str, Any]:
        """Calls a method of the protocol, and waits for its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._write(json.dumps(message).encode() + b"\0")
        while (answer := json.loads(self._message())).get("id") != self._number:
            pass  # An event, which nobody needs.
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._commands, data) :]

    def _message(self) -> bytes:
        end = time.monotonic() + ANSWER_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while b"\0" not in self._unread:
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise TimeoutError(f"Chromium has not answered for {ANSWER_SECONDS} s")
                chunk = os.read(self._answers, 1 << 20)
                if chunk == b"":
                    raise ConnectionError(f"Chromium has ended with {self._process.wait()}")
                self._unread += chunk
        message, _, self._unread = self._unread.partition(b"\0")
        return message

    def open(self, url: str) -> None:
        """Opens a page, and does not wait for it to load."""
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:  # noqa: ANN401
        """The value of an expression in the page. An exception is raised here."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def look(self, width: int, scheme: str, height: int = 800) -> None:
        """Sets the width of the window, and prefers `light` or `dark`."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def screenshot(self, file: Path) -> None:
        """Writes a picture of the whole page."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(answer["data"]))

    def close(self) -> None:
        """Ends the browser."""
        os.close(self._commands)
        os.close(self._answers)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
