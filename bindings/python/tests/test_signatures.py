"""Both faces have the same names, parameters and defaults, which are those of the core."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from typing import cast

import pytest
import styx_client
from styx_client import _native, aio

PAIRS: list[tuple[type, type]] = [
    (styx_client.Client, aio.Client),
    (styx_client.Producer, aio.Producer),
    (styx_client.Consumer, aio.Consumer),
    (styx_client.Ack, aio.Ack),
    (styx_client.Commit, aio.Commit),
]

#: What asyncio needs: to connect and to open without `async with`.
ONLY_AIO = {"Client": {"connect"}, "Producer": {"open"}, "Consumer": {"open"}}
#: An Ack and a Commit are awaited instead.
ONLY_SYNC = {"Ack": {"result"}, "Commit": {"result"}}

#: asyncio.timeout() limits every await, so send() has no timeout there.
PARAMETERS_ONLY_SYNC = {("Producer", "send"): {"timeout"}}


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def methods() -> list[tuple[str, str, object, object]]:
    return [
        (sync.__name__, name, getattr(sync, name), getattr(asynchronous, name))
        for sync, asynchronous in PAIRS
        for name in sorted(public(sync) & public(asynchronous))
        if callable(getattr(sync, name))
    ]


def parameters(function: object) -> list[tuple[str, object, object]]:
    signature = inspect.signature(cast(Callable[..., object], function))
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


@pytest.mark.parametrize(("sync", "asynchronous"), PAIRS)
def test_both_faces_have_the_same_members(sync: type, asynchronous: type) -> None:
    name = sync.__name__
    assert asynchronous.__name__ == name
    assert public(asynchronous) - public(sync) == ONLY_AIO.get(name, set())
    assert public(sync) - public(asynchronous) == ONLY_SYNC.get(name, set())
    for member in public(sync) & public(asynchronous):
        kinds = [callable(inspect.getattr_static(kind, member)) for kind in (sync, asynchronous)]
        assert kinds[0] == kinds[1], member


@pytest.mark.parametrize(
    ("kind", "name", "sync", "asynchronous"),
    [
        ("Client", "__init__", styx_client.Client.__init__, aio.Client.__init__),
        *(item for item in methods() if item[0] in {"Client", "Producer", "Consumer"}),
    ],
)
def test_both_faces_have_the_same_parameters(
    kind: str, name: str, sync: object, asynchronous: object
) -> None:
    missing = PARAMETERS_ONLY_SYNC.get((kind, name), set())
    expected = [item for item in parameters(sync) if item[0] not in missing]
    assert parameters(asynchronous) == expected
    # Annotations are text, so they can be compared.
    annotations = [dict(inspect.get_annotations(f)) for f in (sync, asynchronous)]  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    for annotation in annotations:
        annotation.pop("return", None)
        for parameter in missing:
            annotation.pop(parameter, None)
    assert annotations[0] == annotations[1]


#: Methods whose description differs, because one waits where the other does not.
DIFFERENT_DOCS = {
    ("Client", "producer"),
    ("Client", "consumer"),
    ("Producer", "append"),
    ("Producer", "send"),
    ("Producer", "flush"),
    ("Producer", "close"),
    ("Consumer", "poll"),
    ("Consumer", "seek"),
    ("Consumer", "commit"),
    ("Consumer", "close"),
}


@pytest.mark.parametrize(("kind", "name", "sync", "asynchronous"), methods())
def test_both_faces_have_descriptions(
    kind: str, name: str, sync: object, asynchronous: object
) -> None:
    docs = inspect.getdoc(sync), inspect.getdoc(asynchronous)
    assert all(docs)
    if (kind, name) not in DIFFERENT_DOCS and kind in {
        "Client",
        "Producer",
        "Consumer",
    }:
        assert docs[0] == docs[1]


@pytest.mark.parametrize("of", ["client", "producer", "consumer"])
@pytest.mark.parametrize("face", [styx_client, aio], ids=["sync", "aio"])
def test_options_are_those_of_the_core(face: object, of: str) -> None:
    client = styx_client.Client if face is styx_client else aio.Client
    method: object = client if of == "client" else getattr(client, of)
    keywords = {
        name: default
        for name, kind, default in parameters(method)
        if kind is inspect.Parameter.KEYWORD_ONLY
    }
    core = {name: default for kind, name, _, default, _ in _native.options() if kind == of}
    # The package sets it by itself.
    core.pop("track_settled", None)
    assert list(keywords) == list(core)
    for name, default in core.items():
        assert keywords[name] == as_python(name, default), name


def as_python(name: str, default: str) -> object:
    """A default of the core's table as a Python value; None for what the core decides."""
    match default.split():
        case ["true" | "false"]:
            return default == "true"
        case [number, "KiB"]:
            return int(number) * 1024
        case [number, "MiB"]:
            return int(number) * 1024 * 1024
        case [number, "s"]:
            return float(number)
        case [number] if re.fullmatch(r"\d+", number):
            return ast.literal_eval(number)
        case ["start"]:
            return "start"
        case ["none"] if name == "compression":
            return "none"
        case _:
            return None


def test_limits_of_create_log_are_those_of_log_config() -> None:
    config = styx_client.LogConfig()
    for client in (styx_client.Client, aio.Client):
        names = parameters(client.create_log)
        limits = {name: default for name, _, default in names if hasattr(config, name)}
        assert limits == {name: getattr(config, name) for name in config.__dataclass_fields__}


def test_every_public_name_is_exported_and_described() -> None:
    for module in (styx_client, aio):
        for name in module.__all__:
            value: object = getattr(module, name)
            if isinstance(value, type):
                assert value.__module__ == module.__name__, name
                assert inspect.getdoc(value), name
