"""Many apps, few processes: how many workers one app has, how many all have, who makes room, and who is next."""

import json
import os
import re
import signal
import time
from collections import Counter

import pytest

from fakeworker import install, journal
from gateway import app, proc_file, wait_until
from inside import Inside
from load import Load


def waiting(gateway, path, tmp_path, name):
    """A request under way that is answered when the file is there."""
    connection = gateway.connect()
    connection.request("GET", f"{path}/wait?file={tmp_path}/{name}")
    wait_until((tmp_path / f"{name}.here").exists, name)
    return connection


# Who has starved for a second may have the place of a busy worker. What must not take so long is tried again, with
# another gateway, where the machine did not let it be quick.
ATTEMPTS = ["one", "two", "three", "four", "five"]


def queued(gateway, name):
    """How many requests wait for a worker of an app."""
    with Inside(gateway) as inside:
        return inside.app(name)["queue"]["now"]


# --- routes


@pytest.mark.valgrind
def test_routes(launch):
    """The domain comes first (exact, then below *, then any), then the longest path of whole segments; what no app has is a
    404 that wakes nobody, also where an app of another domain has it."""
    gateway = launch({
        "app:exact": app("kitchen", domain="www.example.com", path="/"),
        "app:below": app("kitchen", domain="*.example.com", path=["/", "/deep"]),
        "app:api": app("kitchen", path="/api"),
        "app:v2": app("kitchen", path="/api/v2", strip_path="off"),
        "app:proxied": app("kitchen", path="/p", root_path="/outer"),
    })
    for host, target in (("x", "/"), ("x", "/apix"), ("x", "/ap"), ("example.com", "/"), ("wwwexample.com", "/deep")):
        assert gateway.get(target, host=host).status == 404, (host, target)
    assert not gateway.workers
    for host, target, name, script, path in (
            ("WWW.Example.COM:8000", "/environ", "exact", "", "/environ"),
            ("www.example.com", "/api/x", "exact", "", "/api/x"),
            ("x.example.com", "/environ", "below", "", "/environ"),
            ("a.b.example.com", "/deep/environ", "below", "/deep", "/environ"),
            ("x", "/api/environ", "api", "/api", "/environ"),
            ("x", "/api/v2x", "api", "/api", "/v2x"),
            ("x", "/api/v2/x", "v2", "", "/api/v2/x"),
            ("x", "/p/environ", "proxied", "/outer/p", "/environ")):
        start = len(gateway.out.text)
        answer = gateway.get(target, host=host)
        gateway.out.wait(rf'"GET {target} HTTP/1.1" 200 OK [0-9.]+ms {name} ', start)
        if path == "/environ":
            environ = json.loads(answer.text)
            assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script, path)
        else:
            assert answer.text == f"GET {path}"


# --- one place for several


@pytest.mark.valgrind
def test_the_longest_idle_worker_makes_room(launch):
    gateway = launch({"limits": {"workers": 2}} | {f"app:{n}": app("kitchen", path=f"/{n}", idle_timeout="off") for n in "abc"})
    pids = {n: gateway.get(f"/{n}/pid").text for n in "ab"}
    gateway.get("/a/pid")  # b has been idle for longer now
    assert gateway.get("/c/pid").status == 200
    gateway.err.wait(rf"^b: worker {pids['b']} makes room for c \(\[limits\] workers = 2\)$")
    assert gateway.get("/a/pid").text == pids["a"]
    assert len(gateway.workers) == 2


def test_a_busy_worker_makes_no_room_but_goes_when_it_is_idle(launch, tmp_path):
    gateway = launch({"limits": {"workers": 1}, "app:a": app("kitchen", path="/a"), "app:b": app("kitchen", path="/b")})
    with waiting(gateway, "/a", tmp_path, "one") as first, gateway.connect() as second:
        second.request("GET", "/b/pid")
        assert second.silent(0.3)
        (tmp_path / "one").touch()
        assert first.answer().text == "waited"
        assert second.answer().status == 200
    assert len(gateway.workers) == 1


