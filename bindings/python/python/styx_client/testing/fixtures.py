"""Fixtures for pytest, which finds them by itself once styx-client is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from styx_client.testing._server import Server


@pytest.fixture
def styx_server(tmp_path: Path) -> Iterator[Server]:
    """A server for one test, with its logs in the test's tmp_path."""
    # Only here, so that other test runs do not load the package.
    from styx_client.testing import Server

    with Server(tmp_path / "styx") as server:
        yield server
