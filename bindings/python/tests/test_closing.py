"""Closing from another thread or task ends what waits, and lets nothing hang."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import styx_client
from styx_client import Client, ClosedError, Consumer, aio
from styx_client.testing import Server
from waiting import until

READS: dict[str, Callable[[Consumer], object]] = {
    "poll": lambda consumer: consumer.poll(),
    "poll with a timeout": lambda consumer: consumer.poll(60),
    "records": lambda consumer: list(consumer) or None,
    "batches": lambda consumer: list(consumer.batches()) or None,
}


@pytest.fixture
def follower(server: Server, log: str) -> Consumer:
    """A consumer that has nothing to read."""
    return Client(server.address).consumer(log, follow=True)


@pytest.mark.parametrize("name", READS)
def test_closing_a_consumer_ends_the_thread_that_waits_in_it(
    follower: Consumer, name: str
) -> None:
    with ThreadPoolExecutor() as threads:
        read = threads.submit(READS[name], follower)
        # It waits, or will find the consumer closed: both are to end.
        until(read.running)
        follower.close()
        try:
            assert read.result(10) is None
        except ClosedError:
            # The thread had not begun to wait.
            assert follower.ended


def test_closing_a_client_ends_the_thread_that_waits_in_a_consumer(
    server: Server, log: str
) -> None:
    client = Client(server.address)
    consumer = client.consumer(log, follow=True)
    began = threading.Event()

    def read() -> list[bytes]:
        began.set()
        return [record.payload for record in consumer]

    with ThreadPoolExecutor() as threads:
        reading = threads.submit(read)
        began.wait()
        client.producer(log).send(b"a")
        until(lambda: consumer.position == 1)
        client.close()
        assert reading.result(10) == [b"a"]


def test_many_threads_can_close_at_once(server: Server, log: str) -> None:
    client = Client(server.address)
    producer, consumer = client.producer(log), client.consumer(log, follow=True)
    producer.append_many([b"a"] * 100)
    with ThreadPoolExecutor(8) as threads:
        closes = [
            threads.submit(close) for close in (producer.close, consumer.close, client.close) * 10
        ]
        for close in closes:
            close.result(20)
    with Client(server.address) as other:
        assert other.get_log(log).record_count == 100


def test_closing_ends_an_append_that_waits_for_space(styx_server: Server) -> None:
    with Client(styx_server.address) as client:
        client.create_log("full")
        producer = client.producer("full", in_flight_bytes=2000)
        producer.send(b"before")
        styx_server.pause()
        with ThreadPoolExecutor() as threads:

            def fill() -> None:
                while True:
                    producer.append(bytes(900))

            filling = threads.submit(fill)
            until(lambda: producer.stats().in_flight_records >= 2)
            with pytest.raises(styx_client.StyxError):
                producer.close(0.1)
            with pytest.raises(styx_client.StyxError):
                filling.result(10)
        styx_server.resume()


def test_closing_ends_a_task_that_waits(server: Server, log: str) -> None:
    async def records(consumer: aio.Consumer) -> object:
        return await anext(aiter(consumer), None)

    async def batches(consumer: aio.Consumer) -> object:
        return await anext(aiter(consumer.batches()), None)

    async def main() -> None:
        async with aio.Client(server.address) as client:
            for read in (aio.Consumer.poll, records, batches):
                consumer = await client.consumer(log, follow=True).open()
                waits: asyncio.Future[object] = asyncio.ensure_future(read(consumer))
                await asyncio.sleep(0.01)
                assert not waits.done()
                await consumer.close()
                assert await asyncio.wait_for(waits, 10) is None
                with pytest.raises(ClosedError):
                    await consumer.poll()

    asyncio.run(main())


def test_a_client_belongs_to_the_loop_that_opened_it(server: Server, log: str) -> None:
    client = aio.Client(server.address)

    async def first() -> aio.Producer:
        await client.connect()
        return await client.producer(log).open()

    async def second(producer: aio.Producer) -> None:
        for call in (client.list_logs, client.close, producer.flush):
            with pytest.raises(RuntimeError, match="another event loop"):
                await call()
        with pytest.raises(RuntimeError, match="another event loop"):
            await producer.append(b"a")

    with asyncio.Runner() as runner, asyncio.Runner() as other:
        producer = runner.run(first())
        other.run(second(producer))
        runner.run(client.close())


def test_what_is_not_open_says_how_to_open_it(server: Server, log: str) -> None:
    async def main() -> None:
        client = aio.Client(server.address)
        with pytest.raises(RuntimeError, match="async with"):
            await client.list_logs()
        async with client:
            producer, consumer = client.producer(log), client.consumer(log)
            for name in ("next_sequence", "log_id"):
                with pytest.raises(RuntimeError, match="async with"):
                    getattr(producer, name)
            with pytest.raises(RuntimeError, match="async with"):
                producer.send(b"a")
            with pytest.raises(RuntimeError, match="async with"):
                _ = consumer.position
            assert not consumer.ended
            assert "not open" in repr(producer)
            assert "not open" in repr(consumer)
            # Nothing was opened, so there is nothing to close.
            await producer.close()
            await consumer.close()

    asyncio.run(main())


def test_append_and_iteration_open_by_themselves(server: Server, log: str) -> None:
    async def main() -> None:
        async with aio.Client(server.address) as client:
            producer = client.producer(log)
            assert await (await producer.append(b"a")) == 0
            await producer.append_many([b"b"])
            await producer.flush()
            assert [record.payload async for record in client.consumer(log)] == [
                b"a",
                b"b",
            ]
            consumer = client.consumer(log)
            assert await consumer.poll(0) is not None or await consumer.poll(20) is not None

    asyncio.run(main())


def test_a_producer_that_is_dropped_with_records_warns(styx_server: Server) -> None:
    with Client(styx_server.address) as client:
        client.create_log("dropped")
        producer = client.producer("dropped", linger=30)
        producer.append(b"a")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del producer
            gc.collect()
            producer = client.producer("dropped")
            producer.send(b"b")
            del producer
            gc.collect()
        assert [warning.category for warning in caught] == [ResourceWarning]
        assert "dropped was not closed, records without an ack: 1" in str(caught[0].message)


def test_objects_may_be_dropped_in_any_order(server: Server, log: str) -> None:
    client = Client(server.address)
    producer, consumer = client.producer(log), client.consumer(log, follow=True)
    del client
    gc.collect()
    assert producer.send(b"a") == 0
    records = iter(consumer)
    del consumer, producer
    gc.collect()
    assert next(records).payload == b"a"
