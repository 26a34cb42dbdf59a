"""Prints the airports with most departures, from a log of flights with one CSV line in each
record.

Shows: polars on the Arrow interface of a batch, and the columns that every record has: its
position and its time. No Python object is made for a record.

    cargo xtask flights
    tail -n +2 target/flights/flights.csv | python examples/python/produce.py flights
    pip install polars
    python examples/python/flights_polars.py flights
"""

import argparse

import polars as pl
from styx_client import Client

#: The place of the airport in a line.
ORIGIN = 12


def main() -> None:
    parser = argparse.ArgumentParser(description="Departures by airport.")
    parser.add_argument("log", help="the name of the log")
    arguments = parser.parse_args()

    with Client() as client, client.consumer(arguments.log) as consumer:
        # The columns position, timestamp and payload. The payloads are not copied.
        frames = [pl.from_dataframe(batch) for batch in consumer.batches(max_records=50_000)]
    fields = pl.col("payload").cast(pl.String).str.split(",")
    departures = (
        pl.concat(frames)
        .lazy()
        .group_by(fields.list.get(ORIGIN).alias("origin"))
        .agg(pl.len().alias("flights"), pl.col("position").max().alias("last"))
        .sort("flights", descending=True)
        .collect()
    )
    for origin, flights, last in departures.iter_rows():
        print(f"{origin} {flights} flights, the last at position {last}")


if __name__ == "__main__":
    main()
