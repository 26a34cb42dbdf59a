"""Memory stays flat, however many records pass through.

Set STYX_SOAK_RECORDS=20000000 for a soak. A leak of one small object for each record
also shows with the default number.
"""

from __future__ import annotations

import os

import pytest
from programs import check_quiet, run
from styx_client.testing import Server

RECORDS = int(os.environ.get("STYX_SOAK_RECORDS", "200000"))
#: Growth after the first fifth of the records. 32 bytes a record would be 5.1 MB of the default.
GROWTH_BYTES_MAX = 4_000_000

PROGRAM = """
import gc
RECORDS = {records}

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

sizes = []
def passed(count):
    if count * 5 // RECORDS > len(sizes):
        sizes.append(resident())

{body}
print(sizes[-1] - sizes[0], *sizes)
"""

SYNC = """
part = [bytes(100)] * 1000
with styx_client.Client(address) as client:
    client.create_log("memory", log_max_count=100_000, segment_max_count=50_000)
    consumer = client.consumer("memory", start="end", follow=True)
    with client.producer("memory") as producer:
        for number in range(RECORDS // 2000):
            acks = [producer.append(payload) for payload in part]
            acks.append(producer.append_many(part))
            position = acks[-1].result() + 1000
            for record in consumer:
                if record.position % 1000 == 0:
                    batch = consumer.poll()
                    batch.payloads(), memoryview(batch), batch.index, batch[:3], record.checkpoint
                if consumer.position == position:
                    break
            passed(number * 2000 + 2000)
    consumer.close()
"""

ASYNC = """
part = [bytes(100)] * 1000
async def main():
    async with aio.Client(address) as client:
        await client.create_log("memory", log_max_count=100_000, segment_max_count=50_000)
        consumer = client.consumer("memory", start="end", follow=True)
        async with consumer, client.producer("memory") as producer:
            for number in range(RECORDS // 2000):
                futures = [producer.send(payload) for payload in part]
                ack = await producer.append_many(part)
                position = await ack + 1000
                await asyncio.gather(*futures)
                async for batch in consumer.batches():
                    for record in batch:
                        pass
                    try:
                        async with asyncio.timeout(0):
                            await consumer.poll()
                    except TimeoutError:
                        pass
                    if consumer.position == position:
                        break
                passed(number * 2000 + 2000)
asyncio.run(main())
"""


@pytest.mark.timeout(60 if RECORDS < 1_000_000 else 3600)
@pytest.mark.parametrize("body", [SYNC, ASYNC], ids=["sync", "aio"])
def test_memory_is_flat(styx_server: Server, body: str) -> None:
    ended = run(
        PROGRAM.format(records=RECORDS, body=body),
        styx_server.address,
        seconds=50 if RECORDS < 1_000_000 else 3500,
    )
    check_quiet(ended)
    growth = int(ended.output.split()[0])
    print(f"{RECORDS} records: grown by {growth} bytes, sizes {ended.output}")
    assert growth < GROWTH_BYTES_MAX, ended.output
