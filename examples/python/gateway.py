"""A small web service in front of a log: POST appends a record, GET streams records as
server-sent events.

Shows: the asyncio face in a web server. All requests share one client and one producer for each
log, so the appends of concurrent requests are committed together. Each reader has a consumer of
its own, which ends with its request.

    pip install aiohttp
    python examples/python/gateway.py --port 8080
    curl -d 'a book' http://localhost:8080/logs/orders
    curl -N http://localhost:8080/logs/orders

A browser reads the stream with `new EventSource(url)`. When its connection breaks, it sends the
id of the last event, and the stream continues after it.
"""

import argparse
import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.typedefs import Handler
from styx_client import Checkpoint, StyxError, aio

#: Seconds without a record after which a comment is sent, so that broken connections are noticed.
HEARTBEAT = 15.0
#: Larger bodies are answered 413. A record over the log's max_record_size (by default 1 MiB) would
#: end the producer that all requests share.
MAX_RECORD_BYTES = 256 * 1024

CLIENT = web.AppKey("CLIENT", aio.Client)
PRODUCERS = web.AppKey("PRODUCERS", dict[str, aio.Producer])


async def append(request: web.Request) -> web.Response:
    """Appends the body as one record. The answer means that the record is durable."""
    log, producers = request.match_info["log"], request.app[PRODUCERS]
    payload = await request.read()
    if log not in producers:
        producers[log] = request.app[CLIENT].producer(log)
    producer = producers[log]
    try:
        # Opens it once, even if several requests are the first ones.
        await producer.open()
        return web.json_response({"position": await producer.send(payload)})
    except StyxError:
        # An error ends the producer. The next request opens another one.
        if producers.get(log) is producer:
            del producers[log]
            with contextlib.suppress(StyxError):
                await producer.close()
        raise


async def stream(request: web.Request) -> web.StreamResponse:
    """Streams the log as server-sent events, from ?start= or after the last event."""
    start = request.headers.get("Last-Event-ID") or request.query.get("start", "end")
    consumer = request.app[CLIENT].consumer(request.match_info["log"], start=start, follow=True)
    async with consumer:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            while not consumer.ended:
                batch = await consumer.poll(timeout=HEARTBEAT)
                if batch is None:
                    await response.write(b": nothing new\n\n")
                    continue
                events = [event(record.payload, record.checkpoint) for record in batch]
                await response.write(b"".join(events))
        except StyxError as error:
            # It is too late for a status.
            await response.write(b"event: error\ndata: %s\n\n" % error.code.encode())
    return response


def event(payload: bytes, checkpoint: Checkpoint) -> bytes:
    """A record as a server-sent event. Its id says where to continue."""
    lines = b"".join(b"data: %s\n" % line for line in re.split(b"\r\n|\r|\n", payload))
    return b"id: %s\n%s\n" % (str(checkpoint).encode(), lines)


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers errors of the client with a fitting status and their code."""
    try:
        return await handler(request)
    except StyxError as error:
        body = {"code": error.code, "message": str(error)}
        return web.json_response(body, status=status_of(error))


def status_of(error: StyxError) -> int:
    """The classes of errors are also builtin ones, which say enough here."""
    if isinstance(error, ValueError):
        return 400
    if isinstance(error, LookupError):
        return 404
    return 503 if error.retriable else 500


async def connected(app: web.Application) -> AsyncIterator[None]:
    """Holds the client while the service runs. At its end, it waits for the last acks."""
    async with aio.Client() as client:
        app[CLIENT] = client
        app[PRODUCERS] = {}
        yield


def application() -> web.Application:
    """The service."""
    app = web.Application(middlewares=[errors], client_max_size=MAX_RECORD_BYTES)
    app.cleanup_ctx.append(connected)
    app.router.add_post("/logs/{log}", append)
    app.router.add_get("/logs/{log}", stream)
    return app


async def main() -> None:
    parser = argparse.ArgumentParser(description="Serve logs over HTTP.")
    parser.add_argument("--port", type=int, default=8080, help="0 for a free one (default: 8080)")
    arguments = parser.parse_args()
    # A reader that goes away cancels its handler, and so closes its consumer. At the end, the
    # streams are cancelled after a second.
    runner = web.AppRunner(application(), handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", arguments.port).start()
        host, port = runner.addresses[0][:2]
        print(f"listening on http://{host}:{port}", flush=True)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("stopped")
