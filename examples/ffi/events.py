"""Appends three records to a log and reads them back, through libstyx and ctypes.

Shows: that Python can call styx.h without a package. Programs use the package instead:
bindings/python is faster and has types.

    python3 examples/ffi/events.py orders

The dynamic linker finds libstyx.so.1; LD_LIBRARY_PATH may name its directory.
"""

import ctypes
import sys
from ctypes import POINTER, byref, c_bool, c_char_p, c_int64, c_size_t, c_uint64, string_at

handle = ctypes.c_void_p


class Record(ctypes.Structure):
    _fields_ = [
        ("data", handle),
        ("size", c_size_t),
        ("position", c_uint64),
        ("timestamp", c_uint64),
    ]


styx = ctypes.CDLL("libstyx.so.1")
styx.styx_error_message.argtypes, styx.styx_error_message.restype = [handle], c_char_p
styx.styx_error_free.argtypes, styx.styx_error_free.restype = [handle], None


def declare(name, *types):
    """A function that returns an error: as one that raises it."""
    function = getattr(styx, name)
    function.argtypes, function.restype = types, handle

    def call(*arguments):
        error = function(*arguments)
        if error:
            message = styx.styx_error_message(error).decode()
            styx.styx_error_free(error)
            raise RuntimeError(message)

    return call


out = POINTER(handle)
connect = declare("styx_client_connect", c_char_p, handle, out)
create_log = declare(
    "styx_create_log", handle, c_char_p, handle, c_size_t, c_bool, handle, c_size_t
)
open_producer = declare("styx_producer_open", handle, c_char_p, handle, out)
send = declare("styx_producer_send", handle, c_char_p, c_size_t, c_int64, POINTER(c_uint64))
open_consumer = declare("styx_consumer_open", handle, c_char_p, handle, out)
poll = declare("styx_consumer_poll", handle, c_size_t, c_int64, out)
styx.styx_consumer_ended.argtypes, styx.styx_consumer_ended.restype = [handle], c_bool
styx.styx_batch_get.argtypes = [handle, c_size_t, POINTER(Record), c_size_t]
styx.styx_batch_get.restype = c_bool
for kind in ("batch", "consumer", "producer", "client"):
    getattr(styx, f"styx_{kind}_free").argtypes = [handle]

log = sys.argv[1].encode()
client, producer, consumer, batch = handle(), handle(), handle(), handle()
connect(None, None, byref(client))
create_log(client, log, None, 0, True, None, 0)
open_producer(client, log, None, byref(producer))
for payload in (b"one", b"two", b"three"):
    send(producer, payload, len(payload), -1, None)
open_consumer(client, log, None, byref(consumer))
record = Record()
while not styx.styx_consumer_ended(consumer):
    poll(consumer, 0, -1, byref(batch))
    index = 0
    while styx.styx_batch_get(batch, index, byref(record), ctypes.sizeof(record)):
        print(record.position, string_at(record.data, record.size).decode())
        index += 1
    styx.styx_batch_free(batch)
styx.styx_consumer_free(consumer)
styx.styx_producer_free(producer)
styx.styx_client_free(client)
