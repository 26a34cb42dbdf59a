"""The Arrow interface of a batch, read by pyarrow."""

from __future__ import annotations

import gc

import numpy
import pytest
from styx_client import RecordBatch

pyarrow = pytest.importorskip("pyarrow")

PAYLOADS = [b"short", b"", b"long enough to be outside of the view", bytes(5000)]


def batch() -> RecordBatch:
    return RecordBatch(PAYLOADS, first_position=7, timestamp=1_000_001, log_id="ab" * 16)


def test_pyarrow_reads_a_batch() -> None:
    table = pyarrow.record_batch(batch())
    table.validate(full=True)
    assert table.schema.names == ["position", "timestamp", "payload"]
    assert table.schema.field("position").type == pyarrow.uint64()
    assert table.schema.field("timestamp").type == pyarrow.timestamp("us", tz="UTC")
    assert table.schema.field("payload").type == pyarrow.binary_view()
    assert table["payload"].to_pylist() == PAYLOADS
    assert table["position"].to_pylist() == [7, 8, 9, 10]
    assert [time.microsecond for time in table["timestamp"].to_pylist()] == [1] * 4


def test_payloads_are_not_copied() -> None:
    made = batch()
    table = pyarrow.record_batch(made)
    memory = numpy.frombuffer(memoryview(made), numpy.uint8).ctypes.data
    addresses = [buffer.address for buffer in table["payload"].buffers() if buffer is not None]
    assert any(memory <= address < memory + made.nbytes for address in addresses[1:])


def test_an_arrow_batch_outlives_its_batch() -> None:
    table = pyarrow.record_batch(batch())
    gc.collect()
    others = [bytearray(6000) for _ in range(100)]
    assert table["payload"].to_pylist() == PAYLOADS
    del others


def test_a_slice_and_an_empty_batch_are_read() -> None:
    assert pyarrow.record_batch(batch()[1:3])["payload"].to_pylist() == PAYLOADS[1:3]
    assert pyarrow.record_batch(batch()[1:3])["position"].to_pylist() == [8, 9]
    empty = pyarrow.record_batch(RecordBatch([]))
    empty.validate(full=True)
    assert empty.num_rows == 0


def test_batches_make_a_table() -> None:
    table = pyarrow.Table.from_batches([pyarrow.record_batch(batch()) for _ in range(3)])
    assert table.num_rows == 12


def test_unused_capsules_free_their_memory() -> None:
    for _ in range(100):
        schema, array = batch().__arrow_c_array__()
        assert "arrow_schema" in repr(schema)
        assert "arrow_array" in repr(array)
