"""The end of the gateway: SIGTERM with drain_delay, everything within `drain`, and idle_exit."""

import contextlib
import signal
import threading
import time

import pytest

from gateway import PATIENCE, SLOW, app, kitchen, wait_until
from load import Load


def test_drain_delay(launch):
    """Ready says 503 at once, so that a load balancer looks away; until then all else goes on, new connections, too."""
    gateway = launch({"timeouts": {"drain_delay": "3s"}} | kitchen())
    assert gateway.get("/").status == 200  # its start takes nothing of the delay
    assert gateway.get("/-/ready").status == 200
    began = time.monotonic()
    gateway.send_signal(signal.SIGTERM)
    wait_until(lambda: gateway.get("/-/ready").status == 503, "not ready")
    assert gateway.get("/-/health").status == 200
    answered = 0
    while answered < 4 or time.monotonic() - began < 1:
        assert gateway.get("/").status == 200
        answered += 1
    assert gateway.wait() == 0
    assert 2.95 < time.monotonic() - began < 13


def test_connections_end_with_their_answer_from_sigterm_on(launch, tmp_path):
    """Who keeps one would stay until it is cut, perhaps under his next request: so he is sent to where new ones lead. Idle, busy
    or made in the delay; an answer whose head is out already has said something else."""
    gateway = launch({"timeouts": {"drain_delay": "20s"}} | kitchen(concurrency=4))
    with gateway.connect() as idle, gateway.connect() as busy, gateway.connect() as begun:
        for connection in idle, busy, begun:
            assert connection.get("/").get("Connection") is None
        busy.request("GET", f"/wait?file={tmp_path}/go")
        wait_until((tmp_path / "go.here").exists, "the request")
        begun.request("GET", f"/drip?file={tmp_path}/go")
        assert begun.head().get("Connection") is None
        gateway.send_signal(signal.SIGTERM)
        wait_until(lambda: gateway.get("/-/ready").status == 503, "not ready")
        assert idle.silent(0.2)
        (tmp_path / "go").touch()
        assert busy.answer().get("Connection") == "close" and busy.ended()
        assert b"".join(begun.chunks()) == b"firstsecond"
        for connection in idle, begun, gateway.connect():
            answer = connection.post("/echo", b"x")
            assert (answer.text, answer.get("Connection")) == ("x", "close") and connection.ended()
    gateway.send_signal(signal.SIGTERM)
    assert gateway.wait() == 0


def test_no_request_is_lost_while_a_balancer_looks_away(launch):
    """Clients that stop asking within the delay see no error at all."""
    gateway = launch({"timeouts": {"drain_delay": "20s"}} | kitchen())
    load = Load(gateway, "/", clients=4)
    gateway.err.wait("^kitchen: ready")
    gateway.send_signal(signal.SIGTERM)
    wait_until(lambda: gateway.get("/-/ready").status == 503, "not ready")
    assert load.stop().all_good() == load.sent
    gateway.send_signal(signal.SIGTERM)
    assert gateway.wait() == 0


def test_ctrl_c_does_not_wait(launch):
    gateway = launch({"timeouts": {"drain_delay": "20s"}} | kitchen())
    gateway.get("/")
    began = time.monotonic()
    gateway.send_signal(signal.SIGINT)
    assert gateway.wait() == 0
    assert time.monotonic() - began < 10


def test_a_second_signal_ends_the_delay(launch):
    gateway = launch({"timeouts": {"drain_delay": "20s"}} | kitchen())
    gateway.get("/")
    gateway.send_signal(signal.SIGTERM)
    wait_until(lambda: gateway.get("/-/ready").status == 503, "not ready")
    began = time.monotonic()
    gateway.send_signal(signal.SIGTERM)
    assert gateway.wait() == 0
    assert time.monotonic() - began < 10


def test_everything_within_drain(launch):
    """The delay, a request that hangs, a worker that does not want to go. Who is kept from looking may see the end
    late, but not always."""
    def once():
        gateway = launch({"timeouts": {"drain": "5s", "drain_delay": "500ms"}}
                         | kitchen(concurrency=4, stop_timeout="60s"))
        gateway.get("/stubborn")
        with gateway.connect() as connection:
            connection.request("GET", "/hang")
            time.sleep(0.1)
            began = time.monotonic()
            gateway.send_signal(signal.SIGTERM)
            assert gateway.process.wait(PATIENCE) == 0  # wait() may wait for its output, too
            took = time.monotonic() - began
            gateway.wait()
        gateway.err.wait("^warning: stopped with 1 request unfinished$")
        return took

    assert any(once() < 5.0 for _ in range(3))


def test_who_lingers_is_no_request(launch):
    """It has its answer, and is only given the time to read it."""
    gateway = launch({"timeouts": {"drain": "1s"}, "app:k": app("hello", path="/k")})
    with gateway.connect() as connection:
        connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
        assert connection.answer().status == 404
        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait() == 0
    assert "draining" not in gateway.err.text and "unfinished" not in gateway.err.text


