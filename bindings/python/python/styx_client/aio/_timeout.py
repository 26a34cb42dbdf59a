"""Timeouts of awaits: as asyncio.timeout, but with the errors of the blocking calls."""

from __future__ import annotations

import asyncio
from types import TracebackType

from styx_client._errors import InvalidArgumentError, TimedOutError


def check_timeout(seconds: float | None) -> None:
    """Checks a caller's timeout."""
    # Not a number is not at least 0 either.
    if seconds is not None and not seconds >= 0:
        raise InvalidArgumentError(
            f"timeout is {seconds}: use seconds of at least 0, or None for no limit"
        )


class timeout:
    """As asyncio.timeout, but raises TimedOutError."""

    def __init__(self, seconds: float | None, what: str) -> None:
        check_timeout(seconds)
        self._seconds = seconds
        self._what = what
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            late = TimedOutError(f"{self._what} did not finish within {self._seconds} s")
            # The call may still be carried out.
            late.maybe_appended = True
            raise late from None
