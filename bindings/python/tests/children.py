"""The work of the child processes of test_fork.py. A spawned child imports this module."""

from __future__ import annotations

from styx_client import Client, RecordBatch


def send(address: str, log: str) -> int:
    """Appends a record, and returns its position."""
    with Client(address) as client, client.producer(log) as producer:
        return producer.send(b"child")


def first_batch(address: str, log: str) -> RecordBatch | None:
    """The first batch of a log. It is pickled on the way to the parent."""
    with Client(address) as client, client.consumer(log) as consumer:
        return consumer.poll(20)
