#!/usr/bin/env python3
"""Writes the golden byte vectors into this folder.

It implements docs/format.md a second time, and shares no code with the implementation. So the tests also find an encoder
and a decoder that are wrong in the same way. Run it after a change of the format, and review the difference.
"""

import json
import pathlib
import struct
import zlib

HERE = pathlib.Path(__file__).parent


def crc(data):
    return zlib.crc32(data) & 0xFFFFFFFF


def record(payload):
    tail = struct.pack(">I", len(payload)) + payload
    return struct.pack(">I", crc(tail)) + tail


def item(payload):
    return struct.pack(">i", len(payload)) + payload


FIELDS = [
    ("version", "B"), ("codec", "B"), ("flags", "H"), ("count", "I"), ("body_size", "I"), ("raw_size", "I"),
    ("base_position", "Q"), ("timestamp_us", "Q"), ("producer_id", "Q"), ("sequence", "Q"), ("producer_epoch", "I"),
    ("body_crc", "I"), ("segment_salt", "Q"), ("open_epoch", "I"), ("prev_crc", "I"), ("durable_position", "Q"),
    ("reserved", "Q"),
]


def header(**fields):
    fields = {"version": 1, **fields}
    tail = b"".join(struct.pack(">" + code, fields.get(name, 0)) for name, code in FIELDS)
    assert len(tail) == 88
    return b"STYX" + struct.pack(">I", crc(tail)) + tail


def block(payloads, **fields):
    body = b"".join(map(record, payloads))
    told = {"count": len(payloads), "body_size": len(body), "raw_size": len(body), "body_crc": crc(body), **fields}
    return header(**told) + body


def flip(data, at, bit=1):
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1:]


def vector(name, data, **expected):
    return {"name": name, "hex": data.hex(), **expected}


def hexes(payloads):
    return [p.hex() for p in payloads]


def write(name, about, vectors, folder=HERE):
    text = json.dumps({"about": about, "vectors": vectors}, indent=2)
    (folder / f"{name}.json").write_text(text + "\n")


SOME = [b"one", b"", b"\x00\xff\r\n"]
BINARY_MAX = 16

two = record(b"one") + record(b"two")
write("record", "Runs of records: the payloads they hold, or the fault and the byte it is at.", [
    vector("none", b"", payloads=[]),
    vector("one", record(b"hello"), payloads=hexes([b"hello"])),
    vector("empty payload", record(b""), payloads=[""]),
    vector("some", b"".join(map(record, SOME)), payloads=hexes(SOME)),
    vector("crc wrong", flip(two, 0), error="checksum", offset=0),
    vector("crc of the second wrong", flip(two, 11), error="checksum", offset=11),
    vector("payload wrong", flip(two, 8), error="checksum", offset=0),
    vector("size smaller", flip(two, 7), error="checksum", offset=0),
    vector("size larger than the bytes", flip(two, 4, 0x80), error="cut", offset=0),
    vector("crc does not cover the size", struct.pack(">I", crc(b"one")) + item(b"one"), error="checksum", offset=0),
    vector("cut in the header", two[:14], error="cut", offset=11),
    vector("cut in the payload", two[:-1], error="cut", offset=11),
])

FULL = {
    "base_position": 0x0102030405060708, "timestamp_us": 0x1112131415161718, "producer_id": 0x2122232425262728,
    "sequence": 0x3132333435363738, "producer_epoch": 0x41424344, "segment_salt": 0x5152535455565758,
    "open_epoch": 0x61626364, "prev_crc": 0x71727374, "durable_position": 0x0182838485868788,
}
plain = block(SOME)
body = b"".join(map(record, SOME))


def good(name, data, payloads, **fields):
    told = dict(zip((n for n, _ in FIELDS), struct.unpack(">" + "".join(c for _, c in FIELDS), data[8:96])))
    del told["version"], told["reserved"]
    told["header_crc"] = struct.unpack(">I", data[4:8])[0]
    return vector(name, data, fields=told, payloads=hexes(payloads), **fields)


