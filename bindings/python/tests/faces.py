"""The two faces of the package, so that a test is written once and runs against both.

Tests call the names of styx_client. `Blocking` gives an object of styx_client.aio these names:
it runs each call on an event loop until the call is done. That both faces have the same
signatures is tested in test_signatures.py.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol, cast

import styx_client
from styx_client import aio

type_of_loop = Callable[[], asyncio.AbstractEventLoop]


class Face(Protocol):
    """How tests open a client."""

    @property
    def name(self) -> str:
        """The name in the names of tests."""
        ...

    def connect(
        self, address: str, *, timeout: float = 30.0, silence_timeout: float = 30.0
    ) -> styx_client.Client:
        """A connected client."""
        ...

    def close(self) -> None:
        """Ends the event loop."""


class SyncFace:
    """styx_client itself."""

    name = "sync"

    def connect(
        self, address: str, *, timeout: float = 30.0, silence_timeout: float = 30.0
    ) -> styx_client.Client:
        """A connected client."""
        return styx_client.Client(address, timeout=timeout, silence_timeout=silence_timeout)

    def close(self) -> None:
        """Nothing to end."""


class AsyncFace:
    """styx_client.aio on one event loop."""

    def __init__(self, name: str, loop: type_of_loop) -> None:
        self.name = name
        self._runner = asyncio.Runner(loop_factory=loop)

    def connect(
        self, address: str, *, timeout: float = 30.0, silence_timeout: float = 30.0
    ) -> styx_client.Client:
        """A connected client."""
        client = Blocking(
            self._runner,
            aio.Client(address, timeout=timeout, silence_timeout=silence_timeout),
        )
        client.run("connect")
        return cast(styx_client.Client, client)

    def close(self) -> None:
        """Ends the event loop."""
        self._runner.close()


class Blocking:
    """An object of styx_client.aio with the blocking calls of its twin."""

    def __init__(self, runner: asyncio.Runner, target: object) -> None:
        self._runner = runner
        self._target = target

    def run(self, name: str, *args: object, **options: object) -> object:
        """Calls a method on the loop, and waits for it."""
        method = cast(Callable[..., object], getattr(self._target, name))

        async def on_loop() -> object:
            result = method(*args, **options)
            if isinstance(result, aio.Producer | aio.Consumer):
                # The methods of styx_client return them open.
                return await result.open()
            if inspect.isawaitable(result) and not isinstance(result, aio.Ack | aio.Commit):
                return await result
            return result

        return self._adapted(self._runner.run(on_loop()))

    def result(self, timeout: float | None = None) -> object:
        """The result of an Ack or a Commit, which is awaited in asyncio."""
        target = self._target
        assert isinstance(target, aio.Ack | aio.Commit)

        async def on_loop() -> int:
            async with asyncio.timeout(timeout):
                return await target

        return self._runner.run(on_loop())

    def __getattr__(self, name: str) -> object:
        value: object = getattr(self._target, name)
        if not callable(value):
            return value

        def call(*args: object, **options: object) -> object:
            return self.run(name, *args, **options)

        return call

    def __iter__(self) -> Iterator[object]:
        return iter(cast(Iterator[object], self.run("__aiter__")))

    def __enter__(self) -> Blocking:
        self.run("__aenter__")
        return self

    def __exit__(self, *error: object) -> None:
        self.run("__aexit__", *error)

    def __repr__(self) -> str:
        return repr(self._target)

    def _adapted(self, result: object) -> object:
        if isinstance(result, aio.Producer | aio.Consumer | aio.Ack | aio.Commit):
            return Blocking(self._runner, result)
        if isinstance(result, AsyncIterator):
            return self._iterated(cast(AsyncIterator[object], result))
        return result

    def _iterated(self, items: AsyncIterator[object]) -> Iterator[object]:
        end = object()

        async def step() -> object:
            return await anext(items, end)

        while (item := self._runner.run(step())) is not end:
            yield item
