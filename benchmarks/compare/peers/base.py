"""A peer: how to get it, start it, and load it."""

from __future__ import annotations

import abc
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from running import Running
from wire import ConsumerWire, ProducerWire


class Unavailable(Exception):
    """The peer cannot be had on this machine. The text says why, and what would help."""


@dataclass(frozen=True)
class Setting:
    """One way to run a peer's server."""

    name: str
    #: What the server does before it acks.
    meaning: str


DURABLE = "durable"
DEFAULT = "default"


@dataclass(frozen=True)
class Rates:
    """Records a second: appended and acked, and read from the start. `None`: not measured."""

    produce: float | None
    consume: float | None
    note: str = ""
    #: Why the client called its own figures invalid.
    invalid: str | None = None


class Peer(abc.ABC):
    """One system. `folder` is below `target/`, and holds what `prepare` downloads or builds."""

    name: str
    version: str
    #: The clients that measure `rates`.
    client: str
    settings: tuple[Setting, ...]

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abc.abstractmethod
    def prepare(self) -> None:
        """Downloads and builds what is missing. Raises `Unavailable`."""

    @abc.abstractmethod
    def start(self, setting: str, data: Path) -> AbstractContextManager[Running]:
        """Runs a server with its data in the empty folder `data`."""

    @abc.abstractmethod
    def rates(self, server: Running, size: int, seconds: float, quick: bool) -> Rates:
        """Appends records of `size` bytes for about `seconds`, and reads them.

        `quick`: only to see whether it works.
        """

    def create_streams(self, server: Running, count: int) -> None:
        """Creates the streams 0 to `count - 1` for `producer` and `consumer`.

        By default nothing happens: the first append creates its stream.
        """
        return

    def producer(self, stream: int) -> ProducerWire | None:
        """A connection that appends to a stream. `None`: latencies are not measured."""
        return None

    def consumer(self, stream: int) -> ConsumerWire | None:
        """A connection that follows a stream from its end."""
        return None


def for_seconds(work: Callable[[int], float], seconds: float, first: int = 2_000) -> float:
    """The rate of `work(records)` with as many records as take about `seconds`.

    `work` returns records a second. It runs twice or more: short runs find the number.
    """
    records = first
    while True:
        rate = work(records)
        if records / rate >= seconds * 0.7:
            return rate
        records = int(max(rate * seconds, records * 2))
