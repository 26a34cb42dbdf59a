"""The systems that are compared, one module each.

`base` says what a module provides. A system that cannot be had is skipped by name.
"""

from __future__ import annotations

from peers.base import Peer
from peers.kafka import Kafka
from peers.nats import Nats
from peers.redis import Redis
from peers.s2_lite import S2Lite
from peers.styx import Styx

#: In the order in which they are measured: the cheapest to build first.
PEERS: dict[str, type[Peer]] = {
    "styx": Styx,
    "nats": Nats,
    "redis": Redis,
    "kafka": Kafka,
    "s2-lite": S2Lite,
}

#: Systems that no registry serves, and why.
NOT_PUBLISHED: dict[str, str] = {
    "iggy": "crates.io has the client and the command line of Apache Iggy, but neither its "
    "server nor iggy-bench",
}
