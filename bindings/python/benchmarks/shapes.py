"""One way of using the package, timed. compare.py runs it and says what the shapes are.

    python shapes.py ADDRESS LOG SHAPE RECORDS

Prints a line such as {"shape": "append", "records": 1000000, "seconds": 0.19}. Appending ends
when all records are durable.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from array import array
from collections.abc import Callable
from time import perf_counter

import styx_client
from styx_client import aio

BATCH = 10_000
PAYLOAD = b"x" * 100
#: Futures of one window, and tasks that each await their records.
WINDOW = 2_000
TASKS = 1_000


def timed(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def append_many(client: styx_client.Client, log: str, records: int) -> float:
    batch = [bytes(PAYLOAD) for _ in range(BATCH)]
    with client.producer(log) as producer:

        def work() -> None:
            for _ in range(records // BATCH):
                producer.append_many(batch)
            producer.flush()

        return timed(work)


def append_packed(client: styx_client.Client, log: str, records: int) -> float:
    data = PAYLOAD * BATCH
    ends = array("I", range(len(PAYLOAD), len(data) + 1, len(PAYLOAD)))
    with client.producer(log) as producer:

        def work() -> None:
            for _ in range(records // BATCH):
                producer.append_packed(data, ends)
            producer.flush()

        return timed(work)


def append(client: styx_client.Client, log: str, records: int) -> float:
    with client.producer(log) as producer:

        def work() -> None:
            append = producer.append
            for _ in range(records):
                append(PAYLOAD)
            producer.flush()

        return timed(work)


def send(client: styx_client.Client, log: str, records: int) -> float:
    """The median time of one record, multiplied by their number."""
    with client.producer(log) as producer:
        times = sorted(timed(lambda: producer.send(PAYLOAD)) for _ in range(records))
    return times[records // 2] * records


def reader(
    read: Callable[[styx_client.Consumer], int],
) -> Callable[[styx_client.Client, str, int], float]:
    """A shape that reads all records, and checks how many it has read."""

    def shape(client: styx_client.Client, log: str, records: int) -> float:
        with client.consumer(log, count=records) as consumer:
            start = perf_counter()
            count = read(consumer)
            seconds = perf_counter() - start
        assert count == records, f"{count} of {records} records were read"
        return seconds

    return shape


def lengths(consumer: styx_client.Consumer) -> int:
    return sum(len(batch) for batch in consumer.batches())


def payloads(consumer: styx_client.Consumer) -> int:
    return sum(len(batch.payloads()) for batch in consumer.batches())


def iter_payloads(consumer: styx_client.Consumer) -> int:
    count = 0
    for batch in consumer.batches():
        for _payload in batch.iter_payloads():
            count += 1
    return count


def records(consumer: styx_client.Consumer) -> int:
    count = 0
    for _record in consumer:
        count += 1
    return count


def record_payloads(consumer: styx_client.Consumer) -> int:
    count = 0
    for record in consumer:
        record.payload  # noqa: B018
        count += 1
    return count


def numpy(client: styx_client.Client, log: str, records: int) -> float:
    """The first byte of every record, through the index. A call of numpy is worth more records."""
    # Not a part of the time.
    import numpy as np

    def first_bytes(consumer: styx_client.Consumer) -> int:
        count = 0
        for batch in consumer.batches(max_records=1 << 16):
            first = np.asarray(batch.index)[:, 0]
            count += int(np.count_nonzero(np.frombuffer(batch, dtype=np.uint8)[first]))
        return count

    return reader(first_bytes)(client, log, records)


def full_heap(
    shape: Callable[[styx_client.Client, str, int], float],
) -> Callable[[styx_client.Client, str, int], float]:
    """The same shape while a million other objects are alive."""

    def shape_in_full_heap(client: styx_client.Client, log: str, count: int) -> float:
        others = [bytes(64 + number % 64) for number in range(1_000_000)]
        seconds = shape(client, log, count)
        assert len(others) == 1_000_000
        return seconds

    return shape_in_full_heap


async def aio_send(client: aio.Client, log: str, count: int) -> float:
    async with client.producer(log) as producer:
        start = perf_counter()
        for _ in range(count // WINDOW):
            futures = [producer.send(PAYLOAD) for _ in range(WINDOW)]
            for future in futures:
                await future
        return perf_counter() - start


async def aio_tasks(client: aio.Client, log: str, count: int) -> float:
    async with client.producer(log) as producer:

        async def one() -> None:
            for _ in range(count // TASKS):
                await producer.send(PAYLOAD)

        start = perf_counter()
        await asyncio.gather(*(one() for _ in range(TASKS)))
        return perf_counter() - start


async def aio_batches(client: aio.Client, log: str, count: int) -> float:
    async with client.consumer(log, count=count) as consumer:
        start = perf_counter()
        read = 0
        async for batch in consumer.batches():
            read += len(batch)
        seconds = perf_counter() - start
    assert read == count
    return seconds


BLOCKING = {
    "append_many": append_many,
    "append_packed": append_packed,
    "append": append,
    "send": send,
    "lengths": reader(lengths),
    "payloads": reader(payloads),
    "payloads_full_heap": full_heap(reader(payloads)),
    "iter_payloads": reader(iter_payloads),
    "iter_payloads_full_heap": full_heap(reader(iter_payloads)),
    "records": reader(records),
    "record_payloads": reader(record_payloads),
    "numpy": numpy,
}
ASYNCIO = {"aio_send": aio_send, "aio_tasks": aio_tasks, "aio_batches": aio_batches}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("log")
    parser.add_argument("shape", choices=[*BLOCKING, *ASYNCIO])
    parser.add_argument("records", type=int)
    given = parser.parse_args()

    async def on_loop() -> float:
        async with aio.Client(given.address) as client:
            return await ASYNCIO[given.shape](client, given.log, given.records)

    if given.shape in ASYNCIO:
        seconds = asyncio.run(on_loop())
    else:
        with styx_client.Client(given.address) as client:
            seconds = BLOCKING[given.shape](client, given.log, given.records)
    print(json.dumps({"shape": given.shape, "records": given.records, "seconds": seconds}))


if __name__ == "__main__":
    main()
