"""Client: manages logs, and opens producers and consumers. Every call blocks."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING
from weakref import WeakSet

from styx_client import _exit, _values
from styx_client._consumer import Consumer
from styx_client._errors import ClosedError, StyxError, TimedOutError
from styx_client._events import log_events
from styx_client._native import Client as NativeClient
from styx_client._options import Codec, Compression, Start, as_text
from styx_client._producer import Producer
from styx_client._values import (
    ClientStats,
    CursorInfo,
    LogDetails,
    LogInfo,
    ServerInfo,
)

if TYPE_CHECKING:
    from typing import Self

    from styx_client._files import Readable, Writable

#: The bytes of a file that a restore sends at a time.
CHUNK_BYTES = 256 * 1024


class Client:
    """A connection to one server. Threads may share it.

    address: "styx://host:7123", or "styxs://host" for TLS; "http://" and "https://" work too.
        "unix:///run/styx/styx.sock" is the Unix socket of a server on this machine.
        Without it, the environment variable STYX_HOST counts, then "styx://localhost:7123".
    token: bearer token to send with every request. Default: STYX_TOKEN, or none.
    ca_file: the only certificate authorities to trust. Default: STYX_CA_FILE, or the system's.
    ca_pem: the contents of a ca_file.
    server_name: the name that the server's certificate must have. Default: the host.
    connect_timeout: seconds to establish a connection, including TLS.
    timeout: seconds for a call, including retries; also for opening a producer or consumer.
    silence_timeout: seconds without any bytes after which a connection is replaced; at least 2.
    retry: whether calls that change nothing are retried.
    threads: threads that own the sockets, 1 to 64. They never run Python code.
    user_agent: the client's name in requests. Default: "styx-client/VERSION".
    traceparent: the trace that its requests belong to, as in W3C Trace Context.

    The constructor connects, and tries once. It raises ConnectionFailedError (a
    ConnectionError) if nothing listens there, TimedOutError (a TimeoutError) if nothing answers,
    UnknownHostError, UntrustedServerError, UnauthorizedError, or BadAnswerError if that is
    not a Styx server.

    Use it in a with statement, or call close().
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        token: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        ca_pem: str | bytes | None = None,
        server_name: str | None = None,
        connect_timeout: float = 10.0,
        timeout: float = 30.0,
        silence_timeout: float = 30.0,
        retry: bool = True,
        threads: int = 1,
        user_agent: str | None = None,
        traceparent: str | None = None,
    ) -> None:
        options = as_text(
            "client",
            token=token,
            ca_file=ca_file,
            ca_pem=ca_pem,
            server_name=server_name,
            connect_timeout=connect_timeout,
            timeout=timeout,
            silence_timeout=silence_timeout,
            retry=retry,
            threads=threads,
            user_agent=user_agent,
            traceparent=traceparent,
        )
        self._native = NativeClient(address, options, log_events)
        self._lock = Lock()
        self._closed = False
        self._producers: WeakSet[Producer] = WeakSet()
        self._consumers: WeakSet[Consumer] = WeakSet()
        self._native.check().wait()
        _exit.close_at_exit(self)

    @property
    def address(self) -> str:
        """The address of the server."""
        return self._native.address

    def check(self) -> ServerInfo:
        """Asks the server for its version, features and limits."""
        return _values.server(self._opened().check().wait())

    # Logs

    def create_log(
        self,
        name: str,
        *,
        exist_ok: bool = False,
        max_record_size: int = 1024 * 1024,
        index_after_size: int = 1024 * 1024,
        segment_max_count: int = -1,
        segment_max_size: int = 1024 * 1024 * 1024,
        segment_max_age: int = -1,
        log_max_count: int = -1,
        log_max_size: int = -1,
        log_max_age: int = -1,
    ) -> LogInfo:
        """Creates a log, and returns its information.

        name: 1 to 255 of A-Z a-z 0-9 _ -.
        exist_ok: return the log that has the name already, whatever its limits are.
        The limits are those of LogConfig: sizes in bytes, ages in seconds, -1 for no limit.

        Raises LogExistError (a FileExistsError), LogInvalidNameError and InvalidParamsError
        (both ValueErrors).
        """
        limits = [
            ("max_record_size", max_record_size),
            ("index_after_size", index_after_size),
            ("segment_max_count", segment_max_count),
            ("segment_max_size", segment_max_size),
            ("segment_max_age", segment_max_age),
            ("log_max_count", log_max_count),
            ("log_max_size", log_max_size),
            ("log_max_age", log_max_age),
        ]
        return LogInfo(**self._opened().create_log(name, limits, exist_ok).wait())

    def list_logs(self) -> list[LogInfo]:
        """All logs, ordered by name."""
        return [LogInfo(**raw) for raw in self._opened().list_logs().wait()]

    def get_log(self, name: str) -> LogInfo:
        """A log. Raises LogNotFoundError (a LookupError)."""
        return LogInfo(**self._opened().get_log(name).wait())

    def get_log_details(self, name: str) -> LogDetails:
        """A log with its id, its limits, and the times of its first and last record."""
        return _values.details(self._opened().get_log_details(name).wait())

    def delete_log(self, name: str) -> None:
        """Deletes a log with all its records."""
        self._opened().delete_log(name).wait()

    def truncate_log(self, name: str) -> None:
        """Deletes all records of a log. The log gets a new id and begins at position 0."""
        self._opened().truncate_log(name).wait()

    def trim_log(self, name: str, position: int) -> LogInfo:
        """Deletes whole segments before a position. The rest keeps its positions."""
        return LogInfo(**self._opened().trim_log(name, position).wait())

    def adopt_log(self, name: str) -> LogInfo:
        """Opens a log whose files were put into the server's directory."""
        return LogInfo(**self._opened().adopt_log(name).wait())

    def backup_log(self, name: str, file: Writable) -> int:
        """Writes an archive of a log to a file that is open for writing bytes.

        Returns the number of bytes. An exception of the file is raised as it is.
        """
        backup = self._opened().backup_log(name).wait()
        written = 0
        while (chunk := backup.next_chunk().wait()) is not None:
            file.write(chunk)
            written += len(chunk)
        return written

    def restore_log(self, name: str, file: Readable) -> None:
        """Creates a log from an archive that backup_log has written.

        If the file raises an exception or the archive is damaged, there is no new log.
        """
        restore = self._opened().restore_log(name).wait()
        while chunk := file.read(CHUNK_BYTES):
            restore.write(chunk).wait()
        restore.finish().wait()

    # Cursors

    def list_cursors(self, log: str) -> list[CursorInfo]:
        """The cursors of a log, ordered by name."""
        return [CursorInfo(**raw) for raw in self._opened().list_cursors(log).wait()]

    def get_cursor(self, log: str, cursor: str) -> CursorInfo:
        """A cursor. Raises CursorNotFoundError (a LookupError)."""
        return CursorInfo(**self._opened().get_cursor(log, cursor).wait())

    def set_cursor(self, log: str, cursor: str, position: int) -> CursorInfo:
        """Creates a cursor, or moves it. A consumer that uses it then raises
        CursorTakenError at its next commit."""
        return CursorInfo(**self._opened().set_cursor(log, cursor, position).wait())

    def delete_cursor(self, log: str, cursor: str) -> None:
        """Deletes a cursor."""
        self._opened().delete_cursor(log, cursor).wait()

    # Producers and consumers

    def producer(
        self,
        log: str,
        *,
        compression: Compression = "none",
        linger: float = 0.0,
        block_bytes: int = 256 * 1024,
        in_flight_bytes: int = 32 * 1024 * 1024,
        deadline: float = 120.0,
        close_timeout: float = 30.0,
        idempotent: bool = True,
        producer_id: int | None = None,
        epoch: int | None = None,
        expected_position: int | None = None,
    ) -> Producer:
        """Opens a producer, which appends records to a log.

        compression: compress blocks, if the server accepts it and they become smaller.
        linger: seconds that a block waits for more records. With 0 it is sent as soon as the
            connection is free.
        block_bytes: size at which a block is complete, up to 1 MiB.
        in_flight_bytes: bytes that may wait or be unacknowledged before append waits.
        deadline: seconds from the append of a record to its ack.
        close_timeout: seconds for close().
        idempotent: number the records, so that each is stored once.
        producer_id: set it for a producer that continues after its program restarts; then
            next_sequence says with which record. Default: random.
        epoch: a higher epoch fences producers with a lower one. Default: the next one.
        expected_position: append only if the log ends here.

        Raises LogNotFoundError, and other errors of the server.
        """
        options = as_text(
            "producer",
            compression=compression,
            linger=linger,
            block_bytes=block_bytes,
            in_flight_bytes=in_flight_bytes,
            deadline=deadline,
            close_timeout=close_timeout,
            idempotent=idempotent,
            producer_id=producer_id,
            epoch=epoch,
            expected_position=expected_position,
        )
        producer = Producer(self._opened().open_producer(log, options).wait(), log)
        with self._lock:
            self._producers.add(producer)
        return producer

    def consumer(
        self,
        log: str,
        *,
        start: Start = "start",
        cursor: str | None = None,
        count: int | None = None,
        follow: bool = False,
        deadline: float | None = None,
        buffer_bytes: int = 8 * 1024 * 1024,
        codecs: Collection[Codec] | None = None,
    ) -> Consumer:
        """Opens a consumer, which reads a log.

        start: where to begin: a position, "start" (the first record that the log still has),
            "end", "end-100", "time:2026-11-28T16:00:00Z", a datetime with a time zone, or a
            Checkpoint (also as text).
        cursor: a name under which the server keeps the position of commit(). The consumer
            begins there if the cursor exists, otherwise at start.
        count: stop after this number of records.
        follow: wait for new records. Without it, the read ends where the log ends now.
        deadline: seconds that the consumer may be without a connection. Default: 120, and no
            limit with follow; math.inf for no limit.
        buffer_bytes: bytes that may wait for the program before the server has to wait.
        codecs: codecs in which the server may send blocks. Default: all.

        Raises LogNotFoundError, OutOfRangeError if the log has no such position any more, and
        LogChangedError if a checkpoint is of a log that was truncated or recreated.
        """
        options = as_text(
            "consumer",
            start=start,
            cursor=cursor,
            count=count,
            follow=follow,
            deadline=deadline,
            buffer_bytes=buffer_bytes,
            codecs=codecs,
        )
        consumer = Consumer(self._opened().open_consumer(log, options).wait(), log)
        with self._lock:
            self._consumers.add(consumer)
        return consumer

    # State

    def stats(self) -> ClientStats:
        """The numbers of the client. Waits for nothing."""
        return ClientStats(**self._native.stats())

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._closed

    def close(self) -> None:
        """Closes the consumers, and the producers as Producer.close() does.

        Raises what was lost: the first error of a producer, with the others as notes. Closing
        again has no effect.
        """
        self._close(None)

    def _close(self, within: float | None) -> None:
        end = _exit.end_of(within)
        with self._lock:
            self._closed = True
            producers, consumers = list(self._producers), list(self._consumers)
        # Threads that wait in a consumer end now.
        closing = [consumer._begin_close() for consumer in consumers]
        lost: StyxError | None = None
        for producer in producers:
            try:
                producer.close(_exit.left(end))
            except StyxError as error:
                if lost is None:
                    lost = error
                else:
                    lost.add_note(f"also lost, in {producer.log}: {error}")
        for call in closing:
            # A commit that takes longer is lost, which repeats records and loses none.
            with suppress(TimedOutError):
                call.wait(_exit.left(end))
        if lost is not None:
            raise lost

    def _opened(self) -> NativeClient:
        if self._closed:
            raise ClosedError("the client is closed")
        return self._native

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _exit.leave(self._close, error)

    def __repr__(self) -> str:
        return f"<styx_client.Client {self.address}{' closed' if self._closed else ''}>"
