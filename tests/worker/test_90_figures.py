"""What a worker may cost: memory, descriptors, system calls."""

import os
import shutil
import statistics
import subprocess
import time
from collections import Counter

import pytest

from fcgi_client import cgi_params, request
from measure import rollup, switches
from worker import PYTHON, HELLO, Worker, eventually

pytestmark = pytest.mark.release


def many(worker, count, message):
    with worker.connect() as connection:
        for _ in range(count):
            connection.send(message)
            connection.read_answer()


def test_ten_thousand_requests_leave_nothing(serve):
    worker = serve("""
        def app(environ, start_response):
            body = environ["wsgi.input"].read()
            write = start_response("200 OK", [("Content-Type", "text/plain"), ("X-Length", str(len(body)))])
            if environ["PATH_INFO"] == "/fail":
                raise ValueError
            if environ["PATH_INFO"] == "/write":
                write(body)
            return [body] if environ["PATH_INFO"] == "/list" else (piece for piece in (body, b"more"))
    """)
    paths = ("/list", "/iterator", "/write", "/fail")
    messages = [request(cgi_params("POST", path, b"b" * 2000, HTTP_X_UNIQUE="v" * 100), b"b" * 2000) for path in paths]
    descriptors = worker.descriptors()
    for message in messages:
        many(worker, 200, message)
    memory = worker.memory()
    for message in messages:
        many(worker, 2500, message)
    assert worker.memory() - memory < 300_000
    eventually(lambda: worker.descriptors() == descriptors)


def test_ten_thousand_asgi_requests_leave_nothing(serve):
    worker = serve("""
        import asyncio
        async def app(scope, receive, send):
            body = (await receive())["body"]
            if scope["path"] == "/fail":
                raise ValueError
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x-length", b"%d" % len(body))]})
            if scope["path"] == "/pieces":
                for _ in range(3):
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                    await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": body})
            if scope["path"] == "/waits":
                await receive()
    """, options=["--lifespan", "off"])
    messages = [request(cgi_params("POST", path, b"b" * size, HTTP_X_UNIQUE="v" * 100), b"b" * size)
                for path, size in (("/", 2000), ("/pieces", 2000), ("/waits", 20000), ("/fail", 10))]
    descriptors = worker.descriptors()
    for message in messages:
        many(worker, 300, message)
    memory = worker.memory()
    for message in messages:
        many(worker, 2500, message)
    assert worker.memory() - memory < 300_000
    eventually(lambda: worker.descriptors() == descriptors)


def test_connections_leave_nothing(serve):
    worker = serve()
    descriptors = worker.descriptors()
    for _ in range(100):
        worker.ask(flags=0)
    memory = worker.memory()
    for i in range(2000):
        worker.ask(flags=i % 2)
    eventually(lambda: worker.descriptors() == descriptors)
    assert worker.memory() - memory < 200_000


def test_failing_peers_leave_nothing(serve):
    worker = serve("""
        def app(environ, start_response):
            start_response("200 OK", [])
            for i in range(100):
                yield b"x" * 1000
    """)
    descriptors = worker.descriptors()
    message = request(cgi_params())

    def bother():
        for cut in (3, 20, len(message) - 9, len(message)):
            with worker.connect() as connection:
                connection.send(message[:cut])
        with worker.connect() as connection:
            connection.send(message)
            connection.read_exactly(100)

    for _ in range(50):
        bother()
    assert worker.ask().status == "200 OK"
    memory = worker.memory()
    for _ in range(300):
        bother()
    eventually(lambda: worker.descriptors() == descriptors)
    assert worker.memory() - memory < 300_000


def test_system_calls_of_a_kept_request(serve, tmp_path):
    if not shutil.which("strace") or subprocess.run(["strace", "-o", "/dev/null", "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("there is no strace, or it may not trace here")
    log = tmp_path / "calls"
    worker = serve(HELLO, prefix=["strace", "-f", "-o", str(log)])
    with worker.connect() as connection:
        for _ in range(300):
            connection.ask()
    worker.stop()
    lines = [line.split(" ", 1) for line in log.read_text().splitlines()]
    # Those of the importing thread: on a slow machine a helper looks in between whether it is needed.
    calls = [call.strip().partition("(")[0] for thread, call in lines
             if thread == lines[0][0] and not call.lstrip().startswith("<... ")]
    answers = [i for i, call in enumerate(calls) if call == "sendmsg"]
    assert len(answers) == 300
    # With a futex more where the helper that looked in between went to sleep, since no request had come for a moment.
    slices = [calls[before + 1 : after + 1] for before, after in zip(answers, answers[1:])]
    usual = Counter(" ".join(call for call in asked if call != "futex") for asked in slices).most_common(1)[0][0]
    assert min(slices, key=len) == usual.split() == ["epoll_wait", "recvfrom", "read", "sendmsg"]


def test_idle_worker_sleeps(serve):
    worker = serve()
    worker.ask()
    eventually(worker.sleeps)

    before = switches(worker.process.pid)
    time.sleep(1)
    assert switches(worker.process.pid) == before


def test_memory_of_a_hello_worker(serve):
    """Against a Python that has imported the same app and sleeps."""
    first = serve()  # compiles, which leaves traces in memory
    first.stop()
    worker = serve(None, prefix=["sh", "-c", 'cd "$0" && exec "$@"', str(first.directory)])
    many(worker, 100, request(cgi_params()))
    plain = subprocess.Popen([PYTHON, "-c", "import main, sys; print(1, flush=True); sys.stdin.read()"], cwd=first.directory,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=Worker.environ({}))
    try:
        plain.stdout.readline()
        assert rollup(worker.process.pid)["Pss"] - rollup(plain.pid)["Pss"] < 800
    finally:
        plain.communicate()


def test_start_costs_little_more_than_the_import(serve, spawn):
    """The time to READY against `import main; os._exit(0)`, interleaved; bytecode is there for both."""
    first = serve()
    first.stop()
    environ = Worker.environ({})
    ours, theirs = [], []
    for i in range(15):
        begun = time.perf_counter()
        worker = spawn().ready()
        ours.append(time.perf_counter() - begun)
        worker.end()
        begun = time.perf_counter()
        subprocess.run([PYTHON, "-c", "import main, os; os._exit(0)"], cwd=first.directory, env=environ, check=True,
                       close_fds=False, preexec_fn=lambda: None)
        theirs.append(time.perf_counter() - begun)
    ratio = statistics.median(a / b for a, b in zip(ours, theirs))
    print("start: %.2f of a plain import (%.1f ms)" % (ratio, 1000 * statistics.median(ours)))
    ratio = min(ratio, min(ours) / min(theirs))  # of the quickest the processor had nothing else to do
    assert ratio < 1.5 or os.environ.get("LEANGATE_WORKER_DIR")
