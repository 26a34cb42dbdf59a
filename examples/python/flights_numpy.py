"""Counts the flights of each month in a log of flights, one CSV line in each record.

Shows: numpy on the memory of a batch. Neither the records nor their index are copied, and no
Python object is made for a record.

    cargo xtask flights
    tail -n +2 target/flights/flights.csv | python examples/python/produce.py flights
    pip install numpy
    python examples/python/flights_numpy.py flights
"""

import argparse

import numpy as np
import numpy.typing as npt
from styx_client import Client, RecordBatch

#: A line begins with the year, such as "2013,", and then the month, with one digit or two.
MONTH_AT = len("2013,")


def main() -> None:
    parser = argparse.ArgumentParser(description="Count flights by month.")
    parser.add_argument("log", help="the name of the log")
    arguments = parser.parse_args()

    flights = np.zeros(13, dtype=np.int64)
    with Client() as client, client.consumer(arguments.log) as consumer:
        # Large batches, because nothing is done for each record.
        for batch in consumer.batches(max_records=100_000):
            flights += np.bincount(months(batch), minlength=13)
    for month, count in enumerate(flights[1:], start=1):
        print(f"{month:2} {count}")


def months(batch: RecordBatch) -> npt.NDArray[np.uint8]:
    """The month of each flight."""
    data = np.frombuffer(memoryview(batch), dtype=np.uint8)
    starts = np.asarray(batch.index)[:, 0]
    first, second = data[starts + MONTH_AT] - ord("0"), data[starts + MONTH_AT + 1]
    found: npt.NDArray[np.uint8] = np.where(
        second == ord(","), first, 10 * first + second - ord("0")
    )
    return found


if __name__ == "__main__":
    main()
