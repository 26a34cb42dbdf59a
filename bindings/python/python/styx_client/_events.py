"""Logs the events of connections. Runs on the threads that call the client."""

from __future__ import annotations

import logging

from styx_client._errors import StyxError

_logger = logging.getLogger("styx_client")
# Without a handler, logging would print the warnings of a program that has not set it up.
_logger.addHandler(logging.NullHandler())

#: Subject, log, kind, error, seconds and position.
Event = tuple[str, str, str, StyxError | None, float | None, int | None]


def log_events(events: list[Event], lost: int) -> None:
    """Logs the events. `lost` older ones were dropped, because nobody took them."""
    if lost:
        _logger.warning("%d older events were dropped", lost)
    for subject, log, kind, error, seconds, position in events:
        match kind:
            case "connected":
                _logger.info("the %s of %s is connected", subject, log)
            case "lost" if error is not None and not error.retriable:
                _logger.warning("the %s of %s has failed: %s", subject, log, error)
            case "lost":
                _logger.warning("the %s of %s has lost its connection: %s", subject, log, error)
            case "again":
                _logger.info("the %s of %s connects again in %.1f s", subject, log, seconds)
            case "damaged":
                _logger.warning(
                    "the %s of %s has received a damaged block at position %s",
                    subject,
                    log,
                    position,
                )
            case "closed":
                _logger.info("the %s of %s is closed", subject, log)
            case _:
                _logger.info("the %s of %s has changed: %s", subject, log, kind)
