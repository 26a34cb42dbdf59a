"""Loads the native module, and says why if that fails."""

from __future__ import annotations

import os
import platform
import sysconfig
from collections.abc import Sequence

try:
    from styx_client import _native
except ImportError as error:
    _libc = " ".join(part for part in platform.libc_ver() if part) or "unknown C library"
    raise ImportError(
        f"the native module of styx-client cannot be loaded on {sysconfig.get_platform()} "
        f"({_libc}, Python {platform.python_version()}): {error}. "
        "Install the wheel for this platform, or build it with a Rust compiler: "
        "pip install --no-binary styx-client styx-client"
    ) from error

#: The version of the package, as Python writes it: 1.0.0a1 for 1.0.0-alpha.1.
version: str = (
    _native.__version__.replace("-alpha.", "a").replace("-beta.", "b").replace("-rc.", "rc")
)

# A child that appends to an inherited producer gets ForkedError from its first record on.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_native.after_fork)

# A batch is a sequence for isinstance() and for match statements too.
Sequence.register(  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    _native.RecordBatch
)