write("block", "Blocks, parsed with max_record_size 2 MiB: their fields and payloads, or the fault.", [
    good("as a producer sends it", plain, SOME, producer=True),
    good("expecting a position", block(SOME, flags=1, base_position=7), SOME, producer=True),
    good("of a producer", block([b"x"], producer_id=9, producer_epoch=2, sequence=5), [b"x"], producer=True),
    good("every field set", block(SOME, **FULL), SOME, producer=False),
    good("flags nobody knows but all may ignore", block(SOME, flags=0xFF00), SOME, producer=True),
    good("filler", header(flags=2, **FULL), [], producer=False),
    good("filler that raises an epoch",
         header(flags=2, base_position=7, timestamp_us=8, producer_id=9, producer_epoch=3, segment_salt=10,
                open_epoch=1, prev_crc=11, durable_position=7), [], producer=False),
    good("filler with a body of zeros", header(flags=2, body_size=32, raw_size=32, body_crc=crc(bytes(32))) + bytes(32),
         [], producer=False),
    good("seal", header(flags=4, **FULL), [], producer=False),
    vector("empty", b"", error="not_a_header"),
    vector("header cut", plain[:95], error="not_a_header"),
    vector("body cut", plain[:-1], error="cut"),
    vector("magic wrong", flip(plain, 0), error="not_a_header"),
    vector("header_crc wrong", flip(plain, 4), error="not_a_header"),
    *[vector(f"byte {at} of the header wrong", flip(plain, at), error="not_a_header") for at in range(8, 96, 4)],
    vector("version 0", block(SOME, version=0), error="version"),
    vector("version 2", block(SOME, version=2), error="version"),
    vector("codec 3", block(SOME, codec=3), error="codec"),
    vector("flag bit 3", block(SOME, flags=8), error="flags"),
    vector("flag bit 7", block(SOME, flags=0x80), error="flags"),
    vector("body wrong", flip(plain, 96), error="body_checksum"),
    vector("body_crc wrong", block(SOME, body_crc=0), error="body_checksum"),
    vector("record crc wrong under a good body_crc",
           block(SOME, body_crc=crc(flip(body, 0))) [:96] + flip(body, 0), error="record"),
    vector("count too small", block(SOME, count=2), error="contradiction"),
    vector("count too large", block(SOME, count=4), error="contradiction"),
    vector("raw_size wrong", block(SOME, raw_size=len(body) - 1), error="contradiction"),
    vector("body_size over the limit", header(count=2, body_size=0xFFFFFFFF, raw_size=0xFFFFFFFF), error="too_large"),
    vector("raw_size over the limit", header(count=2, codec=1, body_size=8, raw_size=(1 << 20) + 1),
           error="too_large"),
    vector("one record over the limit", header(count=1, body_size=(2 << 20) + 1, raw_size=(2 << 20) + 1),
           error="record_too_large"),
])

LZ4, ZSTD = 1, 2


