"""What workers leave behind, print, close and keep alive: nothing of it hurts anybody else, and what matters is told."""

import os
import re
import time

import pytest

from gateway import BINARY, SLOW, WRAPPER, alive, app, wait_until
from load import Load
from measure import rollup

UNRULY = '''
import os, socket, subprocess, sys, threading, time
def daemon():
    """A process that has left its group, its session and its parent, and says its pid."""
    return orphan(os.setsid)
def orphan(first=os.getpid):
    """A process that has left its parent, but not its group, and says its pid."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        first()
        if os.fork() == 0:
            os.write(writer, str(os.getpid()).encode())
            time.sleep(3600)
        os._exit(0)
    os.wait()
    return os.read(reader, 20)
def lose():
    """Is gone in the middle of a request, and leaves a process that has all that fork() gives it."""
    if os.fork() == 0:
        time.sleep(3600)
    os._exit(1)
def child():
    return str(subprocess.Popen(["sleep", "3600"]).pid).encode()
def thread():
    threading.Thread(target=time.sleep, args=(3600,), name="poller", daemon=True).start()
def pool():
    from concurrent.futures import ThreadPoolExecutor
    ThreadPoolExecutor(1).submit(int).result()
def close_output():
    os.close(1)
    os.close(2)
def close_all():
    os.closerange(3, 256)
def flood(stream=1, size=1 << 30):
    line = b"flood " * 170 + b"\\n"
    for _ in range(size // len(line)):
        os.write(stream, line)
def flood_stderr():
    flood(2)
def flood_without_newlines():
    for _ in range(1 << 14):
        os.write(1, b"x" * 65536)
def junk():
    os.write(1, bytes(range(256)) * 4 + b"\\n\\x1b[2J\\x1b]0;title\\x07after the junk\\n")
    os.write(2, b"\\xff\\xfe\\x00\\n" * 10)
def terminal():
    os.write(1, "plain \\u011b \\u009b2J\\n".encode())
def say(*messages):
    """What only the worker should say: an app that looks finds the control channel."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            channel = socket.socket(fileno=os.dup(fd))
        except OSError:
            continue
        if (channel.family, channel.type) == (socket.AF_UNIX, socket.SOCK_SEQPACKET):
            for message in messages:
                channel.send(message)
def nonsense():
    say(*[b"HUNG %d" % n for n in range(100)])
def ready_again():
    say(b"READY wsgi persistent 65535 0")
def failed_afterwards():
    say(b"FAILED\\nforged\\n")
def ready_before_its_time():
    say(b"READY wsgi persistent 4 -99999999999999999999")
def note():
    say(b"NOTE one\\nk: ready in 3 ms \\xc2\\x9b2J\\xff")
def application(environ, start_response):
    name = environ["PATH_INFO"][1:]
    text = globals()[name]() if name else None
    text = text or b"ok"
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text]
'''


@pytest.fixture
def unruly(launch, tmp_path):
    (tmp_path / "unruly.py").write_text(UNRULY)

    def start(sections=None, **keys):
        return launch((sections or {}) | {"app:k": {"module": "unruly", "directory": tmp_path, "path": "/k"} | keys})
    return start


def private(pid):
    """Private dirty memory in bytes."""
    return rollup(pid)["Private_Dirty"] * 1024


# --- processes


@pytest.mark.parametrize("name", ["child", "daemon"])
@pytest.mark.parametrize("end", ["idle", "crash", "drain"])
def test_no_process_is_left_behind(unruly, name, end):
    gateway = unruly(idle_timeout="2s" if end == "idle" else "off")
    pid = int(gateway.get(f"/k/{name}").text)
    wait_until(lambda: alive(pid), "the process")
    if end == "crash":
        workers = [w for w in gateway.workers if w != pid]
        os.kill(workers[0], 9)
    elif end == "drain":
        gateway.stop()
    wait_until(lambda: not alive(pid), "the end of what the worker has left")


def test_what_is_in_a_workers_group_lives_as_long_as_that_worker(unruly):
    """The end of another app's is not its end; what has left its group nobody can tell from what that one has left."""
    gateway = unruly({"app:other": app("hello", path="/other", idle_timeout="300ms")}, idle_timeout="off")
    gateway.get("/k/")
    worker = gateway.one_worker()
    orphan, stray = (int(gateway.get(f"/k/{name}").text) for name in ("orphan", "daemon"))
    assert gateway.get("/other/").status == 200
    wait_until(lambda: not alive(stray), "the end of what has left its group")
    assert alive(orphan) and alive(worker)
    os.kill(worker, 9)
    wait_until(lambda: not alive(orphan), "the end of what the worker has left")


