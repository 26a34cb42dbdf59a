"""A long-running asyncio program does not collect the consumers and producers that it had."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from pathlib import Path
from weakref import ref

import pytest
from styx_client import aio
from styx_client.testing import Server
from waiting import until


def check_freed(
    tmp_path: Path,
    use: Callable[[aio.Client], Awaitable[list[ref[aio.Producer] | ref[aio.Consumer]]]],
) -> None:
    async def main(address: str) -> None:
        async with aio.Client(address) as client:
            await client.create_log("orders")
            left = await use(client)
            gc.collect()
            assert [one() for one in left] == [None for _ in left]
            await asyncio.to_thread(until, lambda: client.stats().open_streams == 0)

    with Server(tmp_path / "styx") as server:
        asyncio.run(main(server.address))


def test_closed_consumers_and_producers_are_freed(tmp_path: Path) -> None:
    async def use(client: aio.Client) -> list[ref[aio.Producer] | ref[aio.Consumer]]:
        async with client.producer("orders") as producer:
            await producer.send(b"one")
        async with client.consumer("orders") as consumer:
            assert [record.payload async for record in consumer] == [b"one"]
        return [ref(producer), ref(consumer)]

    check_freed(tmp_path, use)


def test_a_future_that_refers_to_its_dropped_producer_is_freed(styx_server: Server) -> None:
    async def main() -> tuple[ref[aio.Producer], ref[asyncio.Future[int]]]:
        client = await aio.Client(styx_server.address).__aenter__()
        await client.create_log("orders")
        producer = await client.producer("orders").open()
        styx_server.pause()
        future = producer.send(b"never acknowledged")
        future.add_done_callback(lambda _: producer)
        return ref(producer), ref(future)

    producer, future = asyncio.run(main())
    with pytest.warns(ResourceWarning, match="the producer of orders was not closed"):
        gc.collect()
    assert (producer(), future()) == (None, None)


def test_a_consumer_that_is_dropped_in_the_middle_is_freed(tmp_path: Path) -> None:
    async def use(client: aio.Client) -> list[ref[aio.Producer] | ref[aio.Consumer]]:
        async with client.producer("orders") as producer:
            await (await producer.append_many([b"one", b"two"]))
        consumer = client.consumer("orders", follow=True)
        async for record in consumer:
            assert record.payload == b"one"
            break
        return [ref(consumer)]

    check_freed(tmp_path, use)
