"""The values that calls return: information about logs, cursors and servers, and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from styx_client._time import from_microseconds


@dataclass(frozen=True, slots=True)
class LogConfig:
    """The limits of a log. -1 means no limit, where that is allowed.

    max_record_size: the largest record in bytes: its payload and 8.
    index_after_size: bytes of a segment between two entries of its index.
    segment_max_count: the number of records after which a segment ends.
    segment_max_size: bytes after which a segment ends.
    segment_max_age: seconds after which a segment ends.
    log_max_count: the number of records to keep.
    log_max_size: bytes to keep.
    log_max_age: seconds to keep a record.
    """

    max_record_size: int = 1 << 20
    index_after_size: int = 1 << 20
    segment_max_count: int = -1
    segment_max_size: int = 1 << 30
    segment_max_age: int = -1
    log_max_count: int = -1
    log_max_size: int = -1
    log_max_age: int = -1


@dataclass(frozen=True, slots=True)
class LogInfo:
    """A log. Only durable records count.

    name: the name of the log.
    status: "ok", or why the log cannot be used: "corrupt", "tainted", "scanning" or "unknown".
    record_count: the number of records.
    file_size: bytes of these records: payloads and 8 bytes each.
    start_position: position of the first record that the log still has.
    end_position: position of the next record to be appended.
    """

    name: str
    status: str
    record_count: int
    file_size: int
    start_position: int
    end_position: int


@dataclass(frozen=True, slots=True)
class LogDetails:
    """Everything that a server reports about a log.

    log_id: the id of the log, as 32 hex digits. It changes when the log is truncated or recreated.
    info: what get_log returns.
    config: the limits of the log.
    timestamp_first: when the first record was appended, in µs since 1970-01-01 UTC; None without a
        record.
    timestamp_last: when the last record was appended.
    archived_position: records before this position are also in the archive of the server; None if
        it has no archive.
    """

    log_id: str
    info: LogInfo
    config: LogConfig
    timestamp_first: int | None
    timestamp_last: int | None
    archived_position: int | None = None


@dataclass(frozen=True, slots=True)
class CursorInfo:
    """A cursor: a position that the server keeps under a name.

    cursor: the name of the cursor.
    log_id: the id of the log that the position belongs to.
    position: the position of the next record to read.
    updated: when the cursor was changed last, in µs since 1970-01-01 UTC.
    version: the number of the last change.
    """

    cursor: str
    log_id: str
    position: int
    updated: int
    version: int

    @property
    def updated_at(self) -> datetime:
        """When the cursor was changed last, in UTC."""
        return from_microseconds(self.updated)


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server.

    version: the version of the server, such as "1.0.0".
    features: its protocols, codecs and optional features, such as "styx/1" and "zstd".
    max_record_size: the largest max_record_size that a log may have.
    max_block_size: the most bytes of records that are appended as one atomic block.
    """

    version: str
    features: tuple[str, ...]
    max_record_size: int | None
    max_block_size: int | None


@dataclass(frozen=True, slots=True)
class ClientStats:
    """The numbers of a client since it was made, and its present state.

    requests: requests that were sent.
    retries: calls that were tried again.
    connections: connections that were opened.
    failed_connections: attempts to open a connection that failed.
    open_connections: connections that are open, including idle ones.
    open_streams: the open connections of producers and consumers.
    since_last_heard: seconds since anything was received; None before that.
    """

    requests: int
    retries: int
    connections: int
    failed_connections: int
    open_connections: int
    open_streams: int
    since_last_heard: float | None


@dataclass(frozen=True, slots=True)
class ProducerStats:
    """The numbers of a producer since it was opened, and its present state.

    A record counts 8 bytes and its payload, before compression.

    acked_records: records that are durable.
    acked_bytes: bytes of these records.
    acked_blocks: blocks in which these records were sent.
    failed_records: records that failed.
    in_flight_records: records that are neither durable nor have failed.
    in_flight_bytes: bytes of these records.
    buffered_bytes: the part of in_flight_bytes that waits to be sent.
    resent_blocks: blocks that were sent again after a connection was lost.
    is_connected: whether a connection is open. A silent one is open until silence_timeout.
    reconnects: connections after the first.
    since_last_ack: seconds since the last ack; None before the first.
    since_last_heard: seconds since anything was received. A server sends something at least once
        in half the silence_timeout.
    """

    acked_records: int
    acked_bytes: int
    acked_blocks: int
    failed_records: int
    in_flight_records: int
    in_flight_bytes: int
    buffered_bytes: int
    resent_blocks: int
    is_connected: bool
    reconnects: int
    since_last_ack: float | None
    since_last_heard: float | None


@dataclass(frozen=True, slots=True)
class ConsumerStats:
    """The numbers of a consumer since it was opened, and its present state.

    received_records: records that were received, including those that a seek has dropped.
    received_bytes: bytes of these records; each counts 8 bytes and its payload.
    received_batches: batches of these records.
    buffered_bytes: memory of received batches that wait for the program, in bytes.
    is_connected: whether a connection is open. A silent one is open until silence_timeout.
    reconnects: connections after the first.
    since_last_heard: seconds since anything was received. A server sends something at least once
        in half the silence_timeout. While the buffer is full, nothing is received.
    """

    received_records: int
    received_bytes: int
    received_batches: int
    buffered_bytes: int
    is_connected: bool
    reconnects: int
    since_last_heard: float | None


class RawLog(TypedDict):
    """LogInfo, as the native module returns it."""

    name: str
    status: str
    record_count: int
    file_size: int
    start_position: int
    end_position: int


class RawDetails(TypedDict):
    """LogDetails, as the native module returns them."""

    log_id: str
    info: RawLog
    config: Mapping[str, int]
    timestamp_first: int | None
    timestamp_last: int | None
    archived_position: int | None


class RawCursor(TypedDict):
    """CursorInfo, as the native module returns it."""

    cursor: str
    log_id: str
    position: int
    updated: int
    version: int


class RawServer(TypedDict):
    """ServerInfo, as the native module returns it."""

    version: str
    features: list[str]
    max_record_size: int | None
    max_block_size: int | None


class RawClientStats(TypedDict):
    """ClientStats, as the native module returns them."""

    requests: int
    retries: int
    connections: int
    failed_connections: int
    open_connections: int
    open_streams: int
    since_last_heard: float | None


class RawProducerStats(TypedDict):
    """ProducerStats, as the native module returns them."""

    acked_records: int
    acked_bytes: int
    acked_blocks: int
    failed_records: int
    in_flight_records: int
    in_flight_bytes: int
    buffered_bytes: int
    resent_blocks: int
    is_connected: bool
    reconnects: int
    since_last_ack: float | None
    since_last_heard: float | None


class RawConsumerStats(TypedDict):
    """ConsumerStats, as the native module returns them."""

    received_records: int
    received_bytes: int
    received_batches: int
    buffered_bytes: int
    is_connected: bool
    reconnects: int
    since_last_heard: float | None


def details(raw: RawDetails) -> LogDetails:
    """LogDetails from what the native module returns."""
    return LogDetails(
        log_id=raw["log_id"],
        info=LogInfo(**raw["info"]),
        config=LogConfig(**raw["config"]),
        timestamp_first=raw["timestamp_first"],
        timestamp_last=raw["timestamp_last"],
        archived_position=raw["archived_position"],
    )


def server(raw: RawServer) -> ServerInfo:
    """ServerInfo from what the native module returns."""
    return ServerInfo(
        version=raw["version"],
        features=tuple(raw["features"]),
        max_record_size=raw["max_record_size"],
        max_block_size=raw["max_block_size"],
    )
