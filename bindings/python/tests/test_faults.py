"""A server that is killed or paused: exactly once, and nothing waits in silence."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from faces import Face
from styx_client import Client, Producer, aio
from styx_client.testing import Server
from waiting import STALL_SECONDS, until

KILLS = 20

#: The shortest silence_timeout.
SILENCE_SECONDS = 2.0


def test_each_record_is_stored_and_read_once_though_the_server_is_killed(
    styx_server: Server,
) -> None:
    with Client(styx_server.address) as client:
        for log in ("sync", "aio"):
            client.create_log(log)
    stop = Event()
    # Both faces at once, because each start of a server takes its time.
    with ThreadPoolExecutor(4) as threads:
        written = [
            threads.submit(write, styx_server.address, stop),
            threads.submit(asyncio.run, write_async(styx_server.address, stop)),
        ]
        read = [
            threads.submit(read_all, styx_server.address),
            threads.submit(asyncio.run, read_all_async(styx_server.address)),
        ]
        try:
            for _ in range(KILLS):
                time.sleep(0.03)
                styx_server.kill()
                styx_server.start()
        finally:
            stop.set()
        counts = [done.result(50) for done in written]
        for count, done in zip(counts, read, strict=True):
            assert done.result(50) == [b"%d" % number for number in range(count)]
            assert count > KILLS


def write(address: str, stop: Event) -> int:
    with Client(address) as client, client.producer("sync") as producer:
        count = 0
        while not stop.is_set():
            producer.append(b"%d" % count)
            count += 1
            if count % 10 == 0:
                assert producer.send(b"%d" % count) == count
                count += 1
        assert producer.append(b"end").result() == count
    return count


async def write_async(address: str, stop: Event) -> int:
    async with aio.Client(address) as client, client.producer("aio") as producer:
        count = 0
        while not stop.is_set():
            futures = [producer.send(b"%d" % number) for number in range(count, count + 10)]
            await producer.append(b"%d" % (count + 10))
            assert await asyncio.gather(*futures) == list(range(count, count + 10))
            count += 11
        assert await (await producer.append(b"end")) == count
    return count


def read_all(address: str) -> list[bytes]:
    payloads: list[bytes] = []
    with Client(address) as client, client.consumer("sync", follow=True) as consumer:
        for record in consumer:
            assert record.position == len(payloads)
            if record.payload == b"end":
                break
            payloads.append(record.payload)
    return payloads


async def read_all_async(address: str) -> list[bytes]:
    payloads: list[bytes] = []
    async with (
        aio.Client(address) as client,
        client.consumer("aio", follow=True) as consumer,
    ):
        async for batch in consumer.batches():
            assert batch.first_position == len(payloads)
            payloads += batch.payloads()
            if payloads[-1] == b"end":
                break
    return payloads[:-1]


def test_a_paused_server_shows_in_stats_and_events(
    face: Face, styx_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "styx_client")
    client = face.connect(styx_server.address, silence_timeout=SILENCE_SECONDS)
    client.create_log("silent")
    producer, consumer = (
        client.producer("silent"),
        client.consumer("silent", follow=True),
    )
    producer.send(b"before")
    assert consumer.poll(20) is not None
    styx_server.pause()
    began = time.monotonic()
    ack = producer.append(b"during")

    def lost() -> bool:
        # The call also logs the events of the blocking face.
        assert consumer.poll(0.05) is None
        return not producer.stats().is_connected and not consumer.stats().is_connected

    until(lambda: (consumer.stats().since_last_heard or 0.0) > SILENCE_SECONDS / 2)
    until(lost)
    assert time.monotonic() - began < SILENCE_SECONDS + STALL_SECONDS
    until(lambda: lost() and has_lost("consumer", caplog) and has_lost("producer", caplog))
    assert ack.position is None
    styx_server.resume()
    assert ack.result(timeout=30) == 1
    batch = consumer.poll(30)
    assert batch is not None
    assert batch.payloads() == [b"during"]
    assert producer.stats().reconnects >= 1
    assert consumer.stats().reconnects >= 1
    client.close()


def has_lost(subject: str, caplog: pytest.LogCaptureFixture) -> bool:
    text = f"the {subject} of silent has lost its connection"
    return any(text in message for message in caplog.messages)


def test_a_producer_ends_after_its_deadline_without_a_server(
    face: Face, styx_server: Server
) -> None:
    client = face.connect(styx_server.address)
    client.create_log("deadline")
    producer = client.producer("deadline", deadline=0.3)
    producer.send(b"before")
    styx_server.kill()
    ack = producer.append(b"after")
    with pytest.raises(TimeoutError):
        ack.result(timeout=20)
    with pytest.raises(TimeoutError):
        producer.append(b"later")
    client.close()


def test_calls_without_a_server_end_after_their_timeout(face: Face, styx_server: Server) -> None:
    client = face.connect(styx_server.address, timeout=0.3)
    styx_server.pause()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        client.list_logs()
    assert time.monotonic() - began < STALL_SECONDS
    styx_server.resume()
    assert client.list_logs() == []
    styx_server.kill()
    with pytest.raises((TimeoutError, ConnectionError)):
        client.list_logs()
    client.close()


def test_many_threads_learn_that_the_producer_has_ended(styx_server: Server) -> None:
    with Client(styx_server.address) as client:
        client.create_log("ended")
        producer = client.producer("ended", deadline=0.3)

        def write(producer: Producer) -> None:
            while True:
                producer.send(b"a")

        with ThreadPoolExecutor(4) as threads:
            work = [threads.submit(write, producer) for _ in range(4)]
            until(lambda: producer.stats().acked_records > 4)
            styx_server.kill()
            for done in work:
                with pytest.raises(TimeoutError):
                    done.result(20)
    assert threading.active_count() >= 1
