"""Prints the mean delay at arrival of each airline, from a log of flights with one CSV line in
each record.

Shows: pandas over the batches of a log. Each batch is reduced to sums at once, so the memory
does not grow with the log.

    cargo xtask flights
    tail -n +2 target/flights/flights.csv | python examples/python/produce.py flights
    pip install pandas
    python examples/python/flights_pandas.py flights
"""

import argparse
import io

import pandas as pd
from styx_client import Client, RecordBatch

#: The columns that are used, by their place in the line. "NA" is a missing value.
COLUMNS = {8: "arr_delay", 9: "carrier"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Mean delay at arrival by airline.")
    parser.add_argument("log", help="the name of the log")
    arguments = parser.parse_args()

    with Client() as client, client.consumer(arguments.log) as consumer:
        parts = [sums(batch) for batch in consumer.batches(max_records=50_000)]
    total = pd.concat(parts).groupby("carrier").sum()
    for carrier, delay in (total["sum"] / total["count"]).items():
        print(f"{carrier} {delay:.2f}")


def sums(batch: RecordBatch) -> pd.DataFrame:
    """The sum and the number of the known delays of each airline."""
    lines = io.BytesIO(b"\n".join(batch.iter_payloads()))
    flights = pd.read_csv(lines, header=None, usecols=list(COLUMNS)).rename(columns=COLUMNS)
    return flights.groupby("carrier")["arr_delay"].agg(["sum", "count"])


if __name__ == "__main__":
    main()
