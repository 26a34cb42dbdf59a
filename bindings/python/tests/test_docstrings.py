"""help() of the package is complete: it explains every class, method, parameter and field."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator

import pytest
import styx_client
from styx_client import aio, testing

CLASSES: list[type] = [
    value
    for module in (styx_client, aio, testing)
    for name in module.__all__
    if isinstance(value := getattr(module, name), type)
]


def class_name(of: type) -> str:
    return f"{of.__module__}.{of.__qualname__}"


def members(of: type) -> Iterator[tuple[str, object]]:
    """The public methods and properties that the class itself has."""
    attributes: dict[str, object] = dict(of.__dict__)
    fields = field_names(of)
    for name, value in attributes.items():
        if not name.startswith("_") and name not in fields:
            yield name, value


def field_names(of: type) -> list[str]:
    """The fields of a dataclass; of another class, none."""
    return [field.name for field in dataclasses.fields(of)] if dataclasses.is_dataclass(of) else []


@pytest.mark.parametrize("of", CLASSES, ids=class_name)
def test_the_class_its_methods_and_its_properties_are_explained(of: type) -> None:
    missing = [
        name
        for name, value in members(of)
        if (callable(value) or inspect.isdatadescriptor(value)) and not inspect.getdoc(value)
    ]
    assert of.__doc__
    assert missing == []


@pytest.mark.parametrize("of", [of for of in CLASSES if field_names(of)], ids=class_name)
def test_every_field_is_explained(of: type) -> None:
    explained = of.__doc__ or ""
    assert [name for name in field_names(of) if f"\n    {name}: " not in explained] == []


def test_every_attribute_of_errors_is_explained() -> None:
    explained = styx_client.StyxError.__doc__ or ""
    names = [name for name in styx_client.StyxError.__annotations__ if not name.startswith("_")]
    assert names
    assert [name for name in names if f"\n    {name}: " not in explained] == []


@pytest.mark.parametrize("client", [styx_client.Client, aio.Client], ids=class_name)
@pytest.mark.parametrize("name", ["__init__", "producer", "consumer"])
def test_every_option_is_explained(client: type, name: str) -> None:
    function: Callable[..., object] = getattr(client, name)
    explained = inspect.getdoc(client if name == "__init__" else function) or ""
    parameters = list(inspect.signature(function).parameters)[1:]
    # A class says what it is for, and a method in its first line which log.
    options = [parameter for parameter in parameters if parameter != "log"]
    assert [option for option in options if f"\n{option}: " not in explained] == []
