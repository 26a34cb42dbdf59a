"""The driver of styx_client.aio for the conformance suite: as that of styx_client, in python."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))

import driver
import styx_client
from styx_client import aio


class AsyncDriver(driver.Driver):
    """Runs the event loop for each call."""

    name = "python_aio"

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()

    def done(self, call: Any) -> Any:
        async def wait(call: Awaitable[Any]) -> Any:
            return await call

        return self.loop.run_until_complete(wait(call)) if inspect.isawaitable(call) else call

    def connect(self, address: str | None, keywords: driver.Json) -> Any:
        return self.done(aio.Client(address, **keywords).connect())

    def opened(self, made: Any) -> Any:
        return self.done(made.open())

    def run(self, request: driver.Json) -> driver.Json:
        if request["op"] == "send":
            # A plain function, which needs a running loop.
            async def send() -> int:
                future = self.objects[request["on"]].send(bytes.fromhex(request["payload"]))
                position: int = await future
                return position

            return {"position": driver.number(self.done(send()))}
        return super().run(request)

    def position(self, ack: Any) -> int:
        position: int = self.done(ack)
        return position

    def iterate(self, consumer: Any) -> Any:
        return aiter(consumer)

    def next_record(self, records: Any) -> styx_client.Record | None:
        async def step() -> styx_client.Record | None:
            return await anext(records, None)

        read: styx_client.Record | None = self.done(step())
        return read


if __name__ == "__main__":
    AsyncDriver().serve()
