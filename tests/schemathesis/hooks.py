"""What an OpenAPI document cannot tell schemathesis about requests to Styx.

- Which bytes are an archive, and which are records in each media type.
- That the headers of a producer go together.
- That a field of a new log has one value, although it may be in two places.
"""

import json
import pathlib
import struct

import schemathesis
from hypothesis import strategies as st

ARCHIVE = pathlib.Path(__file__).parent.parent / "golden" / "archive-v0.tar.gz"
RECORDS = st.lists(st.binary(max_size=100), max_size=10)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda values: (
        st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3)
    ),
    max_leaves=5,
)


def binary_records(records):
    return b"".join(struct.pack(">i", len(record)) + record for record in records)


def lines(records):
    return b"".join(record + b"\n" for record in records)


def json_lines(values):
    return lines(json.dumps(value).encode() for value in values)


media_type = schemathesis.openapi.media_type
media_type("application/gzip", st.just(ARCHIVE.read_bytes()))
media_type("application/vnd.styx.binary-records", RECORDS.map(binary_records))
media_type("application/vnd.styx.line-delimited", RECORDS.map(lines))
media_type("application/x-ndjson", st.lists(JSON_VALUES, max_size=10).map(json_lines))


@schemathesis.hook
def map_case(context, case):
    """Completes the headers of a producer, and removes fields that are in two places."""
    headers = case.headers
    if case.operation.label == "POST /logs/{name}/records" and headers:
        if headers.get("X-Styx-Epoch") or headers.get("X-Styx-Sequence"):
            headers["X-Styx-Producer"] = headers.get("X-Styx-Producer") or "1"
        if headers.get("X-Styx-Producer"):
            headers["X-Styx-Sequence"] = headers.get("X-Styx-Sequence") or "0"
    if case.operation.label == "POST /logs" and is_valid(case) and isinstance(case.body, dict):
        nested = case.body.get("config")
        if nested:
            case.body["config"] = {
                field: value for field, value in nested.items() if field not in case.body
            }
    return case


def is_valid(case):
    """Whether schemathesis means the request to be valid."""
    return (
        case.meta is not None and case.meta.generation.mode == schemathesis.GenerationMode.POSITIVE
    )
