"""Fixtures: a server for the tests that only need logs of their own, and both faces."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import styx_client
from faces import AsyncFace, Face, SyncFace
from styx_client.testing import Server

HAS_UVLOOP = importlib.util.find_spec("uvloop") is not None


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that neither stop it nor look at other logs."""
    with Server(tmp_path_factory.mktemp("styx")) as server:
        yield server


@pytest.fixture(
    params=[
        "sync",
        "aio",
        pytest.param(
            "uvloop",
            marks=pytest.mark.skipif(not HAS_UVLOOP, reason="uvloop is not installed"),
        ),
    ]
)
def face(request: pytest.FixtureRequest) -> Iterator[Face]:
    """Each face of the package, and asyncio with two event loops."""
    face = new_face(str(request.param))
    yield face
    face.close()


def new_face(name: str) -> Face:
    """A face by its name."""
    if name == "sync":
        return SyncFace()
    if name == "aio":
        return AsyncFace(name, asyncio.new_event_loop)
    import uvloop

    return AsyncFace(name, uvloop.new_event_loop)


@pytest.fixture
def client(face: Face, server: Server) -> Iterator[styx_client.Client]:
    """A client of the shared server."""
    with face.connect(server.address) as client:
        yield client


@pytest.fixture(scope="session")
def logs(server: Server) -> Iterator[Callable[[], str]]:
    """Returns the name of an empty log of the shared server at each call.

    The logs are created ahead and several at a time, because the disk takes tens of milliseconds
    for each.
    """
    numbers = itertools.count(1)
    with styx_client.Client(server.address) as client, ThreadPoolExecutor(4) as threads:

        def create() -> str:
            return client.create_log(f"log-{next(numbers)}").name

        ahead = deque(threads.submit(create) for _ in range(8))

        def take() -> str:
            ahead.append(threads.submit(create))
            return ahead.popleft().result()

        yield take


@pytest.fixture
def log(logs: Callable[[], str]) -> str:
    """The name of an empty log of the shared server."""
    return logs()
