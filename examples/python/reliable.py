"""Counts the records of a log by their first word. It counts each record exactly once, even if
the program, the server or the machine is stopped at any time.

Shows: exactly-once processing. The program stores its checkpoint in the transaction that stores
its output, so the checkpoint and the output always match.

    python examples/python/reliable.py orders totals.sqlite
    sqlite3 totals.sqlite 'SELECT * FROM totals'

Stop it with Ctrl-C or kill -9 at any time and start it again. Only run one process per file at a
time.
"""

import argparse
import sqlite3
import sys
from collections import Counter

from styx_client import Checkpoint, Client, RecordBatch

TABLES = """
CREATE TABLE IF NOT EXISTS totals (word BLOB PRIMARY KEY, records INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS checkpoint (one INTEGER PRIMARY KEY CHECK (one = 1), text TEXT);
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the records of a log by first word.")
    parser.add_argument("log", help="the name of the log")
    parser.add_argument("file", help="the SQLite database with the totals")
    arguments = parser.parse_args()

    database = sqlite3.connect(arguments.file)
    database.executescript(TABLES)
    checkpoint = stored_checkpoint(database)
    # If the log was truncated or recreated since the checkpoint, this raises LogChangedError, so
    # that other records are not mistaken for the old ones.
    with (
        Client() as client,
        client.consumer(arguments.log, start=checkpoint or "start", follow=True) as consumer,
    ):
        print(f"counting from position {consumer.position}", file=sys.stderr)
        for batch in consumer.batches():
            store(database, batch)


def stored_checkpoint(database: sqlite3.Connection) -> Checkpoint | None:
    """Where the last transaction ended; None before the first one."""
    row: tuple[str] | None = database.execute("SELECT text FROM checkpoint").fetchone()
    return Checkpoint(row[0]) if row else None


def store(database: sqlite3.Connection, batch: RecordBatch) -> None:
    """Adds a batch to the totals and stores its checkpoint, in one transaction."""
    words = Counter(
        payload.split(maxsplit=1)[0] for payload in batch.payloads() if payload.strip()
    )
    # Commits at the end of the block, or rolls back if an exception leaves it.
    with database:
        database.executemany(
            "INSERT INTO totals VALUES (?, ?) "
            "ON CONFLICT (word) DO UPDATE SET records = records + excluded.records",
            words.items(),
        )
        database.execute(
            "INSERT OR REPLACE INTO checkpoint VALUES (1, ?)", (str(batch.checkpoint),)
        )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
