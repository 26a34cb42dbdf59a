"""The exceptions of styx_client.

Each is a subclass of StyxError, and also of the builtin exception that fits it.
"""

from __future__ import annotations

from typing import ClassVar


class StyxError(Exception):
    """An error of a client or of a server.

    str(error) says what happened and what to do. Programs decide by the class, or by code.

    code: the stable code, the same in every language, such as "log_not_found".
    retriable: whether the same call may succeed later.
    maybe_appended: whether the records may be in the log in spite of the error. Of another call:
        whether it may have been carried out.
    start_position: position of the first record that the log still has, if the error is about
        positions.
    end_position: position of the next record to be appended.
    fork_position: with code "log_changed": the log was restored from the one that you know, and
        both are the same up to this position.
    position: the position that the error is about, such as that of a damaged record.
    next_intact_position: position of the first intact record after a damaged one.
    expected_sequence: the sequence that the server expected of the producer.
    version: the version of the cursor that the error is about.
    replaced_version: the version that the cursor had before its last change; 0 if it did not
        exist.
    count: the number of records that were appended in spite of the error.
    refused_upgrade: the HTTP status of the answer, if the server or a proxy refused the upgrade
        to styx/1.
    status: the status of the log, if it is not "ok".
    retry_after: seconds after which the server asks the client to retry.
    """

    code: ClassVar[str] = "unknown_error"
    retriable: bool = False
    maybe_appended: bool = False
    start_position: int | None = None
    end_position: int | None = None
    fork_position: int | None = None
    position: int | None = None
    next_intact_position: int | None = None
    expected_sequence: int | None = None
    version: int | None = None
    replaced_version: int | None = None
    count: int | None = None
    refused_upgrade: int | None = None
    status: str | None = None
    retry_after: float | None = None

    def __init__(self, message: str = "") -> None:
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        return (_restored, (type(self), str(self), self.__dict__.copy()))


def _restored(kind: type[StyxError], message: str, attributes: dict[str, object]) -> StyxError:
    error = kind(message)
    error.__dict__.update(attributes)
    return error


class NotFoundError(StyxError, LookupError):
    """No such path."""

    code = "not_found"
    retriable = False


class MethodNotAllowedError(StyxError):
    """The path does not support this method."""

    code = "method_not_allowed"
    retriable = False


class InvalidParamsError(StyxError, ValueError):
    """A query, form or header value cannot be parsed."""

    code = "invalid_params"
    retriable = False


class LogInvalidNameError(StyxError, ValueError):
    """The name is not a valid log name."""

    code = "log_invalid_name"
    retriable = False


class LogExistError(StyxError, FileExistsError):
    """A log with that name already exists."""

    code = "log_exist"
    retriable = False


class LogNotFoundError(StyxError, LookupError):
    """No log has that name."""

    code = "log_not_found"
    retriable = False


class LogNotAvailableError(StyxError):
    """The log is being opened, or is damaged.

    status is that of the log.
    """

    code = "log_not_available"
    retriable = True


class MissingContentLengthError(StyxError):
    """The request needs a Content-Length."""

    code = "missing_content_length"
    retriable = False


class OutOfRangeError(StyxError, IndexError):
    """The position is before the first kept record or after the end.

    start_position and end_position are those of the log.
    """

    code = "out_of_range"
    retriable = False


class RecordTooLargeError(StyxError, ValueError):
    """A record is larger than the log's max_record_size, or than the memory that the server may
    use for it.

    None of the records was appended.
    """

    code = "record_too_large"
    retriable = False


class MalformedRecordsError(StyxError, ValueError):
    """The body cannot be decoded as its media type."""

    code = "malformed_records"
    retriable = False


class PositionMismatchError(StyxError):
    """The log does not end at the expected position.

    end_position is the end of the log.
    """

    code = "position_mismatch"
    retriable = False


class SequenceGapError(StyxError):
    """Earlier records of this producer are missing.

    expected_sequence is the next sequence that the server accepts.
    """

    code = "sequence_gap"
    retriable = False


class SequenceReusedError(StyxError):
    """This sequence was already used for other records."""

    code = "sequence_reused"
    retriable = False


class ProducerFencedError(StyxError):
    """A producer with a higher epoch took over."""

    code = "producer_fenced"
    retriable = False


class LogChangedError(StyxError):
    """The caller's log was recreated, restored or truncated."""

    code = "log_changed"
    retriable = False


class LogEndRegressedError(StyxError):
    """The log ends before a position that the caller knows to be durable."""

    code = "log_end_regressed"
    retriable = False


class OutcomeUnknownError(StyxError):
    """A write or fsync failed; the records may be in the log after a restart."""

    code = "outcome_unknown"
    retriable = True


class OverloadedError(StyxError):
    """The server has more work than it accepts."""

    code = "overloaded"
    retriable = True


class ShuttingDownError(StyxError):
    """The server is stopping."""

    code = "shutting_down"
    retriable = True


class CorruptRecordError(StyxError):
    """A stored record fails its checksum.

    position is that of the damaged record, and next_intact_position that of the next intact
    one.
    """

    code = "corrupt_record"
    retriable = False


