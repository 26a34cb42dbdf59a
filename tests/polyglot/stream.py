"""A client of server-sent events, which connects again as a browser does."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

#: Seconds before it connects again.
RETRY_SECONDS = 0.05


@dataclass
class Stream:
    """Reads /events from the first result in a thread of its own."""

    url: str
    results: list[dict[str, Any]] = field(default_factory=list)
    #: The ids of the events with results.
    ids: list[str] = field(default_factory=list)
    #: The number of connections that have been opened.
    connections: int = 0

    def __post_init__(self) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped.set()
        self._thread.join(15)

    def _run(self) -> None:
        while not self._stopped.wait(RETRY_SECONDS):
            try:
                self._read()
            except (OSError, http.client.HTTPException):
                continue

    def _read(self) -> None:
        address = urllib.parse.urlsplit(self.url).netloc
        connection = http.client.HTTPConnection(address, timeout=10)
        try:
            # Only the header: the query names the first start, as in a browser.
            headers = {"Last-Event-ID": self.ids[-1]} if self.ids else {}
            connection.request("GET", "/events?start=0", headers=headers)
            response = connection.getresponse()
            assert response.status == 200
            self.connections += 1
            fields: dict[str, str] = {}
            while not self._stopped.is_set() and (line := response.readline()):
                name, _, value = line.decode().rstrip("\n").partition(": ")
                # An event that is cut off has no empty line, and does not count.
                if line == b"\n":
                    self._take(fields)
                    fields = {}
                elif line.endswith(b"\n"):
                    fields[name] = value
        finally:
            connection.close()

    def _take(self, fields: dict[str, str]) -> None:
        if "event" not in fields and "id" in fields:
            self.results.append(json.loads(fields["data"]))
            self.ids.append(fields["id"])
