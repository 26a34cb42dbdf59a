"""The driver of the Python client for the conformance suite.

It does what each line of standard input asks, and answers with a line.
tests/conformance/README.md has the operations. It has no logic of its own: every operation is
one call of styx_client. python_aio has the same driver for styx_client.aio.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import styx_client

Json = dict[str, Any]

#: The largest integer that every JSON parser reads exactly. A larger one is text.
NUMBER_MAX = 2**53 - 1

ATTRIBUTES = (
    "start_position",
    "end_position",
    "fork_position",
    "position",
    "next_intact_position",
    "expected_sequence",
    "status",
)

#: Options that are integers; the protocol writes large ones as text.
INTEGERS = ("producer_id", "epoch", "expected_position", "count")


class ReadError(Exception):
    """A read that failed after some records."""

    def __init__(self, error: styx_client.StyxError, records: list[Json]) -> None:
        self.error = error
        self.records = records


def number(value: int) -> int | str:
    return str(value) if value > NUMBER_MAX else value


def record(read: styx_client.Record) -> Json:
    return {
        "position": number(read.position),
        "timestamp": number(read.timestamp),
        "payload": read.payload.hex(),
    }


def start(value: Any) -> Any:
    if isinstance(value, dict):
        return styx_client.Checkpoint(value["checkpoint"])
    return value


def options(given: Json | None) -> Json:
    """The options as keyword arguments."""
    keywords: Json = {}
    for name, value in (given or {}).items():
        if name == "start":
            value = start(value)
        elif name == "deadline" and value is None:
            value = math.inf
        elif name in INTEGERS:
            value = int(value)
        keywords[name] = value
    return keywords


def described(error: styx_client.StyxError) -> Json:
    shown: Json = {
        "code": error.code,
        "retriable": error.retriable,
        "maybe_appended": error.maybe_appended,
        "message": str(error),
    }
    for name in ATTRIBUTES:
        value = getattr(error, name)
        if value is not None:
            shown[name] = number(value) if isinstance(value, int) else value
    return shown


class Driver:
    """The objects that the runner has named."""

    name = "python"

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}

    # How this face of the package is called.

    def done(self, call: Any) -> Any:
        """The result of a call."""
        return call

    def connect(self, address: str | None, keywords: Json) -> Any:
        return styx_client.Client(address, **keywords)

    def opened(self, made: Any) -> Any:
        """A producer or consumer that is open."""
        return made

    def position(self, ack: Any) -> int:
        """The position of an ack or of a commit."""
        position: int = ack.result()
        return position

    def next_record(self, records: Any) -> styx_client.Record | None:
        return next(records, None)

    def iterate(self, consumer: Any) -> Any:
        return iter(consumer)

    # Operations

    def run(self, request: Json) -> Json:
        op = request["op"]
        if op == "hello":
            return {"driver": self.name}
        if op == "connect":
            client = self.connect(request.get("address"), options(request.get("options")))
            self.objects[request["as"]] = client
            return {}
        target = self.objects[request["on"]]
        if op in ("producer", "consumer"):
            make = getattr(target, op)
            keywords = options(request.get("options"))
            self.objects[request["as"]] = self.opened(make(request["log"], **keywords))
            return {}
        operation: Callable[[Any, Json], Json] | None = getattr(self, f"on_{op}", None)
        if operation is None:
            raise NotImplementedError(f"there is no operation {op}")
        return operation(target, request)

    def on_create_log(self, client: Any, request: Json) -> Json:
        keywords = {"exist_ok": request.get("exist_ok") is True, **(request.get("config") or {})}
        return asdict(self.done(client.create_log(request["name"], **keywords)))

    def on_list_logs(self, client: Any, request: Json) -> Json:
        return {"logs": [asdict(log) for log in self.done(client.list_logs())]}

    def on_get_log(self, client: Any, request: Json) -> Json:
        return asdict(self.done(client.get_log(request["name"])))

    def on_get_log_details(self, client: Any, request: Json) -> Json:
        details = asdict(self.done(client.get_log_details(request["name"])))
        return {**details.pop("info"), "id": details.pop("log_id"), **details}

    def on_delete_log(self, client: Any, request: Json) -> Json:
        self.done(client.delete_log(request["name"]))
        return {}

    def on_truncate_log(self, client: Any, request: Json) -> Json:
        self.done(client.truncate_log(request["name"]))
        return {}

    def on_trim_log(self, client: Any, request: Json) -> Json:
        return asdict(self.done(client.trim_log(request["name"], int(request["position"]))))

    def on_backup_log(self, client: Any, request: Json) -> Json:
        with open(request["file"], "wb") as file:
            self.done(client.backup_log(request["name"], file))
        return {}

    def on_restore_log(self, client: Any, request: Json) -> Json:
        with open(request["file"], "rb") as file:
            self.done(client.restore_log(request["name"], file))
        return {}

    def on_list_cursors(self, client: Any, request: Json) -> Json:
        cursors = self.done(client.list_cursors(request["log"]))
        return {"cursors": [asdict(cursor) for cursor in cursors]}

    def on_get_cursor(self, client: Any, request: Json) -> Json:
        return asdict(self.done(client.get_cursor(request["log"], request["cursor"])))

    def on_set_cursor(self, client: Any, request: Json) -> Json:
        position = int(request["position"])
        return asdict(self.done(client.set_cursor(request["log"], request["cursor"], position)))

    def on_delete_cursor(self, client: Any, request: Json) -> Json:
        self.done(client.delete_cursor(request["log"], request["cursor"]))
        return {}

    def on_append(self, producer: Any, request: Json) -> Json:
        ack = self.done(producer.append(bytes.fromhex(request["payload"])))
        self.objects[request["as"]] = ack
        return {}

    def on_append_many(self, producer: Any, request: Json) -> Json:
        payloads = [bytes.fromhex(payload) for payload in request["payloads"]]
        self.objects[request["as"]] = self.done(producer.append_many(payloads))
        return {}

    def on_send(self, producer: Any, request: Json) -> Json:
        position = self.done(producer.send(bytes.fromhex(request["payload"])))
        return {"position": number(position)}

    def on_flush(self, producer: Any, request: Json) -> Json:
        self.done(producer.flush(request.get("timeout")))
        return {}

    def on_next_sequence(self, producer: Any, request: Json) -> Json:
        return {"next_sequence": number(producer.next_sequence)}

    def on_close(self, target: Any, request: Json) -> Json:
        timeout = request.get("timeout")
        self.done(target.close() if timeout is None else target.close(timeout))
        return {}

    def on_result(self, ack: Any, request: Json) -> Json:
        return {"position": number(self.position(ack))}

    def on_done(self, ack: Any, request: Json) -> Json:
        return {"done": ack.done()}

    def on_read(self, consumer: Any, request: Json) -> Json:
        count = request.get("count")
        records: list[Json] = []
        iterator = self.iterate(consumer)
        while count is None or len(records) < int(count):
            try:
                read = self.next_record(iterator)
            except styx_client.StyxError as error:
                raise ReadError(error, records) from error
            if read is None:
                return {"records": records, "ended": True}
            records.append(record(read))
        return {"records": records, "ended": False}

    def on_poll(self, consumer: Any, request: Json) -> Json:
        batch = self.done(consumer.poll(request["timeout"]))
        if batch is None:
            return {"records": [], "ended": consumer.ended}
        return {
            "records": [record(read) for read in batch],
            "ended": False,
            "first_position": number(batch.first_position),
            "next_position": number(batch.next_position),
            "checkpoint": str(batch.checkpoint),
        }

    def on_seek(self, consumer: Any, request: Json) -> Json:
        self.done(consumer.seek(start(request["start"])))
        return {}

    def on_commit(self, consumer: Any, request: Json) -> Json:
        return {"position": number(self.position(consumer.commit()))}

    def on_state(self, consumer: Any, request: Json) -> Json:
        return {
            "position": number(consumer.position),
            "checkpoint": str(consumer.checkpoint),
            "lag": number(consumer.lag),
            "caught_up": consumer.caught_up,
        }

    # The protocol

    def answer(self, line: str) -> Json:
        try:
            return {"ok": self.run(json.loads(line))}
        except ReadError as failed:
            return {"error": described(failed.error), "records": failed.records}
        except styx_client.StyxError as error:
            return {"error": described(error), "records": []}
        except Exception as error:
            return {"driver_error": f"{type(error).__name__}: {error}"}

    def serve(self) -> None:
        for line in sys.stdin:
            print(json.dumps(self.answer(line)), flush=True)


if __name__ == "__main__":
    Driver().serve()
