"""Prints the records that are appended to a log from now on, until Ctrl-C.

Shows: following a log. When the server restarts, the consumer reconnects and continues at its
position; the client logs both to logging.getLogger("styx_client").

    python examples/python/follow.py orders
"""

import argparse
import logging
import sys

from styx_client import Client


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the new records of a log.")
    parser.add_argument("log", help="the name of the log")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    output = sys.stdout.buffer
    with (
        Client() as client,
        client.consumer(arguments.log, start="end", follow=True) as consumer,
    ):
        print(
            f"following {arguments.log} from position {consumer.position}",
            file=sys.stderr,
        )
        try:
            for batch in consumer.batches():
                for payload in batch.payloads():
                    output.write(payload + b"\n")
                output.flush()
        except KeyboardInterrupt:
            print(f"stopped at position {consumer.position}", file=sys.stderr)


if __name__ == "__main__":
    main()
