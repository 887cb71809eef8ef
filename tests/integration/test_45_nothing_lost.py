"""No request is lost that DESIGN does not name: cold apps under a rush, workers that are killed at every point of an exchange,
idle stops that race with arrivals, starts of every kind. Every count is exact."""

import os
import random
import re
import signal
import threading
import time
from collections import Counter

import pytest

from fakeworker import install, journal
from gateway import SLOW, alive, app, ini, kitchen, run, wait_until
from inside import Inside
from load import Load
from rawhttp import Cut

LONG = bool(os.environ.get("LEANGATE_LONG"))


# --- a rush


@pytest.mark.parametrize("workers", [1, 3])
def test_two_hundred_at_once_to_a_cold_app(launch, workers):
    gateway = launch({"app:s": app("slowstart", env="SECONDS=0.4", workers=workers)})
    connections = [gateway.connect() for _ in range(200)]
    for connection in connections:
        connection.request("GET", "/")
    answers = Counter()
    for connection in connections:
        answers[connection.answer().text] += 1
        connection.close()
    assert answers == {"at last\n": 200}
    gateway.err.wait("^s: ready")
    starts = len(re.findall("^s: ready", gateway.err.text, re.M))
    assert starts == 1 if workers == 1 else 1 <= starts <= workers


def test_more_than_the_queue_takes(launch, tmp_path):
    """Exactly as many are refused at once as do not fit; the others are when they have waited for too long."""
    python = install(tmp_path, "silence")
    gateway = launch({"app:k": {"module": "m", "directory": tmp_path, "python": python, "queue": 20, "slow": "off",
                                "request_timeout": "6s", "stop_timeout": "100ms", "queue_timeout": "2500ms"},
                      "status": {"listen": "127.0.0.1:0"}})
    connections = [gateway.connect() for _ in range(50)]
    connections[0].request("GET", "/")
    wait_until(lambda: journal(tmp_path, "request"), "the first request")
    for connection in connections[1:]:
        connection.request("GET", "/")
    answers = Counter()
    for connection in connections:
        answer = connection.answer()
        answers[answer.status, answer.get("Retry-After") is not None] += 1
        connection.close()
    assert answers == {(504, False): 1, (503, True): 49}
    with Inside(gateway) as inside:
        assert inside.app("k")["rejected"] == {"queue_full": 29, "queue_timeout": 20, "cannot_start": 0}
    assert len(journal(tmp_path, "request")) == 1


# --- SIGKILL at every point of an exchange


def kill(gateway, number=signal.SIGKILL):
    for pid in gateway.workers:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def next_is_served(gateway):
    assert gateway.get("/pid").status == 200


@pytest.mark.parametrize("method, status", [("GET", 200), ("POST", 200)])
def test_killed_while_starting(launch, method, status):
    """It was never READY, so it cannot have begun: any method is sent again."""
    gateway = launch({"app:s": app("slowstart", env="SECONDS=0.3")})
    with gateway.connect() as connection:
        connection.request(method, "/", body=b"x" if method == "POST" else None)
        wait_until(lambda: gateway.workers, "the start")
        kill(gateway)
        assert connection.answer().status == status


def test_killed_twice_while_starting(launch):
    gateway = launch({"app:s": app("slowstart", env="SECONDS=5")})
    with gateway.connect() as connection:
        connection.request("GET", "/")
        first = wait_until(lambda: gateway.workers, "the start")
        kill(gateway)
        wait_until(lambda: (now := gateway.workers) and not set(first) & set(now), "the next start alone")
        kill(gateway)
        assert connection.answer().status == 502


def test_killed_before_accept(launch):
    """Stopped, so that it does not accept: what was sent to it is sent to the next one, if its method allows."""
    gateway = launch(kitchen())
    next_is_served(gateway)
    os.kill(gateway.one_worker(), signal.SIGSTOP)
    with gateway.connect() as connection:
        connection.request("GET", "/pid")
        time.sleep(0.1)
        kill(gateway)
        assert connection.answer().status == 200