class StorageFullError(StyxError, OSError):
    """No space left on the storage."""

    code = "storage_full"
    retriable = True


class UnauthorizedError(StyxError, PermissionError):
    """No valid token."""

    code = "unauthorized"
    retriable = False


class ForbiddenError(StyxError, PermissionError):
    """The token does not allow this."""

    code = "forbidden"
    retriable = False


class TooManyRequestsError(StyxError):
    """This client sends too much."""

    code = "too_many_requests"
    retriable = True


class ProducerUnknownError(StyxError):
    """The log no longer knows this producer (only clients report this)."""

    code = "producer_unknown"
    retriable = False


class RequestTimeoutError(StyxError, TimeoutError):
    """The body stopped arriving, or arrived too slowly; count says what was appended."""

    code = "request_timeout"
    retriable = True


class CursorNotFoundError(StyxError, LookupError):
    """The log has no cursor with that name."""

    code = "cursor_not_found"
    retriable = False


class CursorTakenError(StyxError):
    """The cursor does not have the expected version: another consumer has taken it over, or it
    was changed or deleted.

    version is that of the cursor, and position its position.
    """

    code = "cursor_taken"
    retriable = False


class TooManyCursorsError(StyxError):
    """The log has as many cursors as a log can have."""

    code = "too_many_cursors"
    retriable = False


class QuotaExceededError(StyxError):
    """The limit of stored bytes, or of the number of logs, is reached."""

    code = "quota_exceeded"
    retriable = False


class StoreUnavailableError(StyxError):
    """The records are in the archive, and its object store does not answer."""

    code = "store_unavailable"
    retriable = True


class ReadOnlyError(StyxError, PermissionError):
    """Another server owns the log, and this one only reads it."""

    code = "read_only"
    retriable = False


class UnknownError(StyxError):
    """A bug or an I/O error; the server's log has the cause."""

    code = "unknown_error"
    retriable = True


class ConnectionFailedError(StyxError, ConnectionError):
    """No connection could be opened, or the connection broke."""

    code = "connection_failed"
    retriable = True


class TimedOutError(StyxError, TimeoutError):
    """A deadline or timeout passed.

    maybe_appended says whether the records may be in the log.
    """

    code = "timed_out"
    retriable = True


class ClosedError(StyxError, RuntimeError):
    """The object was closed, or the call cancelled.

    Open a new object.
    """

    code = "closed"
    retriable = False


class ForkedError(StyxError, RuntimeError):
    """The process was forked: create a new client in the child."""

    code = "forked"
    retriable = False


class InvalidArgumentError(StyxError, ValueError):
    """An argument or option is invalid."""

    code = "invalid_argument"
    retriable = False


class WouldBlockError(StyxError, BlockingIOError):
    """The call would have to wait, but never waits."""

    code = "would_block"
    retriable = True


class BadAnswerError(StyxError):
    """The peer is not a Styx server, or one that is too old, or it violates the protocol."""

    code = "bad_answer"
    retriable = False


class UnknownHostError(StyxError, ConnectionError):
    """The server's host name cannot be resolved."""

    code = "unknown_host"
    retriable = True


class UntrustedServerError(StyxError, ConnectionError):
    """The server's certificate is not trusted."""

    code = "untrusted_server"
    retriable = False


class PanickedError(StyxError, RuntimeError):
    """A bug: a background task of the client panicked."""

    code = "panicked"
    retriable = False


#: The class for each code.
BY_CODE: dict[str, type[StyxError]] = {
    kind.code: kind
    for kind in (
        NotFoundError,
        MethodNotAllowedError,
        InvalidParamsError,
        LogInvalidNameError,
        LogExistError,
        LogNotFoundError,
        LogNotAvailableError,
        MissingContentLengthError,
        OutOfRangeError,
        RecordTooLargeError,
        MalformedRecordsError,
        PositionMismatchError,
        SequenceGapError,
        SequenceReusedError,
        ProducerFencedError,
        LogChangedError,
        LogEndRegressedError,
        OutcomeUnknownError,
        OverloadedError,
        ShuttingDownError,
        CorruptRecordError,
        StorageFullError,
        UnauthorizedError,
        ForbiddenError,
        TooManyRequestsError,
        ProducerUnknownError,
        RequestTimeoutError,
        CursorNotFoundError,
        CursorTakenError,
        TooManyCursorsError,
        QuotaExceededError,
        StoreUnavailableError,
        ReadOnlyError,
        UnknownError,
        ConnectionFailedError,
        TimedOutError,
        ClosedError,
        ForkedError,
        InvalidArgumentError,
        WouldBlockError,
        BadAnswerError,
        UnknownHostError,
        UntrustedServerError,
        PanickedError,
    )
}


def from_native(
    code: str,
    message: str,
    retriable: bool,
    maybe_appended: bool,
    facts: dict[str, object],
) -> StyxError:
    """The exception for an error of the native module."""
    error = BY_CODE.get(code, StyxError)(message)
    if error.retriable != retriable:
        error.retriable = retriable
    if maybe_appended:
        error.maybe_appended = True
    error.__dict__.update(facts)
    return error
