"""An interpreter that exits with open clients: within 2 s, without noise, with its acks."""

from __future__ import annotations

import pytest
from programs import check_quiet, run
from styx_client import Client
from styx_client.testing import Server
from waiting import STALL_SECONDS

#: The longest that an exit may take.
EXIT_SECONDS = 2.0

SYNC = """
client = styx_client.Client(address)
producer = client.producer("exit", linger=0.1)
consumer = client.consumer("exit", follow=True)
acks = [producer.append(b"%d" % n) for n in range(1000)]
print("appended")
"""

ASYNC = """
async def main():
    global client, producer, futures, began
    client = await aio.Client(address).connect()
    producer = await client.producer("exit", linger=0.1).open()
    consumer = await client.consumer("exit", follow=True).open()
    futures = [producer.send(b"%d" % n) for n in range(1000)]
    print("appended")
asyncio.run(main())
"""

#: All objects of a client share the time of an exit.
SYNC_MANY = """
client = styx_client.Client(address)
producers = [client.producer("exit", linger=0.1) for _ in range(3)]
producers[0].send(b"first")
consumers = [client.consumer("exit", cursor=name) for name in ("a", "b", "c")]
records = [next(iter(consumer)) for consumer in consumers]
acks = [producer.append(b"lost") for producer in producers]
print("appended")
commits = [consumer.commit() for consumer in consumers]
"""

ASYNC_MANY = """
async def main():
    global client, producers, consumers, futures, commits, began
    client = await aio.Client(address).connect()
    producers = [await client.producer("exit", linger=0.1).open() for _ in range(3)]
    await producers[0].send(b"first")
    consumers = [await client.consumer("exit", cursor=name).open() for name in ("a", "b", "c")]
    for consumer in consumers:
        await anext(aiter(consumer))
    futures = [producer.send(b"lost") for producer in producers]
    print("appended")
    commits = [consumer.commit() for consumer in consumers]
asyncio.run(main())
"""

PAUSED = """
client = styx_client.Client(address)
producer = client.producer("exit")
producer.send(b"before")
print("paused", flush=True)
time.sleep(0.2)
"""


def prepare(server: Server) -> Client:
    client = Client(server.address)
    client.create_log("exit")
    return client


@pytest.mark.parametrize("program", [SYNC, ASYNC], ids=["sync", "aio"])
def test_acks_that_nobody_waits_for_arrive_at_exit(styx_server: Server, program: str) -> None:
    with prepare(styx_server) as client:
        ended = run(program, styx_server.address)
        check_quiet(ended)
        assert ended.output == "appended\n"
        assert ended.seconds < EXIT_SECONDS + STALL_SECONDS
        assert client.get_log("exit").record_count == 1000


@pytest.mark.parametrize(
    "program",
    [SYNC, ASYNC, SYNC_MANY, ASYNC_MANY],
    ids=["sync", "aio", "sync_many", "aio_many"],
)
def test_an_exit_while_the_server_is_paused_takes_at_most_two_seconds(
    styx_server: Server, program: str
) -> None:
    with prepare(styx_server):
        # The program pauses the server once its records are on their way.
        ended = run(
            program.replace(
                'print("appended")',
                f"os.kill({styx_server.pid}, signal.SIGSTOP); began = time.monotonic()",
            )
            + "import atexit\n"
            + "atexit._run_exitfuncs()\n"
            + "print(time.monotonic() - began)\n",
            styx_server.address,
        )
        styx_server.resume()
        assert ended.code == 0
        assert float(ended.output) < EXIT_SECONDS
        assert "Traceback" not in ended.errors
        assert ended.seconds < EXIT_SECONDS + STALL_SECONDS


@pytest.mark.parametrize(
    "program",
    [
        "client = styx_client.Client(address)",
        "client = styx_client.Client(address); client.close()",
        "client = styx_client.Client(address)\nfor record in client.consumer('exit'): pass",
        """
        client = styx_client.Client(address)
        consumer = client.consumer("exit", follow=True)
        threading.Thread(target=lambda: list(consumer), daemon=True).start()
        """,
        """
        client = styx_client.Client(address)
        producer = client.producer("exit")
        producer.append(b"a")
        del producer, client
        sys.modules.clear()
        """,
        """
        async def main():
            async with aio.Client(address) as client:
                async with client.producer("exit") as producer:
                    await producer.send(b"a")
        asyncio.run(main())
        """,
    ],
    ids=["open", "closed", "iterated", "daemon thread", "dropped", "aio"],
)
def test_an_exit_is_quiet(styx_server: Server, program: str) -> None:
    with prepare(styx_server):
        ended = run(program, styx_server.address)
        if "del producer" in program:
            assert ended.code == 0
            assert "ResourceWarning: the producer of exit was not closed" in ended.errors or (
                ended.errors == ""
            )
        else:
            check_quiet(ended)
        assert ended.seconds < EXIT_SECONDS + STALL_SECONDS


def test_a_non_daemon_thread_can_finish_its_work(styx_server: Server) -> None:
    program = """
    client = styx_client.Client(address)
    producer = client.producer("exit")
    def work():
        for n in range(200):
            producer.send(b"%d" % n)
    threading.Thread(target=work).start()
    """
    with prepare(styx_server) as client:
        check_quiet(run(program, styx_server.address))
        assert client.get_log("exit").record_count == 200


def test_an_unhandled_exception_exits_with_its_traceback(styx_server: Server) -> None:
    program = """
    with styx_client.Client(address) as client:
        with client.producer("exit") as producer:
            producer.append(b"a")
            raise ValueError("of the program")
    """
    with prepare(styx_server) as client:
        ended = run(program, styx_server.address)
        assert ended.code == 1
        assert ended.errors.splitlines()[-1] == "ValueError: of the program"
        assert client.get_log("exit").record_count == 1


def test_ctrl_c_in_a_with_block_does_not_wait_for_acks(styx_server: Server) -> None:
    program = f"""
    began = 0.0
    try:
        with styx_client.Client(address) as client, client.producer("exit") as producer:
            producer.send(b"before")
            os.kill({styx_server.pid}, signal.SIGSTOP)
            producer.append(b"lost")
            began = time.monotonic()
            raise KeyboardInterrupt
    except KeyboardInterrupt as error:
        print(time.monotonic() - began)
        print(error.__notes__)
    """
    with prepare(styx_server):
        ended = run(program, styx_server.address)
        styx_server.resume()
        seconds, notes = ended.output.splitlines()
        assert ended.code == 0, ended
        assert float(seconds) < 1.0
        assert "while closing: TimedOutError" in notes
