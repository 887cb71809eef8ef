"""Nothing hangs: slow requests are told of with the Python stacks of their worker, and what never answers is ended, in
whatever way it hangs."""

import os
import re
import signal
import time
from contextlib import ExitStack, suppress

import pytest

from fakeworker import install, journal
from gateway import alive, app, children, wait_until
from rawhttp import Cut

HANGING = '''
import os, threading, time
def loop_for_ever():
    while True:
        pass
def sleep_for_ever():
    time.sleep(3600)
def wait_in_c():
    """Holds the GIL: no other thread of Python runs, and no handler of Python's."""
    sum(range(10 ** 15))
def write_to_a_full_pipe():
    reader, writer = os.pipe()
    while True:
        os.write(writer, b"x" * 65536)
def wait_for_a_lock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
def wait_for_a_file():
    while not os.path.exists(os.environ["FILE"]):
        time.sleep(0.005)
def application(environ, start_response):
    name = environ["PATH_INFO"][1:]
    if name == "late":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return pieces()
    if name == "thread":
        threading.Thread(target=wait_for_a_file, name="helper").start()
    if name:
        globals()[name if name != "thread" else "wait_for_a_file"]()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
def pieces():
    yield b"first"
    sleep_for_ever()
'''

HANGS = ["loop_for_ever", "sleep_for_ever", "wait_in_c", "write_to_a_full_pipe", "wait_for_a_lock"]


@pytest.fixture
def hanging(launch, tmp_path):
    (tmp_path / "hanging.py").write_text(HANGING)

    def start(**keys):
        section = {"module": "hanging", "directory": tmp_path, "env": f"FILE={tmp_path}/go", "stop_timeout": "200ms"}
        return launch({"app:k": section | keys})
    return start


# --- slow


@pytest.mark.parametrize("name", HANGS)
def test_a_slow_request_is_told_of_with_its_stack(hanging, name):
    """At `slow` and again at twice that; the worker goes on."""
    gateway = hanging(slow="300ms", request_timeout="20s", concurrency=1)
    with gateway.connect() as connection:
        connection.request("GET", f"/{name}")
        for after in (r"(300ms|0\.3s)", r"(600ms|0\.6s)"):
            told = gateway.err.wait(rf'^warning: k: "GET /{name}" has no answer after {after} \(worker \d+, id \w+\); '
                                    r"its stacks:$")
            gateway.err.wait(rf"in {name}$", told.end())
        time.sleep(0.4)
        assert gateway.err.text.count("has no answer after") == 2
        pid = gateway.one_worker()
        assert alive(pid)


def test_stacks_of_every_thread(hanging, tmp_path):
    gateway = hanging(slow="300ms", concurrency=4)
    with gateway.connect() as one, gateway.connect() as two:
        one.request("GET", "/wait_for_a_file")
        two.request("GET", "/thread")
        told = gateway.err.wait("has no answer after .*stacks:$")
        wait_until(lambda: len(re.findall(r"in wait_for_a_file$", gateway.err.text[told.end():], re.M)) >= 3,
                   "the stacks of three threads")
        (tmp_path / "go").touch()
        assert one.answer().text == two.answer().text == "ok"
    assert gateway.get("/").text == "ok"


def test_slow_is_not_said_of_what_answers_or_streams(hanging, launch, tmp_path):
    gateway = hanging(slow="1500ms", stream_timeout="20s")
    assert gateway.get("/").text == "ok"
    with gateway.connect() as connection:
        connection.request("GET", "/late")
        assert connection.head().status == 200
        time.sleep(2)
    assert "has no answer" not in gateway.err.text


def test_slow_off(hanging):
    gateway = hanging(slow="off", request_timeout="500ms")
    assert gateway.get("/sleep_for_ever").status == 504
    assert "has no answer" not in gateway.err.text


def test_a_copy_in_mode_fork_tells_its_own_stack(hanging):
    gateway = hanging(slow="300ms", mode="fork", request_timeout="2s")
    assert gateway.get("/loop_for_ever").status == 504
    gateway.err.wait("in loop_for_ever$")
    assert gateway.get("/").text == "ok"


def test_the_fake_worker_is_asked(launch, tmp_path):
    python = install(tmp_path, "silence", "good")
    gateway = launch({"app:k": {"module": "m", "directory": tmp_path, "python": python, "slow": "600ms",
                                "request_timeout": "2s", "stop_timeout": "5s"}})
    assert gateway.get("/").status == 504
    wait_until(lambda: len(journal(tmp_path, "stacks")) >= 3, "slow, slow again, timeout")
    assert len(journal(tmp_path, "stacks")) == 3


# --- request_timeout


