"""Where a consumer begins: the same tests for both faces."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from styx_client import Client, LogChangedError, OutOfRangeError, Record, Start

RECORDS = [b"record %d" % number for number in range(10)]


@pytest.fixture
def filled(client: Client, log: str) -> str:
    """A log with ten records, each with a time of its own."""
    with client.producer(log) as producer:
        for record in RECORDS:
            producer.send(record)
    return log


def positions(client: Client, log: str, start: Start) -> list[int]:
    with client.consumer(log, start=start) as consumer:
        return [record.position for record in consumer]


@pytest.mark.parametrize(
    ("start", "first"),
    [
        (0, 0),
        (4, 4),
        ("4", 4),
        (10, 10),
        ("start", 0),
        ("end", 10),
        ("end-3", 7),
        ("end-10", 0),
        ("time:1970-01-01T00:00:00Z", 0),
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        ("time:2999-01-01T00:00:00+02:00", 10),
    ],
    ids=str,
)
def test_a_start_names_a_position(client: Client, filled: str, start: Start, first: int) -> None:
    assert positions(client, filled, start) == list(range(first, 10))


def test_a_datetime_finds_the_first_record_at_or_after_it(client: Client, filled: str) -> None:
    with client.consumer(filled) as consumer:
        records = list(consumer)
    time = records[4].datetime
    assert time.tzinfo is UTC
    expected = [record.position for record in records if record.datetime >= time]
    assert positions(client, filled, time) == expected
    elsewhere = time.astimezone(timezone(timedelta(hours=-9, minutes=-30)))
    assert positions(client, filled, elsewhere) == expected
    assert positions(client, filled, f"time:{time.isoformat()}") == expected


def test_a_checkpoint_continues_as_object_and_as_text(client: Client, filled: str) -> None:
    with client.consumer(filled) as consumer:
        batch = consumer.poll(20, max_records=3)
        assert batch is not None
    assert positions(client, filled, batch.checkpoint) == list(range(3, 10))
    assert positions(client, filled, str(batch.checkpoint)) == list(range(3, 10))
    assert positions(client, filled, batch[0].checkpoint) == list(range(1, 10))


def test_a_checkpoint_of_another_log_is_refused(client: Client, filled: str) -> None:
    other = Record(position=3, timestamp=0, payload=b"", log_id="1" * 32).checkpoint
    for start in (other, str(other)):
        with pytest.raises(LogChangedError):
            client.consumer(filled, start=start)


def test_a_position_outside_the_log_is_out_of_range(client: Client, filled: str) -> None:
    for start in (11, "end-11"):
        with pytest.raises(OutOfRangeError) as caught:
            client.consumer(filled, start=start)
        assert (caught.value.start_position, caught.value.end_position) == (0, 10)
        assert not caught.value.retriable


def test_a_position_that_retention_has_removed_is_out_of_range(client: Client, log: str) -> None:
    name = f"{log}-trimmed"
    client.create_log(name, segment_max_count=2)
    with client.producer(name) as producer:
        for record in RECORDS:
            producer.send(record)
    client.trim_log(name, 6)
    with pytest.raises(OutOfRangeError) as caught:
        client.consumer(name, start=0)
    assert (caught.value.start_position, caught.value.end_position) == (6, 10)
    assert positions(client, name, "start") == [6, 7, 8, 9]
    assert positions(client, name, "end-4") == [6, 7, 8, 9]


@pytest.mark.parametrize("start", ["sideways", "end+1", "time:yesterday", "-1", -1])
def test_an_impossible_start_is_a_value_error(client: Client, log: str, start: Start) -> None:
    with pytest.raises(ValueError, match="start"):
        client.consumer(log, start=start)
    with client.consumer(log) as consumer:
        with pytest.raises(ValueError, match="start"):
            consumer.seek(start)
        assert consumer.position == 0


def test_a_datetime_without_a_time_zone_is_a_value_error(client: Client, log: str) -> None:
    naive = datetime(2026, 11, 28)
    with pytest.raises(ValueError, match="time zone"):
        client.consumer(log, start=naive)


@pytest.mark.parametrize("start", [True, 1.5, b"start", None])
def test_another_type_is_a_type_error(client: Client, log: str, start: Start) -> None:
    consumer = client.consumer(log)
    with pytest.raises(TypeError, match="start"):
        consumer.seek(start)
    consumer.close()
