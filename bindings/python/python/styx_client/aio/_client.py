"""Client for asyncio."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

from styx_client import _exit, _values
from styx_client._client import CHUNK_BYTES
from styx_client._errors import ClosedError, StyxError, TimedOutError
from styx_client._events import log_events
from styx_client._native import Call
from styx_client._native import Client as NativeClient
from styx_client._options import Codec, Compression, Start, as_text
from styx_client._values import (
    ClientStats,
    CursorInfo,
    LogDetails,
    LogInfo,
    ServerInfo,
)
from styx_client.aio._consumer import Consumer
from styx_client.aio._hub import Hub
from styx_client.aio._producer import Producer

if TYPE_CHECKING:
    from typing import Self

    from styx_client._files import Readable, Writable

T = TypeVar("T")


class Client:
    """A connection to one server, for the tasks of one event loop.

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

    async with connects, and so does connect(). It tries once, and raises ConnectionFailedError (a
    ConnectionError) if nothing listens there, TimedOutError (a TimeoutError) if nothing answers,
    UnknownHostError, UntrustedServerError, UnauthorizedError, or BadAnswerError if that is
    not a Styx server.

    Use it in an async with statement, or await connect() and close().
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
        self._hub_or_none: Hub | None = None
        self._closed = False
        self._producers: WeakSet[Producer] = WeakSet()
        self._consumers: WeakSet[Consumer] = WeakSet()

    async def connect(self) -> Self:
        """Connects, unless the client is connected."""
        if self._hub_or_none is None:
            hub = Hub()
            try:
                await hub.run(self._opened().check())
            except BaseException:
                hub.close()
                raise
            self._hub_or_none = hub
            token = hub.register(lambda _error: self._native.log_events())
            self._native.watch_events(hub.completions, token)
            _exit.close_at_exit(self)
        return self

    @property
    def address(self) -> str:
        """The address of the server."""
        return self._native.address

    async def check(self) -> ServerInfo:
        """Asks the server for its version, features and limits."""
        return _values.server(await self._run(self._opened().check()))

    # Logs

    async def create_log(
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
        return LogInfo(**await self._run(self._opened().create_log(name, limits, exist_ok)))

    async def list_logs(self) -> list[LogInfo]:
        """All logs, ordered by name."""
        return [LogInfo(**raw) for raw in await self._run(self._opened().list_logs())]

    async def get_log(self, name: str) -> LogInfo:
        """A log. Raises LogNotFoundError (a LookupError)."""
        return LogInfo(**await self._run(self._opened().get_log(name)))

    async def get_log_details(self, name: str) -> LogDetails:
        """A log with its id, its limits, and the times of its first and last record."""
        return _values.details(await self._run(self._opened().get_log_details(name)))

    async def delete_log(self, name: str) -> None:
        """Deletes a log with all its records."""
        await self._run(self._opened().delete_log(name))

    async def truncate_log(self, name: str) -> None:
        """Deletes all records of a log. The log gets a new id and begins at position 0."""
        await self._run(self._opened().truncate_log(name))

    async def trim_log(self, name: str, position: int) -> LogInfo:
        """Deletes whole segments before a position. The rest keeps its positions."""
        return LogInfo(**await self._run(self._opened().trim_log(name, position)))

    async def adopt_log(self, name: str) -> LogInfo:
        """Opens a log whose files were put into the server's directory."""
        return LogInfo(**await self._run(self._opened().adopt_log(name)))

    async def backup_log(self, name: str, file: Writable) -> int:
        """Writes an archive of a log to a file that is open for writing bytes.

        Returns the number of bytes. An exception of the file is raised as it is.
        """
        backup = await self._run(self._opened().backup_log(name))
        written = 0
        while (chunk := await self._run(backup.next_chunk())) is not None:
            await asyncio.to_thread(file.write, chunk)
            written += len(chunk)
        return written

    async def restore_log(self, name: str, file: Readable) -> None:
        """Creates a log from an archive that backup_log has written.

        If the file raises an exception or the archive is damaged, there is no new log.
        """
        restore = await self._run(self._opened().restore_log(name))
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            await self._run(restore.write(chunk))
        await self._run(restore.finish())

    # Cursors

    async def list_cursors(self, log: str) -> list[CursorInfo]:
        """The cursors of a log, ordered by name."""
        return [CursorInfo(**raw) for raw in await self._run(self._opened().list_cursors(log))]

    async def get_cursor(self, log: str, cursor: str) -> CursorInfo:
        """A cursor. Raises CursorNotFoundError (a LookupError)."""
        return CursorInfo(**await self._run(self._opened().get_cursor(log, cursor)))

    async def set_cursor(self, log: str, cursor: str, position: int) -> CursorInfo:
        """Creates a cursor, or moves it. A consumer that uses it then raises
        CursorTakenError at its next commit."""
        return CursorInfo(**await self._run(self._opened().set_cursor(log, cursor, position)))

    async def delete_cursor(self, log: str, cursor: str) -> None:
        """Deletes a cursor."""
        await self._run(self._opened().delete_cursor(log, cursor))

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
        """A producer, which appends records to a log. async with opens it, or open().

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

        Opening it raises LogNotFoundError, and other errors of the server.
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
            # How the futures of send() and of acks learn their positions.
            track_settled=True,
        )
        native = self._opened()
        producer = Producer(self._hub, lambda: native.open_producer(log, options), log)
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
        """A consumer, which reads a log. async with opens it, or open(), or the first read.

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

        Opening it raises LogNotFoundError, OutOfRangeError if the log has no such position any
        more, and LogChangedError if a checkpoint is of a log that was truncated or recreated.
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
        native = self._opened()
        consumer = Consumer(self._hub, lambda: native.open_consumer(log, options), log)
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

    async def close(self) -> None:
        """Closes the consumers, and the producers as Producer.close() does.

        Raises what was lost: the first error of a producer, with the others as notes. Closing
        again has no effect.
        """
        await self._close_all(None)

    async def _close_all(self, within: float | None) -> None:
        hub = self._hub_or_none
        self._closed = True
        if hub is None or not hub.is_open:
            return
        hub.check()
        lost: StyxError | None = None
        for consumer in list(self._consumers):
            await consumer.close()
        for producer in list(self._producers):
            try:
                await producer.close(within)
            except StyxError as error:
                if lost is None:
                    lost = error
                else:
                    lost.add_note(f"also lost, in {producer.log}: {error}")
        # Not before, so that a task that is cancelled can close again.
        self._native.log_events()
        hub.close()
        if lost is not None:
            raise lost

    def _close(self, within: float | None) -> None:
        """Closes everything without an event loop, when the interpreter exits."""
        if self._closed:
            return
        end = _exit.end_of(within)
        consumers = [each._native_or_none for each in self._consumers]
        closing = [native.close() for native in consumers if native is not None]
        for producer in self._producers:
            native = producer._native_or_none
            if native is not None:
                # The program has not waited for these records.
                with suppress(StyxError):
                    native.close(_exit.left(end)).wait()
        for call in closing:
            with suppress(TimedOutError):
                call.wait(_exit.left(end))

    def _opened(self) -> NativeClient:
        if self._closed:
            raise ClosedError("the client is closed")
        return self._native

    def _hub(self) -> Hub:
        if self._hub_or_none is None:
            raise RuntimeError(
                "the client is not connected: use async with, or await connect() first"
            )
        return self._hub_or_none

    async def _run(self, call: Call[T]) -> T:
        return await self._hub().run(call)

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            await self.close()
            return
        try:
            await self._close_all(None if isinstance(error, Exception) else 0.0)
        except StyxError as lost:
            _exit.note_lost(error, lost)

    def __repr__(self) -> str:
        return f"<styx_client.aio.Client {self.address}{' closed' if self._closed else ''}>"
