"""The protocol of Kafka, as far as appends, reads and topics of one partition need it.

request   size: i32 | key: i16, version: i16, correlation: i32, client: string | body
response  size: i32 | correlation: i32 | body
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence

from running import Failed
from wire import ConsumerWire, ProducerWire, Wire, u32

PRODUCE, FETCH, LIST_OFFSETS, CREATE_TOPICS = 0, 1, 2, 19
VERSIONS = {PRODUCE: 3, FETCH: 4, LIST_OFFSETS: 1, CREATE_TOPICS: 2}
TIMEOUT_MS = 30_000
#: How long the server holds back an empty answer to a fetch.
FETCH_WAIT_MS = 10_000
FETCH_BYTES = 1 << 20
LATEST = -1
#: The error while a partition has no leader yet.
NOT_LEADER = 6
#: The bytes of a batch before its first record.
BATCH_HEAD_BYTES = 61


def create_topics(port: int, topics: Sequence[str]) -> None:
    """Creates topics of one partition, and returns when each partition has a leader."""
    body = struct.pack(">i", len(topics))
    for topic in topics:
        body += _string(topic) + struct.pack(">ihii", 1, 1, 0, 0)
    body += struct.pack(">i?", TIMEOUT_MS, False)
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        file = connection.makefile("rb")

        def ask(key: int, body: bytes) -> bytes:
            connection.sendall(_request(key, body))
            return file.read(struct.unpack(">i", file.read(4))[0])[4:]

        answer, at = ask(CREATE_TOPICS, body), 4 + 4
        for topic in topics:
            at += len(_string(topic))
            code, message_bytes = struct.unpack_from(">hh", answer, at)
            _expect_ok(code, f"to create {topic}")
            at += 4 + max(message_bytes, 0)
        end = time.monotonic() + TIMEOUT_MS / 1000
        for topic in topics:
            name = _string(topic)
            while (code := _code(ask(LIST_OFFSETS, _newest_offset(name)), name)) == NOT_LEADER:
                if time.monotonic() > end:
                    break
                time.sleep(0.02)
            _expect_ok(code, f"to the question for the end of {topic}")


def _of_partition(topic: bytes, before: bytes, after: bytes) -> bytes:
    """A body with one topic and its partition 0."""
    one = struct.pack(">i", 1)
    return before + one + topic + one + struct.pack(">i", 0) + after


def _newest_offset(topic: bytes) -> bytes:
    return _of_partition(topic, struct.pack(">i", -1), struct.pack(">q", LATEST))


def _code(answer: bytes, topic: bytes) -> int:
    """The error code of the only partition in an answer about offsets or to an append."""
    code: int = struct.unpack_from(">h", answer, 4 + len(topic) + 4 + 4)[0]
    return code


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _request(key: int, body: bytes) -> bytes:
    head = struct.pack(">hhi", key, VERSIONS[key], 0) + _string("compare")
    return struct.pack(">i", len(head) + len(body)) + head + body


def _expect_ok(code: int, attempt: str) -> None:
    if code != 0:
        raise Failed(f"Kafka answered error {code} {attempt}")


def _crc32c_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F6_3B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc32c_table()


def crc32c(data: bytes) -> int:
    value = 0xFFFF_FFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFF_FFFF


def varint(value: int) -> bytes:
    """A number in zigzag encoding."""
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in zigzag encoding, and the offset after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at


def batch(payload: bytes) -> bytes:
    """A batch of one record."""
    head = b"\0" + varint(0) + varint(0) + varint(-1) + varint(len(payload))
    record = head + payload + varint(0)
    record = varint(len(record)) + record
    checked = struct.pack(">hiqqqhii", 0, 0, 0, 0, -1, -1, -1, 1) + record
    body = struct.pack(">ibI", -1, 2, crc32c(checked)) + checked
    return struct.pack(">qi", 0, len(body)) + body


def payloads(batches: bytes) -> tuple[list[bytes], int | None]:
    """The payloads of complete batches, and the offset after them if there is any."""
    found: list[bytes] = []
    next_offset, at = None, 0
    while len(batches) - at >= BATCH_HEAD_BYTES:
        base, length = struct.unpack_from(">qi", batches, at)
        end = at + 12 + length
        if end > len(batches):
            break
        last_delta = struct.unpack_from(">i", batches, at + 23)[0]
        place = at + BATCH_HEAD_BYTES
        for _ in range(u32(batches, at + 57)):
            size, place = read_varint(batches, place)
            record_end = place + size
            place += 1
            for _ in ("timestamp", "offset"):
                _, place = read_varint(batches, place)
            key_bytes, place = read_varint(batches, place)
            value_bytes, place = read_varint(batches, place + max(key_bytes, 0))
            found.append(batches[place : place + value_bytes])
            place = record_end
        next_offset, at = base + last_delta + 1, end
    return found, next_offset


class _Client(Wire):
    """A connection that asks for one partition."""

    def __init__(self, topic: str) -> None:
        super().__init__()
        self._topic = _string(topic)
        self.out += _request(LIST_OFFSETS, _newest_offset(self._topic))

    def parse(self, data: bytes) -> int:
        at = 0
        while len(data) - at >= 4 and len(data) - at >= 4 + u32(data, at):
            end = at + 4 + u32(data, at)
            answer = data[at + 8 : end]
            if self.ready:
                self.on_answer(answer)
            else:
                _expect_ok(_code(answer, self._topic), "to the question for the newest offset")
                self.ready = True
                self.on_offset(struct.unpack_from(">q", answer, len(answer) - 8)[0])
            at = end
        return at

    def on_offset(self, offset: int) -> None:
        """The partition ends at this offset."""

    def on_answer(self, answer: bytes) -> None:
        """A later answer was received."""


class Producer(_Client, ProducerWire):
    def append(self, payload: bytes) -> None:
        records = batch(payload)
        before = struct.pack(">hhi", -1, -1, TIMEOUT_MS)
        after = struct.pack(">i", len(records)) + records
        self.out += _request(PRODUCE, _of_partition(self._topic, before, after))

    def on_answer(self, answer: bytes) -> None:
        _expect_ok(_code(answer, self._topic), "to an append")
        self.acked += 1


class Consumer(_Client, ConsumerWire):
    def on_offset(self, offset: int) -> None:
        self._offset = offset
        self._fetch()

    def _fetch(self) -> None:
        before = struct.pack(">iiiib", -1, FETCH_WAIT_MS, 1, FETCH_BYTES, 0)
        after = struct.pack(">qi", self._offset, FETCH_BYTES)
        self.out += _request(FETCH, _of_partition(self._topic, before, after))

    def on_answer(self, answer: bytes) -> None:
        # The answer begins with the time for which the client should wait.
        _expect_ok(_code(answer[4:], self._topic), "to a fetch")
        place = 4 + 4 + len(self._topic) + 4 + 4 + 2 + 8 + 8
        aborted = struct.unpack_from(">i", answer, place)[0]
        place += 4 + 16 * max(aborted, 0)
        size = struct.unpack_from(">i", answer, place)[0]
        found, next_offset = payloads(answer[place + 4 : place + 4 + max(size, 0)])
        self.payloads += found
        self._offset = self._offset if next_offset is None else next_offset
        self._fetch()
