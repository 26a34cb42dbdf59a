"""Options of clients, producers and consumers: from Python values to the core's text."""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from datetime import datetime
from typing import Literal, TypeAlias

from styx_client import _native
from styx_client._errors import InvalidArgumentError

#: A codec of compressed blocks.
Codec: TypeAlias = Literal["lz4", "zstd"]
#: How a producer compresses blocks.
Compression: TypeAlias = Literal["none", "lz4", "zstd"]
#: Where a consumer begins: a position, "start", "end", "end-100", "time:" and a time in
#: RFC 3339, a datetime with a time zone, or a checkpoint (also as text).
Start: TypeAlias = int | str | datetime | _native.Checkpoint

Value: TypeAlias = str | bytes | int | float | bool | os.PathLike[str] | Collection[str] | Start

_UNITS: dict[tuple[str, str], str] = {
    (of, name): unit for of, name, unit, _default, _meaning in _native.options()
}


def as_text(of: str, **values: Value | None) -> list[tuple[str, str]]:
    """The options that are not None, as the core's keys and values."""
    return [
        (name, _text(name, _UNITS[of, name], value))
        for name, value in values.items()
        if value is not None
    ]


def start_text(start: object) -> str:
    """A start as the core's text. Raises TypeError unless it is a Start."""
    if isinstance(start, bool):
        raise TypeError("start is a position, a text, a datetime or a checkpoint, not a bool")
    if isinstance(start, datetime):
        if start.tzinfo is None:
            raise InvalidArgumentError(
                "start is a datetime without a time zone: add one, "
                "for example with start.replace(tzinfo=datetime.UTC)"
            )
        return f"time:{start.isoformat()}"
    if not isinstance(start, (int, str, _native.Checkpoint)):
        raise TypeError(
            f"start is a position, a text, a datetime or a checkpoint, not {type(start).__name__}"
        )
    return str(start)


def _text(name: str, unit: str, value: Value) -> str:
    match unit:
        case "duration":
            return _duration(name, value)
        case "true or false":
            return "true" if value else "false"
        case "codecs":
            if isinstance(value, str):
                return value
            if not isinstance(value, Collection):
                raise TypeError(f"{name} is a collection of codecs, such as ['lz4', 'zstd']")
            return ",".join(str(codec) for codec in value) or "none"
        case "start":
            return start_text(value)
        case "number" | "bytes":
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} is an integer, not {type(value).__name__}")
            return str(value)
        case "file" if isinstance(value, (str, os.PathLike)):
            return os.fspath(value)
        case _ if isinstance(value, bytes):
            return value.decode()
        case _:
            return str(value)


def _duration(name: str, value: Value) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a number of seconds, not {type(value).__name__}")
    if math.isinf(value):
        return "none"
    if math.isnan(value) or value < 0:
        raise InvalidArgumentError(f"{name} is {value}: use a number of seconds of at least 0")
    return f"{round(value * 1_000_000)} us"
