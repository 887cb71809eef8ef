"""A fresh worker takes over: after so many requests, at a size, at an age. It is ready before the old one goes, and no
request is lost."""

import os
import re
import signal
import time

import pytest

from fakeworker import install, journal
from gateway import app, wait_until
from load import Load


def kitchen(**keys):
    return {"app:k": app("kitchen", **keys)}


def replaced(gateway):
    return len(re.findall(r"^k: worker \d+ is replaced after", gateway.err.text, re.M))


@pytest.mark.parametrize("keys", [{"max_requests": 40}, {"max_age": "300ms"}, {"max_rss": "1m"}],
                         ids=["max_requests", "max_age", "max_rss"])
def test_recycling_under_load_loses_nothing(launch, keys):
    """Every hello is larger than 1 MB: each worker is replaced as soon as there is a successor."""
    gateway = launch(kitchen(**keys))
    load = Load(gateway, "/pid", clients=4)
    wait_until(lambda: replaced(gateway) >= 5, "five successors")
    total = load.stop().all_good()
    assert total == load.sent and len(load.texts) >= 5
    wait_until(lambda: len(gateway.workers) == 1, "one worker in the end")
    gateway.err.wait(rf"is replaced after \d+ requests \({next(iter(keys))}\)$")


@pytest.mark.valgrind
def test_the_successor_is_ready_before_the_old_one_goes(launch):
    """While it starts the old one serves: nobody waits for an import."""
    gateway = launch({"app:k": app("slowstart", env="SECONDS=0.6", max_requests=20)})
    assert gateway.get("/").status == 200
    with gateway.connect() as connection:
        slowest = 0.0
        while not replaced(gateway):
            began = time.monotonic()
            assert connection.get("/").status == 200
            slowest = max(slowest, time.monotonic() - began)
    assert slowest < 0.5


def test_one_successor_at_a_time(launch):
    gateway = launch({"limits": {"workers": 1}} | kitchen(max_requests=5))
    load = Load(gateway, "/", clients=2)
    most = 0
    while replaced(gateway) < 5:
        most = max(most, len(gateway.workers))
    load.stop().all_good()
    assert most <= 3  # the old one, its successor, and one that is just ending


def test_an_idle_app_gets_no_successor(launch):
    gateway = launch(kitchen(max_requests=3, max_age="100ms", idle_timeout="700ms"))
    pids = {gateway.get("/pid").text for _ in range(2)}
    time.sleep(0.3)
    assert pids == {str(gateway.one_worker())}
    gateway.no_worker()
    assert len(re.findall("^k: ready", gateway.err.text, re.M)) == 1


def test_max_rss_is_looked_at(launch):
    gateway = launch(kitchen(max_rss="200m"))
    first = gateway.get("/pid").text
    assert gateway.get("/pid").text == first
    gateway.get("/eat?size=250000000")
    wait_until(lambda: gateway.get("/pid").text != first, "the successor")
    gateway.err.wait(r"^k: worker \d+ is replaced after \d+ requests \(max_rss\)$")


def test_max_requests_1_is_a_fresh_interpreter_for_every_request(launch):
    gateway = launch(kitchen(max_requests=1, workers=2))
    load = Load(gateway, "/pid", clients=3, requests=4).join()
    assert load.all_good() == 12 == len(load.texts)
    gateway.no_worker()
    assert not replaced(gateway)


def test_a_failing_successor_leaves_the_old_worker(launch, tmp_path):
    python = install(tmp_path, "good", "fails", "exits-at-once", "never-ready", "good")
    gateway = launch({"app:k": {"module": "m", "directory": tmp_path, "python": python, "max_requests": 10,
                                "start_timeout": "300ms", "stop_timeout": "300ms"}})
    load = Load(gateway, "/", clients=2, pause=0.002)
    wait_until(lambda: replaced(gateway) == 1, "the successor that works at last")
    load.stop().all_good()
    starts = [line.split()[1] for line in journal(tmp_path, "start")]
    assert starts[:5] == ["good", "fails", "exits-at-once", "never-ready", "good"]


def test_a_successor_that_is_killed_while_it_starts(launch):
    gateway = launch({"app:k": app("slowstart", env="SECONDS=0.5", max_requests=3)})
    assert gateway.get("/").status == 200
    old = gateway.one_worker()
    load = Load(gateway, "/", clients=2, pause=0.005)
    successor = wait_until(lambda: [pid for pid in gateway.workers if pid != old], "the successor")[0]
    os.kill(successor, signal.SIGKILL)
    wait_until(lambda: replaced(gateway), "the next successor")
    load.stop().all_good()


def test_work_after_the_answer_is_finished_first(launch, tmp_path):
    """The client has its answer, close() still runs: neither recycling nor the idle stop nor the end cuts it."""
    (tmp_path / "background.py").write_text(
        "import os, time\n"
        "class Body(list):\n"
        "    def close(self):\n"
        "        time.sleep(0.6)\n"
        "        open(os.environ['DONE'] + str(os.getpid()), 'w').close()\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Length', '2')])\n"
        "    return Body([b'ok']) if environ['PATH_INFO'] == '/work' else [b'ok']\n")
    for n, keys in enumerate(({"max_requests": 1}, {"idle_timeout": "100ms"}, {"idle_timeout": "off"})):
        gateway = launch({"app:k": {"module": "background", "directory": tmp_path, "env": f"DONE={tmp_path}/done{n}"} | keys})
        assert gateway.get("/work").text == "ok"
        assert not list(tmp_path.glob(f"done{n}*")), "the answer came after the work"
        if n == 2:
            gateway.stop()
        else:
            gateway.no_worker()
        assert len(list(tmp_path.glob(f"done{n}*"))) == 1
