"""Mode fork as the gateway sees it: one connection is one copy. Against the scripted worker (tests/support/fakeworker.py,
script `fork`), whose READY has told four copies."""

import contextlib
import os
import signal
import sys
import threading
import time

import pytest

from fakeworker import install, journal
from gateway import wait_until
from rawhttp import Cut


@pytest.fixture
def play(launch, tmp_path):
    def start(**keys):
        section = {"module": "fake", "directory": tmp_path, "python": install(tmp_path, "fork")}
        return launch({"timeouts": {"drain": "3s"}, "app:fake": section | keys})
    return start


@pytest.fixture
def notes(tmp_path):
    return lambda word="": journal(tmp_path, word)


def test_every_request_has_a_connection_of_its_own(play, notes):
    gateway = play()
    for _ in range(10):
        assert gateway.get("/good").text == "good"
    assert len(notes("request")) == 10 and len(notes("start")) == 1 and not notes("kill")


def test_a_slot_is_free_at_the_end_of_its_connection(play, tmp_path):
    """END_REQUEST completes the answer; the copy has its slot until it has ended."""
    gateway = play()
    assert gateway.get("/good").text == "good"
    assert [gateway.get("/stays").text for _ in range(4)] == ["good"] * 4
    with gateway.connect() as fifth:
        fifth.request("GET", "/good")
        assert fifth.silent(0.3), "a fifth copy was asked for"
        (tmp_path / "cue").touch()
        assert fifth.answer().text == "good"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_copy_that_dies_is_502_and_not_sent_again(play, notes, method):
    gateway = play()
    assert gateway.get("/good").text == "good"
    with gateway.connect() as connection:
        connection.request(method, "/death", fields=[("Content-Length", "0")] if method == "POST" else [])
        assert connection.answer(method).status == 502
        assert connection.get("/good").text == "good"
    assert len(notes(f"request {method} /death")) == 1 and len(notes("start")) == 1
    gateway.err.wait("a copy of worker")


def test_the_first_request_of_all_may_be_the_deadly_one(play, notes):
    gateway = play()
    assert gateway.get("/death").status == 502
    assert gateway.get("/good").text == "good"
    assert len(notes("request GET /death")) == 1 and len(notes("start")) == 1


def test_a_start_that_dies_is_no_copy(launch, tmp_path):
    (tmp_path / "dies.py").write_text("import os\nos._exit(3)\n")
    gateway = launch({"app:k": {"module": "dies", "directory": tmp_path, "python": sys.executable, "mode": "fork"}})
    assert gateway.get("/").status == 502
    gateway.err.wait(r"^error: k: worker \d+ exited with status 3 before it was ready$")
    assert "copy" not in gateway.err.text


DIES_FIRST = """
import os, signal

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        if not os.path.exists("begun"):
            with open("zygote", "w") as file:
                file.write(str(os.getppid()))
            os.kill(os.getppid(), signal.SIGSTOP)
        await send({"type": "lifespan.startup.complete"})
        return
    if scope["method"] == "POST":
        with open("begun", "a") as file:
            file.write("x")
        os._exit(9)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"good"})
"""


def test_the_first_copy_of_an_asgi_app_may_die_before_its_worker_knows_that_it_started(launch, tmp_path):
    """The gateway knows it by then: what was begun is not begun again."""
    (tmp_path / "first.py").write_text(DIES_FIRST)
    gateway = launch({"app:k": {"module": "first:app", "directory": tmp_path, "python": sys.executable, "mode": "fork"}})
    with gateway.connect() as connection:
        connection.request("POST", "/", fields=[("Content-Length", "0")])
        try:
            assert connection.answer("POST").status == 502
            assert (tmp_path / "begun").read_text() == "x"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int((tmp_path / "zygote").read_text()), signal.SIGCONT)
        assert connection.get("/").text == "good"
    assert gateway.err.text.count("ready in") == 1


def test_a_copy_that_dies_under_its_answer(play):
    gateway = play()
    with pytest.raises(Cut):
        gateway.get("/half")
    assert gateway.get("/good").text == "good"


def test_the_only_copy_of_a_worker_may_die(play, notes):
    """max_requests = 1: the worker has had its request then, and the next request has another one."""
    gateway = play(max_requests=1, idle_timeout="off")
    assert gateway.get("/death").status == 502
    with pytest.raises(Cut):
        gateway.get("/half")
    assert gateway.get("/good").text == "good"
    assert len(notes("start")) == 3


def test_too_slow_kills_one_copy(play, notes):
    gateway = play(request_timeout="1s", stop_timeout="2s")
    assert gateway.get("/good").text == "good"
    assert gateway.get("/silence").status == 504
    wait_until(lambda: len(notes("kill")) == 1, "the order to kill")
    assert gateway.get("/good").text == "good" and len(notes("start")) == 1
    assert len(notes("request GET /silence")) == 1


def test_nonsense_kills_one_copy(play, notes):
    gateway = play()
    assert gateway.get("/good").text == "good"
    assert gateway.get("/garbage").status == 502
    wait_until(lambda: notes("kill"), "the order to kill")
    assert gateway.get("/good").text == "good" and len(notes("start")) == 1


def test_a_copy_that_nobody_can_kill_replaces_the_worker(play, notes):
    gateway = play(request_timeout="1s", stop_timeout="300ms")
    assert gateway.get("/good").text == "good"
    assert gateway.get("/deaf").status == 504
    gateway.err.wait("did not kill a copy")
    wait_until(lambda: gateway.get("/good").text == "good" and len(notes("start")) == 2, "the next worker")


def test_slots_come_back_whatever_happened_in_them(play, notes):
    """A hundred requests of every kind, eight at a time: then all four slots serve."""
    gateway = play(request_timeout="300ms", stop_timeout="2s")
    kinds = ["good", "death", "half", "lingers", "garbage", "silence"]
    turns = iter(range(100))
    lock = threading.Lock()

    def ask():
        while True:
            with lock:
                turn = next(turns, None)
            if turn is None:
                return
            try:
                gateway.get(f"/{kinds[turn % len(kinds)]}")
            except Cut:
                pass

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(notes("start")) == 1
    began = time.monotonic()
    wait_until(lambda: gateway.get("/good").text == "good", "a slot")
    lingering = [threading.Thread(target=gateway.get, args=("/lingers",)) for _ in range(4)]
    for thread in lingering:
        thread.start()
    for thread in lingering:
        thread.join()
    assert time.monotonic() - began < 5


def test_a_client_that_leaves_ends_no_worker(play, notes):
    gateway = play(request_timeout="500ms", stop_timeout="2s")
    assert gateway.get("/good").text == "good"
    for count in range(1, 5):
        with gateway.connect() as connection:
            connection.request("GET", "/silence")
            wait_until(lambda: len(notes("request GET /silence")) == count, "the request")
    wait_until(lambda: len(notes("kill")) == 4, "the end of what nobody waits for")
    assert gateway.get("/good").text == "good" and len(notes("start")) == 1
