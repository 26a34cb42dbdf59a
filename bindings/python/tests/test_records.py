"""Records, batches and checkpoints: values that users can make, compare and keep."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy
import pytest
import styx_client
from styx_client import Checkpoint, Record, RecordBatch
from styx_client.testing import Server

LOG_ID = "0123456789abcdef0123456789abcdef"
PAYLOADS = [b"one", b"", b"three", bytes(1000)]


def batch() -> RecordBatch:
    return RecordBatch(PAYLOADS, first_position=40, timestamp=1_000_001, log_id=LOG_ID)


def received(server: Server, log: str) -> RecordBatch:
    """The same payloads, received from a server."""
    with styx_client.Client(server.address) as client:
        with client.producer(log) as producer:
            producer.append_many(PAYLOADS)
        with client.consumer(log) as consumer:
            batch = consumer.poll(20)
    assert batch is not None
    return batch


def test_a_record_can_be_made() -> None:
    record = Record(position=41, timestamp=1_000_001, payload=b"abc", log_id=LOG_ID)
    assert (record.position, record.timestamp, record.payload) == (
        41,
        1_000_001,
        b"abc",
    )
    assert record.log_id == LOG_ID
    assert record.datetime == datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC)
    assert record.checkpoint.position == 42
    assert record.checkpoint.log_id == LOG_ID
    assert repr(record) == "Record(position=41, timestamp=1000001, payload=b'abc')"


def test_records_are_compared_by_value() -> None:
    def make(position: int = 1, payload: bytes = b"a", log_id: str = LOG_ID) -> Record:
        return Record(position=position, timestamp=5, payload=payload, log_id=log_id)

    assert make() == make()
    assert hash(make()) == hash(make())
    assert make() != make(position=2)
    assert make() != make(payload=b"b")
    assert make() != make(log_id="1" * 32)
    assert make() != b"a"
    assert len({make(), make(), make(position=2)}) == 2


def test_a_record_of_a_batch_equals_one_made_by_hand() -> None:
    record = Record(position=42, timestamp=1_000_001, payload=b"three", log_id=LOG_ID)
    assert batch()[2] == record
    assert hash(batch()[2]) == hash(record)


def test_a_batch_is_a_sequence() -> None:
    made = batch()
    assert isinstance(made, Sequence)
    assert len(made) == 4
    assert [record.payload for record in made] == PAYLOADS
    assert [record.position for record in made] == [40, 41, 42, 43]
    assert made[-1] == made[3]
    assert made[2] in made
    assert [record.position for record in reversed(made)] == [43, 42, 41, 40]
    assert made.count(made[1]) == 1
    assert made.index(made[2]) == 2
    with pytest.raises(IndexError, match="4"):
        made[4]
    with pytest.raises(IndexError):
        made[-5]
    with pytest.raises(TypeError):
        made["a"]  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    with pytest.raises(ValueError, match="no such record"):
        made.index(made[2], 3)
    match made:
        case [first, *_]:
            assert first.position == 40
        case _:
            pytest.fail("a batch does not match a sequence pattern")


def test_a_record_that_is_kept_does_not_change_when_its_iterator_continues() -> None:
    positions = list(range(40, 52))
    some = RecordBatch([b"%d" % position for position in positions], first_position=40)
    assert [record.position for record in list(some)] == positions
    every_third = [record for record in some if record.position % 3 == 0]
    assert [record.payload for record in every_third] == [b"42", b"45", b"48", b"51"]
    assert {record: record.position for record in some} == dict(zip(some, positions, strict=True))
    pairs = [(one, two) for one in some for two in some if one == two]
    assert [(one.position, two.position) for one, two in pairs] == [(at, at) for at in positions]
    iterator = iter(some)
    first, second = next(iterator), next(iterator)
    payload = first.payload
    del first
    third, fourth = next(iterator), next(iterator)
    assert payload == b"40"
    assert [one.position for one in (second, third, fourth)] == [41, 42, 43]


def test_a_slice_of_a_batch_is_a_batch() -> None:
    made = batch()
    part = made[1:3]
    assert isinstance(part, RecordBatch)
    assert (part.first_position, part.next_position) == (41, 43)
    assert part.payloads() == PAYLOADS[1:3]
    assert made[:] == made
    assert len(made[3:1]) == 0
    assert made[1:][1:] == made[2:]
    with pytest.raises(ValueError, match="step 1"):
        made[::2]


def test_a_batch_knows_its_positions() -> None:
    made = batch()
    assert (made.first_position, made.next_position, made.log_id) == (40, 44, LOG_ID)
    assert made.checkpoint == Checkpoint(str(made.checkpoint))
    assert made.checkpoint.position == 44
    assert made.nbytes >= sum(map(len, PAYLOADS))
    assert repr(made) == "<styx_client.RecordBatch of 4 records, positions 40 to 44>"


def test_batches_are_compared_by_value(server: Server, log: str) -> None:
    assert batch() == batch()
    assert hash(batch()) == hash(batch())
    assert batch() != batch()[1:]
    assert batch() != RecordBatch(PAYLOADS, first_position=40, timestamp=2, log_id=LOG_ID)
    assert batch() != PAYLOADS
    one = received(server, log)
    by_hand = RecordBatch(
        PAYLOADS, first_position=0, timestamp=one[0].timestamp, log_id=one.log_id
    )
    assert one == by_hand
    assert hash(one) == hash(by_hand)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_values_can_be_pickled(server: Server, log: str, protocol: int) -> None:
    made = batch()
    for value in (
        made,
        made[2],
        made.checkpoint,
        made[1:3],
        made[:0],
        received(server, log),
    ):
        again: object = pickle.loads(pickle.dumps(value, protocol))
        assert again == value
        assert type(again) is type(value)
        assert hash(again) == hash(value)
        assert copy.copy(value) == value
        assert copy.deepcopy(value) == value


def test_a_checkpoint_round_trips_through_str() -> None:
    checkpoint = batch().checkpoint
    again = Checkpoint(str(checkpoint))
    assert again == checkpoint
    assert hash(again) == hash(checkpoint)
    assert (again.log_id, again.position) == (LOG_ID, 44)
    assert batch()[0].checkpoint != checkpoint
    assert str(checkpoint) in repr(checkpoint)
    for text in ("", "44", LOG_ID, str(checkpoint) + " "):
        with pytest.raises(ValueError, match="checkpoint"):
            Checkpoint(text)


def test_a_batch_has_payloads_as_a_list_and_one_by_one() -> None:
    made = batch()
    assert made.payloads() == PAYLOADS
    lazy = made.iter_payloads()
    assert iter(lazy) is lazy
    assert list(lazy) == PAYLOADS
    assert list(lazy) == []


def test_an_impossible_batch_is_refused() -> None:
    with pytest.raises(OverflowError):
        RecordBatch([b"a", b"b"], first_position=2**64 - 1)
    with pytest.raises(OverflowError):
        RecordBatch([b"a"], first_position=-1)
    with pytest.raises(TypeError, match="encode"):
        RecordBatch(["text"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="log"):
        RecordBatch([b"a"], log_id="short")


def test_values_cannot_be_changed_or_subclassed() -> None:
    made = batch()
    for value, name in (
        (made, "first_position"),
        (made[0], "payload"),
        (made.checkpoint, "log_id"),
    ):
        with pytest.raises(AttributeError):
            setattr(value, name, 1)
        with pytest.raises(AttributeError):
            value.other = 1  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue]


def test_a_view_of_a_batch_is_read_only(server: Server, log: str) -> None:
    for made in (batch(), received(server, log)):
        view = memoryview(made)
        assert view.readonly
        assert (view.format, view.itemsize, view.ndim) == ("B", 1, 1)
        assert view.c_contiguous
        with pytest.raises(TypeError):
            view[0] = 1
        assert [bytes(view[start:end]) for start, end in made.index] == PAYLOADS


def test_a_view_outlives_batch_consumer_client_and_server(log: str, styx_server: Server) -> None:
    with styx_client.Client(styx_server.address) as client:
        client.create_log(log)
        with client.producer(log) as producer:
            producer.append_many([b"%d" % number * 1000 for number in range(100)])
        with client.consumer(log) as consumer:
            made = consumer.poll(20)
            assert made is not None
            view, index, part = memoryview(made), numpy.asarray(made.index), made[5:7]
            records = list(made)
            del made
        del consumer
    del client
    styx_server.stop()
    gc.collect()
    # If the memory had been freed, these objects would use it.
    others = [bytearray(len(view)) for _ in range(10)]
    start, end = index[99].tolist()
    assert bytes(view[start:end]) == b"99" * 1000
    assert part.payloads() == [b"5" * 1000, b"6" * 1000]
    assert records[7].payload == b"7" * 1000
    del others


def test_numpy_uses_the_index_without_a_copy() -> None:
    made = batch()
    index = numpy.asarray(made.index)
    assert index.dtype == numpy.uint32
    assert index.shape == (4, 2)
    assert not index.flags.owndata
    assert not index.flags.writeable
    again = numpy.asarray(made.index)
    assert numpy.shares_memory(index, again)
    lengths = index[:, 1] - index[:, 0]
    assert lengths.tolist() == [len(payload) for payload in PAYLOADS]
    data = numpy.frombuffer(memoryview(made), numpy.uint8)
    assert not data.flags.owndata
    assert data[index[2, 0] : index[2, 1]].tobytes() == b"three"


def test_an_index_has_pairs() -> None:
    made = batch()
    assert len(made.index) == 4
    assert made.index[-1] == made.index[3]
    start, end = made.index[2]
    assert bytes(memoryview(made)[start:end]) == b"three"
    with pytest.raises(IndexError):
        made.index[4]
    assert repr(made.index).startswith("<styx_client.Index ((")


def test_an_empty_batch_is_possible() -> None:
    empty = RecordBatch([])
    assert (len(empty), empty.payloads(), empty.next_position) == (0, [], 0)
    assert bytes(memoryview(empty)) == b""
    assert numpy.asarray(empty.index).shape == (0, 2)
    assert not empty
