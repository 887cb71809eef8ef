"""Mode fork, kind asgi: what the libraries below an app do at their first requests is done before the copies are made.

Each copy serves one request, so everything is a first time for it: it fills caches, and the interpreter adapts the bytecode of
what it runs, page by page memory that it would else share. Here asyncio, anyio and Starlette run a few times without the app, for
a loop that is closed afterwards; nobody is sent anything. And what FastAPI finds out about an endpoint when it is first called (it
reads the source, to name file and line in errors) is found out.
"""

import asyncio
import gc
import sys
import time

from pyworker.asgi import SHUTDOWN, STARTUP, Lifespan, cancel

ROUNDS = 10  # CPython 3.11 adapts a function when it has run eight times
PATIENCE = 1  # seconds, for one round
LOOK_UP = 0.1  # seconds, for all endpoints
SCOPE = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "method": "GET", "path": "/", "headers": []}


async def started(scope, receive, send):
    """An app that has nothing but a lifespan."""
    for event in STARTUP, SHUTDOWN:
        await receive()
        await send({"type": event + ".complete"})


async def answer():
    """What Starlette does with the answer of an endpoint, JSON and a stream."""
    responses = sys.modules.get("starlette.responses")
    if responses is None or "anyio" not in sys.modules:
        return
    left = asyncio.get_running_loop().create_future()

    async def receive():
        await left

    async def send(message):
        pass

    async def body():
        yield b""

    await responses.JSONResponse({})(SCOPE, receive, send)
    await responses.StreamingResponse(body())(SCOPE, receive, send)


def run_rounds(loop):
    for _ in range(ROUNDS):
        life = Lifespan(None, started, "on")
        loop.run_until_complete(life.startup())
        task = loop.create_task(answer())
        watch = loop.call_later(PATIENCE, task.cancel)
        loop.run_until_complete(task)
        watch.cancel()
        loop.run_until_complete(life.shutdown())


def with_subclasses(kind):
    return {kind}.union(*map(with_subclasses, kind.__subclasses__()))


def know_endpoints():
    """FastAPI's own look at the endpoints, as long as it does not take too long; what is left is done in the copies."""
    routing = sys.modules.get("fastapi.routing")
    if not hasattr(routing, "_extract_endpoint_context"):
        return
    import linecache

    kinds = with_subclasses(routing.APIRoute)
    lines = dict(linecache.cache)
    end = time.monotonic() + LOOK_UP
    try:
        for route in gc.get_referrers(*kinds):  # which takes a tenth of the time of a look at each of gc.get_objects()
            if type(route) in kinds and time.monotonic() < end and route.dependant.call is not None:
                routing._extract_endpoint_context(route.dependant.call)
    finally:
        linecache.cache.clear()  # of the sources
        linecache.cache.update(lines)


def run_libraries():
    loop = asyncio.SelectorEventLoop()
    try:
        run_rounds(loop)
    finally:
        cancel(loop, asyncio.all_tasks(loop))
        loop.close()


def rehearse():
    """It only spares something: what does not work in another release of a library, or with what the app has made of it, is left."""
    if sys.version_info < (3, 12):
        sys._clear_type_cache()  # else what comes in drives out what the import has left there, a page for each name
    for part in know_endpoints, run_libraries:
        try:
            part()
        except (Exception, asyncio.CancelledError):
            pass
