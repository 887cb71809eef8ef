"""What a copy of a Python process takes without any server: imports main:app from the current directory, forks, and lets the
child call the ASGI app once on a new loop. Prints the private memory of the child in the middle of the answer, in MB.

A page of the parent becomes the child's own as soon as anything on it changes, be it a reference count. This is what that comes to
where nothing is done about it but that the modules which a first request would import are there before the fork. What a
worker's mode fork takes is less by what it does: see pyworker/README.md, "Mode fork"."""

import asyncio
import gc
import os
import sys

sys.path[:0] = ["", sys.argv[1]]  # the directory of the package pyworker
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/support"))

from main import app  # noqa: E402
from measure import rollup  # noqa: E402
from pyworker.zygote import import_first_use  # noqa: E402


async def lifespan(loop, asked):
    """The app's startup, as a server that understands the protocol asks for it."""
    told = loop.create_future()

    async def receive():
        return await asked.get()

    async def send(message):
        told.set_result(message)

    asked.put_nowait({"type": "lifespan.startup"})
    task = loop.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send))
    await told
    return task


async def ask():
    loop = asyncio.get_running_loop()
    asked = asyncio.Queue()
    task = await lifespan(loop, asked)

    async def receive():
        await asyncio.sleep(60)

    async def send(message):
        if message.get("body"):
            fields = rollup("self")
            print((fields["Private_Dirty"] + fields["Private_Clean"]) / 1024, flush=True)
            os._exit(0)

    path = {"path": "/pid", "raw_path": b"/pid", "root_path": "", "query_string": b""}
    await app({"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", **path,
               "headers": [(b"host", b"localhost")], "client": None, "server": ("localhost", 80), "state": {}}, receive, send)
    raise SystemExit("%r has ended without a body" % task)


import_first_use()
gc.collect()
gc.freeze()
child = os.fork()
if child == 0:
    asyncio.run(ask())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
