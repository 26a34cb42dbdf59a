"""Every await of styx_client.aio cancelled at every step: nothing is lost or doubled.

A coroutine is run again and again, each time cancelled at a later one of its awaits, until it
ends before that. After each cancel, the next call must work.
"""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar, cast

import pytest
from conftest import HAS_UVLOOP
from styx_client import OverloadedError, aio
from styx_client.testing import Server
from waiting import until

T = TypeVar("T")

#: A coroutine with more awaits than this is a mistake in the test.
AWAITS_MAX = 200


def loops() -> list[Callable[[], asyncio.AbstractEventLoop]]:
    if not HAS_UVLOOP:
        return [asyncio.new_event_loop]
    import uvloop

    return [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.fixture(params=loops(), ids=["asyncio", "uvloop"][: len(loops())])
def runner(request: pytest.FixtureRequest) -> asyncio.Runner:
    """Runs a test on an event loop."""
    return asyncio.Runner(loop_factory=request.param)


class CancelledAt(Generic[T]):
    """Awaits a coroutine, and cancels the task at one of its awaits.

    Early: while it waits. Late: when what it waits for is there, but it has not run again.
    """

    def __init__(
        self, coroutine: Coroutine[object, object, T], number: int, *, late: bool
    ) -> None:
        self._coroutine = coroutine
        self._number = number
        self._late = late
        #: Whether the coroutine had that many awaits.
        self.was_cancelled = False

    def __await__(self) -> Generator[object, object, T]:
        steps = self._coroutine.__await__()
        number = 0
        step: Callable[[], object] = partial(next, steps)
        while True:
            try:
                future = step()
            except StopIteration as end:
                return cast(T, end.value)
            if number == self._number:
                self._cancel(future)
            number += 1
            try:
                yield future
            except BaseException as error:
                step = partial(steps.throw, error)
            else:
                step = partial(next, steps)

    def _cancel(self, future: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.was_cancelled = True
        if self._late and isinstance(future, asyncio.Future):
            cast("asyncio.Future[object]", future).add_done_callback(lambda _: task.cancel())
        else:
            task.cancel()


async def at_every_step(
    make: Callable[[], Coroutine[object, object, T]],
    after: Callable[[T | None], Awaitable[object]],
) -> int:
    """Cancels a coroutine at each of its awaits; returns the number of them."""
    number = 0
    for late in (False, True):
        number = 0
        was_cancelled = True
        while was_cancelled:
            cancelled = CancelledAt(make(), number, late=late)

            async def task(cancelled: CancelledAt[T] = cancelled) -> T:
                return await cancelled

            result: T | None = None
            with suppress(asyncio.CancelledError):
                result = await asyncio.ensure_future(task())
            await after(result)
            was_cancelled = cancelled.was_cancelled
            number += 1
            assert number < AWAITS_MAX
    return number - 1


Case = Callable[[aio.Client, str], Awaitable[None]]


def check(runner: asyncio.Runner, server: Server, log: str, case: Case) -> None:
    async def with_client() -> None:
        async with aio.Client(server.address) as client:
            await asyncio.wait_for(case(client, log), 50)

    with runner:
        runner.run(with_client())


async def payloads(client: aio.Client, log: str) -> list[bytes]:
    return [record.payload async for record in client.consumer(log)]


def test_a_cancelled_call_does_not_disturb_the_next(
    runner: asyncio.Runner, server: Server, log: str
) -> None:
    async def case(client: aio.Client, log: str) -> None:
        async def after(_result: object) -> None:
            assert (await client.get_log(log)).name == log

        for call in (
            lambda: client.get_log(log),
            lambda: client.list_logs(),
            lambda: client.check(),
            lambda: client.set_cursor(log, "a", 0),
            lambda: client.create_log(log, exist_ok=True),
        ):
            assert await at_every_step(call, after) > 0

    check(runner, server, log, case)


def test_a_cancelled_connect_can_be_repeated(
    runner: asyncio.Runner, server: Server, log: str
) -> None:
    async def case(_client: aio.Client, log: str) -> None:
        other = aio.Client(server.address)

        async def after(_result: object) -> None:
            nonlocal other
            await other.connect()
            assert (await other.get_log(log)).name == log
            await other.close()
            other = aio.Client(server.address)

        await at_every_step(lambda: other.connect(), after)

    check(runner, server, log, case)


def test_a_cancelled_open_can_be_repeated(
    runner: asyncio.Runner, server: Server, log: str
) -> None:
    async def case(client: aio.Client, log: str) -> None:
        producer, consumer = client.producer(log), client.consumer(log, follow=True)
        sent = 0

        async def append(_result: object) -> None:
            nonlocal producer, sent
            await producer.open()
            assert await producer.send(b"a") == sent
            sent += 1
            await producer.close()
            producer = client.producer(log)

        async def read(_result: object) -> None:
            nonlocal consumer
            batch = await consumer.poll(20)
            assert batch is not None
            assert batch.first_position == 0
            await consumer.close()
            consumer = client.consumer(log, follow=True)

        await at_every_step(lambda: producer.open(), append)
        await at_every_step(lambda: consumer.open(), read)

    check(runner, server, log, case)


def test_a_cancelled_append_appends_nothing_or_is_never_cancelled(
    runner: asyncio.Runner, server: Server, log: str
) -> None:
    async def case(client: aio.Client, log: str) -> None:
        expected: list[bytes] = []
        number = 0
        # There is only space for a few of these records, so most appends wait.
        async with client.producer(log, in_flight_bytes=3000, block_bytes=1000) as producer:

            async def fill_and_append() -> bytes:
                for _ in range(4):
                    await append(b"filler")
                return await append(b"last")

            async def append(name: bytes) -> bytes:
                nonlocal number
                number += 1
                payload = b"%b %d " % (name, number) + bytes(900)
                await producer.append(payload)
                expected.append(payload)
                return payload

            async def after(_result: object) -> None:
                payload = b"after %d" % number
                await producer.append(payload)
                expected.append(payload)

            await at_every_step(fill_and_append, after)
        assert await payloads(client, log) == expected

    check(runner, server, log, case)


def test_an_append_that_is_cancelled_when_there_is_space_again_appends_nothing(
    runner: asyncio.Runner, server: Server, log: str
) -> None:
    # The record was appended for the task, which was cancelled before it ran again. A caller
    # that repeated the append had stored the record twice.
    async def case(client: aio.Client, log: str) -> None:
        async with client.producer(log, in_flight_bytes=3000, linger=0.02) as producer:
            count = 0
            while True:
                task = asyncio.ensure_future(producer.append(bytes(990)))
                await asyncio.sleep(0)
                if not task.done():
                    break
                count += 1
            # The event loop has not looked at the acks when the task is cancelled.
            until(lambda: producer.durable_sequence == count)
            there_is_space = cast(Callable[[None], None], getattr(producer, "_ready"))  # noqa: B009
            there_is_space(None)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await producer.send(b"next") == count
        assert (await payloads(client, log))[count:] == [b"next"]

    check(runner, server, log, case)


def test_many_appends_that_wait_and_are_cancelled_keep_their_order(
    runner: asyncio.Runner, server: Server, log: str
) -> None:
    async def case(client: aio.Client, log: str) -> None:
        appended: list[int] = []
        async with client.producer(log, in_flight_bytes=2000, block_bytes=1000) as producer:

            async def append(number: int) -> None:
                await producer.append(b"%d" % number + bytes(500))
                appended.append(number)

            tasks = [asyncio.ensure_future(append(number)) for number in range(300)]
            sends: list[asyncio.Future[int]] = []
            for number in range(0, 300, 3):
                await asyncio.sleep(0)
                tasks[number].cancel()
                if number % 30 == 0:
                    sends.append(producer.send(b"send"))
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*sends)
        stored = [payload for payload in await payloads(client, log) if payload != b"send"]
        assert [int(payload.rstrip(b"\0")) for payload in stored] == sorted(appended)
        assert len(appended) >= 200
        assert len(sends) == 10

    check(runner, server, log, case)


def test_a_cancelled_send_ack_or_flush_takes_no_record_back(
    runner: asyncio.Runner, server: Server, log: str
) -> None:
    async def case(client: aio.Client, log: str) -> None:
        appended = 0
        async with client.producer(log, linger=0.001) as producer:

            async def send() -> int:
                nonlocal appended
                future = producer.send(b"%d" % appended)
                appended += 1
                return await future

            async def wait() -> int:
                nonlocal appended
                ack = await producer.append(b"%d" % appended)
                appended += 1
                return await ack

            async def flush() -> int:
                nonlocal appended
                await producer.append(b"%d" % appended)
                appended += 1
                await producer.flush()
                return appended - 1

            async def after(result: int | None) -> None:
                nonlocal appended
                assert result in (None, appended - 1)
                assert await producer.send(b"%d" % appended) == appended
                appended += 1

            for call in (send, wait, flush):
                await at_every_step(call, after)
        assert await payloads(client, log) == [b"%d" % number for number in range(appended)]

    check(runner, server, log, case)


def test_a_cancelled_send_between_appends_leaves_the_other_positions(
    runner: asyncio.Runner, server: Server, log: str
) -> None:
    """Sends are not consecutive if other records are between them."""

    async def case(client: aio.Client, log: str) -> None:
        async with client.producer(log) as producer:
            sent: list[asyncio.Future[int]] = []
            for number in range(6):
                sent.append(producer.send(b"sent"))
                if number % 2:
                    await producer.append_many([b"appended"] * number)
            cancelled = sent.pop(3)
            cancelled.cancel()
            assert [await position for position in sent] == [0, 1, 3, 8, 9]
        assert cancelled.cancelled()
        one, two = b"sent", b"appended"
        expected = [one, one, two, one, one, two, two, two, one, one, *([two] * 5)]
        assert await payloads(client, log) == expected

    check(runner, server, log, case)


@pytest.mark.parametrize("way", ["poll", "batches", "records"])
def test_a_cancelled_read_loses_no_record(
    runner: asyncio.Runner, server: Server, log: str, way: str
) -> None:
    async def case(client: aio.Client, log: str) -> None:
        sent = 0
        read: list[int] = []
        async with (
            client.producer(log) as producer,
            client.consumer(log, follow=True) as consumer,
        ):
            batches, records = aiter(consumer.batches(max_records=2)), aiter(consumer)

            async def step() -> None:
                nonlocal sent
                producer.send(b"%d" % sent)
                sent += 1
                if way == "records":
                    read.append((await anext(records)).position)
                    return
                batch = await (
                    anext(batches) if way == "batches" else consumer.poll(20, max_records=2)
                )
                assert batch is not None
                read.extend(record.position for record in batch)

            async def after(_result: None) -> None:
                # A step that was cancelled has left its record for the next one.
                assert consumer.position == len(read)

            for _ in range(5):
                await at_every_step(step, after)
            while len(read) < sent:
                read.append((await anext(records)).position)
        assert read == list(range(len(read)))

    check(runner, server, log, case)


def test_a_cancelled_seek_or_commit_can_be_repeated(
    runner: asyncio.Runner, server: Server, log: str
) -> None:
    async def case(client: aio.Client, log: str) -> None:
        async with client.producer(log) as producer:
            await producer.append_many([b"%d" % number for number in range(50)])
        async with client.consumer(log, follow=True, cursor="a") as consumer:

            async def commit() -> int:
                return await consumer.commit()

            async def stored(_result: int | None) -> None:
                assert await consumer.commit() == consumer.position

            async def moved(_result: None) -> None:
                batch = await consumer.poll(20, max_records=1)
                assert batch is not None
                assert batch.payloads() == [b"%d" % batch.first_position]
                await consumer.seek(30)
                assert (await anext(aiter(consumer))).payload == b"30"

            await at_every_step(lambda: consumer.seek(7), moved)
            await at_every_step(commit, stored)

    check(runner, server, log, case)


def test_a_cancelled_close_can_be_repeated(
    runner: asyncio.Runner, server: Server, log: str
) -> None:
    async def case(_client: aio.Client, log: str) -> None:
        rounds = 0

        async def opened() -> tuple[aio.Client, aio.Producer, aio.Consumer]:
            client = await aio.Client(server.address).connect()
            producer = await client.producer(log).open()
            consumer = await client.consumer(log, follow=True, cursor="a").open()
            await producer.append(b"%d" % rounds)
            assert await consumer.poll(20) is not None
            consumer.commit()
            return client, producer, consumer

        client, producer, consumer = await opened()

        async def after(_result: None) -> None:
            nonlocal rounds, client, producer, consumer
            await consumer.close()
            await producer.close()
            await client.close()
            rounds += 1
            async with aio.Client(server.address) as other:
                assert (await other.get_log(log)).end_position == rounds
                assert (await other.get_cursor(log, "a")).position == rounds
            client, producer, consumer = await opened()

        for close in (
            lambda: consumer.close(),
            lambda: producer.close(),
            lambda: client.close(),
        ):
            await at_every_step(close, after)
        await client.close()

    check(runner, server, log, case)


def content(archive: bytes) -> dict[str, bytes]:
    """The files of an archive without their times, which are those of the backup."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        read = {member.name: files.extractfile(member) for member in files if member.isfile()}
        return {name: file.read() for name, file in read.items() if file is not None}


def test_a_cancelled_backup_or_restore_leaves_no_log(
    runner: asyncio.Runner, server: Server, log: str
) -> None:
    async def case(client: aio.Client, log: str) -> None:
        async with client.producer(log) as producer:
            await producer.append_many([bytes(1000)] * 100)
        complete = io.BytesIO()
        await client.backup_log(log, complete)
        restored = 0

        async def patiently(call: Callable[[], Awaitable[object]]) -> None:
            # The server allows 8 at a time, and needs a moment to notice cancelled ones.
            while True:
                with suppress(OverloadedError):
                    await call()
                    return
                await asyncio.sleep(0.005)

        async def backup() -> bytes:
            archive = io.BytesIO()
            await patiently(lambda: client.backup_log(log, archive))
            return archive.getvalue()

        async def same(result: bytes | None) -> None:
            assert result is None or content(result) == content(complete.getvalue())

        async def restore() -> str:
            name = f"{log}-{restored}"
            await patiently(lambda: client.restore_log(name, io.BytesIO(complete.getvalue())))
            return name

        async def whole(_result: str | None) -> None:
            nonlocal restored
            names = {info.name: info for info in await client.list_logs()}
            made = names.get(f"{log}-{restored}")
            assert made is None or made.record_count == 100
            restored += 1

        await at_every_step(backup, same)
        await at_every_step(restore, whole)

    check(runner, server, log, case)


def test_a_timeout_around_an_await_is_a_cancel(
    runner: asyncio.Runner, server: Server, log: str
) -> None:
    async def case(client: aio.Client, log: str) -> None:
        async with client.consumer(log, follow=True) as consumer:
            for _ in range(20):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.001):
                        await consumer.poll()
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(aiter(consumer)), 0.001)
            async with client.producer(log) as producer:
                await producer.send(b"a")
            batch = await consumer.poll(20)
            assert batch is not None

    check(runner, server, log, case)
