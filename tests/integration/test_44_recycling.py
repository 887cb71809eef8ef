"""A fresh worker takes over: after so many requests, at a size, at an age. It is ready before the old one goes, and no
request is lost."""

import contextlib
import os
import re
import signal
import time
from collections import Counter

import pytest

from fakeworker import install, journal
from gateway import app, kitchen, wait_until
from inside import Inside
from load import Load


def replaced(gateway):
    return len(re.findall(r"^\w+: worker \d+ is replaced after", gateway.err.text, re.M))


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


def ask_until_replaced(gateway):
    """One request after the other on a connection that is kept."""
    with gateway.connect() as connection:
        def asked():
            assert connection.get("/").status == 200
            return replaced(gateway)
        wait_until(asked, "the successor")


@pytest.mark.valgrind
def test_the_successor_is_ready_before_the_old_one_goes(launch):
    """While it starts the old one serves: nobody but the first waits for an import."""
    gateway = launch({"app:k": app("slowstart", env="SECONDS=0.6", max_requests=20)})
    ask_until_replaced(gateway)
    assert gateway.get("/").status == 200
    gateway.stop()
    assert [number for number, line in enumerate(gateway.out.text.splitlines()) if " k cold" in line] == [0]


def test_the_old_one_serves_more_than_max_requests_until_then(launch):
    gateway = launch({"app:k": app("slowstart", env="SECONDS=2", max_requests=5)})
    ask_until_replaced(gateway)
    assert int(re.search(r"is replaced after (\d+) requests \(max_requests\)$", gateway.err.text, re.M)[1]) > 10


def test_one_successor_at_a_time(launch):
    """There may be more processes: those that are ending, however long it takes them."""
    gateway = launch({"limits": {"workers": 1}, "status": {"listen": "127.0.0.1:0"}} | kitchen(max_requests=5))
    load = Load(gateway, "/", clients=2)

    with Inside(gateway) as inside:
        def looked():
            states = Counter(worker["state"] for worker in inside.app("kitchen")["workers"])
            assert states["starting"] <= 1 and states["starting"] + states["idle"] + states["busy"] <= 2, states
            return replaced(gateway) >= 5
        wait_until(looked, "five successors")
    load.stop().all_good()
    gateway.stop()
    assert len(re.findall("^kitchen: ready", gateway.err.text, re.M)) <= replaced(gateway) + 2  # the first and one in its place


@pytest.mark.parametrize("keys, requests", [({"max_requests": 2}, 2), ({"max_age": "100ms", "start": "eager"}, 0)],
                         ids=["max_requests", "max_age"])
def test_an_idle_app_gets_no_successor(launch, keys, requests):
    gateway = launch(kitchen(idle_timeout="2s", **keys))
    for _ in range(requests):
        assert gateway.get("/").status == 200
    gateway.err.wait("^kitchen: ready")
    pid = gateway.one_worker()
    time.sleep(0.3)
    assert gateway.one_worker() == pid
    gateway.no_worker()
    assert len(re.findall("^kitchen: ready", gateway.err.text, re.M)) == 1


def test_max_rss_is_looked_at(launch):
    gateway = launch(kitchen(max_rss="200m"))
    first = gateway.get("/pid").text
    assert gateway.get("/pid").text == first
    gateway.get("/eat?size=250000000")
    wait_until(lambda: gateway.get("/pid").text != first, "the successor")
    gateway.err.wait(r"^kitchen: worker \d+ is replaced after \d+ requests \(max_rss\)$")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who may be in any group")
def test_max_rss_of_a_user_in_many_groups(launch, tmp_path):
    """They make /proc/PID/status too long to be read whole."""
    (tmp_path / "m.py").write_text("import os\n"
                                   "os.setgroups(range(100000, 101500))\n"
                                   "def application(environ, start_response):\n"
                                   "    start_response('200 OK', [])\n"
                                   "    return [b'%d' % os.getpid()]\n")
    gateway = launch({"app:k": {"module": "m", "directory": tmp_path, "max_rss": "1m"}})
    first = gateway.get("/").text
    wait_until(lambda: gateway.get("/").text != first, "the successor")


def test_max_requests_1_is_a_fresh_interpreter_for_every_request(launch):
    gateway = launch(kitchen(max_requests=1, workers=2))
    load = Load(gateway, "/pid", clients=3, requests=4).join()
    assert load.all_good() == 12 == len(load.texts)
    gateway.no_worker()
    assert not replaced(gateway)


def test_a_failing_successor_leaves_the_old_worker(launch, tmp_path):
    python = install(tmp_path, "good", "fails", "exits-at-once", "never-ready", "good")
    gateway = launch({"app:k": {"module": "m", "directory": tmp_path, "python": python, "max_requests": 10,
                                "start_timeout": "3s", "stop_timeout": "300ms"}})
    load = Load(gateway, "/", clients=2, pause=0.002)
    wait_until(lambda: replaced(gateway) >= 1, "the successor that works at last")
    load.stop().all_good()
    starts = [line.split()[1] for line in journal(tmp_path, "start")]
    assert starts[:5] == ["good", "fails", "exits-at-once", "never-ready", "good"]


