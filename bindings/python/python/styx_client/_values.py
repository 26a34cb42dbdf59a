"""What calls return: information about logs, cursors and servers, and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from styx_client._time import from_microseconds


@dataclass(frozen=True, slots=True)
class LogConfig:
    """The limits of a log. -1 means no limit, where that is allowed."""

    #: The largest record in bytes: its payload and 8.
    max_record_size: int = 1 << 20
    #: Bytes of a segment between two entries of its index.
    index_after_size: int = 1 << 20
    #: The number of records after which a segment ends.
    segment_max_count: int = -1
    #: Bytes after which a segment ends.
    segment_max_size: int = 1 << 30
    #: Seconds after which a segment ends.
    segment_max_age: int = -1
    #: The number of records to keep.
    log_max_count: int = -1
    #: Bytes to keep.
    log_max_size: int = -1
    #: Seconds to keep a record.
    log_max_age: int = -1


@dataclass(frozen=True, slots=True)
class LogInfo:
    """A log. Only durable records count."""

    #: The name of the log.
    name: str
    #: "ok", or why the log cannot be used: "corrupt", "tainted", "scanning" or "unknown".
    status: str
    #: The number of records.
    record_count: int
    #: Bytes of these records: payloads and 8 bytes each.
    file_size: int
    #: Position of the first record that the log still has.
    start_position: int
    #: Position of the next record to be appended.
    end_position: int


@dataclass(frozen=True, slots=True)
class LogDetails:
    """Everything that a server reports about a log."""

    #: The id of the log, as 32 hex digits. It changes when the log is truncated or recreated.
    log_id: str
    #: What get_log returns.
    info: LogInfo
    #: The limits of the log.
    config: LogConfig
    #: When the first record was appended, in µs since 1970-01-01 UTC; None without a record.
    timestamp_first: int | None
    #: When the last record was appended.
    timestamp_last: int | None


@dataclass(frozen=True, slots=True)
class CursorInfo:
    """A cursor: a position that the server keeps under a name."""

    #: The name of the cursor.
    cursor: str
    #: The id of the log that the position belongs to.
    log_id: str
    #: The position of the next record to read.
    position: int
    #: When the cursor was changed last, in µs since 1970-01-01 UTC.
    updated: int
    #: The number of the last change.
    version: int

    @property
    def updated_at(self) -> datetime:
        """When the cursor was changed last, in UTC."""
        return from_microseconds(self.updated)


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server."""

    #: The version of the server, such as "1.0.0".
    version: str
    #: Its protocols, codecs and optional features, such as "styx/1" and "zstd".
    features: tuple[str, ...]
    #: The largest max_record_size that a log may have.
    max_record_size: int | None
    #: The most bytes of records that are appended as one atomic block.
    max_block_size: int | None


@dataclass(frozen=True, slots=True)
class ClientStats:
    """The numbers of a client since it was made, and its present state."""

    #: Requests that were sent.
    requests: int
    #: Calls that were tried again.
    retries: int
    #: Connections that were opened.
    connections: int
    #: Attempts to open a connection that failed.
    failed_connections: int
    #: Connections that are open, including idle ones.
    open_connections: int
    #: The open connections of producers and consumers.
    open_streams: int
    #: Seconds since anything was received; None before that.
    since_last_heard: float | None


@dataclass(frozen=True, slots=True)
class ProducerStats:
    """The numbers of a producer since it was opened, and its present state.

    A record counts 8 bytes and its payload, before compression.
    """

    #: Records that are durable.
    acked_records: int
    #: Bytes of these records.
    acked_bytes: int
    #: Blocks in which these records were sent.
    acked_blocks: int
    #: Records that failed.
    failed_records: int
    #: Records that are neither durable nor have failed.
    in_flight_records: int
    #: Bytes of these records.
    in_flight_bytes: int
    #: The part of in_flight_bytes that waits to be sent.
    buffered_bytes: int
    #: Blocks that were sent again after a connection was lost.
    resent_blocks: int
    #: Whether a connection is open. A silent one is open until silence_timeout.
    is_connected: bool
    #: Connections after the first.
    reconnects: int
    #: Seconds since the last ack; None before the first.
    since_last_ack: float | None
    #: Seconds since anything was received. A server sends a sign of life at least once in half
    #: the silence_timeout.
    since_last_heard: float | None


@dataclass(frozen=True, slots=True)
class ConsumerStats:
    """The numbers of a consumer since it was opened, and its present state."""

    #: Records that were received, including those that a seek has dropped.
    received_records: int
    #: Bytes of these records; each counts 8 bytes and its payload.
    received_bytes: int
    #: Batches of these records.
    received_batches: int
    #: Memory of received batches that wait for the program, in bytes.
    buffered_bytes: int
    #: Whether a connection is open. A silent one is open until silence_timeout.
    is_connected: bool
    #: Connections after the first.
    reconnects: int
    #: Seconds since anything was received. A server sends a sign of life at least once in half
    #: the silence_timeout; while the buffer is full, nothing is received.
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
    )


def server(raw: RawServer) -> ServerInfo:
    """ServerInfo from what the native module returns."""
    return ServerInfo(
        version=raw["version"],
        features=tuple(raw["features"]),
        max_record_size=raw["max_record_size"],
        max_block_size=raw["max_block_size"],
    )
