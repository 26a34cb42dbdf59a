"""Fixtures: a server for the tests that only need logs of their own, and both faces."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
from collections.abc import Iterator

import pytest
import styx_client
from faces import AsyncFace, Face, SyncFace
from styx_client.testing import Server

_numbers = itertools.count(1)

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
def creator(server: Server) -> Iterator[styx_client.Client]:
    with styx_client.Client(server.address) as client:
        yield client


@pytest.fixture
def log(creator: styx_client.Client) -> str:
    """The name of an empty log of the shared server."""
    return creator.create_log(f"log-{next(_numbers)}").name