@pytest.mark.parametrize("path, name, limit", [("/wait_in_c", "wait_in_c", "request_timeout"),
                                               ("/late", "sleep_for_ever", "stream_timeout")])
def test_a_copy_that_is_killed_tells_its_stack_before(hanging, path, name, limit):
    """It has a moment for it, which a busy machine may take away, but hardly from three of six."""
    gateway = hanging(mode="fork", slow="off", **{limit: "500ms"})
    for _ in range(6):
        with gateway.connect() as connection, suppress(Cut):
            connection.request("GET", path)
            assert connection.answer().status == 504
    killed = re.compile(r"a copy of worker \d+ exceeded the time for a request .* it is killed$", re.M)
    wait_until(lambda: len(killed.findall(gateway.err.text)) == 6, "the end of all six")
    assert gateway.get("/").text == "ok"
    assert len(re.findall(rf"in {name}$", gateway.err.text, re.M)) >= 4


def test_copies_that_hang_together_tell_their_stacks(hanging):
    gateway = hanging(mode="fork", slow="500ms", request_timeout="20s", concurrency=4)
    with ExitStack() as stack:
        for name in HANGS[1:]:
            stack.enter_context(gateway.connect()).request("GET", f"/{name}")
        for name in HANGS[1:]:
            gateway.err.wait(rf"in {name}$")


@pytest.mark.parametrize("name", HANGS)
def test_request_timeout(hanging, name):
    """504, the stack is in the log, the worker is replaced."""
    gateway = hanging(request_timeout="1200ms", stop_timeout="700ms", slow="off")
    assert gateway.get("/").text == "ok"
    pid = gateway.one_worker()
    began = time.monotonic()
    assert gateway.get(f"/{name}").status == 504
    assert 1.1 < time.monotonic() - began < 6
    gateway.err.wait(rf"in {name}$")
    gateway.err.wait(rf"worker {pid} exceeded the time for a request")
    wait_until(lambda: not alive(pid), "the end of the worker")
    assert gateway.get("/").text == "ok"


def test_request_timeout_of_a_stopped_process(hanging):
    gateway = hanging(request_timeout="1500ms")
    assert gateway.get("/").text == "ok"
    pid = gateway.one_worker()
    os.kill(pid, signal.SIGSTOP)
    assert gateway.get("/").status == 504
    wait_until(lambda: not alive(pid), "the end of the worker")
    assert gateway.get("/").text == "ok"


def test_what_a_copy_has_not_begun_in_time_is_not_begun(hanging):
    gateway = hanging(mode="fork", request_timeout="1500ms", stop_timeout="2s")
    assert gateway.get("/").text == "ok"
    pid = gateway.one_worker()
    ((copy, _),) = wait_until(lambda: (found := children(pid)) and [state for _, state in found] == ["S"] and found,
                              "the copy that waits for the next request")
    os.kill(copy, signal.SIGSTOP)
    try:
        assert gateway.get("/sleep_for_ever").status == 504
    finally:
        os.kill(copy, signal.SIGCONT)
    assert gateway.get("/").text == "ok"
    time.sleep(2.3)  # longer than a copy that was told to end may take
    assert gateway.get("/").text == "ok"
    assert gateway.one_worker() == pid and "it is replaced" not in gateway.err.text


def test_other_requests_of_the_worker_are_finished(hanging, tmp_path):
    gateway = hanging(request_timeout="3s", stop_timeout="10s", concurrency=4)
    assert gateway.get("/").text == "ok"
    with gateway.connect() as hangs:
        hangs.request("GET", "/wait_for_a_file")
        time.sleep(1.5)
        with gateway.connect() as other:
            other.request("GET", "/wait_for_a_file")
            assert hangs.answer().status == 504
            (tmp_path / "go").touch()
            assert other.answer().text == "ok"
    wait_until(lambda: not gateway.workers, "the end of the worker")


def test_a_start_that_takes_too_long_tells_where_it_is(launch, tmp_path):
    (tmp_path / "slow_import.py").write_text("import time\ndef connect_to_the_database():\n    time.sleep(3600)\n"
                                             "connect_to_the_database()\n")
    gateway = launch({"app:k": {"module": "slow_import", "directory": tmp_path, "start_timeout": "1500ms"}})

    def told():
        """On a busy machine a start may not come so far, or not say it before it is ended: another one will."""
        assert gateway.get("/").status == 503
        return re.search("in connect_to_the_database$", gateway.err.text, re.M)

    wait_until(told, "where it is")
    gateway.no_worker()


# --- stream_timeout


