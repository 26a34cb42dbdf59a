"""Processes every reading exactly once, and appends one result for each to a second log.

    python worker.py READINGS RESULTS FILE

Each batch of readings is one transaction of the SQLite database FILE. It stores three things:

    sensors      the count, sum, minimum and maximum of each sensor
    outbox       the results that may not be in the log RESULTS yet
    checkpoint   where the next batch begins

So the database never contains half a batch, and never a batch twice. After the transaction, the
worker appends the results of its outbox. The log RESULTS has one writer, so result N is at
position N: a worker that starts asks the log where it ends, and appends the rest of the outbox
from there.

It needs no orderly end: stop it with Ctrl-C, kill or kill -9 at any time and start it again.
"""

import argparse
import json
import sqlite3
import sys
from typing import TypedDict

from styx_client import Checkpoint, Client, LogChangedError, Producer, RecordBatch, StyxError

#: A fixed id: the log ends an older worker's connection before it opens a new one.
PRODUCER_ID = 2

TABLES = """
CREATE TABLE IF NOT EXISTS sensors (
    sensor TEXT PRIMARY KEY, count INTEGER NOT NULL, sum REAL NOT NULL,
    min REAL NOT NULL, max REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY, result TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS checkpoint (one INTEGER PRIMARY KEY CHECK (one = 1), text TEXT);
"""

ADD = """
INSERT INTO sensors VALUES (:sensor, 1, :celsius, :celsius, :celsius)
ON CONFLICT (sensor) DO UPDATE SET
    count = count + 1, sum = sum + :celsius, min = min(min, :celsius), max = max(max, :celsius)
RETURNING count, sum, min, max
"""


class Reading(TypedDict):
    """A record of the log of readings."""

    reading: int
    sensor: str
    celsius: float


class NoMatchError(Exception):
    """The database belongs to other logs."""


def open_database(file: str) -> sqlite3.Connection:
    """Opens the database, and creates its tables."""
    database = sqlite3.connect(file)
    database.executescript(TABLES)
    return database


def process(database: sqlite3.Connection, batch: RecordBatch) -> list[str]:
    """Stores a batch with its results and its checkpoint, in one transaction."""
    # Commits at the end of the block, or rolls back if an exception leaves it.
    with database:
        results = [result(database, json.loads(payload)) for payload in batch.payloads()]
        # The results before this batch are in the log, because `append` waits for them.
        database.execute("DELETE FROM outbox WHERE number < ?", (batch.first_position,))
        numbered = enumerate(results, batch.first_position)
        database.executemany("INSERT INTO outbox VALUES (?, ?)", numbered)
        checkpoint = str(batch.checkpoint)
        database.execute("INSERT OR REPLACE INTO checkpoint VALUES (1, ?)", (checkpoint,))
    return results


def result(database: sqlite3.Connection, reading: Reading) -> str:
    """Returns the result of a reading: the state of its sensor after it."""
    count, total, low, high = database.execute(ADD, reading).fetchone()
    mean = round(total / count, 2)
    return json.dumps({**reading, "count": count, "mean": mean, "min": low, "max": high})


def unsent(database: sqlite3.Connection, stored: int) -> list[str]:
    """The results in the outbox that are not in the log, which has `stored` results."""
    (processed,) = database.execute("SELECT COALESCE(SUM(count), 0) FROM sensors").fetchone()
    rows = database.execute(
        "SELECT result FROM outbox WHERE number >= ? ORDER BY number", (stored,)
    ).fetchall()
    if stored + len(rows) != processed:
        raise NoMatchError(f"the log has {stored} results, the database has {processed} readings")
    return [text for (text,) in rows]


def append(producer: Producer, results: list[str]) -> None:
    """Appends results, and waits until they are on the server's disk."""
    producer.append_many(text.encode() for text in results)
    producer.flush()


def work(readings: str, results: str, file: str) -> None:
    """Processes readings until it is stopped."""
    database = open_database(file)
    row = database.execute("SELECT text FROM checkpoint").fetchone()
    start = Checkpoint(row[0]) if row else "start"
    with Client() as client:
        client.create_log(readings, exist_ok=True)
        client.create_log(results, exist_ok=True)
        with (
            client.producer(results, producer_id=PRODUCER_ID) as producer,
            # If the log was recreated since the checkpoint, this raises LogChangedError.
            client.consumer(readings, start=start, follow=True) as consumer,
        ):
            stored = client.get_log(results).end_position
            rest = unsent(database, stored)
            print(f"{len(rest)} results to append, then position {consumer.position}", flush=True)
            append(producer, rest)
            for batch in consumer.batches():
                append(producer, process(database, batch))


def main() -> None:
    parser = argparse.ArgumentParser(description="Process readings exactly once.")
    parser.add_argument("readings", help="the log to read")
    parser.add_argument("results", help="the log to append to")
    parser.add_argument("file", help="the SQLite database")
    arguments = parser.parse_args()
    try:
        work(arguments.readings, arguments.results, arguments.file)
    except KeyboardInterrupt:
        print("stopped")
    except (LogChangedError, NoMatchError) as error:
        sys.exit(f"error: {arguments.file} belongs to other logs, remove it: {error}")
    except StyxError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
