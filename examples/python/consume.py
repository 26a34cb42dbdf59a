"""Prints the records of a log with their positions, and exits.

Shows: reading from any position of a log to its current end, batch by batch.

    python examples/python/consume.py orders
    python examples/python/consume.py orders --start end-100
    python examples/python/consume.py orders --start time:2026-11-28T16:00:00Z
"""

import argparse
import sys

from styx_client import Client


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the records of a log.")
    parser.add_argument("log", help="the name of the log")
    parser.add_argument(
        "--start",
        default="start",
        help="start, end-N, a position, time:RFC3339 or a checkpoint (default: start)",
    )
    parser.add_argument("--count", type=int, help="print at most this number of records")
    arguments = parser.parse_args()

    output = sys.stdout.buffer
    with (
        Client() as client,
        client.consumer(arguments.log, start=arguments.start, count=arguments.count) as consumer,
    ):
        for batch in consumer.batches():
            for record in batch:
                output.write(b"%d %s\n" % (record.position, record.payload))


if __name__ == "__main__":
    main()