def test_who_starves_for_too_long_is_told(launch, tmp_path):
    gateway = launch({"limits": {"workers": 1}, "app:a": app("kitchen", path="/a"),
                      "app:b": app("kitchen", path="/b", queue_timeout="300ms")})
    with waiting(gateway, "/a", tmp_path, "one") as first:
        answer = gateway.get("/b/")
        assert answer.status == 503 and answer.get("Retry-After")
        (tmp_path / "one").touch()
        assert first.answer().text == "waited"


@pytest.mark.parametrize("patience", [0, 1.5])
def test_who_leaves_while_it_waits_for_a_place_wants_none(launch, tmp_path, patience):
    """Nobody has to go for it, neither a worker that goes idle nor, after a second, a busy one."""
    def left_in_time(name):
        gateway = launch({"limits": {"workers": 1}, "status": {"listen": "127.0.0.1:0"},
                          "app:a": app("kitchen", path="/a", idle_timeout="off"), "app:b": app("kitchen", path="/b")})
        with waiting(gateway, "/a", tmp_path, name) as first:
            worker = gateway.one_worker()
            with gateway.connect() as second:
                asked = time.monotonic()
                second.request("GET", "/b/")
                wait_until(lambda: queued(gateway, "b") == 1, "the request of b")
            wait_until(lambda: queued(gateway, "b") == 0, "its end")
            in_time = time.monotonic() < asked + 0.9
            time.sleep(patience)
            (tmp_path / name).touch()
            assert first.answer().text == "waited"
        if in_time:
            assert gateway.get("/a/pid").text == str(worker)
            assert "makes room" not in gateway.err.text
        return in_time

    assert any(left_in_time(name) for name in ATTEMPTS)


def test_a_worker_that_nobody_asked_for_takes_no_turn(launch, tmp_path):
    """Its app runs also while nobody asks, but those who have waited for the place that its worker leaves come first."""
    def killed_in_time(name):
        gateway = launch({"limits": {"workers": 1}, "status": {"listen": "127.0.0.1:0"},
                          "app:b": app("kitchen", path="/b"),
                          "app:e": app("kitchen", path="/e", start="eager", idle_timeout="off")})
        gateway.err.wait("^e: ready")
        time.sleep(5.1)
        with gateway.connect() as first, gateway.connect() as second:
            first.request("POST", f"/e/wait?file={tmp_path}/{name}", body=b"x")
            wait_until((tmp_path / f"{name}.here").exists, "the request of e")
            worker, start = gateway.one_worker(), len(gateway.err.text)
            asked = time.monotonic()
            second.request("GET", "/b/pid")
            wait_until(lambda: queued(gateway, "b") == 1, "the request of b")
            os.kill(worker, signal.SIGKILL)
            if time.monotonic() > asked + 0.9:
                return False
            assert first.answer().status == 502
            assert second.answer().status == 200
            gateway.err.wait(r"^warning: e: not started: \[limits\] workers = 1$", start)
        assert "e: ready" not in gateway.err.text[start:]
        return True

    assert any(killed_in_time(name) for name in ATTEMPTS)


def test_apps_that_starve_are_served_in_turn(launch, tmp_path):
    """One place, and apps that ask for it in no order of name or file: each has it in the order in which they asked, and
    who asks once more has it after those who asked before."""
    gateway = launch({"limits": {"workers": 1}, "status": {"listen": "127.0.0.1:0"}}
                     | {f"app:{n}": app("kitchen", path=f"/{n}", queue_timeout="60s") for n in "abcde"})
    asked = []

    def ask(name):
        connection, number = gateway.connect(), len(asked)
        connection.request("GET", f"/{name}/wait?file={tmp_path}/{number}")
        asked.append((name, connection))
        begun = tmp_path / f"{number}.here"
        wait_until(lambda: begun.exists() or number and queued(gateway, name), f"request {number}, of {name}")
        assert begun.exists() == (number == 0), f"request {number}, of {name}, came in before others"

    for name in "adbec":
        ask(name)
    again = list("adb")
    for n, (name, connection) in enumerate(asked):  # which grows meanwhile
        wait_until((tmp_path / f"{n}.here").exists, f"request {n}, of {name}")
        assert len(list(tmp_path.glob("*.here"))) == n + 1, "somebody came in before others"
        (tmp_path / str(n)).touch()
        assert connection.answer().text == "waited"
        connection.close()
        if again:
            ask(again.pop(0))

    def ready():
        return re.findall(r"^(\w): ready", gateway.err.text, re.M)

    wait_until(lambda: len(ready()) == len(asked), "each start in the log")
    assert ready() == list("adbecadb")


