"""Consumer for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING

from styx_client import _native
from styx_client._consumer import BATCH_RECORDS, check_max_records
from styx_client._errors import ClosedError, StyxError
from styx_client._native import Checkpoint, Record, RecordBatch
from styx_client._native import Consumer as NativeConsumer
from styx_client._options import Start, start_text
from styx_client._values import ConsumerStats
from styx_client.aio._timeout import check_timeout

if TYPE_CHECKING:
    from typing import Self

    from styx_client.aio._hub import Hub


class Commit:
    """A position that is being stored in a cursor: await it to know that it is durable.

    The await returns the position, which is a later one if the consumer has committed more
    meanwhile. It raises CursorTakenError if another consumer has taken the cursor over.
    """

    __slots__ = ("_hub", "_native")

    def __init__(self, hub: Hub, native: _native.Commit) -> None:
        self._hub = hub
        self._native = native

    def __await__(self) -> Generator[object, None, int]:
        if self._native.done():
            return self._native.result()
        return (yield from self._hub.run(self._native._call()).__await__())

    def done(self) -> bool:
        """Whether the outcome is known."""
        return self._native.done()


class Consumer:
    """Reads the records of one log, in order.

    Client.consumer() makes it. async with opens it; so do open() and the first read. It
    reconnects by itself and continues at its position: no record is returned twice or skipped.

    Iterate over it with async for, or over batches(), which is much faster; poll() has a
    timeout. All of them continue where the other stopped, and so does a second iteration after
    a break. Cancelling a wait loses nothing.

    Errors: as those of styx_client.Consumer.
    """

    def __init__(
        self,
        hub: Callable[[], Hub],
        start: Callable[[], _native.Call[NativeConsumer]],
        log: str,
    ) -> None:
        self._hub_of_client = hub
        self._start = start
        self._log = log
        self._native_or_none: NativeConsumer | None = None
        self._opening = asyncio.Lock()
        self._token = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._closing: asyncio.Task[None] | None = None

    async def open(self) -> Self:
        """Opens the consumer, unless it is open."""
        async with self._opening:
            if self._native_or_none is None:
                hub = self._hub_of_client()
                native = await hub.run(self._start())
                self._hub = hub
                # Weakly, because a program may just drop a consumer, which closes it. A task that
                # waits in the consumer keeps it.
                self._token = hub.register_weakly(self, self._ready)
                native.notify(hub.completions, self._token)
                self._native_or_none = native
        return self

    def __aiter__(self) -> AsyncIterator[Record]:
        """The records one by one. With follow, the iterator waits for new ones."""
        self._check()
        return _Records(self)

    def batches(self, *, max_records: int = BATCH_RECORDS) -> AsyncIterator[RecordBatch]:
        """Batches of up to max_records. With follow, the iterator waits for new ones."""
        self._check()
        check_max_records(max_records)
        return _Batches(self, max_records)

    async def poll(
        self, timeout: float | None = None, *, max_records: int = BATCH_RECORDS
    ) -> RecordBatch | None:
        """The next batch of up to max_records. Waits at most timeout seconds, once it is open.

        None if the time has passed or the read has ended; ended says which.
        """
        check_timeout(timeout)
        check_max_records(max_records)
        # As in the blocking face, the timeout is not for opening.
        if self._native_or_none is None:
            await self.open()
        try:
            async with asyncio.timeout(timeout):
                return await self._next(max_records)
        except TimeoutError as error:
            if isinstance(error, StyxError):
                raise
            return None

    async def seek(self, start: Start) -> None:
        """Continues at another place of the same log, as start of Client.consumer().

        If it is cancelled, the seek takes place nevertheless.
        """
        native = self._native_or_none or (await self.open())._native
        text, completions = start_text(start), self._hub.completions
        await self._hub.report(lambda token: native.seek_to(text, completions, token))

    def commit(self) -> Commit:
        """Stores the position behind the last record that was returned in the cursor.

        Returns at once. The position is stored in the background; await the commit to know
        that it is durable. Commit after the output of these records is safe. Raises
        CursorTakenError if another consumer has taken the cursor over.
        """
        return Commit(self._hub, self._native.commit())

    async def close(self) -> None:
        """Closes the connection; waits until the last commit is stored.

        A task that waits in an iteration or in poll() ends normally. Later calls raise
        ClosedError. Closing again has no effect.
        """
        native = self._native_or_none
        if native is None:
            return
        if self._closing is None:
            self._hub.check()
            self._closing = self._hub.loop.create_task(self._hub.run(native.close()))
            self._ready(None)
            self._hub.forget(self._token)
        # Whoever is cancelled here can close again, and waits for the same.
        await asyncio.shield(self._closing)

    def stats(self) -> ConsumerStats:
        """The numbers of the consumer. Waits for nothing."""
        raw = self._native.stats()
        if raw is None:
            raise ClosedError("the consumer is closed")
        return ConsumerStats(**raw)

    @property
    def log(self) -> str:
        """The name of the log."""
        return self._log

    @property
    def position(self) -> int:
        """The position of the next record that will be returned."""
        return self._native.position

    @property
    def checkpoint(self) -> Checkpoint:
        """Where to continue once every returned record was processed."""
        return self._native.checkpoint

    @property
    def lag(self) -> int:
        """The number of records between position and the end that the server has reported."""
        return self._native.lag

    @property
    def caught_up(self) -> bool:
        """Whether every record that the server has reported was returned."""
        return self._native.caught_up

    @property
    def ended(self) -> bool:
        """Whether the read has ended: every record was returned, or the consumer was closed."""
        return self._native_or_none is not None and self._native_or_none.ended

    @property
    def _native(self) -> NativeConsumer:
        if self._native_or_none is None:
            raise RuntimeError("the consumer is not open: use async with, or await open() first")
        return self._native_or_none

    async def _next(self, max_records: int) -> RecordBatch | None:
        native = self._native_or_none or (await self.open())._native
        while (batch := native.take(max_records)) is None and not native.ended:
            await self._changed()
            if native.closed:
                return None
        return batch

    async def _changed(self) -> None:
        """Waits until there may be something new."""
        self._hub.check()
        future: asyncio.Future[None] = self._hub.loop.create_future()
        self._waiting.append(future)
        try:
            await future
        finally:
            if future in self._waiting:
                self._waiting.remove(future)

    def _ready(self, _error: StyxError | None) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _check(self) -> None:
        if self._native_or_none is not None and self._native_or_none.closed:
            raise ClosedError("the consumer is closed")

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        native = self._native_or_none
        state = "not open" if native is None else f"position {native.position}"
        return f"<styx_client.aio.Consumer of {self._log}, {state}>"


class _Batches:
    """The batches of a consumer. A cancelled step can be repeated."""

    def __init__(self, consumer: Consumer, max_records: int) -> None:
        self._consumer = consumer
        self._max_records = max_records

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RecordBatch:
        consumer = self._consumer
        native = consumer._native_or_none
        if native is not None and native.closed:
            raise StopAsyncIteration
        batch = await consumer._next(self._max_records)
        if batch is None:
            raise StopAsyncIteration
        return batch


class _Records:
    """The records of a consumer. A cancelled step can be repeated."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._records: _native.Records | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record:
        consumer = self._consumer
        if self._records is None:
            await consumer.open()
            self._records = consumer._native.records_now()
        while True:
            for record in self._records:
                return record
            if consumer._native.ended:
                raise StopAsyncIteration
            await consumer._changed()
