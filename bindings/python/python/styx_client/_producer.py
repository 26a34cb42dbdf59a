"""Producer: appends records to a log. Every call may block."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from styx_client import _exit
from styx_client._native import Ack, Encoded
from styx_client._native import Producer as NativeProducer
from styx_client._values import ProducerStats

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer


class Producer:
    """Appends records to one log, in order and each exactly once.

    Client.producer() opens it. It reconnects by itself: until then records wait, up to the
    deadline of the oldest one. An error that cannot be retried ends it; then every record
    that was not acknowledged fails with that error, and so does every later call.

    append() returns before the record is durable, and send() afterwards. flush() and close()
    raise what was lost. Threads may share a producer; the records of one thread keep their
    order.

    Use it in a with statement, or call close().
    """

    def __init__(self, native: NativeProducer, log: str) -> None:
        self._native = native
        self._log = log
        # The native method itself, because a call in between would cost a third of the speed.
        self.append = native.append  # type: ignore[method-assign]

    def append(self, payload: Buffer, /) -> Ack:
        """Appends a record: bytes, bytearray, memoryview or another contiguous buffer.

        Copies it, and returns before it is durable. Waits only while in_flight_bytes are
        waiting or unacknowledged. The Ack can be ignored.

        Raises RecordTooLargeError (a ValueError) for a record over 1 GiB, ClosedError, or the
        error that ended the producer; the record was not appended then. The server rejects a
        record over the log's own max_record_size, and that ends the producer. Raises TypeError
        for str.
        """
        return self._native.append(payload)

    def append_many(self, payloads: Iterable[Buffer], /) -> Ack:
        """Appends records in their order. The Ack has the position of the first one.

        Up to 1 MiB of records (each counts 8 bytes and its payload) are atomic: all of them
        are appended, or none. More are split into parts of at most 1 MiB, each of them atomic.
        At most 1 GiB. If one payload is invalid or the iterable raises, none is appended.
        """
        encoded = Encoded()
        encoded.extend(payloads)
        return self._native.append_encoded(encoded)

    def append_packed(self, data: Buffer, ends: Iterable[int] | Buffer, /) -> Ack:
        """Appends records that lie one after the other in data: the fastest way.

        ends: where each record ends, ascending; the first begins at 0. A buffer of unsigned
            32-bit integers is fastest, such as a numpy array of dtype uint32 or array("I").

        Otherwise as append_many.
        """
        encoded = Encoded()
        encoded.extend_packed(data, ends)
        return self._native.append_encoded(encoded)

    def send(self, payload: Buffer, /, timeout: float | None = None) -> int:
        """Appends a record, waits until it is durable, and returns its position.

        Raises TimedOutError after timeout seconds; the record may become durable later.
        """
        return self._native.append(payload).result(timeout)

    def flush(self, timeout: float | None = None) -> None:
        """Waits until everything that was appended before is durable.

        Raises the first failure that no ack has reported, and TimedOutError after timeout
        seconds.
        """
        self._native.flush().wait(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Waits until everything is durable, and closes the connection.

        timeout: seconds, instead of the producer's close_timeout. Records that are not
            durable by then are lost.

        Raises the first failure that no ack has reported. Closing again has no effect.
        """
        self._native.close(timeout).wait()

    def stats(self) -> ProducerStats:
        """The numbers of the producer. Waits for nothing."""
        return ProducerStats(**self._native.stats())

    @property
    def log(self) -> str:
        """The name of the log."""
        return self._log

    @property
    def log_id(self) -> str:
        """The id of the log, as 32 hex digits."""
        return self._native.log_id

    @property
    def next_sequence(self) -> int:
        """The number of the next record in this producer.

        Right after opening with a producer_id, it says with which record an import continues.
        """
        return self._native.next_sequence

    @property
    def durable_sequence(self) -> int:
        """The number before which every record is durable."""
        return self._native.durable_sequence

    @property
    def producer_id(self) -> int | None:
        """The id of the producer; None if it is not idempotent."""
        return self._native.producer_id

    @property
    def epoch(self) -> int | None:
        """The epoch of the producer; None if it is not idempotent."""
        return self._native.epoch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _exit.leave(self.close, error)

    def __del__(self) -> None:
        native = getattr(self, "_native", None)
        if native is not None and (records := native.stats()["in_flight_records"]):
            warnings.warn(
                f"the producer of {self._log} was not closed, records without an ack: {records}; "
                "use a with statement, or call close()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    def __repr__(self) -> str:
        return f"<styx_client.Producer of {self._log}, next sequence {self.next_sequence}>"