def lz4_number(more):
    """The bytes that extend a length beyond the 15 in its token."""
    return b"\xff" * (more // 255) + bytes([more % 255])


def lz4(raw):
    """A raw LZ4 block from a greedy search: literals and matches alternate. The last five bytes are literals."""
    out, at, begun, seen = b"", 0, 0, {}
    while at + 12 < len(raw):
        word = raw[at:at + 4]
        back = at - seen.get(word, at)
        seen[word] = at
        if not 0 < back < 1 << 16:
            at += 1
            continue
        size = 4
        while at + size < len(raw) - 5 and raw[at + size] == raw[at + size - back]:
            size += 1
        literals = at - begun
        out += bytes([min(literals, 15) << 4 | min(size - 4, 15)])
        out += lz4_number(literals - 15) if literals >= 15 else b""
        out += raw[begun:at] + struct.pack("<H", back)
        out += lz4_number(size - 19) if size >= 19 else b""
        at = begun = at + size
    literals = len(raw) - begun
    return (out + bytes([min(literals, 15) << 4]) + (lz4_number(literals - 15) if literals >= 15 else b"")
            + raw[begun:])


def zstd_block(kind, size, content, last):
    return struct.pack("<I", size << 3 | kind << 1 | last)[:3] + content


def zstd(raw, window=None, claimed=None):
    """A zstd frame of raw blocks and one RLE block, with its content size or with a window."""
    if window is None:
        head = b"\xa0" + struct.pack("<I", len(raw) if claimed is None else claimed)
    else:
        head = b"\x00" + bytes([window])
    run = len(raw) - len(raw.rstrip(raw[-1:]))
    blocks = zstd_block(0, len(raw) - run, raw[:-run], 0) + zstd_block(1, run, raw[-1:], 1)
    return b"\x28\xb5\x2f\xfd" + head + blocks


def packed(payloads, codec, body, **fields):
    raw_bytes = sum(8 + len(payload) for payload in payloads)
    told = {"codec": codec, "count": len(payloads), "body_size": len(body), "raw_size": raw_bytes,
            "body_crc": crc(body), **fields}
    return header(**told) + body


MANY = [b"the same words again" + bytes([i]) + b"\0" * 40 for i in range(20)]
raw = b"".join(map(record, MANY))
by_lz4, by_zstd = lz4(raw), zstd(raw)
assert len(by_lz4) < len(raw) and len(by_zstd) < len(raw)

write("packed-block", "Blocks with packed bodies, as \"block\" has plain ones.", [
    good("lz4", packed(MANY, LZ4, by_lz4), MANY, producer=True),
    good("lz4, one run of literals", packed(SOME, LZ4, bytes([0xF0]) + lz4_number(len(body) - 15) + body), SOME,
         producer=True),
    good("lz4 of a producer, expecting a position",
         packed(MANY, LZ4, by_lz4, flags=1, base_position=7, producer_id=9, producer_epoch=2, sequence=5), MANY,
         producer=True),
    good("zstd", packed(MANY, ZSTD, by_zstd), MANY, producer=True),
    good("zstd, a window of 2 GiB and no content size", packed(MANY, ZSTD, zstd(raw, window=21 << 3)), MANY,
         producer=True),
    good("zstd, every field set", packed(MANY, ZSTD, by_zstd, **FULL), MANY, producer=False),
    vector("lz4, body wrong", flip(packed(MANY, LZ4, by_lz4), 120), error="body_checksum"),
    vector("lz4, raw_size too small", packed(MANY, LZ4, by_lz4, raw_size=len(raw) - 1), error="contradiction"),
    vector("lz4, raw_size too large", packed(MANY, LZ4, by_lz4, raw_size=len(raw) + 1), error="contradiction"),
    vector("lz4, raw_size over the limit", packed(MANY, LZ4, by_lz4, raw_size=(1 << 20) + 1), error="too_large"),
    vector("lz4, cut", packed(MANY, LZ4, by_lz4[:-1]), error="packed"),
    vector("lz4, empty", packed(MANY, LZ4, b""), error="packed"),
    vector("lz4, a match before the beginning", packed(MANY, LZ4, b"\x11a\x02\x00" + b"\x50aaaaa"), error="packed"),
    vector("lz4, a match at distance 0", packed(MANY, LZ4, b"\x11a\x00\x00" + b"\x50aaaaa"), error="packed"),
    vector("lz4, count wrong", packed(MANY, LZ4, by_lz4, count=19), error="contradiction"),
    vector("lz4, a record's CRC wrong inside", packed(MANY, LZ4, lz4(flip(raw, 0))), error="record"),
    vector("lz4 body called zstd", packed(MANY, ZSTD, by_lz4), error="packed"),
    vector("zstd body called lz4", packed(SOME, LZ4, zstd(body)), error="packed"),
    vector("zstd, raw_size too small", packed(MANY, ZSTD, by_zstd, raw_size=len(raw) - 1), error="contradiction"),
    vector("zstd, raw_size too large", packed(MANY, ZSTD, by_zstd, raw_size=len(raw) + 1), error="contradiction"),
    vector("zstd, no content size and raw_size too small",
           packed(MANY, ZSTD, zstd(raw, window=0), raw_size=len(raw) - 1), error="contradiction"),
    vector("zstd, its own content size wrong", packed(MANY, ZSTD, zstd(raw, claimed=len(raw) + 1)), error="packed"),
    vector("zstd, its own content size 4 GiB", packed(MANY, ZSTD, zstd(raw, claimed=0xFFFFFFFF)), error="packed"),
    vector("zstd, a window over what zstd knows", packed(MANY, ZSTD, zstd(raw, window=0xFF)), error="packed"),
    vector("zstd, cut", packed(MANY, ZSTD, by_zstd[:-1]), error="packed"),
    vector("zstd, empty", packed(MANY, ZSTD, b""), error="packed"),
    vector("zstd, a byte behind the frame", packed(MANY, ZSTD, by_zstd + b"\0"), error="packed"),
    vector("zstd, two frames", packed(MANY + MANY, ZSTD, by_zstd + by_zstd), error="packed"),
    vector("zstd, a frame to be skipped", packed(MANY, ZSTD, b"\x50\x2a\x4d\x18\x04\0\0\0abcd"), error="contradiction"),
    vector("zstd, a record's CRC wrong inside", packed(MANY, ZSTD, zstd(flip(raw, 0))), error="record"),
])

write("binary-records", f"Bodies of binary-records, payloads of at most {BINARY_MAX} bytes: payloads, or those before "
      "the fault, the fault and the byte its item begins at.", [
    vector("none", b"", payloads=[]),
    vector("some", b"".join(map(item, SOME)), payloads=hexes(SOME)),
    vector("longest", item(b"x" * BINARY_MAX), payloads=hexes([b"x" * BINARY_MAX])),
    vector("size negative", item(b"one") + struct.pack(">i", -1), payloads=hexes([b"one"]), error="negative_size",
           offset=7, size=-1),
    vector("size most negative", struct.pack(">i", -2**31), payloads=[], error="negative_size", offset=0,
           size=-2**31),
    vector("size over the limit", item(b"") + item(b"x" * (BINARY_MAX + 1)), payloads=[""], error="too_large",
           offset=4, size=BINARY_MAX + 1),
    vector("size largest", struct.pack(">i", 2**31 - 1), payloads=[], error="too_large", offset=0, size=2**31 - 1),
    vector("cut in the size", item(b"one") + b"\0\0", payloads=hexes([b"one"]), error="cut", offset=7),
    vector("cut before the payload", struct.pack(">i", 1), payloads=[], error="cut", offset=0),
    vector("cut in the payload", item(b"one")[:-1], payloads=[], error="cut", offset=0),
])


def lines(name, ending, data, payloads, **fault):
    return vector(name, data, ending=ending, payloads=hexes(payloads), **fault)


write("lines", f"Line-delimited bodies, lines of at most {BINARY_MAX} bytes: payloads, or those before the fault, the "
      "fault and the byte its line begins at.", [
    lines("none", "lf", b"", []),
    lines("lf", "lf", b"one\n\ntwo\n", [b"one", b"", b"two"]),
    lines("lf, last without ending", "lf", b"one\ntwo", [b"one", b"two"]),
    lines("lf keeps cr", "lf", b"one\r\ntwo\r\n", [b"one\r", b"two\r"]),
    lines("cr", "cr", b"one\r\rtwo\r", [b"one", b"", b"two"]),
    lines("cr keeps lf", "cr", b"one\r\ntwo", [b"one", b"\ntwo"]),
    lines("crlf", "crlf", b"one\r\n\r\ntwo\r\n", [b"one", b"", b"two"]),
    lines("crlf keeps lone cr and lf", "crlf", b"a\rb\nc\r\r\n\nd\r\n", [b"a\rb\nc\r", b"\nd"]),
    lines("crlf, half an ending at the end", "crlf", b"one\r\ntwo\r", [b"one", b"two\r"]),
    lines("longest", "crlf", b"x" * BINARY_MAX + b"\r\n", [b"x" * BINARY_MAX]),
    lines("too long", "lf", b"one\n" + b"x" * (BINARY_MAX + 1) + b"\n", [b"one"], error="too_long", offset=4),
    lines("too long without ending", "crlf", b"x" * BINARY_MAX + b"\r", [], error="too_long", offset=0),
])

BLOCKS, ACK, HEARTBEAT, ERROR, END = 1, 2, 3, 4, 5


def frame(kind, frame_body=b"", flags=0, zero=0, size=None):
    size = len(frame_body) if size is None else size
    return struct.pack(">BBHI", kind, flags, zero, size) + frame_body


def ack(count, *runs):
    return struct.pack(">Q", count) + b"".join(struct.pack(">QI", *run) for run in runs)


def fault(code, outcome=0, zero=0, retry_after_ms=0, a=0, b=0, message=b""):
    return struct.pack(">HBBIQQ", code, outcome, zero, retry_after_ms, a, b) + message


def told(code, outcome="not_appended", retry_after_ms=0, a=0, b=0, message=""):
    return {"error": {"code": code, "outcome": outcome, "retry_after_ms": retry_after_ms, "a": a, "b": b,
                      "message": message}}


def acked(count, *runs):
    return {"ack": {"count": count, "runs": [list(run) for run in runs]}}


def stream(name, route, data, events, **expected):
    return vector(name, data, route=route, events=events, **expected)


TO_SERVER, FROM_CONSUMER, TO_PRODUCER, TO_CONSUMER = ("producer_to_server", "consumer_to_server", "server_to_producer",
                                                      "server_to_consumer")
first, second = block([b"one"], producer_id=9, sequence=0), packed(MANY, LZ4, by_lz4, producer_id=9, sequence=1)
seal = header(flags=4, **FULL)
end, beat = frame(END), frame(HEARTBEAT)
ONE = {"block": first.hex()}

write("frame", "Streams of styx/1 from one side, max_record_size 2 MiB: the events that come out, then the fault.", [
    stream("none", TO_SERVER, b"", []),
    stream("one block", TO_SERVER, frame(BLOCKS, first), [ONE]),
    stream("two blocks in a frame, one in the next", TO_SERVER, frame(BLOCKS, first + second) + frame(BLOCKS, first),
           [ONE, {"block": second.hex()}, ONE]),
    stream("to a consumer, a seal and a filler among them", TO_CONSUMER,
           frame(BLOCKS, first + seal + header(flags=2, **FULL) + first) + frame(HEARTBEAT, struct.pack(">QQ", 3, 9)),
           [ONE, {"block": seal.hex()}, {"block": header(flags=2, **FULL).hex()}, ONE, {"heartbeat": [3, 9]}]),
    stream("heartbeats around blocks, then the end", TO_SERVER, beat + frame(BLOCKS, first) + beat + end + beat,
           [{"heartbeat": None}, ONE, {"heartbeat": None}, {"end": False}, {"heartbeat": None}]),
    stream("an end that asks to be forgotten", TO_SERVER, frame(END, flags=1), [{"end": True}]),
    stream("acks", TO_PRODUCER, frame(ACK, ack(3, (100, 3))) + beat + frame(ACK, ack(10, (103, 1), (40, 6))),
           [acked(3, (100, 3)), {"heartbeat": None}, acked(10, (103, 1), (40, 6))]),
    stream("an ack of the largest numbers", TO_PRODUCER, frame(ACK, ack(2**32 - 1, (2**64 - 2**32, 2**32 - 1))),
           [acked(2**32 - 1, (2**64 - 2**32, 2**32 - 1))]),
    stream("nothing of a log", TO_CONSUMER, frame(HEARTBEAT, bytes(16)) + end, [{"heartbeat": [0, 0]}, {"end": False}]),
    stream("position outside the log", TO_CONSUMER, frame(ERROR, fault(9, a=5, b=12, message=b"no such position")),
           [told("out_of_range", a=5, b=12, message="no such position")]),
    stream("damage", TO_CONSUMER, frame(ERROR, fault(21, a=7, b=9)), [told("corrupt_record", a=7, b=9)]),
    stream("a sequence left out", TO_PRODUCER, frame(ERROR, fault(13, a=77)), [told("sequence_gap", a=77)]),
    stream("another end", TO_PRODUCER, frame(ERROR, fault(12, a=8)), [told("position_mismatch", a=8)]),
    stream("a failed sync", TO_PRODUCER, frame(ERROR, fault(18, outcome=1, message="ch\u00eane".encode())),
           [told("outcome_unknown", outcome="unknown", message="ch\u00eane")]),
    stream("a stopping server", TO_PRODUCER, frame(ERROR, fault(20, retry_after_ms=1500)),
           [told("shutting_down", retry_after_ms=1500)]),
    stream("an unknown error", TO_CONSUMER, frame(ERROR, fault(0, outcome=1)),
           [told("unknown_error", outcome="unknown")]),
    stream("the longest message", TO_CONSUMER, frame(ERROR, fault(0, message=b"m" * 4096)),
           [told("unknown_error", message="m" * 4096)]),

    stream("header cut", TO_SERVER, frame(BLOCKS, first)[:7], [], error="cut"),
    stream("cut in a block's header", TO_SERVER, frame(BLOCKS, first)[:100], [], error="cut"),
    stream("cut in a block's body", TO_SERVER, frame(BLOCKS, first)[:-1], [], error="cut"),
    stream("cut between two blocks of a frame", TO_SERVER, frame(BLOCKS, first + first)[:-len(first)], [ONE],
           error="cut"),
    stream("an ack cut", TO_PRODUCER, frame(ACK, ack(1, (0, 1)))[:-1], [], error="cut"),
    stream("type 0", TO_SERVER, frame(0), [], error="kind"),
    stream("type 6", TO_SERVER, frame(6), [], error="kind"),
    stream("flag on blocks", TO_SERVER, frame(BLOCKS, first, flags=1), [], error="flags"),
    stream("flag on a heartbeat", TO_SERVER, frame(HEARTBEAT, flags=1), [], error="flags"),
    stream("flag bit 1 on an end", TO_SERVER, frame(END, flags=2), [], error="flags"),
    stream("a server that asks to be forgotten", TO_CONSUMER, frame(END, flags=1), [], error="flags"),
    stream("reserved byte", TO_SERVER, frame(BLOCKS, first, zero=1), [], error="reserved"),
    stream("reserved byte, high", TO_SERVER, frame(END, zero=0x100), [], error="reserved"),
    stream("no block", TO_SERVER, frame(BLOCKS), [], error="size"),
    stream("less than a block's header", TO_SERVER, frame(BLOCKS, first[:95]), [], error="size"),
    stream("blocks over 1 GiB", TO_SERVER, frame(BLOCKS, size=(1 << 30) + 97), [], error="size"),
    stream("an end with a body", TO_SERVER, frame(END, b"x"), [], error="size"),
    stream("a producer that tells ends", TO_SERVER, frame(HEARTBEAT, bytes(16)), [], error="size"),
    stream("a producer that is told ends", TO_PRODUCER, frame(HEARTBEAT, bytes(16)), [], error="size"),
    stream("a consumer that is not told ends", TO_CONSUMER, beat, [], error="size"),
    stream("a heartbeat of 8 bytes", TO_CONSUMER, frame(HEARTBEAT, bytes(8)), [], error="size"),
    stream("an ack without runs", TO_PRODUCER, frame(ACK, ack(0)), [], error="size"),
    stream("an ack with half a run", TO_PRODUCER, frame(ACK, ack(1, (0, 1)) + bytes(6)), [], error="size"),
    stream("an ack of 4097 runs", TO_PRODUCER, frame(ACK, size=8 + 12 * 4097), [], error="size"),
    stream("an error cut short by its size", TO_PRODUCER, frame(ERROR, fault(0)[:-1]), [], error="size"),
    stream("a message too long", TO_PRODUCER, frame(ERROR, fault(0, message=b"m" * 4097)), [], error="size"),
    stream("blocks from a consumer", FROM_CONSUMER, beat + frame(BLOCKS, first), [{"heartbeat": None}],
           error="unexpected"),
    stream("an end from a consumer", FROM_CONSUMER, end, [], error="unexpected"),
    stream("an end to a producer", TO_PRODUCER, end, [], error="unexpected"),
    stream("an ack from a producer", TO_SERVER, frame(ACK, ack(1, (0, 1))), [], error="unexpected"),
    stream("an error from a producer", TO_SERVER, frame(ERROR, fault(0)), [], error="unexpected"),
    stream("blocks to a producer", TO_PRODUCER, frame(BLOCKS, first), [], error="unexpected"),
    stream("an ack to a consumer", TO_CONSUMER, frame(ACK, ack(1, (0, 1))), [], error="unexpected"),
    stream("blocks after the end", TO_SERVER, end + frame(BLOCKS, first), [{"end": False}], error="after_last"),
    stream("a second end", TO_SERVER, end + end, [{"end": False}], error="after_last"),
    stream("a heartbeat after a server's end", TO_CONSUMER, end + frame(HEARTBEAT, bytes(16)), [{"end": False}],
           error="after_last"),
    stream("an ack after an error", TO_PRODUCER, frame(ERROR, fault(20)) + frame(ACK, ack(1, (0, 1))),
           [told("shutting_down")], error="after_last"),
    stream("no block in a frame of blocks", TO_SERVER, frame(BLOCKS, bytes(96)), [], error="block"),
    stream("a block of version 2", TO_SERVER, frame(BLOCKS, block(SOME, version=2)), [], error="block"),
    stream("a block too large", TO_SERVER, frame(BLOCKS, header(count=2, body_size=1 << 21, raw_size=1 << 21)), [],
           error="block"),
    stream("a record too large", TO_SERVER,
           frame(BLOCKS, header(count=1, body_size=(2 << 20) + 1, raw_size=(2 << 20) + 1)), [], error="block"),
    stream("a block longer than its frame", TO_SERVER, frame(BLOCKS, first, size=len(first) - 1), [], error="boundary"),
    stream("95 bytes behind a block", TO_SERVER, frame(BLOCKS, first + first[:95]), [ONE], error="boundary"),
    stream("over 16 MiB, and not one block", TO_SERVER, frame(BLOCKS, first, size=(16 << 20) + 1), [],
           error="boundary"),
    stream("a run of no records", TO_PRODUCER, frame(ACK, ack(0, (0, 0))), [], error="field"),
    stream("a run over the last position", TO_PRODUCER, frame(ACK, ack(1, (2**64 - 1, 1))), [], error="field"),
    stream("a count that is not the runs' sum", TO_PRODUCER, frame(ACK, ack(2, (0, 1))), [], error="field"),
    stream("a count that falls", TO_PRODUCER, frame(ACK, ack(2, (0, 2))) + frame(ACK, ack(1, (2, 1))),
           [acked(2, (0, 2))], error="field"),
    stream("ends the wrong way round", TO_CONSUMER, frame(HEARTBEAT, struct.pack(">QQ", 9, 3)), [], error="field"),
    stream("a code nobody knows", TO_PRODUCER, frame(ERROR, fault(999)), [], error="field"),
    stream("outcome 2", TO_PRODUCER, frame(ERROR, fault(18, outcome=2)), [], error="field"),
    stream("reserved byte of an error", TO_PRODUCER, frame(ERROR, fault(18, zero=1)), [], error="reserved"),
    stream("a message that is not UTF-8", TO_PRODUCER, frame(ERROR, fault(18, message=b"\xff")), [], error="text"),
])


def message(kind, *numbers, payload=b""):
    """A message of styx/0. Its numbers are int16 in an error, int32 in a record and int64 in an ack."""
    code = {1: "i", 2: "q", 4: "h"}.get(kind, "")
    return struct.pack(">h", kind) + b"".join(struct.pack(">" + code, n) for n in numbers) + payload


def put(payload):
    return message(1, len(payload), payload=payload)


# Recorded messages between a client and a server of 0.x.
RECORDED_RECORDS = bytes.fromhex("0001000000036f6e6500010000000374776f0001000000057468726565")
RECORDED_ACK = bytes.fromhex("000200000000000000030000000000000003")
WORDS = [b"one", b"two", b"three"]


def messages(name, data, expected, **fault):
    return vector(name, data, messages=[{"record": m.hex()} if isinstance(m, bytes) else m for m in expected], **fault)


write("styx0", f"Streams of styx/0, payloads of at most {BINARY_MAX} bytes: the messages, then the fault.", [
    messages("none", b"", []),
    messages("recorded: three records", RECORDED_RECORDS, WORDS),
    messages("recorded: their ack", RECORDED_ACK, [{"ack": [3, 3]}]),
    messages("every message", put(b"") + message(3) + message(2, 2**63 - 1, 1) + message(4, 0) + message(4, -1),
             [b"", {"heartbeat": None}, {"ack": [2**63 - 1, 1]}, {"error": 0}, {"error": -1}]),
    messages("longest", put(b"x" * BINARY_MAX), [b"x" * BINARY_MAX]),
    messages("cut in the type", put(b"one") + b"\0", [b"one"], error="cut"),
    messages("cut in the size", message(3) + put(b"one")[:5], [{"heartbeat": None}], error="cut"),
    messages("cut in the payload", put(b"one") + put(b"two")[:-1], [b"one"], error="cut"),
    messages("cut in an ack", RECORDED_ACK[:-1], [], error="cut"),
    messages("cut in an error", message(4, 0)[:-1], [], error="cut"),
    messages("type 0", message(0), [], error="type"),
    messages("type 5", put(b"one") + message(5), [b"one"], error="type"),
    messages("type -1", message(-1), [], error="type"),
    messages("size negative", message(1, -1), [], error="negative_size"),
    messages("size most negative", message(1, -2**31), [], error="negative_size"),
    messages("size over the limit", message(1, BINARY_MAX + 1), [], error="too_large"),
    messages("position negative", message(2, -1, 0), [], error="negative_ack"),
    messages("count negative", message(2, 0, -1), [], error="negative_ack"),
])


def checkpoint(name, text, **expected):
    return {"name": name, "text": text, **expected}


ID = "00112233445566778899aabbccddeeff"
write("checkpoint", "Checkpoints: what they say, or that they are none.", [
    checkpoint("at the beginning", f"{ID}:0", log_id=ID, position=0),
    checkpoint("last position", f"{ID}:{2**64 - 1}", log_id=ID, position=2**64 - 1),
    checkpoint("id of zeros", f"{'0' * 32}:7", log_id="0" * 32, position=7),
    *[checkpoint(name, text, error=True) for name, text in [
        ("empty", ""), ("no position", ID), ("empty position", f"{ID}:"), ("no id", ":7"), ("id short", f"{ID[1:]}:7"),
        ("id long", f"0{ID}:7"), ("id in upper case", f"{ID.upper()}:7"), ("no hex", f"{ID[:-1]}g:7"),
        ("negative", f"{ID}:-1"), ("sign", f"{ID}:+1"), ("leading zero", f"{ID}:07"), ("no number", f"{ID}:x"),
        ("over the last position", f"{ID}:{2**64}"), ("space before", f" {ID}:7"), ("line behind", f"{ID}:7\n"),
        ("more behind", f"{ID}:7:8"),
    ]],
])

write("producer", "What a producer sends for a batch in epoch 2 to a log that ends at 7: the block, or its codec.", [
    vector("one record", block([b"hello"], producer_id=9, producer_epoch=2), options={"producer_id": 9},
           payloads=hexes([b"hello"])),
    vector("some records", block(SOME, producer_id=9, producer_epoch=2), options={"producer_id": 9}, payloads=hexes(SOME)),
    vector("an empty record", block([b""], producer_id=9, producer_epoch=2), options={"producer_id": 9}, payloads=[""]),
    vector("the largest id", block([b"x"], producer_id=2**64 - 1, producer_epoch=2),
           options={"producer_id": str(2**64 - 1)}, payloads=hexes([b"x"])),
    vector("an import that continues", block([b"x"], producer_id=9, producer_epoch=2, sequence=5),
           options={"producer_id": 9}, next_sequence=5, payloads=hexes([b"x"])),
    vector("not idempotent", block(SOME), options={"idempotent": False}, payloads=hexes(SOME)),
    vector("expecting a position", block(SOME, flags=1, base_position=7, producer_id=9, producer_epoch=2),
           options={"producer_id": 9, "expected_position": 7}, payloads=hexes(SOME)),
    vector("too small to compress", block([b"x"], producer_id=9, producer_epoch=2),
           options={"producer_id": 9, "compression": "zstd"}, payloads=hexes([b"x"])),
    *[{"name": name, "codec": codec, "options": {"producer_id": 9, "compression": name}, "payloads": hexes([b"x" * 99] * 9)}
      for name, codec in [("lz4", LZ4), ("zstd", ZSTD)]],
], HERE.parent / "conformance" / "vectors")