def test_stream_timeout(hanging):
    gateway = hanging(stream_timeout="500ms", stop_timeout="1s")
    with gateway.connect() as connection:
        connection.request("GET", "/late")
        with pytest.raises(Cut) as cut:
            connection.answer()
        assert b"first" in cut.value.body
    gateway.err.wait("in sleep_for_ever$")
    assert gateway.get("/").text == "ok"


def test_the_clock_stops_while_the_gateway_reads_no_more(launch):
    """The client does not read, so the worker cannot write: nobody's fault but the client's."""
    gateway = launch({"limits": {"response_memory": "32k", "response_spool": 0}, "timeouts": {"send": "20s"},
                      "app:k": app("kitchen", stream_timeout="2s")})
    piece, pieces = 1_000_000, 30
    with gateway.connect() as connection:
        connection.request("GET", f"/big?size={piece * pieces}")
        assert connection.head().status == 200
        time.sleep(2.5)
        for _ in range(pieces):
            assert len(connection.need(piece)) == piece
    assert "exceeded" not in gateway.err.text


# --- clocks that jump


def test_a_gateway_that_stood_still_blames_nobody(launch, tmp_path):
    gateway = launch({"app:k": app("kitchen", request_timeout="2s", slow="off")})
    gateway.get("/")
    with gateway.connect() as connection:
        connection.request("GET", f"/wait?file={tmp_path}/go")
        wait_until((tmp_path / "go.here").exists, "the request")
        gateway.send_signal(signal.SIGSTOP)
        time.sleep(3.5)
        gateway.send_signal(signal.SIGCONT)
        time.sleep(0.2)
        (tmp_path / "go").touch()
        assert connection.answer().text == "waited"
    assert len(gateway.workers) == 1


def test_what_came_while_the_gateway_stood_still_is_an_answer(launch, tmp_path):
    """Too short a standstill to shift the clock: what lies in the socket is read before anybody is blamed."""
    gateway = launch({"app:k": app("kitchen", request_timeout="1s", slow="off")})
    gateway.get("/")
    pid = gateway.one_worker()
    with gateway.connect() as connection:
        connection.request("GET", f"/wait?file={tmp_path}/go")
        wait_until((tmp_path / "go.here").exists, "the request")
        gateway.send_signal(signal.SIGSTOP)
        (tmp_path / "go").touch()
        time.sleep(1.5)
        gateway.send_signal(signal.SIGCONT)
        assert connection.answer().text == "waited"
    assert gateway.get("/pid").text == str(pid)


@pytest.mark.parametrize("late", ["answer", "head", "request"])
def test_what_came_before_its_deadline_counts_also_when_it_is_read_after_it(launch, tmp_path, late):
    """The timer is seen no later than the bytes. What was not sent in time, on a busy machine, tells nothing."""
    gateway = launch({"app:k": app("kitchen", request_timeout="700ms", slow="off"),
                      "timeouts": {"header": "700ms", "keepalive": "700ms"}})
    pids, rounds = set(), []
    for n in range(4):
        go = tmp_path / f"go{n}"
        wait_until(lambda: gateway.get("/x").status == 200, "a worker")  # its start may take all the time that there is
        pids.add(gateway.get("/pid").text)
        with gateway.connect() as connection:
            asked = time.monotonic()  # no clock of the gateway's has begun before, and none begins much behind `began`
            assert connection.get("/x").status == 200
            target = f"/wait?file={go}" if late == "answer" else "/x"
            head = f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            before = {"answer": len(head), "head": 10, "request": 0}[late]
            began = time.monotonic()
            connection.send(head[:before])
            time.sleep(0.25)
            gateway.send_signal(signal.SIGSTOP)
            connection.send(head[before:])
            go.touch()
            rounds.append(time.monotonic() < asked + 0.45)  # the app has the rest for its answer
            time.sleep(max(0, began + 0.715 - time.monotonic()))
            gateway.send_signal(signal.SIGCONT)
            assert not rounds[-1] or connection.answer().status == 200
    assert not all(rounds) or pids == {gateway.get("/pid").text}


# --- no time limit


def test_off_waits_for_ever(launch, tmp_path):
    gateway = launch({"app": {"stream_timeout": "200ms", "queue_timeout": "200ms"},
                      "app:k": app("kitchen", concurrency=1, stream_timeout="off", queue_timeout="off")})
    with gateway.connect() as streams, gateway.connect() as waits:
        streams.request("GET", f"/drip?file={tmp_path}/go")
        assert streams.head().status == 200
        waits.request("GET", "/x")
        time.sleep(0.6)
        (tmp_path / "go").touch()
        assert b"".join(streams.chunks()) == b"firstsecond"
        assert waits.answer().text == "GET /x"
