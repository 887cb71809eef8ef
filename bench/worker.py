"""What a worker costs, without the gateway: mode fork beside mode persistent, memory of a copy, and memory after many
requests of each kind (`make bench-worker`).

Requests go over one connection after another (mode fork) or one that is kept, one at a time. Both workers run all the time and
are asked in turn, so that what else the machine does falls on both alike. FastAPI is measured where the interpreter has it.
"""

import argparse
import contextlib
import importlib.util
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/support"))

import record  # noqa: E402
from fcgi_client import KEEP_CONN, cgi_params, request  # noqa: E402
from measure import rollup  # noqa: E402
from worker import WORKER_DIR, Worker  # noqa: E402

HELLO = """
    import os, time
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        if environ["PATH_INFO"] == "/pid":
            return pid()
        return [b"hello"]
    def pid():
        yield b"%d" % os.getpid()
        time.sleep(60)
"""

ASGI = """
    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"hello"})
"""

# /, and what tells its process: JSON as the hello of the other benches answers it; the same by a function that is not async,
# for which a thread is made; and a stream. A copy of each is held when its answer is complete, or in the middle of the stream.
FASTAPI = """
    import asyncio, os
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse
    class Held:
        def __init__(self, app):
            self.app = app
        async def __call__(self, scope, receive, send):
            await self.app(scope, receive, send)
            if scope["type"] == "http" and scope["path"] != "/":
                await asyncio.sleep(60)
    app = FastAPI()
    app.add_middleware(Held)
    @app.get("/")
    def hello():
        return {"hello": "world"}
    @app.get("/pid")
    async def pid():
        return os.getpid()
    @app.get("/thread")
    def thread():
        return os.getpid()
    @app.get("/stream")
    async def stream():
        async def body():
            yield b"%d" % os.getpid()
            await asyncio.sleep(60)
        return StreamingResponse(body())
"""

SCRIPT = 'print("Content-Type: text/plain\\n\\nhello")\n'

# name: source, options, most ms that mode fork may add (or, with `alone`, take), most MB private per copy (of /pid), other paths whose
# copies are looked at, and whether a bare fork is, too: what that takes is what a copy would if nothing were done about it.
FORKED = {
    "hello": (HELLO, [], 1.0, False, 2.0, [], False),
    "fastapi": (FASTAPI, ["--kind", "asgi"], 10.0, True, 3.0, ["/thread", "/stream"], True),
}
COPIES = 5  # that are looked at, of each path
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

# name: source of main.py, APP, options
KINDS = {
    "wsgi": (HELLO, "main:app", []),
    "wsgi fork": (HELLO, "main:app", ["--mode", "fork"]),
    "asgi": (ASGI, "main:app", ["--lifespan", "off"]),
    "cgi": (SCRIPT, "main.py", ["--kind", "cgi", "--mode", "persistent"]),
    "cgi fork": (SCRIPT, "main.py", ["--kind", "cgi"]),
    "files": (HELLO, ".", ["--kind", "files", "--mode", "persistent"]),
    "files fork": (HELLO, ".", ["--kind", "files"]),
}


@contextlib.contextmanager
def worker(source, app, options):
    with tempfile.TemporaryDirectory() as directory:
        started = Worker(directory, source, app, options)
        try:
            yield started.ready()
        finally:
            started.end()


def ask(started, keep=None):
    """Milliseconds of one request, on a connection of its own or on one that is kept."""
    message = request(cgi_params(SCRIPT_FILENAME=str(started.directory / "main.py")), flags=KEEP_CONN if keep else 0)
    begun = time.perf_counter()
    connection = keep or started.connect()
    connection.send(message)
    answer = connection.read_answer()
    took = time.perf_counter() - begun
    assert answer.status == "200 OK", answer.stdout
    if not keep:
        assert connection.at_end()
        connection.close()
    return took * 1000


