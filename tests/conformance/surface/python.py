"""Prints the public names of the Python package as JSON: the members of each class."""

from __future__ import annotations

import dataclasses
import json

import styx_client


def members(kind: type) -> list[str]:
    names = {name for name in dir(kind) if not name.startswith("_")}
    if issubclass(kind, Exception):
        names -= set(dir(Exception))
    if dataclasses.is_dataclass(kind):
        names |= {field.name for field in dataclasses.fields(kind)}
    return sorted(names)


exported = {name: getattr(styx_client, name) for name in styx_client.__all__}
classes = {name: kind for name, kind in exported.items() if isinstance(kind, type)}
print(json.dumps({name: members(kind) for name, kind in classes.items()}))
