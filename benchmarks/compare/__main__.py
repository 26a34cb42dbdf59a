"""Compares Styx with other systems that keep streams of records, on this machine, in turn.

    cargo build --release
    python3 benchmarks/compare                       # all peers; builds take long, once
    python3 benchmarks/compare --peer styx,nats      # only these
    python3 benchmarks/compare --prepare             # only downloads and builds
    python3 benchmarks/compare --peer styx --quick   # a tiny run that shows whether it works

Each peer runs alone, with its data below `target/compare`, first with fsync before each ack
(`durable`) and then with its defaults (`default`), if those differ. Its own load client measures
PRODUCE and CONSUME. One load generator, in Python, measures the latencies of all peers:

| column | what is measured |
|---|---|
| DELIVERY | one producer appends `--rate` records of 100 B a second, one consumer follows |
| CROWD | `--crowd` producers and as many consumers on `--streams` streams; `--crowd-rate` |
| | records a second in total, each delivered to all consumers of its stream |
| MEMORY | resident memory of the server: empty, after CONSUME, and with the crowd |

Latencies count from the time at which a record was due. If a record is not acked, or not delivered
to each consumer, there is no figure, and a note says so.
The limits of the machine are measured right before and right after each row. If one of them
changes by more than 20 %, the row is INVALID: do not quote it. The exit code is then 1.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import limits
import swarm
from peers import NOT_PUBLISHED, PEERS
from peers.base import Peer, Setting, Unavailable
from report import Report, Row
from running import Failed, Running
from wire import ConsumerWire, ProducerWire

ROOT = Path(__file__).resolve().parents[2]
SIZE = 100
#: Seconds, producers and streams of a quick run.
QUICK = (0.2, 20, 2)
#: Descriptors that are not connections of the crowd.
DESCRIPTORS_SPARE = 100


def main() -> int:
    given = _arguments()
    folder = ROOT / "target" / "compare"
    folder.mkdir(parents=True, exist_ok=True)
    # Servers inherit it.
    swarm.raise_descriptor_limit()
    report = Report([], {}, {k: v for k, v in vars(given).items() if k not in ("json", "prepare")})
    for name in given.peer:
        if name in NOT_PUBLISHED:
            report.skipped[name] = NOT_PUBLISHED[name]
            continue
        peer = PEERS[name](folder / name)
        peer.folder.mkdir(exist_ok=True)
        _tell(f"{name}: prepare")
        try:
            peer.prepare()
        except Unavailable as error:
            report.skipped[name] = str(error)
            continue
        if not given.prepare:
            chosen = [s for s in peer.settings if s.name in given.setting]
            report.rows += [_measure(peer, setting, given, folder) for setting in chosen]
    print(report.to_json() if given.json else report.to_text())
    return 0 if report.is_valid() or (report.is_quick() and not report.has_failed()) else 1


def _arguments() -> argparse.Namespace:
    def names(text: str) -> list[str]:
        found = text.split(",")
        known = [*PEERS, *NOT_PUBLISHED]
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
        return found

    def sizes(text: str) -> list[int]:
        return [int(size) for size in text.split(",")]

    parser = argparse.ArgumentParser(
        prog="benchmarks/compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--peer", type=names, default=[*PEERS, *NOT_PUBLISHED], help="default: all", metavar="A,B")
    add("--setting", type=lambda text: text.split(","), default=["durable", "default"])
    add("--size", type=sizes, default=[100, 1000], help="of PRODUCE and CONSUME; 100,1000")
    add("--seconds", type=float, default=5, help="of each measurement; 5")
    add("--rate", type=float, default=1000, help="records a second of DELIVERY; 1000")
    add("--crowd", type=int, default=5000, help="producers, and consumers; 0 leaves it out; 5000")
    add("--streams", type=int, default=50, help="streams of the crowd; 50")
    add("--crowd-rate", type=float, default=100, help="records a second of the crowd; 100")
    add("--quick", action="store_true", help="a tiny run: only to see whether it works")
    add("--prepare", action="store_true", help="only download and build")
    add("--json", action="store_true")
    given = parser.parse_args()
    if given.quick:
        given.seconds, given.crowd, given.streams = QUICK
    return given


def _measure(peer: Peer, setting: Setting, given: argparse.Namespace, folder: Path) -> Row:
    time = min(given.seconds / 30, 0.13)
    before = limits.measure(folder, time)
    row = Row(peer.name, peer.version, setting.name, setting.meaning, peer.client, before)
    try:
        for size in given.size:
            with _server(peer, setting, folder) as server:
                _tell(f"{peer.name}, {setting.name}: {size} B")
                row.memory_idle = row.memory_idle or server.memory_bytes()
                rates = peer.rates(server, size, given.seconds, given.quick)
                row.produce[size], row.consume[size] = rates.produce, rates.consume
                row.notes += [rates.note] if rates.note and rates.note not in row.notes else []
                row.distrust = row.distrust or rates.invalid
                row.memory_loaded = max(row.memory_loaded, server.memory_bytes())
        if peer.producer(0) is None:
            row.notes.append("latencies are not measured: its protocol is not implemented here")
        else:
            _paced(peer, setting, row, given, folder)
            _crowd(peer, setting, row, given, folder)
    except (Failed, OSError) as error:
        row.failure = str(error)
    row.after = limits.measure(folder, time)
    return row


def _paced(
    peer: Peer, setting: Setting, row: Row, given: argparse.Namespace, folder: Path
) -> None:
    _tell(f"{row.peer}, {row.setting}: delivery at {given.rate:.0f} records/s")
    with _server(peer, setting, folder) as server:
        peer.create_streams(server, 1)
        with swarm.Swarm(server.port, *_wires(peer, 1, 1)) as load:
            try:
                row.paced = load.deliver(given.rate, given.seconds, SIZE, 1, given.seconds)
            except swarm.Overloaded as error:
                row.notes.append(f"DELIVERY at {given.rate:.0f} records/s: {error}")


def _crowd(
    peer: Peer, setting: Setting, row: Row, given: argparse.Namespace, folder: Path
) -> None:
    crowd = min(given.crowd, (swarm.descriptor_limit() - DESCRIPTORS_SPARE) // 2)
    if crowd < given.crowd:
        row.notes.append(f"the crowd is limited to {crowd} by the number of open files")
    streams = max(min(given.streams, crowd), 1)
    copies = crowd // streams
    if copies == 0:
        return
    # A multiple of the streams, so that each has as many consumers.
    crowd = copies * streams
    _tell(f"{row.peer}, {row.setting}: {crowd} producers and {crowd} consumers")
    with _server(peer, setting, folder) as server:
        peer.create_streams(server, streams)
        with swarm.Swarm(server.port, *_wires(peer, crowd, streams)) as load:
            seconds = given.seconds
            try:
                row.crowd = load.deliver(given.crowd_rate, seconds, SIZE, copies, seconds)
            except swarm.Overloaded as error:
                row.notes.append(f"CROWD at {given.crowd_rate:.0f} records/s: {error}")
            row.memory_crowd = server.memory_bytes()


def _wires(peer: Peer, count: int, streams: int) -> tuple[list[ProducerWire], list[ConsumerWire]]:
    """As many producers and consumers, on streams in turn."""
    producers = [peer.producer(number % streams) for number in range(count)]
    consumers = [peer.consumer(number % streams) for number in range(count)]
    return [wire for wire in producers if wire], [wire for wire in consumers if wire]


@contextlib.contextmanager
def _server(peer: Peer, setting: Setting, folder: Path) -> Iterator[Running]:
    """A server with a new data directory, which is removed when the block ends."""
    with (
        tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as data,
        peer.start(setting.name, Path(data)) as server,
    ):
        yield server


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
