"""Reading: the same tests for both faces."""

from __future__ import annotations

import pytest
import styx_client
from faces import Face
from styx_client import (
    Client,
    ClosedError,
    CursorTakenError,
    LogChangedError,
    LogNotFoundError,
    RecordBatch,
)
from styx_client.testing import Server
from waiting import until

RECORDS = [b"record %d" % number for number in range(10)]


@pytest.fixture
def filled(client: Client, log: str) -> str:
    """A log with ten records."""
    with client.producer(log) as producer:
        producer.append_many(RECORDS)
    return log


def poll(consumer: styx_client.Consumer, max_records: int = 2048) -> RecordBatch:
    batch = consumer.poll(20, max_records=max_records)
    assert batch is not None
    return batch


def test_iteration_returns_every_record_once(client: Client, filled: str) -> None:
    with client.consumer(filled) as consumer:
        records = list(consumer)
    assert [record.payload for record in records] == RECORDS
    assert [record.position for record in records] == list(range(10))
    assert {record.log_id for record in records} == {client.get_log_details(filled).log_id}


def test_batches_have_at_most_max_records(client: Client, filled: str) -> None:
    with client.consumer(filled) as consumer:
        batches = list(consumer.batches(max_records=4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert [batch.first_position for batch in batches] == [0, 4, 8]
    assert [payload for batch in batches for payload in batch.payloads()] == RECORDS


def test_max_records_is_at_least_one(client: Client, filled: str) -> None:
    with client.consumer(filled) as consumer:
        with pytest.raises(ValueError, match="max_records is 0"):
            consumer.poll(0, max_records=0)
        with pytest.raises(ValueError, match="max_records is -1"):
            consumer.batches(max_records=-1)


def test_a_break_leaves_the_consumer_where_it_is(client: Client, filled: str) -> None:
    with client.consumer(filled) as consumer:
        for record in consumer:
            if record.position == 2:
                break
        assert consumer.position == 3
        assert next(iter(consumer)).position == 3
        assert poll(consumer, 2).payloads() == RECORDS[4:6]
        assert [record.position for record in consumer] == [6, 7, 8, 9]
        assert consumer.ended


def test_an_iterator_continues_where_other_calls_have_stopped(client: Client, filled: str) -> None:
    with client.consumer(filled, cursor="shared", follow=True) as consumer:
        one, two = iter(consumer), iter(consumer)
        records = [next(one), next(two), next(one)]
        assert consumer.position == 3
        assert poll(consumer, 2).payloads() == RECORDS[3:5]
        records.append(next(two))
        assert consumer.commit().result(timeout=20) == 6
        records += [next(one), next(two)]
        assert consumer.position == 8
        consumer.seek(1)
        records += [next(one), next(two)]
        assert [record.position for record in records] == [0, 1, 2, 5, 6, 7, 1, 2]
        assert [record.payload for record in records] == [RECORDS[r.position] for r in records]
        assert (consumer.position, consumer.lag) == (3, 7)


def test_a_record_that_is_kept_does_not_change(client: Client, filled: str) -> None:
    with client.consumer(filled) as consumer:
        kept = [record for record in consumer if record.position % 3 == 0]
    assert [(record.position, record.payload) for record in kept] == [
        (position, RECORDS[position]) for position in (0, 3, 6, 9)
    ]


def test_poll_returns_none_at_the_end(client: Client, filled: str) -> None:
    with client.consumer(filled) as consumer:
        assert poll(consumer).payloads() == RECORDS
        states = [consumer.ended]
        for timeout in (20, 0):
            assert consumer.poll(timeout) is None
            states.append(consumer.ended)
    assert states == [False, True, True]


def test_poll_returns_none_at_its_timeout(client: Client, filled: str) -> None:
    with client.consumer(filled, start="end", follow=True) as consumer:
        assert consumer.poll(0) is None
        assert consumer.poll(0.05) is None
        assert not consumer.ended
        with client.producer(filled) as producer:
            producer.send(b"new")
        assert poll(consumer).payloads() == [b"new"]


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_an_impossible_timeout_is_a_value_error(
    client: Client, filled: str, timeout: float
) -> None:
    with (
        client.consumer(filled) as consumer,
        pytest.raises(ValueError, match="timeout is"),
    ):
        consumer.poll(timeout)


def test_count_ends_the_read(client: Client, filled: str) -> None:
    with client.consumer(filled, start=2, count=3, follow=True) as consumer:
        assert [record.position for record in consumer] == [2, 3, 4]
        assert consumer.ended


def test_follow_waits_for_new_records(client: Client, filled: str) -> None:
    with client.consumer(filled, follow=True) as consumer:
        positions: list[int] = []
        with client.producer(filled) as producer:
            for record in consumer:
                positions.append(record.position)
                if record.position == 20:
                    break
                if record.position >= 9:
                    producer.append(b"next")
    assert positions == list(range(21))


def test_seek_continues_elsewhere(client: Client, filled: str) -> None:
    with client.consumer(filled, follow=True) as consumer:
        checkpoint = poll(consumer, 5).checkpoint
        consumer.seek(8)
        assert consumer.position == 8
        assert poll(consumer, 1).payloads() == [RECORDS[8]]
        consumer.seek("start")
        assert poll(consumer, 1).payloads() == [RECORDS[0]]
        consumer.seek(checkpoint)
        assert poll(consumer, 1).payloads() == [RECORDS[5]]
        consumer.seek("end")
        assert consumer.poll(0.05) is None
        assert consumer.position == 10


def test_seek_after_the_end_reads_again(client: Client, filled: str) -> None:
    with client.consumer(filled) as consumer:
        assert len(list(consumer)) == 10
        consumer.seek(7)
        assert not consumer.ended
        assert [record.position for record in consumer] == [7, 8, 9]


def test_position_checkpoint_and_lag_count_returned_records(client: Client, filled: str) -> None:
    log_id = client.get_log_details(filled).log_id
    with client.consumer(filled, follow=True) as consumer:
        assert (consumer.position, consumer.checkpoint.position) == (0, 0)
        poll(consumer, 4)
        assert consumer.position == 4
        assert (consumer.checkpoint.position, consumer.checkpoint.log_id) == (4, log_id)
        assert consumer.lag == 6
        assert not consumer.caught_up
        poll(consumer)
        until(lambda: consumer.caught_up)
        assert (consumer.position, consumer.lag) == (10, 0)


def test_a_checkpoint_continues_behind_its_record(client: Client, filled: str) -> None:
    with client.consumer(filled) as consumer:
        record = next(iter(consumer))
        saved = str(consumer.checkpoint)
    assert record.checkpoint == styx_client.Checkpoint(saved)
    for start in (saved, record.checkpoint):
        with client.consumer(filled, start=start) as consumer:
            assert [record.position for record in consumer] == list(range(1, 10))


def test_commit_stores_the_position_behind_the_last_record(client: Client, filled: str) -> None:
    with client.consumer(filled, cursor="billing") as consumer:
        poll(consumer, 3)
        commit = consumer.commit()
        assert commit.result(timeout=20) == 3
        assert commit.done()
        for record in consumer:
            if record.position == 5:
                break
        consumer.commit()
    assert client.get_cursor(filled, "billing").position == 6
    with client.consumer(filled, cursor="billing") as consumer:
        assert [record.position for record in consumer] == [6, 7, 8, 9]


def test_a_second_consumer_takes_the_cursor_over(client: Client, filled: str) -> None:
    with client.consumer(filled, cursor="billing") as first:
        poll(first, 1)
        first.commit().result(timeout=20)
        with client.consumer(filled, cursor="billing") as second:
            poll(second, 1)
            second.commit().result(timeout=20)
        poll(first, 1)
        with pytest.raises(CursorTakenError) as caught:
            first.commit().result(timeout=20)
        assert caught.value.version is not None


def test_commit_without_a_cursor_is_a_value_error(client: Client, filled: str) -> None:
    with client.consumer(filled) as consumer, pytest.raises(ValueError, match="cursor"):
        consumer.commit()


def test_a_log_that_was_truncated_raises_log_changed(client: Client, filled: str) -> None:
    with client.consumer(filled) as consumer:
        poll(consumer, 5)
        checkpoint = consumer.checkpoint
    client.truncate_log(filled)
    with pytest.raises(LogChangedError):
        client.consumer(filled, start=checkpoint)
    with client.consumer(filled) as consumer:
        assert consumer.poll(20) is None


def test_a_log_that_is_truncated_under_a_follower_raises_log_changed(
    client: Client, filled: str
) -> None:
    with client.consumer(filled, follow=True) as consumer:
        poll(consumer)
        client.truncate_log(filled)
        with pytest.raises(LogChangedError):
            consumer.poll(20)
        with pytest.raises(LogChangedError):
            consumer.poll(20)


def test_a_log_that_is_deleted_under_a_follower_raises_log_not_found(
    client: Client, filled: str
) -> None:
    with client.consumer(filled, follow=True) as consumer:
        poll(consumer)
        client.delete_log(filled)
        with pytest.raises(LogNotFoundError):
            consumer.poll(20)


def test_codecs_limit_what_the_server_sends(client: Client, log: str) -> None:
    with client.producer(log, compression="zstd") as producer:
        producer.append_many([b"the same text"] * 50)
    for codecs in (["lz4"], ["lz4", "zstd"], [], None):
        chosen: list[styx_client.Codec] | None = codecs  # type: ignore[assignment]
        with client.consumer(log, codecs=chosen) as consumer:
            assert len(list(consumer)) == 50


def test_stats_count_records(client: Client, filled: str) -> None:
    with client.consumer(filled, follow=True) as consumer:
        poll(consumer)
        stats = consumer.stats()
        assert stats.received_records == 10
        assert stats.received_bytes == sum(len(payload) + 8 for payload in RECORDS)
        assert stats.is_connected
        assert stats.reconnects == 0
        assert stats.since_last_heard is not None


def test_a_closed_consumer_refuses_calls(client: Client, filled: str) -> None:
    consumer = client.consumer(filled, follow=True)
    iterator = iter(consumer)
    next(iterator)
    consumer.close()
    consumer.close()
    assert consumer.ended
    assert list(iterator) == []
    for call in (
        lambda: consumer.poll(0),
        lambda: consumer.seek(0),
        lambda: consumer.commit(),
        lambda: iter(consumer),
        lambda: consumer.batches(),
        lambda: consumer.stats(),
    ):
        with pytest.raises(ClosedError):
            call()


def test_a_consumer_has_names(client: Client, filled: str) -> None:
    with client.consumer(filled) as consumer:
        assert consumer.log == filled
        assert repr(consumer).endswith(f"Consumer of {filled}, position 0>")


def test_a_lost_connection_is_reported_after_the_deadline(face: Face, styx_server: Server) -> None:
    client = face.connect(styx_server.address)
    client.create_log("gone")
    consumer = client.consumer("gone", follow=True, deadline=0.3)
    styx_server.kill()
    with pytest.raises(TimeoutError):
        consumer.poll(20)
    client.close()
