"""Producer for asyncio."""

from __future__ import annotations

import asyncio
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable
from functools import partial
from heapq import heappop, heappush
from itertools import count, islice
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from styx_client import _exit
from styx_client._errors import StyxError
from styx_client._native import Ack as NativeAck
from styx_client._native import Call, Encoded, Sends
from styx_client._native import Producer as NativeProducer
from styx_client._values import ProducerStats
from styx_client.aio._timeout import check_timeout
from styx_client.aio._timeout import timeout as timeout_of

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

    from styx_client.aio._hub import Hub

T = TypeVar("T")

#: Appends that are woken at a time when there is space again.
WOKEN_MAX = 32


class Ack:
    """The acknowledgement of appended records: await it for the position of the first one.

    It can be awaited any number of times, or ignored: Producer.flush() and Producer.close()
    raise failures that no ack has reported. A cancelled await takes no record back.
    """

    __slots__ = ("_native", "_producer")

    def __init__(self, producer: Producer, native: NativeAck) -> None:
        self._producer = producer
        self._native = native

    def __await__(self) -> Generator[object, None, int]:
        if self._native.done():
            return self._native.result()
        return (yield from self._producer._settled(self._native).__await__())

    def done(self) -> bool:
        """Whether the outcome is known."""
        return self._native.done()

    @property
    def position(self) -> int | None:
        """The position of the first record; None while it is not durable.

        Raises the error of the records if they were not acknowledged.
        """
        return self._native.position

    @property
    def sequence(self) -> int:
        """The number of the first record in its producer, from 0."""
        return self._native.sequence

    @property
    def count(self) -> int:
        """The number of records."""
        return self._native.count

    def __repr__(self) -> str:
        return repr(self._native).replace("styx_client.Ack", "styx_client.aio.Ack")


class _Append:
    """A task that waits for space. It appends itself, so that a cancelled one does not."""

    __slots__ = ("woken",)

    def __init__(self, woken: asyncio.Future[None]) -> None:
        self.woken = woken


class _Send:
    """A send that waits for space. Nobody can take it back."""

    __slots__ = ("payload", "position")

    def __init__(self, payload: bytes, position: asyncio.Future[int]) -> None:
        self.payload = payload
        self.position = position


def _maker_of_futures(loop: asyncio.AbstractEventLoop) -> Callable[[], asyncio.Future[int]]:
    """What loop.create_future() does, without its frame if it is asyncio's own."""
    if getattr(loop.create_future, "__func__", None) is asyncio.BaseEventLoop.create_future:
        future: type[asyncio.Future[int]] = asyncio.Future
        return partial(future, loop=loop)
    return loop.create_future


def _set_results(futures: list[asyncio.Future[int]], position: int) -> None:
    """Sets consecutive positions, except in futures that were cancelled."""
    for result, future in enumerate(futures, position):
        try:
            future.set_result(result)
        except asyncio.InvalidStateError:
            continue


