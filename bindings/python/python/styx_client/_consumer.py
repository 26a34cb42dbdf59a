"""Consumer: reads a log. Every call may block."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from styx_client._errors import ClosedError, InvalidArgumentError
from styx_client._native import Call, Checkpoint, Commit, Record, RecordBatch
from styx_client._native import Consumer as NativeConsumer
from styx_client._options import Start, start_text
from styx_client._values import ConsumerStats

if TYPE_CHECKING:
    from typing import Self

#: The most records of a batch, unless the caller asks for another number. A list of all its
#: payloads then stays in the memory that Python reuses.
BATCH_RECORDS = 2048


def check_max_records(max_records: int) -> None:
    """Checks a caller's number of records."""
    if max_records < 1:
        raise InvalidArgumentError(f"max_records is {max_records}: use a number of at least 1")


class Consumer:
    """Reads the records of one log, in order.

    Client.consumer() opens it. It reconnects by itself and continues at its position: no
    record is returned twice or skipped.

    Iterate over it for records, or over batches() for batches, which is faster; poll() has a
    timeout. All of them continue where the other stopped, and so does a second iteration after
    a break.

    To process each record exactly once, store its checkpoint with the output, in one
    transaction, and pass it as start. If processing a record twice is harmless, use a cursor
    and commit().

    Errors: LogChangedError and LogEndRegressedError if the log was replaced or has lost
    records; OutOfRangeError if retention has removed records that were not read;
    CorruptRecordError; TimedOutError if there was no connection for the whole deadline;
    LogNotFoundError after the log was deleted. Later calls raise the same error, until seek().

    Use it in a with statement, or call close().
    """

    def __init__(self, native: NativeConsumer, log: str) -> None:
        self._native = native
        self._log = log

    def __iter__(self) -> Iterator[Record]:
        """The records one by one. With follow, the iterator waits for new ones."""
        self._check()
        return self._native.records()

    def batches(self, *, max_records: int = BATCH_RECORDS) -> Iterator[RecordBatch]:
        """Batches of up to max_records. With follow, the iterator waits for new ones."""
        self._check()
        check_max_records(max_records)
        return self._batches(max_records)

    def _batches(self, max_records: int) -> Iterator[RecordBatch]:
        while not self._native.closed:
            batch = self._native.poll(None, max_records)
            if batch is None:
                return
            yield batch

    def poll(
        self, timeout: float | None = None, *, max_records: int = BATCH_RECORDS
    ) -> RecordBatch | None:
        """The next batch of up to max_records. Waits at most timeout seconds.

        None if the time has passed or the read has ended; ended says which.
        """
        check_max_records(max_records)
        return self._native.poll(timeout, max_records)

    def seek(self, start: Start) -> None:
        """Continues at another place of the same log, as start of Client.consumer()."""
        self._native.seek(start_text(start))

    def commit(self) -> Commit:
        """Stores the position behind the last record that was returned in the cursor.

        Returns at once. The position is stored in the background; Commit.result() waits until
        it is durable. Commit after the output of these records is safe. Raises
        CursorTakenError if another consumer has taken the cursor over.
        """
        return self._native.commit()

    def close(self) -> None:
        """Closes the connection; waits until the last commit is stored.

        It may be called from any thread: a thread that waits in an iteration or in poll()
        ends normally. Later calls raise ClosedError. Closing again has no effect.
        """
        self._begin_close().wait()

    def _begin_close(self) -> Call[None]:
        """Closes the consumer. The call waits for the last commit."""
        return self._native.close()

    def stats(self) -> ConsumerStats:
        """The numbers of the consumer. Waits for nothing."""
        raw = self._native.stats()
        if raw is None:
            raise ClosedError("the consumer is closed")
        return ConsumerStats(**raw)

    @property
    def log(self) -> str:
        """The name of the log."""
        return self._log

    @property
    def position(self) -> int:
        """The position of the next record that will be returned."""
        return self._native.position

    @property
    def checkpoint(self) -> Checkpoint:
        """Where to continue once every returned record was processed."""
        return self._native.checkpoint

    @property
    def lag(self) -> int:
        """The number of records between position and the end that the server has reported."""
        return self._native.lag

    @property
    def caught_up(self) -> bool:
        """Whether every record that the server has reported was returned."""
        return self._native.caught_up

    @property
    def ended(self) -> bool:
        """Whether the read has ended: every record was returned, or the consumer was closed."""
        return self._native.ended

    def _check(self) -> None:
        if self._native.closed:
            raise ClosedError("the consumer is closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<styx_client.Consumer of {self._log}, position {self.position}>"
