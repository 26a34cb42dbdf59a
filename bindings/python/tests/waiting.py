"""How tests wait for something: they look for it again and again, for a limited time."""

from __future__ import annotations

import time
from collections.abc import Callable

STALL_SECONDS = 15.0
"""How long a busy machine may stop a test. A call that ends at its own timeout takes less, and one
that waits for a default of 30 s takes more."""


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Returns when the condition is true. Fails after this number of seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not true within {seconds} s"
        time.sleep(0.002)