class Producer:
    """Appends records to one log, in order and each exactly once.

    Client.producer() makes it, and async with opens it; so does open(), and the first append.
    It reconnects by itself: until then records wait, up to the deadline of the oldest one. An
    error that cannot be retried ends it; then every record that was not acknowledged fails with
    that error, and so does every later call.

    await append() returns before the record is durable. send() is a plain function that
    returns a future of the position: await it, or collect many of them. flush() and close()
    raise what was lost. Cancelling a wait never takes a record back, except that of an append
    that still waits for space.
    """

    def __init__(
        self,
        hub: Callable[[], Hub],
        start: Callable[[], Call[NativeProducer]],
        log: str,
    ) -> None:
        self._hub_of_client = hub
        self._start = start
        self._log = log
        self._native_or_none: NativeProducer | None = None
        self._opening = asyncio.Lock()
        #: A heap of the acks that are awaited: the last sequence, and a number that makes
        #: entries comparable.
        self._awaited: list[tuple[int, int, asyncio.Future[int], NativeAck]] = []
        self._awaits = count()
        self._try_send: Callable[[Buffer], asyncio.Future[int] | None] = self._not_open
        #: The appends and sends that wait for space, in order.
        self._waiting: deque[_Append | _Send] = deque()

    async def open(self) -> Self:
        """Opens the producer, unless it is open."""
        async with self._opening:
            if self._native_or_none is None:
                hub = self._hub_of_client()
                native = await hub.run(self._start())
                self._hub = hub
                self._create_future = _maker_of_futures(hub.loop)
                #: The futures of send().
                self._sends = Sends(native, self._create_future)
                self._try_send = self._sends.send
                self._token = hub.register(self._ready)
                native.notify(hub.completions, self._token)
                self._native_or_none = native
        return self

    async def append(self, payload: Buffer, /) -> Ack:
        """Appends a record: bytes, bytearray, memoryview or another contiguous buffer.

        Waits only while in_flight_bytes are waiting or unacknowledged. Cancelled while it
        waits, it appends nothing.

        Raises RecordTooLargeError (a ValueError) for a record over 1 GiB, ClosedError, or the
        error that ended the producer; the record was not appended then. The server rejects a
        record over the log's own max_record_size, and that ends the producer. Raises TypeError
        for str.
        """
        native = self._native_or_none or (await self.open())._native
        self._hub.check()
        ack = None if self._waiting else native.try_append(payload)
        if ack is None:
            ack = await self._when_space(lambda: native.try_append(payload))
        return Ack(self, ack)

    async def append_many(self, payloads: Iterable[Buffer], /) -> Ack:
        """Appends records in their order. The Ack has the position of the first one.

        Up to 1 MiB of records (each counts 8 bytes and its payload) are atomic: all of them
        are appended, or none. More are split into parts of at most 1 MiB, each of them atomic.
        At most 1 GiB. If one payload is invalid or the iterable raises, none is appended.
        """
        encoded = Encoded()
        encoded.extend(payloads)
        return await self._append_encoded(encoded)

    async def append_packed(self, data: Buffer, ends: Iterable[int] | Buffer, /) -> Ack:
        """Appends records that lie one after the other in data: the fastest way.

        ends: where each record ends, ascending; the first begins at 0. A buffer of unsigned
            32-bit integers is fastest, such as a numpy array of dtype uint32 or array("I").

        Otherwise as append_many.
        """
        encoded = Encoded()
        encoded.extend_packed(data, ends)
        return await self._append_encoded(encoded)

    def send(self, payload: Buffer, /) -> asyncio.Future[int]:
        """Appends a record. The future has its position once it is durable.

        It never waits: records that exceed in_flight_bytes wait in memory, so await some of
        the futures now and then. The producer must be open. Raises TypeError for str; other
        errors are in the future.
        """
        try:
            future = None if self._waiting else self._try_send(payload)
        except StyxError as error:
            future = self._create_future()
            future.set_exception(error)
        if future is None:
            future = self._create_future()
            self._waiting.append(_Send(bytes(payload), future))
        return future

    async def flush(self, timeout: float | None = None) -> None:
        """Waits until everything that was appended before is durable.

        Raises the first failure that nothing else has reported, and TimedOutError after
        timeout seconds.
        """
        native = self._native_or_none or (await self.open())._native
        async with timeout_of(timeout, "flush"):
            await self._taken()
            await self._hub.run(native.flush())

    async def close(self, timeout: float | None = None) -> None:
        """Waits until everything is durable, and closes the connection.

        timeout: seconds, instead of the producer's close_timeout. Records that are not
            durable by then are lost.

        Raises the first failure that nothing else has reported. Closing again has no effect.
        """
        check_timeout(timeout)
        native = self._native_or_none
        if native is None or self._token == 0:
            return
        hub = self._hub
        hub.check()
        try:
            async with asyncio.timeout(timeout):
                await self._taken()
        except TimeoutError:
            pass
        try:
            await hub.run(native.close(timeout))
        finally:
            self._ready(None)
        hub.forget(self._token)
        self._token = 0

    def stats(self) -> ProducerStats:
        """The numbers of the producer. Waits for nothing."""
        return ProducerStats(**self._native.stats())

    @property
    def log(self) -> str:
        """The name of the log."""
        return self._log

    @property
    def log_id(self) -> str:
        """The id of the log, as 32 hex digits."""
        return self._native.log_id

    @property
    def next_sequence(self) -> int:
        """The number of the next record in this producer.

        Right after opening with a producer_id, it says with which record an import continues.
        """
        return self._native.next_sequence

    @property
    def durable_sequence(self) -> int:
        """The number before which every record is durable."""
        return self._native.durable_sequence

    @property
    def producer_id(self) -> int | None:
        """The id of the producer; None if it is not idempotent."""
        return self._native.producer_id

    @property
    def epoch(self) -> int | None:
        """The epoch of the producer; None if it is not idempotent."""
        return self._native.epoch

    def _not_open(self, _payload: Buffer) -> asyncio.Future[int] | None:
        raise RuntimeError("the producer is not open: use async with, or await open() first")

    @property
    def _native(self) -> NativeProducer:
        if self._native_or_none is None:
            raise RuntimeError("the producer is not open: use async with, or await open() first")
        return self._native_or_none

    async def _append_encoded(self, encoded: Encoded) -> Ack:
        native = self._native_or_none or (await self.open())._native
        self._hub.check()
        ack = None if self._waiting else native.try_append_encoded(encoded)
        if ack is None:
            ack = await self._when_space(lambda: native.try_append_encoded(encoded))
        return Ack(self, ack)

    async def _when_space(self, attempt: Callable[[], T | None]) -> T:
        entry = _Append(self._hub.loop.create_future())
        self._waiting.append(entry)
        try:
            while True:
                await entry.woken
                if self._waiting[0] is entry and (taken := attempt()) is not None:
                    return taken
                entry.woken = self._hub.loop.create_future()
        finally:
            self._waiting.remove(entry)
            self._retry()

    async def _taken(self) -> None:
        """Waits until everything that waits for space was taken."""
        if self._waiting:
            await self._when_space(lambda: True)

    def _settled(self, ack: NativeAck) -> asyncio.Future[int]:
        """A future of the position of an ack that is not settled."""
        future: asyncio.Future[int] = self._create_future()
        last = ack.sequence + max(ack.count, 1) - 1
        heappush(self._awaited, (last, next(self._awaits), future, ack))
        return future

    def _ready(self, _error: StyxError | None) -> None:
        """Records were settled, or there is space again."""
        awaited = self._awaited
        for end, failed, runs in self._sends.take_settled():
            for first, futures in runs:
                if failed is None:
                    _set_results(futures, first)
                    continue
                for future in futures:
                    if not future.done():
                        future.set_exception(failed.exception())
            while awaited and awaited[0][0] < end:
                _, _, future, ack = heappop(awaited)
                if future.done():
                    continue
                try:
                    future.set_result(ack.result())
                except StyxError as error:
                    future.set_exception(error)
        self._retry()

    def _retry(self) -> None:
        """Continues with the appends and sends that wait for space."""
        waiting = self._waiting
        while waiting and isinstance(first := waiting[0], _Send):
            try:
                if not self._sends.send_as(first.payload, first.position):
                    return
            except StyxError as error:
                if not first.position.done():
                    first.position.set_exception(error)
            waiting.popleft()
        for entry in islice(waiting, WOKEN_MAX):
            if isinstance(entry, _Send):
                return
            if not entry.woken.done():
                entry.woken.set_result(None)

    async def __aenter__(self) -> Self:
        return await self.open()

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
            await self.close(None if isinstance(error, Exception) else 0.0)
        except StyxError as lost:
            _exit.note_lost(error, lost)

    def __del__(self) -> None:
        native = getattr(self, "_native_or_none", None)
        if native is not None and (records := native.stats()["in_flight_records"]):
            warnings.warn(
                f"the producer of {self._log} was not closed, records without an ack: {records}; "
                "use async with, or await close()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    def __repr__(self) -> str:
        native = self._native_or_none
        state = "not open" if native is None else f"next sequence {native.next_sequence}"
        return f"<styx_client.aio.Producer of {self._log}, {state}>"