@pytest.mark.parametrize("method, status", [("GET", 200), ("POST", 502)])
@pytest.mark.parametrize("body", [0, 2_000_000])
def test_killed_while_it_reads_and_before_the_head(launch, tmp_path, method, status, body):
    gateway = launch(kitchen())
    next_is_served(gateway)
    with gateway.connect() as connection:
        connection.request(method, f"/wait?file={tmp_path}/go", body=b"x" * body if method == "POST" else None)
        wait_until((tmp_path / "go.here").exists, "the request")
        (tmp_path / "go").touch() if method == "GET" else None
        kill(gateway)
        assert connection.answer().status == status
    next_is_served(gateway)


def test_killed_in_the_body_of_an_answer(launch, tmp_path):
    gateway = launch(kitchen())
    with gateway.connect() as connection:
        connection.request("GET", f"/drip?file={tmp_path}/go")
        assert connection.head().status == 200
        kill(gateway)
        with pytest.raises(Cut):
            b"".join(connection.chunks())
    next_is_served(gateway)


def test_killed_after_the_answer_was_written(launch, tmp_path):
    """The client has all of it; close() was still running."""
    (tmp_path / "closing.py").write_text(
        "import time\n"
        "class Body(list):\n    def close(self):\n        time.sleep(60)\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Length', '2')])\n"
        "    return Body([b'ok']) if environ['PATH_INFO'] == '/close' else [b'ok']\n")
    gateway = launch({"app:k": {"module": "closing", "directory": tmp_path}})
    with gateway.connect() as connection:
        assert connection.get("/close").text == "ok"
        kill(gateway)
        assert connection.get("/").text == "ok"


def test_killed_again_and_again_under_load(launch):
    """A GET is sent again once: what is not answered with 200 was under two workers that died. None hangs, none is cut short."""
    gateway = launch(kitchen(workers=2))
    load = Load(gateway, "/pid", clients=4)
    for n in range(15):
        wait_until(lambda: len(re.findall("^kitchen: ready", gateway.err.text, re.M)) > n, "another worker")
        time.sleep(0.05)
        kill(gateway)
    answers = load.stop().answers
    assert set(answers) <= {200, 502} and answers[200] > 50, answers
    wait_until(lambda: gateway.get("/pid").status == 200, "another worker")


@pytest.mark.parametrize("mode", ["persistent", "fork"])
def test_stopped_by_somebody_else_under_load(launch, mode):
    """SIGTERM to the worker, not to the gateway: it finishes what it has begun and refuses the rest, which any method survives."""
    gateway = launch(kitchen(mode=mode))
    loads = [Load(gateway, "/pid", clients=2), Load(gateway, "/pid", clients=2, body=b"x" * 2000)]
    for n in range(15):
        wait_until(lambda: len(re.findall("^kitchen: ready", gateway.err.text, re.M)) > n, "another worker")
        time.sleep(0.05)
        kill(gateway, signal.SIGTERM)
    for load in loads:
        assert load.stop().all_good() == load.sent


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("ask", [lambda gateway: gateway.get("/pid"), lambda gateway: gateway.post("/pid", b"x" * 2000)],
                         ids=["GET", "POST"])
def test_stopped_by_somebody_else_in_a_long_request(launch, tmp_path, ask, kept):
    """What comes meanwhile does not wait for its end: another worker serves it, whether a connection was there already or not."""
    gateway = launch(kitchen(concurrency=2))

    def pid():
        answer = ask(gateway)
        assert answer.status == 200
        return answer.text

    with gateway.connect() as long:
        long.request("GET", f"/wait?file={tmp_path}/go")
        wait_until((tmp_path / "go.here").exists, "the request")
        old = gateway.one_worker()
        if kept:
            assert pid() == str(old)
        os.kill(old, signal.SIGTERM)
        wait_until(lambda: pid() != str(old), "another worker")
        assert alive(old) and long.silent(0.1)
        (tmp_path / "go").touch()
        assert long.answer().text == "waited"
    wait_until(lambda: not alive(old), "its end")


# --- idle stop and arrivals


