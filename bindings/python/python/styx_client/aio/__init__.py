"""The client for asyncio: the same names as styx_client.

    from styx_client import aio

    async with aio.Client("styx://127.0.0.1:7123") as client:
        await client.create_log("orders", exist_ok=True)
        async with client.producer("orders") as producer:
            position = await producer.send(b"one order")    # durable
        async for record in client.consumer("orders"):
            print(record.position, record.payload)

A client belongs to the event loop that has opened it. Errors, records and values are those of
styx_client. It needs a loop with add_reader(), as those of asyncio on Linux and macOS and that
of uvloop.
"""

from __future__ import annotations

from styx_client.aio._client import Client
from styx_client.aio._consumer import Commit, Consumer
from styx_client.aio._producer import Ack, Producer

__all__ = ["Ack", "Client", "Commit", "Consumer", "Producer"]

for _class in (Ack, Client, Commit, Consumer, Producer):
    _class.__module__ = "styx_client.aio"
del _class
