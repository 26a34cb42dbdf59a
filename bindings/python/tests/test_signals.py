"""Ctrl-C in a blocking call ends it, and other threads run while a call waits."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress

import pytest
from styx_client import Client, Consumer, Producer, StyxError
from styx_client.testing import Server

#: What the package promises, and the time that a busy machine may add.
CTRL_C_SECONDS = 0.1
SLACK_SECONDS = 0.4

Waiting = Callable[[Client, Producer, Consumer], object]


def append_and_flush(_client: Client, producer: Producer, _consumer: Consumer) -> None:
    producer.append(b"a")
    producer.flush()


def append_and_close(_client: Client, producer: Producer, _consumer: Consumer) -> None:
    producer.append(b"a")
    producer.close()


CALLS: dict[str, Waiting] = {
    "send": lambda _c, producer, _r: producer.send(b"a"),
    "append": lambda _c, producer, _r: [producer.append(bytes(1000)) for _ in range(100)],
    "append_many": lambda _c, producer, _r: [producer.append_many([bytes(9000)]) for _ in "123"],
    "ack": lambda _c, producer, _r: producer.append(b"a").result(),
    "flush": append_and_flush,
    "close": append_and_close,
    "poll": lambda _c, _p, consumer: consumer.poll(),
    "poll with a timeout": lambda _c, _p, consumer: consumer.poll(60),
    "records": lambda _c, _p, consumer: list(consumer),
    "batches": lambda _c, _p, consumer: list(consumer.batches()),
    "seek": lambda _c, _p, consumer: consumer.seek("end"),
    "commit": lambda _c, _p, consumer: consumer.commit().result(),
    "get_log": lambda client, _p, _r: client.get_log("signals"),
    "create_log": lambda client, _p, _r: client.create_log("other"),
    "producer": lambda client, _p, _r: client.producer("signals"),
    "consumer": lambda client, _p, _r: client.consumer("signals"),
    "connect": lambda client, _p, _r: Client(client.address),
}


@contextmanager
def paused(server: Server) -> Generator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that these tests pause."""
    with Server(tmp_path_factory.mktemp("signals")) as server:
        yield server


@contextmanager
def opened(server: Server) -> Generator[tuple[Client, Producer, Consumer]]:
    """A client whose calls wait, because the server is paused."""
    client = Client(server.address)
    # A log with the records of an earlier test would have something to read.
    client.create_log("signals", exist_ok=True)
    client.delete_log("signals")
    client.create_log("signals")
    producer = client.producer("signals", in_flight_bytes=10_000, close_timeout=60)
    consumer = client.consumer("signals", start="end", follow=True, cursor="signals")
    producer.send(b"before")
    assert consumer.poll(20) is not None
    with paused(server):
        yield client, producer, consumer
    # Records of the interrupted call may be lost.
    with suppress(StyxError):
        client.close()


def interrupted(call: Callable[[], object]) -> float:
    """The seconds from Ctrl-C to the end of a call that waits."""
    sent: list[float] = []
    returned: list[bool] = []
    waits = threading.Event()

    def press() -> None:
        waits.wait()
        # The call is to wait when the signal comes.
        time.sleep(0.06)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    def program() -> None:
        waits.set()
        call()
        returned.append(True)
        # The signal must not hit the test.
        time.sleep(10)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            program()
        assert not returned
        return time.monotonic() - sent[0]
    finally:
        thread.join()


@pytest.mark.parametrize("name", CALLS)
def test_ctrl_c_ends_a_call_that_waits(
    own_server: Server, name: str, record_property: Callable[[str, object], None]
) -> None:
    with opened(own_server) as objects:
        seconds = interrupted(lambda: CALLS[name](*objects))
    record_property("seconds", seconds)
    print(f"{name}: {seconds * 1000:.0f} ms")
    assert seconds < CTRL_C_SECONDS + SLACK_SECONDS


@pytest.mark.parametrize("name", CALLS)
def test_other_threads_run_while_a_call_waits(own_server: Server, name: str) -> None:
    with opened(own_server) as objects:
        counted = 0

        def count() -> None:
            nonlocal counted
            end = time.monotonic() + 0.05
            while time.monotonic() < end:
                counted += 1
            os.kill(os.getpid(), signal.SIGINT)

        def program() -> None:
            thread.start()
            CALLS[name](*objects)
            time.sleep(10)

        thread = threading.Thread(target=count)
        with pytest.raises(KeyboardInterrupt):
            program()
        thread.join()
    assert counted > 1000


def test_a_signal_handler_that_returns_lets_the_call_wait_on(
    own_server: Server,
) -> None:
    calls: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: calls.append(number))
    try:
        with opened(own_server) as (_client, producer, consumer):
            timers = [
                threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)),
                threading.Timer(0.15, own_server.resume),
            ]
            for timer in timers:
                timer.start()
            producer.send(b"after")
            assert consumer.poll(20) is not None
            for timer in timers:
                timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert calls == [signal.SIGUSR1]


def test_nothing_is_lost_when_a_reader_is_interrupted(own_server: Server) -> None:
    with Client(own_server.address) as client:
        client.create_log("interrupted")
        payloads: list[bytes] = []
        with client.producer("interrupted") as producer:
            consumer = client.consumer("interrupted", follow=True)
            for number in range(20):
                timer = threading.Timer(0.001 * number, os.kill, (os.getpid(), signal.SIGINT))
                try:
                    timer.start()
                    producer.append_many([b"%d" % n for n in range(10 * number, 10 * number + 10)])
                    while True:
                        for record in consumer:
                            payloads.append(record.payload)
                except KeyboardInterrupt:
                    pass
                timer.join()
        consumer.close()
        with client.consumer("interrupted") as again:
            assert payloads == [record.payload for record in again][: len(payloads)]
    assert len(payloads) > 0