def test_apps_that_never_go_idle_take_turns(launch):
    """Five of them share two places: each is served, none is refused."""
    names = "abcde"
    gateway = launch({"limits": {"workers": 2}} | {f"app:{n}": app("kitchen", path=f"/{n}") for n in names})
    loads = {n: Load(gateway, f"/{n}/pid", clients=2) for n in names}
    most = 0
    deadline = time.monotonic() + 30
    starts = Counter()
    while min(starts[n] for n in names) < 3 and time.monotonic() < deadline:
        most = max(most, len(gateway.workers))
        starts = Counter(re.findall(r"^(\w): ready", gateway.err.text, re.M))
        time.sleep(0.02)
    counts = {n: load.stop().all_good() for n, load in loads.items()}
    assert min(starts[n] for n in names) >= 3 and all(counts.values()), (starts, counts)
    assert most <= 2, "more processes than the limit"


def test_the_next_worker_starts_only_when_something_waits(launch, tmp_path):
    gateway = launch({"app:k": app("kitchen", workers=3, concurrency=1)})
    with waiting(gateway, "", tmp_path, "one") as first:
        assert len(gateway.workers) == 1
        with waiting(gateway, "", tmp_path, "two") as second:
            assert len(gateway.workers) == 2
            (tmp_path / "one").touch()
            (tmp_path / "two").touch()
            assert first.answer().text == second.answer().text == "waited"
    for _ in range(20):
        assert gateway.get("/").status == 200
    assert len(gateway.workers) == 2


def test_workers_that_are_not_needed_go_one_by_one(launch, tmp_path):
    """Requests go to the busiest worker that has room, so the others become idle although the app never is."""
    gateway = launch({"app:k": app("kitchen", workers=2, concurrency=2, idle_timeout="500ms")})
    connections = [waiting(gateway, "", tmp_path, f"w{n}") for n in range(3)]
    assert len(gateway.workers) == 2
    for n, connection in enumerate(connections):
        (tmp_path / f"w{n}").touch()
        assert connection.answer().text == "waited"
        connection.close()
    load = Load(gateway, "/pid", clients=1, pause=0.05)
    wait_until(lambda: len(gateway.workers) == 1, "the end of the second worker")
    load.stop().all_good()


# --- ignore_idle


def test_ignored_paths_wake_nobody(launch):
    gateway = launch({"app:k": app("kitchen", ignore_idle="/ping /deep/down")})
    for target in ("/ping", "/ping/more", "/deep/down?x=1"):
        answer = gateway.get(target)
        assert answer.status == 200 and answer.text == "asleep\n"
    assert not gateway.workers
    assert gateway.get("/pingpong").text == "GET /pingpong"
    assert gateway.get("/ping").text == "GET /ping"


def test_an_ignored_path_is_that_of_the_url(launch):
    """Not what is left of it below the app's own prefix."""
    gateway = launch({"app:k": app("kitchen", path="/shop", ignore_idle="/shop/ping /deep")})
    assert gateway.get("/shop/ping").text == gateway.get("/shop/p%69ng?x").text == "asleep\n"
    assert not gateway.workers
    assert gateway.get("/shop/deep").text == "GET /deep"
    assert gateway.get("/shop/ping").text == "GET /ping"


def test_ignored_paths_keep_nobody_awake(launch):
    gateway = launch({"app:k": app("kitchen", ignore_idle="/ping", idle_timeout="2s")})
    began = time.monotonic()
    assert gateway.get("/").status == 200
    load = Load(gateway, "/ping", clients=1, pause=0.01)
    gateway.err.wait("^k: stopped after")
    assert time.monotonic() - began < 10
    assert load.stop().all_good() > 10
    gateway.no_worker()
    assert load.texts["asleep\n"] + load.texts["GET /ping"] == load.sent