class Pourer:
    """A client that has its answer, 404, and sends on what nobody reads."""

    def __init__(self, gateway, pause):
        self.connection = gateway.connect()
        self.connection.request("POST", "/nobody", fields=[("Content-Length", "100000000000")])
        assert self.connection.answer().status == 404
        self.thread = threading.Thread(target=self.pour, args=(pause,))
        self.thread.start()

    def pour(self, pause):
        with contextlib.suppress(OSError), self.connection:
            while True:
                self.connection.send(b"x" * 1000)
                time.sleep(pause)


@pytest.mark.parametrize("pause", [0, 0.1, 4])
def test_who_has_its_answer_does_not_hold_the_end(launch, pause):
    """Nor is it a request that is left, or unfinished."""
    gateway = launch(kitchen(path="/k"))
    pourer = Pourer(gateway, pause)
    time.sleep(0.3)
    began = time.monotonic()
    gateway.send_signal(signal.SIGTERM)
    assert gateway.wait() == 0
    assert time.monotonic() - began < (10 if SLOW else 4)
    assert "draining" not in gateway.err.text and "unfinished" not in gateway.err.text
    pourer.thread.join()


# --- idle_exit


def test_idle_exit_is_not_put_off_by_who_has_its_answer(launch):
    gateway = launch({"timeouts": {"idle_exit": "1s"}} | kitchen(path="/k"))
    pourer = Pourer(gateway, 0.05)
    began = time.monotonic()
    assert gateway.wait() == 0
    assert time.monotonic() - began < (12 if SLOW else 5)
    pourer.thread.join()


def test_idle_exit(launch):
    gateway = launch({"timeouts": {"idle_exit": "900ms"}} | kitchen(idle_timeout="off"))
    assert gateway.get("/").status == 200
    with gateway.connect() as kept:
        asked = time.monotonic()
        kept.get("/")
        assert gateway.wait() == 0
        assert time.monotonic() - asked > 0.89
    gateway.err.wait(r"^no request for (900ms|0\.9s): leangate exits \(idle_exit\)$")


@pytest.mark.parametrize("target, status", [("/-/health", 200), ("/nowhere", 404)])
def test_idle_exit_counts_from_the_last_request(launch, target, status):
    """Whoever answers, and be it nobody."""
    gateway = launch({"timeouts": {"idle_exit": "1500ms"}} | kitchen(path="/k"))
    for _ in range(4):
        time.sleep(0.5)
        assert gateway.get(target).status == status
    assert gateway.wait() == 0


def test_a_signal_during_idle_exit_is_the_first_one(launch, tmp_path):
    """It does not kill what ends already."""
    (tmp_path / "leaves.py").write_text(
        "import atexit, pathlib, time\n"
        "def last():\n"
        "    pathlib.Path('leaving').touch()\n"
        "    time.sleep(1)\n"
        "    pathlib.Path('left').touch()\n"
        "atexit.register(last)\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Length', '2')])\n"
        "    return [b'ok']\n")
    gateway = launch({"timeouts": {"idle_exit": "1s"}, "app:k": {"module": "leaves", "directory": tmp_path}})
    assert gateway.get("/").text == "ok"
    wait_until((tmp_path / "leaving").exists, "the end of the worker")
    gateway.send_signal(signal.SIGTERM)
    assert gateway.wait() == 0
    assert (tmp_path / "left").exists()


def test_idle_exit_waits_for_a_request_and_for_work_behind_an_answer(launch, tmp_path):
    """The lines tell in which order: what the worker says and what the gateway says go one way."""
    (tmp_path / "background.py").write_text(
        "import sys, time\n"
        "class Body(list):\n"
        "    def close(self):\n"
        "        time.sleep(1.5)\n"
        "        print('the work is done', file=sys.stderr)\n"
        "def application(environ, start_response):\n"
        "    time.sleep(1.3)\n"
        "    start_response('200 OK', [('Content-Length', '2')])\n"
        "    return Body([b'ok'])\n")
    gateway = launch({"timeouts": {"idle_exit": "1s"}, "app:k": {"module": "background", "directory": tmp_path}})
    assert gateway.get("/").text == "ok"
    gateway.err.wait(r"leangate exits \(idle_exit\)$", gateway.err.wait("^the work is done$").end())
    assert gateway.wait() == 0


def test_idle_exit_waits_for_a_stream(launch, tmp_path):
    """However long nothing comes on it."""
    gateway = launch({"timeouts": {"idle_exit": "1s"}} | kitchen())
    with gateway.connect() as connection:
        connection.request("GET", f"/drip?file={tmp_path}/go")
        assert connection.head().status == 200 and next(chunks := connection.chunks()) == b"first"
        time.sleep(1.5)
        assert gateway.process.poll() is None
        going = time.monotonic()  # it has not ended before
        (tmp_path / "go").touch()
        assert b"".join(chunks) == b"second"
        assert gateway.wait() == 0
        assert time.monotonic() - going > 1
    gateway.err.wait(r"leangate exits \(idle_exit\)$")


def test_idle_exit_without_any_request(launch):
    gateway = launch({"timeouts": {"idle_exit": "300ms"}} | kitchen())
    assert gateway.wait() == 0
