"""Log management: the same tests for both faces."""

from __future__ import annotations

import io
import shutil

import pytest
import styx_client
from faces import Face
from styx_client import (
    Client,
    ClosedError,
    CursorNotFoundError,
    LogConfig,
    LogExistError,
    LogInvalidNameError,
    LogNotFoundError,
    _native,
)
from styx_client.testing import Server


def fill(client: Client, log: str, records: int) -> None:
    with client.producer(log) as producer:
        for number in range(records):
            producer.send(b"record %d" % number)


def payloads(client: Client, log: str) -> list[bytes]:
    with client.consumer(log) as consumer:
        return [record.payload for record in consumer]


def test_a_client_knows_its_server(client: Client, server: Server) -> None:
    info = client.check()
    # The version as Rust writes it: 1.0.0-alpha.1, not 1.0.0a1.
    assert info.version == _native.__version__
    assert "styx/1" in info.features
    assert info.max_block_size == 1024 * 1024
    assert client.address == server.address


def test_create_log_returns_its_information(client: Client, log: str) -> None:
    info = client.get_log(log)
    assert (info.name, info.status, info.record_count) == (log, "ok", 0)
    assert (info.start_position, info.end_position) == (0, 0)
    assert client.create_log(f"{log}-b") == client.get_log(f"{log}-b")


def test_create_log_of_an_existing_name_fails_unless_exist_ok(client: Client, log: str) -> None:
    with pytest.raises(FileExistsError) as caught:
        client.create_log(log)
    assert isinstance(caught.value, LogExistError)
    assert client.create_log(log, exist_ok=True, log_max_count=9).name == log
    assert client.get_log_details(log).config.log_max_count == -1


def test_each_limit_is_a_keyword(client: Client, log: str) -> None:
    limits = LogConfig(
        max_record_size=4096,
        index_after_size=8192,
        segment_max_count=1000,
        segment_max_size=65536,
        segment_max_age=60,
        log_max_count=5000,
        log_max_size=1 << 30,
        log_max_age=86400,
    )
    name = f"{log}-limits"
    client.create_log(
        name,
        max_record_size=4096,
        index_after_size=8192,
        segment_max_count=1000,
        segment_max_size=65536,
        segment_max_age=60,
        log_max_count=5000,
        log_max_size=1 << 30,
        log_max_age=86400,
    )
    assert client.get_log_details(name).config == limits
    assert client.get_log_details(log).config == LogConfig()


def test_an_impossible_name_or_limit_is_a_value_error(client: Client, log: str) -> None:
    with pytest.raises(LogInvalidNameError):
        client.create_log("no/slash")
    with pytest.raises(ValueError, match="max_record_size"):
        client.create_log(f"{log}-b", max_record_size=-5)


def test_list_logs_is_ordered_by_name(client: Client, log: str) -> None:
    for suffix in "bac":
        client.create_log(f"{log}-{suffix}")
    names = [info.name for info in client.list_logs()]
    assert names == sorted(names)
    assert {log, f"{log}-a", f"{log}-b", f"{log}-c"} <= set(names)


def test_a_log_that_does_not_exist_is_a_lookup_error(client: Client) -> None:
    for call in (
        client.get_log,
        client.get_log_details,
        client.delete_log,
        client.truncate_log,
    ):
        with pytest.raises(LookupError) as caught:
            call("nothing")
        assert isinstance(caught.value, LogNotFoundError)
        assert caught.value.code == "log_not_found"
    with pytest.raises(LogNotFoundError):
        client.producer("nothing")
    with pytest.raises(LogNotFoundError):
        client.consumer("nothing")


def test_details_have_the_times_of_the_records(client: Client, log: str) -> None:
    assert client.get_log_details(log).timestamp_first is None
    assert client.get_log_details(log).archived_position is None
    fill(client, log, 3)
    details = client.get_log_details(log)
    assert details.info.record_count == 3
    assert details.timestamp_first is not None
    assert details.timestamp_last is not None
    assert details.timestamp_first < details.timestamp_last


def test_a_deleted_log_is_gone(client: Client, log: str) -> None:
    client.delete_log(log)
    with pytest.raises(LogNotFoundError):
        client.get_log(log)


def test_truncate_log_gives_it_a_new_id(client: Client, log: str) -> None:
    fill(client, log, 2)
    before = client.get_log_details(log)
    client.truncate_log(log)
    after = client.get_log_details(log)
    assert after.log_id != before.log_id
    assert (after.info.record_count, after.info.end_position) == (0, 0)


def test_trim_log_removes_whole_segments(client: Client, log: str) -> None:
    name = f"{log}-trim"
    client.create_log(name, segment_max_count=2)
    fill(client, name, 7)
    assert client.trim_log(name, 5).start_position == 4
    assert payloads(client, name) == [b"record 4", b"record 5", b"record 6"]


