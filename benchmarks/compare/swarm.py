"""The load generator for latencies: one thread, one poller, any number of connections.

Producers append in turn, at a constant rate in total. Each payload holds the time at which its
record was due, so a stall counts for all records that it delays. The times of acks and of
deliveries are measured from there:

    due ─▶ producer ─▶ server ─▶ ack
                              └▶ every consumer of the stream
"""

from __future__ import annotations

import collections
import contextlib
import errno
import resource
import selectors
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

from running import Failed
from wire import ConsumerWire, ProducerWire, Wire

#: Connections that are opened at once.
OPENING_AT_ONCE = 100
#: The seconds in which all connections must be open.
OPEN_SECONDS = 300
#: The seconds in which the last records must be acked and delivered.
DRAIN_SECONDS = 60
#: `select` waits in microseconds, but only for so many connections.
SELECT_MAX = 400
READ_BYTES = 256 << 10
DUE = struct.Struct(">QQ")
#: A consumer ignores records that no producer of this load has sent.
MARK = 0x5359_5854_0000_0000


@dataclass(frozen=True)
class Times:
    """Percentiles in seconds."""

    p50: float
    p99: float
    p999: float

    @staticmethod
    def of(values: list[float]) -> Times:
        values.sort()
        at = [values[min(len(values) - 1, int(len(values) * share))] for share in QUANTILES]
        return Times(*at)


QUANTILES = (0.5, 0.99, 0.999)


@dataclass(frozen=True)
class Delivered:
    appended: int
    delivered: int
    ack: Times
    delivery: Times


class Overloaded(Failed):
    """Records were not acked or not delivered within a minute of the last append."""


def raise_descriptor_limit() -> None:
    """Allows as many open files as the system lets this process have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def descriptor_limit() -> int:
    """The number of files that this process may open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class _Connection:
    def __init__(self, wire: Wire, address: tuple[str, int]) -> None:
        self.wire = wire
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = self.socket.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            raise Failed(f"cannot connect to {address[0]}:{address[1]}: {errno.errorcode[code]}")
        self.waits_to_send = True
        #: The times at which the records without an ack were due.
        self.due: collections.deque[float] = collections.deque()


class Swarm:
    """Connections to one server. Each consumer follows the stream `number % streams`."""

    def __init__(
        self,
        port: int,
        producers: Sequence[ProducerWire],
        consumers: Sequence[ConsumerWire],
    ) -> None:
        count = len(producers) + len(consumers)
        self._selector: selectors.BaseSelector = (
            selectors.SelectSelector() if count <= SELECT_MAX else selectors.EpollSelector()
        )
        self._address = ("127.0.0.1", port)
        self._producers = producers
        self._consumers = consumers
        self._connections: dict[Wire, _Connection] = {}
        self._acks: list[float] = []
        self._deliveries: list[float] = []

    def __enter__(self) -> Swarm:
        try:
            self._open([*self._consumers, *self._producers])
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for connection in self._connections.values():
            with contextlib.suppress(OSError):
                connection.socket.close()
        self._selector.close()

    def deliver(
        self, rate: float, seconds: float, size: int, copies: int, warm_up: float = 0
    ) -> Delivered:
        """Appends `rate` records a second, each delivered to `copies` consumers.

        Raises `Overloaded` if a record is not acked, or not delivered that often.
        """
        warm, total = int(rate * warm_up), int(rate * (warm_up + seconds))
        begun = time.perf_counter() + 0.01
        sent, last_end = 0, None
        padding = bytes(max(size - DUE.size, 0))
        while True:
            now = time.perf_counter()
            while sent < total and begun + sent / rate <= now:
                due = begun + sent / rate
                producer = self._producers[sent % len(self._producers)]
                connection = self._connections[producer]
                connection.due.append(due if sent >= warm else -1.0)
                number = MARK | (0 if sent >= warm else 1 << 63)
                producer.append(DUE.pack(number, int(due * 1e9)) + padding)
                self._send(connection)
                sent += 1
            if sent == total:
                if len(self._acks) >= total - warm and self._is_delivered(total - warm, copies):
                    break
                last_end = last_end or now
                if now - last_end > DRAIN_SECONDS:
                    raise Overloaded(
                        f"{total - warm} records were appended, {len(self._acks)} acked and "
                        f"{len(self._deliveries)} delivered, not {(total - warm) * copies}"
                    )
            wait = 0.05 if sent == total else max(begun + sent / rate - now, 0)
            self._poll(wait)
        return Delivered(
            total - warm, len(self._deliveries), Times.of(self._acks), Times.of(self._deliveries)
        )

    def _is_delivered(self, records: int, copies: int) -> bool:
        return len(self._deliveries) >= records * copies

    def _open(self, wires: list[Wire]) -> None:
        end = time.monotonic() + OPEN_SECONDS
        waiting: set[Wire] = set()
        while wires or waiting:
            while wires and len(waiting) < OPENING_AT_ONCE:
                wire = wires.pop()
                connection = _Connection(wire, self._address)
                self._connections[wire] = connection
                events = selectors.EVENT_READ | selectors.EVENT_WRITE
                self._selector.register(connection.socket, events, connection)
                waiting.add(wire)
            self._poll(0.05)
            waiting = {wire for wire in waiting if not wire.ready}
            if time.monotonic() > end:
                raise Failed(f"{len(wires) + len(waiting)} connections are not open yet")

    def _poll(self, seconds: float) -> None:
        if isinstance(self._selector, selectors.EpollSelector):
            # Its waits are rounded up to milliseconds, which would delay records.
            seconds = seconds if seconds >= 0.002 else 0
        for key, events in self._selector.select(seconds):
            connection: _Connection = key.data
            if events & selectors.EVENT_READ:
                self._receive(connection)
            if events & selectors.EVENT_WRITE or connection.wire.out:
                self._send(connection)

    def _receive(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            raise Failed("the server closed a connection")
        now, wire = time.perf_counter(), connection.wire
        wire.feed(data)
        if isinstance(wire, ProducerWire):
            while wire.acked and connection.due:
                wire.acked -= 1
                due = connection.due.popleft()
                if due >= 0:
                    self._acks.append(now - due)
        elif isinstance(wire, ConsumerWire):
            for payload in wire.payloads:
                number, due_ns = DUE.unpack_from(payload)
                if number == MARK:
                    self._deliveries.append(now - due_ns / 1e9)
            wire.payloads.clear()

    def _send(self, connection: _Connection) -> None:
        out = connection.wire.out
        if out:
            try:
                sent = connection.socket.send(out)
            except BlockingIOError:
                sent = 0
            del out[:sent]
        if bool(out) != connection.waits_to_send:
            connection.waits_to_send = bool(out)
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if out else 0)
            self._selector.modify(connection.socket, events, connection)
