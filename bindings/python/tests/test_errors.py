"""The exceptions: one class for each code of the core, each also a builtin."""

from __future__ import annotations

import builtins
import copy
import pickle

import pytest
import styx_client
from styx_client import StyxError, _errors, _native

KINDS = _native.kinds()

#: The builtins that programs catch.
BUILTINS: dict[str, type[Exception]] = {
    "log_not_found": LookupError,
    "not_found": LookupError,
    "cursor_not_found": LookupError,
    "invalid_argument": ValueError,
    "invalid_params": ValueError,
    "log_invalid_name": ValueError,
    "record_too_large": ValueError,
    "connection_failed": ConnectionError,
    "unknown_host": ConnectionError,
    "timed_out": TimeoutError,
    "unauthorized": PermissionError,
    "forbidden": PermissionError,
    "would_block": BlockingIOError,
    "closed": RuntimeError,
    "forked": RuntimeError,
    "log_exist": FileExistsError,
}


def test_the_core_and_the_package_have_the_same_codes() -> None:
    assert {code for code, *_ in KINDS} == set(_errors.BY_CODE)


@pytest.mark.parametrize(("code", "retriable"), [(kind[0], kind[2]) for kind in KINDS])
def test_each_code_has_a_class(code: str, retriable: bool) -> None:
    kind = _errors.BY_CODE[code]
    name = "".join(part.capitalize() for part in code.removesuffix("_error").split("_"))
    assert kind.__name__ == f"{name}Error"
    assert getattr(styx_client, kind.__name__) is kind
    assert kind.__module__ == "styx_client"
    assert (kind.code, kind.retriable) == (code, retriable)
    assert issubclass(kind, StyxError)
    assert kind.__doc__


def test_classes_are_also_the_builtins_that_programs_catch() -> None:
    for code, builtin in BUILTINS.items():
        assert issubclass(_errors.BY_CODE[code], builtin), code


@pytest.mark.parametrize("kind", _errors.BY_CODE.values(), ids=lambda kind: kind.__name__)
def test_an_error_keeps_its_text_and_facts_when_it_is_pickled(
    kind: type[StyxError],
) -> None:
    error = _errors.from_native(
        kind.code,
        "what failed: do this",
        not kind.retriable,
        True,
        {"start_position": 7},
    )
    error.add_note("a note")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), error):
        assert type(other) is kind
        assert str(other) == "what failed: do this"
        assert other.args == ("what failed: do this",)
        assert other.retriable is not kind.retriable
        assert other.maybe_appended
        assert other.start_position == 7
        assert other.end_position is None
        assert other.__notes__ == ["a note"]


def test_an_error_that_is_an_os_error_has_no_errno() -> None:
    error = styx_client.ConnectionFailedError("nothing listens there")
    assert isinstance(error, OSError)
    assert error.errno is None
    assert error.filename is None
    assert repr(error) == "ConnectionFailedError('nothing listens there')"


def test_users_can_make_an_error_for_their_tests() -> None:
    for kind in _errors.BY_CODE.values():
        assert str(kind("text")) == "text"
        assert str(kind()) == ""


def test_an_unknown_code_is_a_styx_error() -> None:
    error = _errors.from_native("of_a_later_version", "text", True, False, {})
    assert type(error) is StyxError
    assert error.retriable


def test_no_class_hides_a_builtin() -> None:
    hidden = set(styx_client.__all__) & set(dir(builtins))
    assert hidden == set()
