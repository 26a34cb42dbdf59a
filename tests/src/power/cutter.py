"""Simulates a power cut of a filesystem, and can write pages to it out of order.

Each input line names a directory. The answer is one line, after its filesystem was
shut down without a flush. If a tab and a seed follow the directory, some of the last
written pages of each newest segment below it are written to the disk first.
"""

import ctypes
import fcntl
import os
import random
import struct
import sys

FS_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
# Starts the write and does not wait. Writes that have started survive the cut.
SYNC_FILE_RANGE_WRITE = 2
PAGE = 4096
# The number of pages of the last commits to choose from.
PAGES = 16
# More than the zeros that are written in advance.
ZEROS = 2 << 20

libc = ctypes.CDLL(None, use_errno=True)


def cut(directory, seed=None):
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        pages = chosen_pages(directory, random.Random(int(seed))) if seed else []
        for segment, page in pages:
            at, size = ctypes.c_int64(page * PAGE), ctypes.c_int64(PAGE)
            libc.sync_file_range(segment, at, size, SYNC_FILE_RANGE_WRITE)
        fcntl.ioctl(descriptor, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        for segment in {segment for segment, _ in pages}:
            os.close(segment)
    finally:
        os.close(descriptor)
    return "cut"


def chosen_pages(directory, choose):
    chosen = []
    for path in newest_segments(directory):
        try:
            segment = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue  # its log was trimmed or deleted meanwhile
        last = last_page(segment)
        pages = range(max(0, last - PAGES), last + 1)
        chosen += [(segment, page) for page in choose.sample(pages, (len(pages) + 1) // 2)]
    return chosen


def last_page(descriptor):
    size = os.fstat(descriptor).st_size
    start = max(0, size - ZEROS)
    written = os.pread(descriptor, size - start, start).rstrip(b"\0")
    return (start + len(written)) // PAGE


def newest_segments(directory):
    for folder, _, names in os.walk(directory):
        segments = [name for name in names if name.endswith(".seg")]
        if segments:
            yield os.path.join(folder, max(segments))


for line in sys.stdin:
    try:
        answer = cut(*line.rstrip("\n").split("\t"))
    except OSError as error:
        answer = f"error {error}"
    print(answer, flush=True)