def test_adopt_log_opens_files_that_were_copied(client: Client, server: Server, log: str) -> None:
    fill(client, log, 3)
    with pytest.raises(LogNotFoundError):
        client.adopt_log(f"{log}-copy")
    shutil.copytree(server.data_directory / log, server.data_directory / f"{log}-copy")
    assert client.adopt_log(f"{log}-copy").record_count == 3
    assert payloads(client, f"{log}-copy") == payloads(client, log)


def test_a_backup_can_be_restored(client: Client, log: str) -> None:
    fill(client, log, 100)
    archive = io.BytesIO()
    written = client.backup_log(log, archive)
    assert written == len(archive.getvalue()) > 0
    archive.seek(0)
    client.restore_log(f"{log}-restored", archive)
    assert payloads(client, f"{log}-restored") == payloads(client, log)


def test_an_exception_of_the_file_stays_that_exception(client: Client, log: str) -> None:
    fill(client, log, 1)
    problem = OSError(28, "No space left on device")

    class Broken:
        def write(self, data: bytes, /) -> int:
            raise problem

        def read(self, size: int, /) -> bytes:
            raise problem

    with pytest.raises(OSError, match="No space") as caught:
        client.backup_log(log, Broken())
    assert caught.value is problem
    with pytest.raises(OSError, match="No space") as caught:
        client.restore_log(f"{log}-new", Broken())
    assert caught.value is problem
    with pytest.raises(LogNotFoundError):
        client.get_log(f"{log}-new")


def test_a_damaged_archive_creates_no_log(client: Client, log: str) -> None:
    fill(client, log, 50)
    archive = io.BytesIO()
    client.backup_log(log, archive)
    half = io.BytesIO(archive.getvalue()[: len(archive.getvalue()) // 2])
    with pytest.raises(styx_client.StyxError):
        client.restore_log(f"{log}-half", half)
    with pytest.raises(LogNotFoundError):
        client.get_log(f"{log}-half")


def test_cursors_are_listed_moved_and_deleted(client: Client, log: str) -> None:
    fill(client, log, 3)
    assert client.list_cursors(log) == []
    set_first = client.set_cursor(log, "billing", 1)
    assert (set_first.cursor, set_first.position, set_first.version) == (
        "billing",
        1,
        1,
    )
    moved = client.set_cursor(log, "billing", 3)
    assert (moved.position, moved.version) == (3, 2)
    assert client.get_cursor(log, "billing") == moved
    client.set_cursor(log, "audit", 0)
    assert [cursor.cursor for cursor in client.list_cursors(log)] == [
        "audit",
        "billing",
    ]
    assert moved.log_id == client.get_log_details(log).log_id
    assert moved.updated_at.tzinfo is not None
    client.delete_cursor(log, "billing")
    with pytest.raises(CursorNotFoundError):
        client.get_cursor(log, "billing")


def test_stats_count_requests(client: Client, log: str) -> None:
    before = client.stats()
    client.get_log(log)
    after = client.stats()
    assert after.requests == before.requests + 1
    assert after.since_last_heard is not None


def test_a_closed_client_refuses_every_call(face: Face, server: Server, log: str) -> None:
    client = face.connect(server.address)
    states = [client.closed]
    for _ in range(2):
        client.close()
        states.append(client.closed)
    assert states == [False, True, True]
    calls = (
        client.check,
        client.list_logs,
        lambda: client.get_log(log),
        lambda: client.create_log("other"),
        lambda: client.producer(log),
        lambda: client.consumer(log),
        lambda: client.set_cursor(log, "a", 0),
    )
    for call in calls:
        with pytest.raises(ClosedError, match="the client is closed"):
            call()
    assert "closed" in repr(client)


def test_closing_a_client_closes_its_producers_and_consumers(
    face: Face, server: Server, log: str
) -> None:
    client = face.connect(server.address)
    producer = client.producer(log)
    consumer = client.consumer(log, follow=True)
    ack = producer.append(b"one")
    client.close()
    assert ack.position == 0
    assert consumer.ended
    with pytest.raises(ClosedError):
        producer.append(b"two")
    with pytest.raises(ClosedError):
        consumer.poll(0)


def test_nobody_listening_is_a_connection_error(face: Face, styx_server: Server) -> None:
    address = styx_server.address
    styx_server.stop()
    with pytest.raises(ConnectionError) as caught:
        face.connect(address)
    assert isinstance(caught.value, styx_client.ConnectionFailedError)
    assert caught.value.retriable


def test_options_are_checked(server: Server) -> None:
    with pytest.raises(ValueError, match="silence_timeout"):
        styx_client.Client(server.address, silence_timeout=0.5)
    with pytest.raises(ValueError, match="timeout is -1"):
        styx_client.Client(server.address, timeout=-1)
    with pytest.raises(ValueError, match="address"):
        styx_client.Client("ftp://somewhere")
