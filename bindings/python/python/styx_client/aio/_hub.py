"""Hub: tells an event loop what the native module has done.

One descriptor is readable while the queue of completions has some. The loop watches it, so no
thread of the core ever runs Python code, and one wake-up serves many completions.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from itertools import count
from typing import TypeVar
from weakref import WeakMethod, finalize

from styx_client._errors import ClosedError, ForkedError, StyxError
from styx_client._native import Call, Completions

T = TypeVar("T")

#: Called when the queue returns a token, with the error of a call.
Handler = Callable[[StyxError | None], None]


class Hub:
    """The completions of one client, on the event loop that has opened it."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.completions: Completions = Completions()
        self._handlers: dict[int, Handler] = {}
        self._tokens = count(1)
        self._process = os.getpid()
        self.is_open: bool = True
        self.loop.add_reader(self.completions.fileno(), self._drain)

    def register(self, handler: Handler) -> int:
        """A token for a handler, which is called on the loop."""
        token = next(self._tokens)
        self._handlers[token] = handler
        return token

    def register_weakly(self, owner: object, method: Handler) -> int:
        """A token for a method of the owner. It is forgotten when the owner is freed."""
        method_or_none = WeakMethod(method)

        def handler(error: StyxError | None) -> None:
            method = method_or_none()
            if method is not None:
                method(error)

        token = self.register(handler)
        # There is nothing to do for an owner that exists until the interpreter exits.
        finalize(owner, self.forget, token).atexit = False
        return token

    def forget(self, token: int) -> None:
        """The handler is not called any more."""
        self._handlers.pop(token, None)

    async def run(self, call: Call[T]) -> T:
        """Carries a call out. If the task is cancelled, the call is too."""
        await self._reported(lambda token: call.start(self.completions, token), call)
        return call.take()

    async def report(self, start: Callable[[int], None]) -> None:
        """Starts something that returns the token it is given, and waits for that.

        Raises the error that comes with the token.
        """
        error = await self._reported(start, None)
        if error is not None:
            raise error

    async def _reported(
        self, start: Callable[[int], None], call: Call[T] | None
    ) -> StyxError | None:
        self.check()
        future: asyncio.Future[StyxError | None] = self.loop.create_future()

        def done(error: StyxError | None) -> None:
            if not future.done():
                future.set_result(error)

        token = self.register(done)
        try:
            start(token)
            return await future
        except asyncio.CancelledError:
            if call is not None:
                call.cancel()
            raise
        finally:
            self.forget(token)

    def check(self) -> None:
        """Raises unless this is the loop that the client belongs to."""
        if not self.is_open:
            raise ClosedError("the client is closed")
        if os.getpid() != self._process:
            raise ForkedError(
                f"this client belongs to process {self._process}, but this is its forked child "
                f"{os.getpid()}: create a new client after the fork"
            )
        if asyncio.get_running_loop() is not self.loop:
            raise RuntimeError(
                "this client belongs to another event loop: open a client in each loop"
            )

    def close(self) -> None:
        """Stops watching."""
        if self.is_open:
            self.is_open = False
            self._handlers.clear()
            if not self.loop.is_closed():
                self.loop.remove_reader(self.completions.fileno())

    def _drain(self) -> None:
        for token, error in self.completions.drain():
            handler = self._handlers.get(token)
            if handler is None:
                continue
            try:
                handler(error)
            except Exception as failed:
                # The other completions are for tasks that wait.
                self.loop.call_exception_handler(
                    {
                        "message": "a handler of styx_client has failed",
                        "exception": failed,
                    }
                )