def test_a_successor_that_is_killed_while_it_starts(launch):
    gateway = launch({"app:k": app("slowstart", env="SECONDS=0.5", max_requests=3)})
    assert gateway.get("/").status == 200
    old = gateway.one_worker()
    load = Load(gateway, "/", clients=2, pause=0.005)
    successor = wait_until(lambda: [pid for pid in gateway.workers if pid != old], "the successor")[0]
    with contextlib.suppress(ProcessLookupError):  # it has served and is replaced, if the machine is that busy
        os.kill(successor, signal.SIGKILL)
    wait_until(lambda: replaced(gateway), "the next successor")
    load.stop().all_good()


# --- work after the answer

BACKGROUND = {
    "close": """
class Body(list):
    def close(self):
        work(*self.work)
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", str(len(PID)))])
    body = Body([PID])
    body.work = environ["PATH_INFO"], environ["QUERY_STRING"]
    return body
""",
    "task": """
from fastapi import BackgroundTasks, FastAPI, Request, Response
application = FastAPI()
@application.get("/{path}")
async def serve(request: Request, tasks: BackgroundTasks):
    tasks.add_task(work_async, request.url.path, request.url.query)
    return Response(PID)
""",
    "thread": """
from fastapi import BackgroundTasks, FastAPI, Request, Response
application = FastAPI()
@application.get("/{path}")
def serve(request: Request, tasks: BackgroundTasks):
    tasks.add_task(work, request.url.path, request.url.query)
    return Response(PID)
""",
    "send": """
async def application(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": PID})
    await work_async(scope["path"], scope["query_string"].decode())
"""}

WORK = """
import asyncio, os, time
PID = str(os.getpid()).encode()
def done(number):
    with open(os.environ["DONE"], "ab") as file:
        file.write(b"%s %s\\n" % (number.encode(), PID))
def work(path, number):
    if path == "/work":
        while not os.path.exists(os.environ["GO"]):
            time.sleep(0.01)
        done(number)
async def work_async(path, number):
    if path == "/work":
        while not os.path.exists(os.environ["GO"]):
            await asyncio.sleep(0.01)
        done(number)
"""


@pytest.fixture(params=BACKGROUND)
def background(request, launch, tmp_path):
    """background(keys): a gateway, and what says which works are done: number and pid of each. They wait for tmp_path/go."""
    (tmp_path / "background.py").write_text(WORK + BACKGROUND[request.param])

    def start(**keys):
        section = app("background:application", directory=tmp_path, concurrency=16, stop_timeout="200ms",
                      env=[f"GO={tmp_path}/go", f"DONE={tmp_path}/done"])
        return launch({"app:k": section | keys})
    return start


def at_once(gateway, count):
    """So many requests that leave work behind, between two that do not; each has its whole answer while the work waits. The
    pid of the worker, which may be idle for long enough before the first of them only."""
    gateway.get("/none")
    pid, = {gateway.get(f"/work?{number}").text for number in range(count)}
    assert gateway.get("/none").text == pid
    return pid


def all_done(tmp_path, count, pid):
    """Each of them once, by the worker that has answered."""
    return sorted((tmp_path / "done").read_text().splitlines()) == sorted(f"{number} {pid}" for number in range(count))


def test_work_after_the_answer_puts_the_idle_stop_off(background, tmp_path):
    gateway = background(idle_timeout="100ms")
    pid = at_once(gateway, 12)
    time.sleep(0.6)
    assert gateway.one_worker() == int(pid) and not (tmp_path / "done").exists()
    (tmp_path / "go").touch()
    gateway.no_worker()
    assert all_done(tmp_path, 12, pid)


def test_work_after_the_answer_is_finished_before_a_worker_is_replaced(background, tmp_path):
    """Its successor serves already."""
    gateway = background(idle_timeout="off", max_requests=3)
    pid = at_once(gateway, 12)
    wait_until(lambda: gateway.get("/none").text != pid, "the successor")
    time.sleep(0.6)
    assert int(pid) in gateway.workers and not (tmp_path / "done").exists()
    (tmp_path / "go").touch()
    wait_until(lambda: int(pid) not in gateway.workers, "the end of the old one")
    assert all_done(tmp_path, 12, pid)


def test_work_after_the_only_answer_of_a_worker(background, tmp_path):
    """max_requests = 1: each has a worker of its own, which ends with its work."""
    gateway = background(idle_timeout="off", max_requests=1, workers=3)
    pids = [gateway.get(f"/work?{number}").text for number in range(3)]
    time.sleep(0.4)
    assert sorted(gateway.workers) == sorted(map(int, pids)) and not (tmp_path / "done").exists()
    (tmp_path / "go").touch()
    gateway.no_worker()
    assert sorted((tmp_path / "done").read_text().splitlines()) == [f"{number} {pid}" for number, pid in enumerate(pids)]


def test_work_after_the_answer_is_finished_before_the_end(background, tmp_path):
    gateway = background(idle_timeout="off")
    pid = at_once(gateway, 12)
    gateway.send_signal(signal.SIGTERM)
    time.sleep(0.6)
    assert gateway.process.poll() is None and not (tmp_path / "done").exists()
    (tmp_path / "go").touch()
    assert gateway.wait() == 0
    assert all_done(tmp_path, 12, pid)
