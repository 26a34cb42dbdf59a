"""A long-running asyncio program does not collect the consumers and producers that it had."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from weakref import ref

from styx_client import aio
from styx_client.testing import Server


def test_closed_consumers_and_producers_are_freed(tmp_path: Path) -> None:
    async def use(client: aio.Client) -> list[ref[aio.Producer] | ref[aio.Consumer]]:
        async with client.producer("orders") as producer:
            await producer.send(b"one")
        async with client.consumer("orders") as consumer:
            assert [record.payload async for record in consumer] == [b"one"]
        return [ref(producer), ref(consumer)]

    async def main(address: str) -> None:
        async with aio.Client(address) as client:
            await client.create_log("orders")
            left = await use(client)
            gc.collect()
            assert [one() for one in left] == [None, None]

    with Server(tmp_path / "styx") as server:
        asyncio.run(main(server.address))
