"""One connection of the load generator, for any protocol.

The engine in `swarm` owns the sockets. A wire turns appends into bytes to send, and received
bytes into acks and payloads:

    append(payload) ─▶ out ─▶ socket ─▶ feed(bytes) ─▶ acked += 1, or payloads
"""

from __future__ import annotations

import struct

from running import Failed


class Wire:
    """A connection. `out` holds the bytes that the engine must send."""

    def __init__(self) -> None:
        self.out = bytearray()
        #: Whether the handshake is over: appends count, or records are delivered from now on.
        self.ready = False
        self._received = bytearray()

    def feed(self, data: bytes) -> None:
        """Takes received bytes. Raises `Failed` if the server refuses something."""
        self._received += data
        used = self.parse(bytes(self._received))
        del self._received[:used]

    def parse(self, data: bytes) -> int:
        """Handles the complete messages at the front, and returns their length."""
        raise NotImplementedError


class ProducerWire(Wire):
    def __init__(self) -> None:
        super().__init__()
        #: Records that the server has acked, in the order of their appends.
        self.acked = 0

    def append(self, payload: bytes) -> None:
        raise NotImplementedError


class ConsumerWire(Wire):
    def __init__(self) -> None:
        super().__init__()
        #: Payloads that the engine has not taken yet.
        self.payloads: list[bytes] = []


def http_head(data: bytes) -> tuple[str, int] | None:
    """The head of an HTTP response and its length, or `None` if it is incomplete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    return data[:end].decode("latin-1"), end + 4


def expect_status(head: str, status: int, request: str) -> None:
    if head.split(" ", 2)[1] != str(status):
        raise Failed(f"{request} was refused: {head.splitlines()[0]}")


def u32(data: bytes, at: int) -> int:
    value: int = struct.unpack_from(">I", data, at)[0]
    return value
