"""The methods of a file that backups and restores need."""

from __future__ import annotations

from typing import Protocol


class Writable(Protocol):
    """A file that is open for writing bytes."""

    def write(self, data: bytes, /) -> object:
        """Writes all bytes."""


class Readable(Protocol):
    """A file that is open for reading bytes."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most size of them; empty at the end."""
        ...