def test_idle_stop_races_with_arrivals(launch):
    """Each request comes about when its worker is being stopped for having had none. LEANGATE_LONG: ten thousand of them."""
    rounds = 10_000 if LONG else 80 if SLOW else 240
    names = "abcdefgh"
    gateway = launch({"log": {"access": "off"}} | {f"app:{n}": app("hello", path=f"/{n}", idle_timeout="10ms") for n in names})
    answers, lock = Counter(), threading.Lock()

    def client(name):
        chance, mine = random.Random(name), Counter()
        with gateway.connect() as connection:
            for _ in range(rounds // len(names)):
                mine[connection.get(f"/{name}/").status] += 1
                time.sleep(chance.uniform(0.0085, 0.0125))
        with lock:
            answers.update(mine)

    threads = [threading.Thread(target=client, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(1800)
    assert answers == {200: rounds // len(names) * len(names)}
    stops = len(re.findall("stopped after 10ms idle", gateway.err.text))
    print(f"{rounds} requests, {stops} idle stops")
    assert stops > rounds / 20


# --- start = lazy, check, eager


def test_lazy(launch):
    gateway = launch(kitchen(start="lazy"))
    time.sleep(0.3)
    assert not gateway.workers


def test_eager(launch):
    gateway = launch(kitchen(start="eager", idle_timeout="off"))
    gateway.err.wait("^kitchen: ready")
    pid = gateway.one_worker()
    assert gateway.get("/pid").text == str(pid)


def test_check(launch):
    """Imported once at boot, in a process that is gone before the first request."""
    gateway = launch(kitchen(start="check"))
    assert re.search(r"^kitchen: imports in \d+ ms$", gateway.err.text, re.M)
    assert not gateway.workers
    assert gateway.get("/").status == 200


def test_check_of_an_app_that_cannot_be_imported(tmp_path):
    (tmp_path / "gateway.ini").write_text(ini({"gateway": {"listen": "127.0.0.1:0"}, "app:bad": app("broken", start="check"),
                                               "app:good": app("hello", path="/good")}))
    result = run(tmp_path)
    assert result.returncode == 4 and "a_module_that_is_nowhere" in result.stderr


def test_eager_app_that_never_idles_comes_back_when_it_ends(launch):
    """It may have a thread of its own that works while nobody asks. One that ends soon after its start waits for a request."""
    gateway = launch(kitchen(start="eager", idle_timeout="off"))
    gateway.err.wait("^kitchen: ready")
    time.sleep(5.1)
    for comes in True, False:
        old, start = gateway.one_worker(), len(gateway.err.text)
        os.kill(old, signal.SIGKILL)
        gateway.err.wait(r"^error: kitchen: worker \d+ was killed by signal 9", start)
        if comes:
            gateway.err.wait("^kitchen: ready", start)
    time.sleep(0.5)
    assert not gateway.workers
    assert gateway.get("/x").status == 200


def test_eager_app_that_cannot_be_imported_is_tried_again(launch, tmp_path):
    gateway = launch({"app:app": app("mending", env=f"MENDED={tmp_path}/mended", start="eager")})
    gateway.err.wait("^error: app: ")
    assert gateway.get("/").status == 500
    (tmp_path / "mended").touch()
    wait_until(lambda: gateway.get("/").status == 200, "the mended app")


# --- clients that leave


def test_who_leaves_during_a_rush_never_reaches_python(launch, tmp_path):
    """Half of those that wait for a cold start leave before it is over."""
    python = install(tmp_path, "good")
    wrapper = tmp_path / "late.sh"
    wrapper.write_text(f"#!/bin/sh\nuntil [ -e '{tmp_path}/go' ]; do sleep 0.05; done\nexec {python} \"$@\"\n")
    wrapper.chmod(0o755)
    gateway = launch({"app:k": {"module": "m", "directory": tmp_path, "python": wrapper},
                      "status": {"listen": "127.0.0.1:0"}})
    connections = [gateway.connect() for _ in range(40)]
    connections[0].request("GET", "/stays")  # it is given to the starting worker at once
    wait_until(lambda: gateway.workers, "the start")
    for n, connection in enumerate(connections[1:], 1):
        connection.request("GET", f"/{'stays' if n % 2 == 0 else 'leaves'}")
    with Inside(gateway) as inside:
        wait_until(lambda: inside.app("k")["queue"]["now"] == 39, "all of them")
        for connection in connections[1::2]:
            connection.close()
        wait_until(lambda: inside.app("k")["queue"]["now"] == 19, "the end of those who leave")
    (tmp_path / "go").touch()
    for connection in connections[::2]:
        assert connection.answer().text == "good 0"
        connection.close()
    assert len(journal(tmp_path, "request GET /stays")) == 20
    assert not journal(tmp_path, "request GET /leaves")
