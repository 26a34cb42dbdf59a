"""Limits of the machine, measured right before and right after each peer.

| limit | meaning |
|---|---|
| DISK | sequential writes of 4 MiB with O_DIRECT, each synced: bytes a second |
| SYNC | one write of 4 KiB onto space that was written before, and its sync: seconds |
| LOOP | one TCP stream over loopback: bytes a second |

If one of them changes by more than 20 %, something else used the machine, and the figures of
the peer do not count.
"""

from __future__ import annotations

import mmap
import os
import socket
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

#: The largest change with which figures count, as a share of the smaller value.
CHANGE_MAX = 0.2
MEASUREMENTS = 5
GROUP_BYTES = 4 << 20
SYNC_BYTES = 4096
SYNC_SPACE = 1 << 20
CHUNK_BYTES = 256 << 10


@dataclass(frozen=True)
class Limits:
    disk: float
    sync: float
    loop: float

    def change(self, later: Limits) -> tuple[str, float]:
        """The limit that changed most, and the change as a share of the smaller value."""
        changes = []
        for name, before in asdict(self).items():
            after = getattr(later, name)
            changes.append((max(before, after) / max(min(before, after), 1e-12) - 1, name.upper()))
        share, name = max(changes)
        return name, share


def measure(folder: Path, seconds: float) -> Limits:
    """Measures each limit for about `seconds`, five times in turn after a warm-up.

    DISK and SYNC are those of the file system of `folder`.
    """
    rows = [
        (_disk(folder, seconds), _sync(folder, seconds), _loop(seconds))
        for _ in range(MEASUREMENTS + 1)
    ]
    disk, sync, loop = (statistics.median(column) for column in zip(*rows[1:], strict=True))
    return Limits(disk, sync, loop)


def _with_file(folder: Path, flags: int, work: Callable[[int], float]) -> float:
    path = folder / f".limits-{os.getpid()}"
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_RDWR | flags, 0o600)
    try:
        return work(descriptor)
    finally:
        os.close(descriptor)
        path.unlink()


def _disk(folder: Path, seconds: float) -> float:
    # Anonymous memory is aligned to a page, as O_DIRECT requires.
    group = mmap.mmap(-1, GROUP_BYTES)
    group.write(os.urandom(GROUP_BYTES))

    def work(descriptor: int) -> float:
        begun, written = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            written += os.pwrite(descriptor, group, written)
            os.fdatasync(descriptor)
        return written / (time.perf_counter() - begun)

    try:
        return _with_file(folder, os.O_DIRECT, work)
    except OSError:
        # Not every file system supports direct writes.
        return _with_file(folder, 0, work)


def _sync(folder: Path, seconds: float) -> float:
    def work(descriptor: int) -> float:
        os.pwrite(descriptor, b"\x01" * SYNC_SPACE, 0)
        os.fsync(descriptor)
        small, begun = b"\x02" * SYNC_BYTES, time.perf_counter()
        times: list[float] = []
        while not times or time.perf_counter() - begun < seconds:
            started = time.perf_counter()
            os.pwrite(descriptor, small, len(times) * SYNC_BYTES % SYNC_SPACE)
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    return _with_file(folder, 0, work)


def _loop(seconds: float) -> float:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        receiver, _ = listener.accept()

    def receive() -> None:
        buffer = bytearray(CHUNK_BYTES)
        with receiver:
            while receiver.recv_into(buffer):
                pass

    thread = threading.Thread(target=receive)
    thread.start()
    chunk, sent, begun = bytes(CHUNK_BYTES), 0, time.perf_counter()
    with sender:
        while time.perf_counter() - begun < seconds:
            sender.sendall(chunk)
            sent += CHUNK_BYTES
    rate = sent / (time.perf_counter() - begun)
    thread.join()
    return rate