@pytest.mark.parametrize("mode", ["persistent", "fork"])
def test_a_request_ends_with_its_process_whoever_lives_on(unruly, mode):
    gateway = unruly(mode=mode, concurrency=1)
    for _ in range(2):
        began = time.monotonic()
        assert gateway.post("/k/lose", b"").status == 502
        assert time.monotonic() - began < 10
        assert gateway.get("/k/").text == "ok"


@pytest.mark.skipif(bool(WRAPPER), reason="valgrind would run the script")
def test_what_was_there_before_the_gateway_is_nobodys_leaving(unruly, tmp_path, monkeypatch):
    """`something & exec leangate`, as scripts that start a container do it, with however many things."""
    script = tmp_path / "entry"
    script.write_text(f'#!/bin/sh\nfor n in {"x " * 100}; do sleep 3600 >/dev/null 2>&1 & echo $!; done > "{tmp_path}/beside"\n'
                      f'exec "{BINARY}" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr("gateway.BINARY", script)
    gateway = unruly(idle_timeout="300ms")
    beside = [int(pid) for pid in (tmp_path / "beside").read_text().split()]
    try:
        left = int(gateway.get("/k/child").text)
        wait_until(lambda: not alive(left), "the end of what the worker has left")
        wait_until(lambda: set(gateway.workers) <= set(beside), "no worker")
        assert len(beside) == 100 and all(alive(pid) for pid in beside)
    finally:
        for pid in set(beside) & set(gateway.workers):
            os.kill(pid, 9)
    wait_until(lambda: not gateway.zombies() and not gateway.workers, "its end")


# --- descriptors


def test_a_worker_without_output(unruly):
    gateway = unruly(idle_timeout="500ms")
    assert gateway.get("/k/close_output").text == "ok"
    assert gateway.get("/k/").text == "ok"
    gateway.no_worker()


def test_a_worker_that_closes_everything(unruly):
    """It cannot answer any more: that request is lost, the next one is served by another."""
    gateway = unruly(stop_timeout="300ms", request_timeout="2s")
    assert gateway.post("/k/close_all", b"").status in (502, 504)
    wait_until(lambda: gateway.get("/k/").status == 200, "another worker")


# --- output


@pytest.mark.parametrize("name", ["flood", "flood_stderr", "flood_without_newlines"])
def test_a_flood_is_bounded_marked_and_slowed_down(unruly, name):
    """1 GB at once: meanwhile another app answers, the log grows slowly, and memory not at all."""
    gateway = unruly({"app:other": app("hello", path="/other")}, request_timeout="4s", stop_timeout="200ms", slow="off")
    gateway.get("/other/")
    with gateway.connect() as connection:
        connection.request("GET", f"/k/{name}")
        gateway.err.wait(r"^warning: k: worker \d+ floods (stdout|stderr): it is slowed down to 1 MB per second$")
        began, size, memory = time.monotonic(), len(gateway.out.text + gateway.err.text), private(gateway.pid)
        load = Load(gateway, "/other/", clients=1, pause=0.005)
        time.sleep(1.5)
        grown = len(gateway.out.text + gateway.err.text) - size
        assert load.stop().all_good() > 20
        assert grown < 1.5e6 * (time.monotonic() - began) + 1e6
        assert SLOW or private(gateway.pid) < memory + 2e6  # a sanitiser keeps what is freed
        assert connection.answer().status == 504
    gateway.kill()


def test_ordinary_output_is_not_slowed_down(unruly, tmp_path):
    """In parts, for what nobody reads, here a test that is kept from it, is dropped in the end."""
    (tmp_path / "talks.py").write_text(
        "lines = iter(range(20000))\n"
        "def application(environ, start_response):\n"
        "    for _ in range(4000):\n        print('line', next(lines), 'x' * 80)\n"
        "    start_response('200 OK', [('Content-Length', '2')])\n    return [b'ok']\n")
    gateway = unruly(module="talks")
    began = time.monotonic()
    for last in range(3999, 20000, 4000):
        assert gateway.get("/k/").text == "ok"
        gateway.out.wait(f"^line {last} x+$")
    assert time.monotonic() - began < 10
    assert "floods" not in gateway.err.text


def test_binary_junk_is_escaped(unruly):
    gateway = unruly({"log": {"worker": "tagged"}})
    assert gateway.get("/k/junk").text == "ok"
    gateway.out.wait("after the junk")
    text = gateway.out.text + gateway.err.text
    assert "\x1b" not in text and "\x00" not in text


def test_terminals_get_no_commands_beyond_ascii(unruly):
    gateway = unruly({"log": {"worker": "tagged"}})
    assert gateway.get("/k/terminal").text == "ok"
    gateway.out.wait(r"plain \u011b \\xc2\\x9b2J$")


# --- words of a worker that its app has forged


def test_a_forged_note_is_one_line(unruly):
    gateway = unruly()
    assert gateway.get("/k/note").text == "ok"
    gateway.err.wait(r"^warning: k: one\\x0ak: ready in 3 ms \\xc2\\x9b2J\\xff$")


@pytest.mark.parametrize("name", ["nonsense", "ready_again", "failed_afterwards", "ready_before_its_time"])
def test_a_worker_that_forges_is_replaced(unruly, name):
    gateway = unruly()
    gateway.forged = True
    gateway.get("/k/")
    first, = gateway.workers
    gateway.get("/k/" + name)  # may be answered before it is found out
    wait_until(lambda: not alive(first), "the end of the worker")
    assert gateway.get("/k/").text == "ok"
    assert gateway.err.text.count(f"error: k: worker {first} told nonsense on its control channel") == 1
    assert "before it was ready" not in gateway.err.text


# --- what lives when a worker goes idle


def test_threads_of_an_app_are_told_of_once(unruly):
    gateway = unruly(idle_timeout="300ms")
    for _ in range(2):
        gateway.get("/k/thread")
        gateway.no_worker()
    warning = r'^warning: k: stopped while idle with thread "poller" in it; keep it with idle_timeout = off$'
    gateway.err.wait(warning)
    assert len(re.findall(warning, gateway.err.text, re.M)) == 1


def test_pools_and_plain_apps_are_not_told_of(unruly):
    gateway = unruly(idle_timeout="300ms")
    gateway.get("/k/pool")
    gateway.no_worker()
    gateway.get("/k/")
    gateway.no_worker()
    assert "while idle with" not in gateway.err.text


def test_a_thread_is_not_told_of_when_something_else_ends_its_worker(unruly):
    gateway = unruly(idle_timeout="off")
    gateway.get("/k/thread")
    gateway.stop()
    assert "while idle with" not in gateway.err.text


# --- asgi


ASGI = '''
import asyncio
tasks = []
async def wait_for_ever():
    await asyncio.sleep(3600)
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError
    if scope["path"].endswith("/task"):
        tasks.append(asyncio.create_task(wait_for_ever(), name="ticker"))
    if scope["path"].endswith("/hang"):
        await wait_for_ever()
    if scope["path"].endswith("/block"):
        while True:
            pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
'''


@pytest.fixture
def asgi(launch, tmp_path):
    (tmp_path / "aapp.py").write_text(ASGI)
    return lambda **keys: launch({"app:a": {"module": "aapp:app", "directory": tmp_path, "stop_timeout": "500ms"} | keys})


def test_tasks_of_an_app_are_told_of(asgi):
    gateway = asgi(idle_timeout="300ms", stop_timeout="10s")
    assert gateway.get("/task").text == "ok"
    gateway.no_worker()
    gateway.err.wait(r'^warning: a: stopped while idle with task "ticker" in it; keep it with idle_timeout = off$')


def test_a_slow_task_is_told_of_and_at_last_cancelled(asgi):
    """The worker lives on, for its loop does."""
    gateway = asgi(slow="300ms", request_timeout="2s", stop_timeout="5s")
    assert gateway.get("/").text == "ok"
    pid = gateway.one_worker()
    assert gateway.get("/hang").status == 504
    gateway.err.wait("has no answer after")
    gateway.err.wait("in wait_for_ever$")
    gateway.err.wait("it is cancelled$")
    assert gateway.get("/").text == "ok" and gateway.one_worker() == pid


def test_a_loop_that_hangs_costs_the_worker(asgi):
    gateway = asgi(request_timeout="2s")
    assert gateway.get("/").text == "ok"
    pid = gateway.one_worker()
    assert gateway.get("/block").status == 504
    wait_until(lambda: not alive(pid), "the end of the worker")
    assert gateway.get("/").text == "ok"


# --- what is idle


def test_an_open_stream_is_not_idle(asgi, tmp_path):
    (tmp_path / "stream.py").write_text(
        "import asyncio\n"
        "async def app(scope, receive, send):\n"
        "    if scope['type'] != 'http':\n        raise RuntimeError\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': b'first', 'more_body': True})\n"
        "    await asyncio.sleep(1.2)\n"
        "    await send({'type': 'http.response.body', 'body': b'last'})\n")
    gateway = asgi(module="stream:app", idle_timeout="200ms")
    assert gateway.get("/").text == "firstlast"
    gateway.no_worker()