def private(started, path):
    """MB that only one copy has, while it is held: what it has written to, and the rest."""
    with started.connect() as connection:
        connection.send(request(cgi_params(path=path), flags=0))
        body = b""
        while not body:
            body = connection.read_record()[2].partition(b"\r\n\r\n")[2]
        time.sleep(0.05)  # until it is
        pid = int(body)
        fields = rollup(pid)
        os.kill(pid, signal.SIGKILL)  # it would stay in one of the places for copies
    return {"dirty": fields["Private_Dirty"] / 1024, "clean": fields["Private_Clean"] / 1024}


def bare_fork(directory):
    """MB private in a fork that calls the same app without a server."""
    command = [sys.executable, ROOT / "bench/bare_fork.py", WORKER_DIR]
    return float(subprocess.run(command, cwd=directory, env=ENVIRON, capture_output=True, text=True, check=True, timeout=60).stdout)


def fork_beside_persistent(name, rounds):
    """The figures of mode fork."""
    source, options, most_ms, alone, most_mb, others, compare = FORKED[name]
    took = {"persistent": [], "fork": []}
    with contextlib.ExitStack() as stack:
        kept = stack.enter_context(worker(source, "main:app", [*options, "--mode", "persistent"]))
        forked = stack.enter_context(worker(source, "main:app", [*options, "--mode", "fork"]))
        connection = stack.enter_context(kept.connect())
        for number in range(rounds):
            took["persistent"].append(ask(kept, connection))
            took["fork"].append(ask(forked))
            if number == rounds // 10:  # until here both only warmed up
                took["persistent"].clear()
                took["fork"].clear()
        copies, bare = {path: [] for path in ["/pid", *others]}, []
        for _ in range(COPIES):
            for path, found in copies.items():
                found.append(private(forked, path))
            bare += [bare_fork(forked.directory)] if compare else []
    medians = {mode: statistics.median(times) for mode, times in took.items()}
    more = medians["fork"] - (0 if alone else medians["persistent"])
    beside = {path: statistics.median(sum(parts.values()) for parts in found) for path, found in copies.items()}
    beside |= {"bare fork": statistics.median(bare)} if bare else {}
    mb = beside.pop("/pid")
    beside = ", ".join(f"{path}: {value:.2f}" for path, value in beside.items())
    print(f"mode fork, {name}: {medians['fork']:.2f} ms a request, persistent {medians['persistent']:.2f}"
          f" ({'' if alone else 'difference '}{more:.2f}, promised {most_ms}); private per copy {mb:.2f} MB, promised {most_mb}"
          f"{f' ({beside})' if beside else ''}{'' if more <= most_ms and mb <= most_mb else '   BROKEN'}")
    return [{"what": f"mode fork, {name}: ms a request" + ("" if alone else " more than persistent"), "value": more, "most": most_ms,
             "samples": took},
            {"what": f"mode fork, {name}: MB private per copy" + (f" that answers an async def ({beside})" if beside else ""), "value": mb, "most": most_mb,
             "samples": {"copies": copies, "bare fork": bare}}]


def memory_after(name, count):
    """How much the memory of a worker grows."""
    source, app, options = KINDS[name]
    with worker(source, app, options) as started:
        keep = None if "fork" in name else started.connect()
        for _ in range(count // 20):
            ask(started, keep)
        before = started.memory()
        for _ in range(count):
            ask(started, keep)
        grown = started.memory() - before
        if keep:
            keep.close()
    holds = grown <= 200_000
    print(f"memory, {name}: {grown / 1000:+.0f} KB after {count} requests{'' if holds else '   BROKEN'}", flush=True)
    return [{"what": f"memory, {name}: KB more after {count:,} requests", "value": grown / 1000, "most": 200, "samples": {}}]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=1000, help="requests of each mode")
    parser.add_argument("--requests", type=int, default=100_000, help="for the memory of each kind; 0: leave it out")
    options = parser.parse_args()
    found = []
    for name in FORKED:
        if name == "hello" or importlib.util.find_spec(name):
            found += fork_beside_persistent(name, options.rounds)
    for name in KINDS if options.requests else ():
        found += memory_after(name, options.requests)
    return record.keep_figures("worker", found)


if __name__ == "__main__":
    sys.exit(main())
