"""How objects are closed: at the end of a with statement, and when the interpreter exits."""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol
from weakref import WeakSet

from styx_client._errors import StyxError

#: Seconds in which the acks that an exiting program did not wait for may arrive.
EXIT_SECONDS = 1.5


class _Closable(Protocol):
    def _close(self, within: float | None) -> None: ...


_open: WeakSet[_Closable] = WeakSet()


def end_of(within: float | None) -> float | None:
    """When a close that may take this number of seconds has to end."""
    return None if within is None else time.monotonic() + within


def left(end: float | None) -> float | None:
    """The seconds until then."""
    return None if end is None else max(0.0, end - time.monotonic())


def close_at_exit(client: _Closable) -> None:
    """Closes the client when the interpreter exits, if it still exists then."""
    _open.add(client)


@atexit.register
def _close_all() -> None:
    end = end_of(EXIT_SECONDS)
    for client in list(_open):
        # The program has not waited for these records. In a forked child, the client belongs to
        # the parent.
        with suppress(StyxError):
            client._close(left(end))


def leave(close: Callable[[float | None], None], error: BaseException | None) -> None:
    """Closes an object at the end of its with statement.

    The exception that ends the statement wins, and what was lost becomes a note on it. Ctrl-C
    does not wait for acks.
    """
    if error is None:
        close(None)
        return
    try:
        close(None if isinstance(error, Exception) else 0.0)
    except StyxError as lost:
        note_lost(error, lost)


def note_lost(error: BaseException, lost: StyxError) -> None:
    """Adds what was lost to the exception that ends a with statement."""
    if lost is not error:
        error.add_note(f"while closing: {type(lost).__name__}: {lost}")
