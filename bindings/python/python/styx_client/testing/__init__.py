"""Servers for tests.

    from styx_client.testing import Server

    with Server() as server:
        client = styx_client.Client(server.address)

With pytest, the fixture styx_server is such a server, for one test and in its tmp_path.
"""

from __future__ import annotations

from styx_client.testing._server import Server, ServerNotFoundError, find_styx

__all__ = ["Server", "ServerNotFoundError", "find_styx"]
