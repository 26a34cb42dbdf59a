"""Functions that pickle calls to make objects again."""

from __future__ import annotations

from typing import TypedDict

from styx_client._native import Record


class _Values(TypedDict):
    position: int
    timestamp: int
    payload: bytes
    log_id: str


def make_record(values: _Values) -> Record:
    """The record with these values."""
    return Record(**values)