def test_ignored_paths_keep_nobody_awake_however_many_there_are(launch, tmp_path):
    """There is always one under way."""
    (tmp_path / "slow.py").write_text("""import time
def app(environ, start_response):
    time.sleep(0.05)
    start_response("200 OK", [("Content-Length", "5")])
    return [b"awake"]
""")
    gateway = launch({"app:k": {"module": "slow", "directory": tmp_path, "ignore_idle": "/ping", "idle_timeout": "2s",
                                "concurrency": 2}})
    assert gateway.get("/").text == "awake"
    load = Load(gateway, "/ping", clients=6)
    gateway.err.wait("^k: stopped after")
    gateway.no_worker()
    assert load.stop().all_good() > 10
    assert load.texts["asleep\n"] + load.texts["awake"] == load.sent and load.texts["awake"] > 5


def test_ignored_paths_start_no_further_worker(launch, tmp_path):
    """They wait for the one that is busy, and take no place from another app; who asks for more than that behind them has his
    worker, which serves them, too."""
    gateway = launch({"limits": {"workers": 2}, "app:other": app("kitchen", path="/other"),
                      "app:k": app("kitchen", workers=2, concurrency=1, ignore_idle="/ping")})
    gateway.get("/other/")
    with waiting(gateway, "", tmp_path, "one") as first, gateway.connect() as ping, gateway.connect() as second:
        pids = set(gateway.workers)
        ping.request("GET", "/ping")
        assert ping.silent(0.3)
        assert set(gateway.workers) == pids and "makes room" not in gateway.err.text
        second.request("GET", "/pid")
        gateway.err.wait("^other: worker .* makes room for k ")
        assert ping.answer().text == "GET /ping"
        assert int(second.answer().text) not in pids
        (tmp_path / "one").touch()
        assert first.answer().text == "waited"


def test_an_ignored_request_under_way_is_finished(launch, tmp_path):
    gateway = launch({"app:k": app("kitchen", ignore_idle="/wait", idle_timeout="300ms", concurrency=2)})
    with gateway.connect() as awake:  # until the ignored one is under way, for that wakes nobody
        awake.request("GET", f"/drip?file={tmp_path}/two")
        assert awake.head().status == 200
        connection = waiting(gateway, "", tmp_path, "one")
        (tmp_path / "two").touch()
        assert b"".join(awake.chunks()) == b"firstsecond"
    with connection:
        time.sleep(0.6)
        assert len(gateway.workers) == 1
        (tmp_path / "one").touch()
        assert connection.answer().text == "waited"
    gateway.no_worker()


# --- limits of a process


def test_limits_of_a_process(launch):
    gateway = launch({"app:k": app("kitchen", limit_files=64, limit_processes=5000, limit_address_space="2g")})
    assert gateway.get("/").status == 200
    limits = proc_file(gateway.one_worker(), "limits")
    for name, value in ("Max open files", 64), ("Max processes", 5000), ("Max address space", 2 << 30):
        assert re.search(rf"^{name} +{value} +{value} ", limits, re.M), limits


def test_a_limit_that_cannot_be_set_says_so(launch):
    gateway = launch({"app:k": app("kitchen", limit_files=1 << 30)})  # above fs.nr_open
    assert gateway.get("/").status == 500
    gateway.err.wait(rf"k: limit_files = {1 << 30}: ")


# --- a thousand


def test_a_thousand_apps(launch, tmp_path):
    """All of them are served by two processes at a time, one after the other; the fake worker costs little to start."""
    python = install(tmp_path, "good")
    apps = {f"app:a{n}": {"path": f"/a{n}", "module": "m", "directory": tmp_path, "python": python}
            for n in range(1000)}
    gateway = launch({"limits": {"workers": 2}} | apps)
    for n in range(0, 1000, 97):
        assert gateway.get(f"/a{n}/x").text == "good 0"
    assert len(journal(tmp_path, "start")) == 11
    assert len(gateway.workers) <= 2
    assert gateway.get("/a1000").status == 404
