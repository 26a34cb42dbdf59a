"""Appends every line of its input to a log, and prints the position of the last one.

Shows: creating a log, appending without waiting for each record, and waiting for all records at
the end.

    seq 1 1000 | python examples/python/produce.py orders
"""

import argparse
import sys

from styx_client import Ack, Client


def main() -> None:
    parser = argparse.ArgumentParser(description="Append the lines of standard input to a log.")
    parser.add_argument("log", help="the name of the log, which is created if it does not exist")
    arguments = parser.parse_args()

    # Without an address, the client uses the variable STYX_HOST, then localhost:7123.
    with Client() as client:
        client.create_log(arguments.log, exist_ok=True)
        last: Ack | None = None
        # The with statement ends when every record is durable on the server's disk. It raises
        # the failures that no ack has reported.
        with client.producer(arguments.log) as producer:
            for line in sys.stdin.buffer:
                # Returns at once, or waits while 32 MiB are unacknowledged.
                last = producer.append(line.removesuffix(b"\n"))

    if last is None:
        print("no lines")
    else:
        print(f"{last.sequence + 1} lines, the last at position {last.result()}")


if __name__ == "__main__":
    main()
