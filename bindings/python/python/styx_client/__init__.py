"""A client for the Styx event streaming database.

    import styx_client

    with styx_client.Client("styx://127.0.0.1:7123") as client:
        client.create_log("orders", exist_ok=True)
        with client.producer("orders") as producer:
            position = producer.send(b"one order")      # durable
        for record in client.consumer("orders"):
            print(record.position, record.payload)

Everything here blocks. styx_client.aio has the same names for asyncio, and
styx_client.testing starts servers for tests. Connections that are lost and found again are
logged to logging.getLogger("styx_client").

Threads may share a client, a producer and a consumer. A process that forks makes a new client
in the child: calls of an inherited one raise ForkedError.
"""

from __future__ import annotations

# First, because it says why the native module cannot be loaded.
from styx_client._loading import version as _version

# isort: split
from styx_client._client import Client
from styx_client._consumer import Consumer
from styx_client._errors import (
    BadAnswerError,
    ClosedError,
    ConnectionFailedError,
    CorruptRecordError,
    CursorNotFoundError,
    CursorTakenError,
    ForbiddenError,
    ForkedError,
    InvalidArgumentError,
    InvalidParamsError,
    LogChangedError,
    LogEndRegressedError,
    LogExistError,
    LogInvalidNameError,
    LogNotAvailableError,
    LogNotFoundError,
    MalformedRecordsError,
    MethodNotAllowedError,
    MissingContentLengthError,
    NotFoundError,
    OutcomeUnknownError,
    OutOfRangeError,
    OverloadedError,
    PanickedError,
    PositionMismatchError,
    ProducerFencedError,
    ProducerUnknownError,
    QuotaExceededError,
    ReadOnlyError,
    RecordTooLargeError,
    RequestTimeoutError,
    SequenceGapError,
    SequenceReusedError,
    ShuttingDownError,
    StorageFullError,
    StoreUnavailableError,
    StyxError,
    TimedOutError,
    TooManyCursorsError,
    TooManyRequestsError,
    UnauthorizedError,
    UnknownError,
    UnknownHostError,
    UntrustedServerError,
    WouldBlockError,
)
from styx_client._native import Ack, Checkpoint, Commit, Index, Record, RecordBatch
from styx_client._options import Codec, Compression, Start
from styx_client._producer import Producer
from styx_client._values import (
    ClientStats,
    ConsumerStats,
    CursorInfo,
    LogConfig,
    LogDetails,
    LogInfo,
    ProducerStats,
    ServerInfo,
)

__version__ = _version

__all__ = [
    "Ack",
    "BadAnswerError",
    "Checkpoint",
    "Client",
    "ClientStats",
    "ClosedError",
    "Codec",
    "Commit",
    "Compression",
    "ConnectionFailedError",
    "Consumer",
    "ConsumerStats",
    "CorruptRecordError",
    "CursorInfo",
    "CursorNotFoundError",
    "CursorTakenError",
    "ForbiddenError",
    "ForkedError",
    "Index",
    "InvalidArgumentError",
    "InvalidParamsError",
    "LogChangedError",
    "LogConfig",
    "LogDetails",
    "LogEndRegressedError",
    "LogExistError",
    "LogInfo",
    "LogInvalidNameError",
    "LogNotAvailableError",
    "LogNotFoundError",
    "MalformedRecordsError",
    "MethodNotAllowedError",
    "MissingContentLengthError",
    "NotFoundError",
    "OutOfRangeError",
    "OutcomeUnknownError",
    "OverloadedError",
    "PanickedError",
    "PositionMismatchError",
    "Producer",
    "ProducerFencedError",
    "ProducerStats",
    "ProducerUnknownError",
    "QuotaExceededError",
    "ReadOnlyError",
    "Record",
    "RecordBatch",
    "RecordTooLargeError",
    "RequestTimeoutError",
    "SequenceGapError",
    "SequenceReusedError",
    "ServerInfo",
    "ShuttingDownError",
    "Start",
    "StorageFullError",
    "StoreUnavailableError",
    "StyxError",
    "TimedOutError",
    "TooManyCursorsError",
    "TooManyRequestsError",
    "UnauthorizedError",
    "UnknownError",
    "UnknownHostError",
    "UntrustedServerError",
    "WouldBlockError",
    "__version__",
]


def _name_module_of_classes() -> None:
    """Users see where a class is to be imported from."""
    for name in __all__:
        value = globals()[name]
        if isinstance(value, type) and value.__module__.startswith("styx_client._"):
            value.__module__ = "styx_client"


_name_module_of_classes()
