"""A forked child: inherited objects raise ForkedError, may be dropped, and delay no exit."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable

import children
import pytest
from programs import check_quiet, run
from styx_client import Client, RecordBatch
from styx_client.testing import Server

OPEN = """
import gc, logging, multiprocessing
client = styx_client.Client(address)
client.create_log("fork", exist_ok=True)
producer = client.producer("fork")
consumer = client.consumer("fork", follow=True, cursor="a")
producer.send(b"parent")
batch = consumer.poll(20)
ack = producer.append(b"pending")
commit = consumer.commit()

def wait_for(pid):
    end = time.monotonic() + 10
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return "the child hangs"
        time.sleep(0.002)
"""


def test_inherited_objects_raise_forked_error(styx_server: Server) -> None:
    program = (
        OPEN
        + """
# The child inherits a block with a record, to which it must add none.
begun = client.producer("fork", linger=10)
begun.append(b"of the parent")
calls = {
    "append to a block": lambda: begun.append(b"child"),
    "append_many to a block": lambda: begun.append_many([b"child"]),
    "list_logs": lambda: client.list_logs(),
    "check": lambda: client.check(),
    "producer": lambda: client.producer("fork"),
    "consumer": lambda: client.consumer("fork"),
    "append": lambda: producer.append(b"child"),
    "append_many": lambda: producer.append_many([b"child"]),
    "send": lambda: producer.send(b"child"),
    "flush": lambda: producer.flush(),
    "close": lambda: producer.close(),
    "poll": lambda: consumer.poll(1),
    "records": lambda: next(iter(consumer)),
    "seek": lambda: consumer.seek(0),
    "commit": lambda: consumer.commit(),
}
pid = os.fork()
if pid == 0:
    for name, call in calls.items():
        try:
            call()
        except styx_client.ForkedError as error:
            assert isinstance(error, RuntimeError)
            assert not error.retriable
        else:
            print(name, "raises nothing")
    print("checked")
    sys.exit(0)
print(wait_for(pid))
assert producer.send(b"parent again") == 2
assert [record.payload for record in batch] == [b"parent"]
client.close()
with styx_client.Client(address) as client:
    print([record.payload for record in client.consumer("fork")])
"""
    )
    ended = run(program, styx_server.address)
    check_quiet(ended)
    stored = [b"parent", b"pending", b"parent again", b"of the parent"]
    assert ended.output == f"checked\n0\n{stored}\n"


def test_a_child_can_drop_inherited_objects_and_use_its_own(
    styx_server: Server,
) -> None:
    program = (
        OPEN
        + """
pid = os.fork()
if pid == 0:
    assert batch.payloads() == [b"parent"]
    view = memoryview(batch)
    repr(client), repr(producer), repr(consumer), repr(ack), client.stats()
    del client, producer, consumer, ack, commit, batch
    gc.collect()
    with styx_client.Client(address) as own:
        with own.producer("fork") as producer:
            producer.send(b"child")
        assert len(list(own.consumer("fork"))) >= 2
    sys.exit(0)
print(wait_for(pid))
client.close()
print(styx_client.Client(address).get_log("fork").record_count)
"""
    )
    ended = run(program, styx_server.address)
    check_quiet(ended)
    assert ended.output == "0\n3\n"


@pytest.mark.parametrize(
    "how",
    [
        "sys.exit(0)",
        "os._exit(0)",
        "del client, producer, consumer, ack, commit; sys.exit(0)",
    ],
    ids=["exit", "_exit", "drop"],
)
def test_children_of_a_busy_parent_never_hang(styx_server: Server, how: str) -> None:
    program = (
        OPEN
        + f"""
stop = threading.Event()
def write():
    while not stop.is_set():
        producer.append_many([bytes(100)] * 50)
thread = threading.Thread(target=write)
thread.start()
codes = set()
for _ in range(10):
    pid = os.fork()
    if pid == 0:
        {how}
    codes.add(wait_for(pid))
stop.set()
thread.join()
client.close()
print(codes)
"""
    )
    ended = run(program, styx_server.address)
    check_quiet(ended)
    assert ended.output == "{0}\n"


def test_a_child_leaves_a_with_block_of_its_parent(styx_server: Server) -> None:
    program = """
    with styx_client.Client(address) as client:
        client.create_log("fork")
        with client.producer("fork") as producer:
            producer.append(b"parent")
            pid = os.fork()
            if pid == 0:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                raise SystemExit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    ended = run(program, styx_server.address)
    check_quiet(ended)
    assert ended.output == "7\n"


def test_an_inherited_asyncio_client_raises_and_delays_no_exit(
    styx_server: Server,
) -> None:
    program = """
    async def main():
        async with aio.Client(address) as client:
            await client.create_log("fork")
            async with client.producer("fork") as producer:
                await producer.send(b"parent")
                pid = os.fork()
                if pid == 0:
                    code = 1
                    try:
                        client._opened().list_logs().wait()
                    except styx_client.ForkedError:
                        code = 0
                    try:
                        await producer.append(b"child")
                    except styx_client.ForkedError:
                        pass
                    else:
                        code = 2
                    os._exit(code)
                print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                print(await producer.send(b"parent again"))
    asyncio.run(main())
    """
    ended = run(program, styx_server.address)
    check_quiet(ended)
    assert ended.output == "0\n1\n"


def test_multiprocessing_with_fork(styx_server: Server) -> None:
    program = (
        OPEN
        + """
def work(number):
    with styx_client.Client(address) as own, own.producer("fork") as producer:
        return producer.send(b"%d" % number)
with multiprocessing.get_context("fork").Pool(3) as pool:
    print(sorted(pool.map(work, range(9))))
client.close()
"""
    )
    ended = run(program, styx_server.address)
    check_quiet(ended)
    assert ended.output == f"{list(range(2, 11))}\n"


def test_multiprocessing_with_spawn(server: Server, log: str) -> None:
    with Client(server.address) as client, client.producer(log) as producer:
        producer.send(b"parent")
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            positions = pool.starmap(children.send, [(server.address, log)] * 4)
            batch = pool.apply(children.first_batch, (server.address, log))
        assert sorted(positions) == [1, 2, 3, 4]
        assert isinstance(batch, RecordBatch)
        assert batch.payloads() == [b"parent", *[b"child"] * 4]


def test_connections_cannot_be_pickled(server: Server, log: str) -> None:
    with Client(server.address) as client:
        producer, consumer = client.producer(log), client.consumer(log)
        made: list[Callable[[], object]] = [
            lambda: client,
            lambda: producer,
            lambda: consumer,
            lambda: producer.append(b"a"),
        ]
        for make in made:
            with pytest.raises(TypeError, match="cannot pickle"):
                pickle.dumps(make())
