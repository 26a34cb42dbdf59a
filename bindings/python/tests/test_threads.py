"""Threads that share clients, producers and consumers, which are closed at any moment."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest
from styx_client import Client, ClosedError, Consumer, Producer, StyxError
from styx_client.testing import Server
from waiting import until

ROUNDS = 10


def test_the_records_of_each_thread_keep_their_order(server: Server, log: str) -> None:
    with Client(server.address) as client, client.producer(log) as producer:

        def write(thread: int) -> None:
            for number in range(300):
                match number % 3:
                    case 0:
                        producer.append(b"%d %d" % (thread, number))
                    case 1:
                        producer.append_many([b"%d %d" % (thread, number)])
                    case _:
                        producer.send(b"%d %d" % (thread, number))

        with ThreadPoolExecutor(4) as threads:
            for _ in threads.map(write, range(4)):
                pass
        with client.consumer(log) as consumer:
            pairs = [tuple(map(int, record.payload.split())) for record in consumer]
    for thread in range(4):
        assert [number for who, number in pairs if who == thread] == list(range(300))


def test_threads_that_share_a_consumer_get_each_record_once(server: Server, log: str) -> None:
    with Client(server.address) as client:
        with client.producer(log) as producer:
            producer.append_many([b"%d" % number for number in range(5000)])
        with client.consumer(log) as consumer:

            def read(way: int) -> list[int]:
                if way % 2:
                    return [record.position for record in consumer]
                return [
                    record.position
                    for batch in consumer.batches(max_records=7)
                    for record in batch
                ]

            with ThreadPoolExecutor(4) as threads:
                positions = [p for part in threads.map(read, range(4)) for p in part]
    assert sorted(positions) == list(range(5000))


def write(producer: Producer, of: int, appended: list[int], begin: Barrier) -> None:
    begin.wait()
    for number in range(100_000):
        producer.append(b"%d %d" % (of, number))
        appended.append(number)


def consume(consumer: Consumer, read: list[int], begin: Barrier) -> None:
    begin.wait()
    while (batch := consumer.poll(max_records=50)) is not None:
        read.extend(range(batch.first_position, batch.next_position))


@pytest.mark.parametrize("seed", range(3))
def test_two_writers_and_two_readers_survive_a_close_at_any_moment(
    server: Server, log: str, seed: int
) -> None:
    chance = random.Random(seed)
    for round_ in range(ROUNDS):
        name = f"{log}-{round_}"
        client = Client(server.address)
        client.create_log(name)
        producer = client.producer(name, in_flight_bytes=20_000)
        consumer = client.consumer(name, follow=True)
        appended: list[list[int]] = [[], []]
        read: list[list[int]] = [[], []]
        begin = Barrier(5)

        with ThreadPoolExecutor(4) as threads:
            work = [
                threads.submit(write, producer, 0, appended[0], begin),
                threads.submit(write, producer, 1, appended[1], begin),
                threads.submit(consume, consumer, read[0], begin),
                threads.submit(consume, consumer, read[1], begin),
            ]
            begin.wait()
            time.sleep(chance.uniform(0, 0.02))
            closes: list[Callable[[], None]] = [
                producer.close,
                consumer.close,
                client.close,
            ]
            chance.shuffle(closes)
            for close in closes:
                close()
            for done in work[:2]:
                with pytest.raises(ClosedError):
                    done.result(20)
            for done in work[2:]:
                # It had not begun to wait when the consumer was closed.
                error = done.exception(20)
                assert error is None or isinstance(error, ClosedError)

        with Client(server.address) as other, other.consumer(name) as again:
            stored = [tuple(map(int, record.payload.split())) for record in again]
        for of in (0, 1):
            numbers = [number for who, number in stored if who == of]
            # Everything that append has accepted is stored, and nothing twice.
            assert numbers == list(range(len(numbers)))
            assert len(numbers) == len(appended[of])
        positions = sorted(read[0] + read[1])
        assert positions == list(range(len(positions)))
        with Client(server.address) as other:
            other.delete_log(name)


def test_state_can_be_asked_for_while_other_threads_wait(server: Server, log: str) -> None:
    with Client(server.address) as client:
        producer, consumer = client.producer(log), client.consumer(log, follow=True)
        stop = Event()

        def ask() -> int:
            asked = 0
            while not stop.is_set():
                assert consumer.position <= producer.next_sequence
                consumer.stats()
                producer.stats()
                client.stats()
                _ = (
                    consumer.lag,
                    consumer.caught_up,
                    consumer.checkpoint,
                    repr(consumer),
                )
                asked += 1
            return asked

        def read() -> int:
            return sum(len(batch) for batch in consumer.batches())

        with ThreadPoolExecutor(3) as threads:
            asking = [threads.submit(ask), threads.submit(ask)]
            reading = threads.submit(read)
            # Each waits for the interpreter, which the other two threads use all the time.
            for number in range(40):
                producer.send(b"%d" % number)
            until(lambda: consumer.position == 40)
            stop.set()
            assert all(done.result(20) > 0 for done in asking)
            consumer.close()
            assert reading.result(20) == 40


def test_errors_of_other_threads_are_not_mixed(server: Server, log: str) -> None:
    with Client(server.address) as client:

        def ask(number: int) -> str:
            try:
                client.get_log(f"{log}-{number}")
            except StyxError as error:
                return str(error)
            return ""

        with ThreadPoolExecutor(8) as threads:
            for number, text in enumerate(threads.map(ask, range(200))):
                assert f"{log}-{number}" in text
