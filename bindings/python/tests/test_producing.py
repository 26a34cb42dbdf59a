"""Appending: the same tests for both faces."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy
import pytest
import styx_client
from faces import Face
from styx_client import (
    Client,
    ClosedError,
    LogNotFoundError,
    PositionMismatchError,
    ProducerFencedError,
    RecordTooLargeError,
    TimedOutError,
)
from styx_client.testing import Server


def payloads(client: Client, log: str) -> list[bytes]:
    with client.consumer(log) as consumer:
        return [payload for batch in consumer.batches() for payload in batch.payloads()]


def test_an_ack_has_the_position_once_the_record_is_durable(client: Client, log: str) -> None:
    with client.producer(log) as producer:
        first, second = producer.append(b"one"), producer.append(b"two")
        assert (first.sequence, second.sequence, first.count) == (0, 1, 1)
        assert (first.result(), second.result(timeout=10)) == (0, 1)
        assert first.done()
        assert second.position == 1
        assert "position=1" in repr(second)
        assert producer.send(b"three") == 2
    assert payloads(client, log) == [b"one", b"two", b"three"]


def test_every_contiguous_buffer_can_be_appended(client: Client, log: str) -> None:
    numbers = numpy.array([1, 2], dtype=">u2")
    with client.producer(log) as producer:
        for payload in (
            b"a",
            bytearray(b"b"),
            memoryview(b"xcx")[1:2],
            array("B", [100]),
            b"",
        ):
            producer.append(payload)
        producer.append(numbers.data)
    assert payloads(client, log) == [b"a", b"b", b"c", b"d", b"", b"\x00\x01\x00\x02"]


def test_append_copies_the_payload(client: Client, log: str) -> None:
    payload = bytearray(b"before")
    with client.producer(log, linger=0.2) as producer:
        producer.append(payload)
        producer.append_many([payload])
        payload[:] = b"after."
    assert payloads(client, log) == [b"before", b"before"]


def test_text_is_refused_with_advice(client: Client, log: str) -> None:
    with client.producer(log) as producer:
        for call in (producer.append, producer.send):
            with pytest.raises(TypeError, match=r"text\.encode\(\)"):
                call("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match=r"text\.encode\(\)"):
            producer.append_many(["text"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match="not int"):
            producer.append(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(BufferError, match="not contiguous"):
            producer.append(memoryview(b"abcd")[::2])
        assert producer.next_sequence == 0
    assert payloads(client, log) == []


def test_append_many_has_the_position_of_its_first_record(client: Client, log: str) -> None:
    with client.producer(log) as producer:
        producer.append(b"first")
        ack = producer.append_many([b"a", bytearray(b"b"), memoryview(b"c")])
        assert (ack.result(), ack.count, ack.sequence) == (1, 3, 1)
        assert producer.append_many(b"%d" % n for n in range(2)).result() == 4
        assert producer.append_many([]).count == 0
    assert payloads(client, log) == [b"first", b"a", b"b", b"c", b"0", b"1"]


def test_append_many_appends_nothing_if_a_payload_is_wrong(client: Client, log: str) -> None:
    problem = KeyError("in the iterable")

    def broken() -> Iterator[bytes]:
        yield b"never"
        raise problem

    with client.producer(log) as producer:
        with pytest.raises(KeyError) as caught:
            producer.append_many(broken())
        assert caught.value is problem
        with pytest.raises(TypeError):
            producer.append_many([b"never", None])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
        assert producer.append_many([b"kept"]).result() == 0
    assert payloads(client, log) == [b"kept"]


def test_append_many_splits_more_than_a_block(client: Client, log: str) -> None:
    many = [b"%06d" % number * 100 for number in range(4000)]
    with client.producer(log, in_flight_bytes=1024 * 1024) as producer:
        assert producer.append_many(many).result() == 0
    assert payloads(client, log) == many


@pytest.mark.parametrize(
    "ends",
    [
        [1, 1, 4],
        array("I", [1, 1, 4]),
        array("Q", [1, 1, 4]),
        numpy.array([1, 1, 4], "uint32"),
    ],
    ids=["list", "uint32", "uint64", "numpy"],
)
def test_append_packed_splits_a_buffer(
    client: Client, log: str, ends: list[int] | array[int]
) -> None:
    with client.producer(log) as producer:
        assert producer.append_packed(b"abcd", ends).result() == 0
    assert payloads(client, log) == [b"a", b"", b"bcd"]


@pytest.mark.parametrize("ends", [[2, 1, 4], [1, 5], [-1, 4]])
def test_append_packed_refuses_wrong_ends(client: Client, log: str, ends: list[int]) -> None:
    with client.producer(log) as producer:
        with pytest.raises((ValueError, OverflowError)):
            producer.append_packed(b"abcd", ends)
        assert producer.next_sequence == 0


def test_flush_makes_everything_before_durable(client: Client, log: str) -> None:
    with client.producer(log, linger=0.05) as producer:
        acks = [producer.append(b"x") for _ in range(100)]
        producer.flush(timeout=20)
        assert [ack.position for ack in acks] == list(range(100))
        assert producer.durable_sequence == producer.next_sequence == 100


def test_a_full_buffer_delays_append_but_loses_nothing(client: Client, log: str) -> None:
    with client.producer(log, in_flight_bytes=4096, block_bytes=1024) as producer:
        for number in range(500):
            producer.append(b"%04d" % number * 50)
    assert payloads(client, log) == [b"%04d" % number * 50 for number in range(500)]


def test_a_record_that_is_too_large_is_a_value_error(client: Client, log: str) -> None:
    with client.producer(log) as producer:
        with pytest.raises(ValueError, match="limit of every log") as caught:
            producer.append(numpy.zeros(1 << 30, "uint8").data)
        assert isinstance(caught.value, RecordTooLargeError)
        assert not caught.value.maybe_appended
        assert producer.send(b"small") == 0


def test_a_record_over_the_limit_of_its_log_ends_the_producer(client: Client, log: str) -> None:
    producer = client.producer(log)
    for call in (producer.send, producer.append):
        with pytest.raises(RecordTooLargeError, match="1048576") as caught:
            call(bytes(1024 * 1024))
        assert not caught.value.maybe_appended
    producer.close()
    assert payloads(client, log) == []


def test_next_sequence_tells_where_an_import_continues(client: Client, log: str) -> None:
    with client.producer(log, producer_id=7) as producer:
        assert (producer.producer_id, producer.next_sequence) == (7, 0)
        producer.append_many([b"a", b"b", b"c"])
    with client.producer(log, producer_id=7) as producer:
        assert producer.next_sequence == 3
        assert producer.send(b"d") == 3


def test_a_higher_epoch_fences_an_older_producer(client: Client, log: str) -> None:
    old = client.producer(log, producer_id=7, epoch=1)
    old.send(b"a")
    with client.producer(log, producer_id=7, epoch=2) as new:
        assert (new.epoch, new.producer_id) == (2, 7)
        new.send(b"b")
        with pytest.raises(ProducerFencedError):
            old.send(b"c")
        with pytest.raises(ProducerFencedError):
            old.append(b"d")
    with pytest.raises(ProducerFencedError):
        client.producer(log, producer_id=7, epoch=1)
    old.close()
    assert payloads(client, log) == [b"a", b"b"]


def test_expected_position_protects_the_end(client: Client, log: str) -> None:
    with client.producer(log, expected_position=0) as producer:
        producer.append_many([b"a", b"b"])
        assert producer.send(b"c") == 2
    with pytest.raises(PositionMismatchError) as caught:
        client.producer(log, expected_position=1).send(b"d")
    assert caught.value.end_position == 3
    assert not caught.value.retriable


def test_a_producer_that_is_not_idempotent_has_no_id(client: Client, log: str) -> None:
    with client.producer(log, idempotent=False) as producer:
        assert (producer.producer_id, producer.epoch) == (None, None)
        assert producer.send(b"a") == 0


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_records_are_read_as_they_were(
    client: Client, log: str, compression: styx_client.Compression
) -> None:
    many = [b"the same text again and again %d" % (n % 3) for n in range(1000)]
    with client.producer(log, compression=compression) as producer:
        producer.append_many(many)
    assert payloads(client, log) == many


def test_a_closed_producer_refuses_records(client: Client, log: str) -> None:
    producer = client.producer(log)
    producer.append(b"a")
    producer.close()
    producer.close(timeout=0.0)
    for call in (producer.append, producer.send):
        with pytest.raises(ClosedError) as caught:
            call(b"b")
        assert isinstance(caught.value, RuntimeError)
        assert not caught.value.maybe_appended
    with pytest.raises(ClosedError):
        producer.append_many([b"b"])
    assert payloads(client, log) == [b"a"]


def test_a_deleted_log_ends_the_producer(client: Client, log: str) -> None:
    producer = client.producer(log)
    producer.send(b"a")
    client.delete_log(log)
    with pytest.raises(LogNotFoundError):
        producer.send(b"b")
    with pytest.raises(LogNotFoundError):
        producer.append(b"c")
    # An ack has reported the failure, so nothing is left to say.
    producer.close()


def test_close_raises_a_failure_that_no_ack_has_reported(client: Client, log: str) -> None:
    producer = client.producer(log, linger=30)
    producer.append(b"a")
    client.delete_log(log)
    with pytest.raises(LogNotFoundError):
        producer.close()
    producer.close()


def test_stats_count_records(client: Client, log: str) -> None:
    with client.producer(log) as producer:
        producer.append_many([b"12345678"] * 10).result()
        stats = producer.stats()
    assert (stats.acked_records, stats.acked_bytes) == (10, 160)
    assert (stats.in_flight_records, stats.failed_records, stats.reconnects) == (
        0,
        0,
        0,
    )
    assert stats.is_connected
    assert stats.since_last_ack is not None
    assert stats.since_last_heard is not None


def test_a_producer_has_names(client: Client, log: str) -> None:
    with client.producer(log) as producer:
        assert producer.log == log
        assert producer.log_id == client.get_log_details(log).log_id
        assert log in repr(producer)
        assert "next sequence 0" in repr(producer)


def test_waits_end_at_their_timeout(face: Face, styx_server: Server) -> None:
    client = face.connect(styx_server.address)
    client.create_log("paused")
    producer = client.producer("paused")
    producer.send(b"before")
    styx_server.pause()
    ack = producer.append(b"during")
    with pytest.raises(TimeoutError) as late:
        ack.result(timeout=0.05)
    # In asyncio, the timeout is that of asyncio.wait_for.
    assert getattr(late.value, "maybe_appended", True)
    with pytest.raises(TimedOutError) as late:
        producer.flush(timeout=0.05)
    assert isinstance(late.value, TimedOutError)
    assert late.value.maybe_appended
    assert ack.position is None
    assert not ack.done()
    assert producer.stats().in_flight_records == 1
    styx_server.resume()
    # A wait that timed out takes no record back.
    assert ack.result(timeout=30) == 1
    client.close()


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_an_impossible_timeout_is_a_value_error(client: Client, log: str, timeout: float) -> None:
    with client.producer(log) as producer:
        for call in (producer.flush, producer.close):
            with pytest.raises(ValueError, match="timeout is"):
                call(timeout=timeout)
        assert producer.send(b"still open") == 0


def test_an_infinite_timeout_is_no_limit(client: Client, log: str) -> None:
    producer = client.producer(log)
    producer.append(b"a")
    producer.flush(timeout=float("inf"))
    producer.append(b"b")
    producer.close(timeout=float("inf"))
    assert payloads(client, log) == [b"a", b"b"]


def test_close_reports_what_is_not_durable_in_its_timeout(face: Face, styx_server: Server) -> None:
    client = face.connect(styx_server.address)
    client.create_log("paused")
    producer = client.producer("paused")
    producer.send(b"before")
    styx_server.pause()
    producer.append(b"during")
    with pytest.raises(styx_client.StyxError) as caught:
        # So long that the record is sent before.
        producer.close(timeout=1)
    assert caught.value.maybe_appended
    styx_server.resume()
    client.close()


def test_an_exception_in_a_with_block_wins_over_lost_records(
    face: Face, styx_server: Server
) -> None:
    client = face.connect(styx_server.address)
    client.create_log("paused")
    problem = ValueError("of the program")

    def program() -> None:
        with client.producer("paused", close_timeout=0.1) as producer:
            producer.send(b"before")
            styx_server.pause()
            producer.append(b"during")
            raise problem

    with pytest.raises(ValueError, match="of the program") as caught:
        program()
    assert caught.value is problem
    assert any("while closing" in note for note in problem.__notes__)
    styx_server.resume()
    client.close()
