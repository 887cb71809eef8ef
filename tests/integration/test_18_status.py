"""The status listener: what the gateway tells about itself and its apps, however they are."""

import os
import re
import signal
import socket
import time
from html.parser import HTMLParser

import pytest

from gateway import PATIENCE, ROOT, app, ini, proc_file, run, wait_until
from inside import Inside

STATUS = {"status": {"listen": "127.0.0.1:0"}}
KITCHEN = {"app:kitchen": app("kitchen")} | STATUS
ANSWERS = ("/", "/status.json", "/metrics", "/livez", "/readyz")


def labels(**pairs):
    return frozenset(pairs.items())


def look(gateway, path):
    with Inside(gateway) as inside:
        return inside.get(path)


# --- what is told


def test_an_app_from_sleep_to_sleep(launch, tmp_path):
    sections = {"app:kitchen": app("kitchen", path=["/k", "/l"], domain="a.example", idle_timeout="2s", workers=2)}
    gateway = launch(sections | STATUS)
    with Inside(gateway) as inside:
        asleep = inside.app("kitchen")
        assert (asleep["state"], asleep["workers"], asleep["last_exit"], asleep["last_error"]) == ("asleep", [], None, None)
        assert (asleep["paths"], asleep["domains"], asleep["workers_limit"]) == (["/k", "/l"], ["a.example"], 2)
        assert asleep["cold_starts"] == {"count": 0, "last": None, "median": None}
        assert not gateway.workers
        with gateway.connect() as connection:
            connection.request("GET", f"/k/wait?file={tmp_path}/go", host="a.example")
            wait_until((tmp_path / "go.here").exists, "a busy worker")
            # its READY may still be unread when the app is at work already
            busy = wait_until(lambda: (found := inside.app("kitchen"))["state"] != "starting" and found, "READY")
            pid = gateway.one_worker()
            assert (busy["state"], busy["in_flight"], busy["worker_starts"]) == ("busy", 1, 1)
            (worker,) = busy["workers"]
            assert (worker["pid"], worker["state"], worker["in_flight"], worker["served"]) == (pid, "busy", 1, 0)
            assert 0 < worker["memory"]["private"] <= worker["memory"]["rss"] <= worker["memory"]["peak"]
            assert busy["memory"]["rss"] == worker["memory"]["rss"] and worker["age"] > 0
            (tmp_path / "go").touch()
            assert connection.answer().text == "waited"
        wait_until(lambda: inside.app("kitchen")["state"] == "idle", "an idle app")
        gateway.no_worker()
        again = wait_until(lambda: (now := inside.app("kitchen"))["state"] == "asleep" and now, "an app that sleeps")
    assert again["requests"] == {"2xx": 1, "3xx": 0, "4xx": 0, "5xx": 0, "gone": 0}
    assert again["worker_exits"]["idle"] == 1 and again["last_error"] is None
    assert again["last_exit"]["pid"] == pid and again["last_exit"]["reason"] == "idle"
    assert again["last_exit"]["how"] == "exited with status 0"
    assert again["memory"]["rss"] == 0 < again["memory"]["peak_of_a_worker"]


def test_requests_by_class(launch):
    gateway = launch(KITCHEN | {"app:files": app("hello", path="/files", body_size="10")})
    for status in ("200 OK", "204 No Content", "302 Found", "404 Not Found", "503 Busy"):
        gateway.get(f"/status?is={status.replace(' ', '%20')}")
    gateway.post("/files", b"x" * 11)
    gateway.get("/-/health")
    with gateway.connect() as connection:
        connection.send(b"no request\r\n\r\n")
        assert connection.answer().status == 400
    with Inside(gateway) as inside:
        status = inside.status()
        kitchen, files = status["apps"]
        assert kitchen["requests"] == {"2xx": 2, "3xx": 1, "4xx": 1, "5xx": 1, "gone": 0}
        assert files["requests"]["4xx"] == 1 and not files["workers"]
        assert status["unrouted"]["requests"] == {"2xx": 1, "3xx": 0, "4xx": 1, "5xx": 0, "gone": 0}
        assert status["connections"]["accepted"] == 8 and status["connections"]["limit"] == 4096
        samples = inside.metrics()
    requests = samples["leangate_http_requests_total"]
    assert requests[labels(app="kitchen", **{"class": "2xx"})] == 2
    assert requests[labels(app="-", **{"class": "4xx"})] == 1
    assert sum(requests.values()) == 8


def test_a_client_that_left(launch, tmp_path):
    gateway = launch(KITCHEN)
    with gateway.connect() as connection:
        connection.request("GET", f"/wait?file={tmp_path}/go")
        wait_until((tmp_path / "go.here").exists, "a busy worker")
    with Inside(gateway) as inside:
        wait_until(lambda: inside.app("kitchen")["requests"]["gone"] == 1, "a client that is gone")
    (tmp_path / "go").touch()


def test_a_client_that_left_within_its_body(launch):
    """An upload that broke off is seen: the worker is not woken by it."""
    gateway = launch(KITCHEN)
    with gateway.connect() as connection:
        connection.send(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    gateway.out.wait(r'^127\.0\.0\.1:\d+ - "POST /upload HTTP/1.1" 499 Client Gone \d+\.\dms kitchen unserved')
    with Inside(gateway) as inside:
        assert inside.app("kitchen")["requests"]["gone"] == 1 and inside.app("kitchen")["bytes"]["received"] == 3
    assert not gateway.workers


def test_cold_starts_in_parts(launch):
    gateway = launch({"app:slow": app("slowstart", env="SECONDS=0.3")} | STATUS)
    began = time.monotonic()
    gateway.get("/")
    took = time.monotonic() - began
    with Inside(gateway) as inside:
        cold = inside.app("slow")["cold_starts"]
        assert cold["count"] == 1 and cold["last"] == cold["median"]
        parts = {name: seconds for name, seconds in cold["last"].items() if name != "total"}
        assert list(parts) == ["queue", "spawn", "interpreter", "import", "answer"]
        assert parts["import"] >= 0.3 and parts["interpreter"] > 0 < parts["spawn"]
        assert sum(parts.values()) == pytest.approx(cold["last"]["total"], abs=1e-5)
        assert 0.3 <= cold["last"]["total"] <= took
        samples = inside.metrics()
    assert samples["leangate_worker_start_seconds_count"][labels(app="slow")] == 1
    assert samples["leangate_worker_start_seconds_sum"][labels(app="slow")] >= 0.3
    assert samples["leangate_cold_requests_total"][labels(app="slow")] == 1


def test_the_highest_queue(launch):
    gateway = launch({"app:slow": app("slowstart", env="SECONDS=1", queue=5)} | STATUS)
    connections = [gateway.connect() for _ in range(12)]
    for connection in connections:
        connection.request("GET", "/")
    statuses = [connection.answer().status for connection in connections]
    for connection in connections:
        connection.close()
    with Inside(gateway) as inside:
        slow = inside.app("slow")
    assert slow["queue"] == {"now": 0, "highest": 5, "limit": 5}
    assert slow["rejected"]["queue_full"] == statuses.count(503) == slow["requests"]["5xx"] > 0


def test_numbers_outlive_a_reload(launch, tmp_path):
    """Also those of an app that has another server, or another kind of one, from then on."""
    server = f"unix:{tmp_path}/nobody"
    listen = {"gateway": {"listen": "127.0.0.1:0"}} | STATUS
    gateway = launch({"app:a": app("kitchen", path="/a"), "app:b": {"address": server, "path": "/b"}} | STATUS)
    assert [gateway.get(path).status for path in ("/a", "/b", "/b")] == [200, 502, 502]
    for n, apps in enumerate([{"app:a": app("kitchen", path="/a"), "app:b": {"address": server, "path": "/b"}},
                              {"app:a": {"address": server, "path": "/a"}, "app:b": app("kitchen", path="/b")}]):
        gateway.config.write_text(ini(listen | apps))
        start = len(gateway.err.text)
        gateway.send_signal(signal.SIGHUP)
        gateway.err.wait("^configuration loaded anew: ", start)
        with Inside(gateway) as inside:
            requests = {name: inside.app(name)["requests"] for name in "ab"}
            assert (requests["a"]["2xx"], requests["b"]["5xx"]) == (1, 2)
    assert [gateway.get(path).status for path in ("/a", "/b")] == [502, 200]
    with Inside(gateway) as inside:
        assert inside.app("a")["requests"] | {"2xx": 1, "5xx": 1} == inside.app("a")["requests"]


def test_metrics(launch):
    """Every family is read by a real parser; histograms are cumulative and end with all."""
    gateway = launch(KITCHEN | {"app:asleep": app("hello", path="/asleep")})
    for _ in range(3):
        gateway.get("/")
    with Inside(gateway) as inside:
        samples = inside.metrics()
    assert samples["leangate_build_info"] and samples["process_resident_memory_bytes"][labels()] > 0
    assert samples["leangate_apps"][labels()] == 2 and samples["process_open_fds"][labels()] > 5
    assert samples["process_start_time_seconds"][labels()] == pytest.approx(time.time(), abs=PATIENCE)
    assert samples["leangate_worker_starts_total"] == {labels(app="kitchen"): 1}
    assert samples["leangate_workers"] == {labels(app="kitchen"): 1}
    assert samples["leangate_worker_resident_memory_bytes"][labels(app="kitchen")] > 1e6
    state = samples["leangate_app_state"]
    assert state[labels(app="kitchen", state="idle")] == 1 and sum(state.values()) == 1
    for name in ("http_request_duration", "queue_wait"):
        buckets = samples[f"leangate_{name}_seconds_bucket"]
        kitchen = sorted((float(dict(key)["le"]), value) for key, value in buckets.items() if dict(key)["app"] == "kitchen")
        assert [value for _, value in kitchen] == sorted(value for _, value in kitchen) and len(kitchen) == 12
        assert kitchen[-1] == (float("inf"), 3) == (float("inf"), samples[f"leangate_{name}_seconds_count"][labels(app="kitchen")])


# --- failures


NASTY = '''
import os, sys
os.write(2, b"first \\xff\\x00\\x1b[31m \\"quoted\\" <b>&amp; \\\\ \\xc3\\xa4\\n")
print("second", file=sys.stderr)
'''


def test_a_start_that_failed(launch, tmp_path):
    (tmp_path / "nasty.py").write_text(NASTY + "raise ImportError('\"<script>\\x07\\u00e4\\\\')\n")
    gateway = launch({"app:nasty": app("nasty", directory=tmp_path)} | STATUS)
    assert gateway.get("/").status == 500
    with Inside(gateway) as inside:
        wait_until(lambda: inside.app("nasty")["last_exit"], "its end")
        nasty = inside.app("nasty")
        page = inside.get("/").text
    assert nasty["last_exit"]["reason"] == "failed" and nasty["worker_exits"]["failed"] == 1
    assert '"<script>\u0007ä\\' in nasty["last_error"]["text"].replace("\\x07", "\u0007")
    assert "Traceback" in nasty["last_error"]["text"]
    assert nasty["last_error"]["output"] == 'first \ufffd\x00\x1b[31m "quoted" <b>&amp; \\ ä\nsecond\n'
    assert nasty["rejected"]["cannot_start"] >= 1
    assert "<script" not in page and "<b>" not in page and "\x1b" not in page and "second" in page


def test_a_start_without_a_word(launch, tmp_path):
    (tmp_path / "mute.py").write_text(NASTY + "os._exit(7)\n")
    gateway = launch({"app:mute": app("mute", directory=tmp_path)} | STATUS)
    assert gateway.get("/").status == 502
    with Inside(gateway) as inside:
        mute = wait_until(lambda: (now := inside.app("mute"))["last_error"] and now, "its end")
    assert mute["last_exit"]["how"] == "exited with status 7 before it was ready"
    assert mute["last_error"]["output"].endswith("second\n") and mute["last_exit"]["reason"] == "crashed"


def test_a_worker_that_died(launch):
    gateway = launch(KITCHEN)
    gateway.get("/print")
    pid = gateway.one_worker()
    assert gateway.get("/die?signal=11").status in (502, 504)
    with Inside(gateway) as inside:
        kitchen = wait_until(lambda: (now := inside.app("kitchen"))["worker_exits"]["crashed"] and now, "its end")
    assert pid and "was killed by signal 11" in kitchen["last_exit"]["how"]
    assert kitchen["last_error"]["text"].endswith(kitchen["last_exit"]["how"])


def test_only_the_last_lines_are_kept(launch, tmp_path):
    (tmp_path / "flood.py").write_text("import os\nfor n in range(20000):\n    print('line', n)\n"
                                       "print('x' * 100000)\nos.write(1, b'the last')\nraise ImportError('no')\n")
    gateway = launch({"app:flood": app("flood", directory=tmp_path)} | STATUS)
    assert gateway.get("/").status == 500
    with Inside(gateway) as inside:
        flood = wait_until(lambda: (now := inside.app("flood"))["last_exit"] and now, "its end")
    output = flood["last_error"]["output"]
    assert "line 19999\n" in output and "line 5\n" not in output and len(output) <= 4096
    assert len(max(output.splitlines(), key=len)) <= 1024 and output.splitlines()[-1] == "the last"


def test_backoff(launch):
    gateway = launch({"app:broken": app("broken")} | STATUS)
    with Inside(gateway) as inside:
        wait_until(lambda: gateway.get("/").status == 500 and inside.app("broken")["state"] == "backoff", "back-off")
        wait_until(lambda: gateway.get("/") and inside.get("/readyz").status == 503, "not ready")
        assert inside.get("/livez").text == "ok\n"


def test_draining(launch, tmp_path):
    gateway = launch(KITCHEN)
    with gateway.connect() as connection, Inside(gateway) as inside:
        assert inside.get("/readyz").text == "ok\n"
        connection.request("GET", f"/wait?file={tmp_path}/go")
        wait_until((tmp_path / "go.here").exists, "a busy worker")
        gateway.send_signal(signal.SIGTERM)
        gateway.err.wait("draining: ")
        assert inside.get("/readyz").status == 503 and inside.get("/livez").status == 200
        assert inside.status()["state"] == "draining"
        assert look(gateway, "/livez").status == 200  # it is accepted on to the end
        (tmp_path / "go").touch()
        assert connection.answer().text == "waited"
    assert gateway.wait() == 0


# --- who is asked


def test_off(tmp_path, launch):
    gateway = launch({"app:kitchen": app("kitchen")})
    assert "status on" not in gateway.err.text
    assert "[status]\nlisten = off" in run(tmp_path, "-T", "kitchen:app").stdout
    for wrong in ("9180", "x"):
        result = run(tmp_path, "-T", "kitchen:app", "--status-listen", wrong)
        assert result.returncode == 2 and "is not an address" in result.stderr


def test_the_apps_listeners_do_not_tell(launch):
    gateway = launch(KITCHEN)
    for path in ("/status.json", "/metrics", "/livez", "/readyz", "/"):
        assert gateway.get(path).text == f"GET {path}"
    for path in ("/x", "/status", "/metrics/", "/environ"):
        assert look(gateway, path).status == 404
    assert look(gateway, "/-/health").text == "ok\n"


def test_nobody_is_woken_and_nothing_is_counted(launch):
    gateway = launch(KITCHEN)
    for path in ANSWERS:
        assert look(gateway, path).status == 200
    assert not gateway.workers
    with Inside(gateway) as inside:
        status = inside.status()
    assert status["connections"]["accepted"] == 0 and set(status["unrouted"]["requests"].values()) == {0}
    gateway.get("/last")
    gateway.out.wait("/last")
    assert gateway.out.text.count("\n") == 1


def test_unix_socket(launch, tmp_path):
    gateway = launch(KITCHEN | {"status": {"listen": f"unix:{tmp_path}/status"}})
    assert look(gateway, "/livez").text == "ok\n"
    gateway.stop()
    assert not (tmp_path / "status").exists()


def test_methods_and_versions(launch):
    gateway = launch(KITCHEN)
    for path in ANSWERS:
        with Inside(gateway) as inside:
            inside.connection.request("HEAD", path)
            answer = inside.connection.answer("HEAD")
            assert answer.status == 200 and answer.body == b""
            inside.connection.request("POST", path, b"body")
            answer = inside.connection.answer()
            assert (answer.status, answer.get("Allow")) == (405, "GET, HEAD")
        with Inside(gateway) as inside:
            inside.connection.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            answer = inside.connection.answer()
            assert answer.status == 200 and answer.body and answer.get("Cache-Control") == "no-store"


def test_while_everything_hangs(launch):
    """Every worker hangs, the queue is full, and the clients have all the connections there may be."""
    gateway = launch(KITCHEN | {"app:kitchen": app("kitchen", queue=2), "limits": {"connections": 8}})
    connections = [gateway.connect() for _ in range(8)]
    for connection in connections:
        connection.request("GET", "/hang")
    with Inside(gateway) as inside:
        wait_until(lambda: inside.app("kitchen")["queue"]["highest"] == 2, "a full queue")
        began = time.monotonic()
        for path in ANSWERS:
            assert inside.get(path).status == 200
        assert time.monotonic() - began < PATIENCE / 4
        assert inside.status()["connections"]["open"] >= 5
    for connection in connections:
        connection.close()
    gateway.kill()


def test_a_stopped_worker(launch):
    gateway = launch(KITCHEN)
    gateway.get("/")
    pid = gateway.one_worker()
    os.kill(pid, signal.SIGSTOP)
    try:
        with Inside(gateway) as inside:
            assert inside.app("kitchen")["workers"][0]["memory"]["rss"] > 0
            assert inside.metrics()
    finally:
        os.kill(pid, signal.SIGCONT)


def test_eight_connections_of_its_own(launch):
    gateway = launch(KITCHEN)
    with Inside(gateway) as first:
        assert first.get("/livez").status == 200
        held = [socket.create_connection(first.address) for _ in range(20)]
        with Inside(gateway) as last:
            assert last.get("/livez").status == 200  # the longest idle one made room
        assert gateway.get("/").status == 200
        wait_until(lambda: len([target for target in gateway.descriptors().values() if "socket" in target]) < 20, "few sockets")
    for connection in held:
        connection.close()


def test_a_proxy_in_front_of_the_apps_is_none_here(launch):
    gateway = launch(KITCHEN | {"gateway": {"proxy_protocol": "on"}})
    assert look(gateway, "/livez").text == "ok\n"


def test_while_memory_is_used_up(launch):
    """Beyond [limits] buffers the heads of clients wait; a look does not."""
    gateway = launch(KITCHEN | {"limits": {"buffers": "1m"}})
    held = [gateway.connect() for _ in range(100)]
    for connection in held:
        connection.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nA: " + b"x" * 15_000 + b"\r\n\r\n")
    with Inside(gateway) as inside:
        wait_until(lambda: inside.status()["memory"]["buffers"] >= 1 << 20, "used up memory")
        with gateway.connect(timeout=0.3) as late:
            late.request("GET", "/late")
            with pytest.raises(TimeoutError):
                late.answer()
            for path in ANSWERS:
                assert look(gateway, path).status == 200
    for connection in held:
        connection.close()


# --- many apps, a client that does not read


MANY = {f"app:app{n:04}": app("hello", path=f"/app{n}") for n in range(1000)} | STATUS


def rss(gateway):
    lines = dict(line.split(":") for line in proc_file(gateway.pid, "status").splitlines() if line.endswith("kB"))
    return int(lines["VmRSS"].split()[0])


def test_a_thousand_apps(launch):
    gateway = launch(MANY)
    for n in range(0, 1000, 333):
        assert gateway.get(f"/app{n}").status == 200
    with Inside(gateway) as inside:
        status = inside.status()
        assert [app["name"] for app in status["apps"]] == [f"app{n:04}" for n in range(1000)]
        assert [app["requests"]["2xx"] for app in status["apps"]].count(1) == 4
        assert len(inside.metrics()["leangate_worker_starts_total"]) == 4
        assert inside.get("/").text.count("<tr class=app>") == 1000


@pytest.mark.release
def test_who_does_not_read_costs_nothing(launch):
    gateway = launch(MANY)
    with Inside(gateway) as inside:
        inside.status()
        before = rss(gateway)
        held = []
        for _ in range(6):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(inside.address)
            connection.sendall(b"GET /status.json HTTP/1.1\r\nHost: x\r\n\r\n")
            held.append(connection)
        assert len(inside.status()["apps"]) == 1000
        assert gateway.get("/app1").status == 200
        grown = rss(gateway) - before
        print(f"six clients that do not read: {grown} kB")
        assert grown < 6 * 256 + 512  # a batch each, and what an app took to start; the answer has 1.2 MB
    for connection in held:
        connection.close()


# --- the page


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def test_the_page(launch):
    gateway = launch(KITCHEN | {f"app:app{n}": app("hello", path=f"/app{n}") for n in range(20)})
    gateway.get("/")
    answer = look(gateway, "/")
    assert answer.get("Content-Type") == "text/html; charset=utf-8" and len(answer.body) < 20 * 1024
    page = Page(answer.text)
    assert not {"script", "img", "link", "iframe"} & set(page.tags) and "http" not in answer.text.partition("<body")[2]
    assert str(gateway.one_worker()) in page.text and "kitchen" in page.text
    assert all(f"app{n}" in page.text for n in range(20)) and "/app7" in page.text


# --- what is written about it


def test_the_queries_ask_for_what_there_is(launch):
    """Those of docs/STATUS.md; Prometheus answers nothing to a name that is wrong."""
    queries = (ROOT / "docs/STATUS.md").read_text().partition("| wanted | query |")[2].partition("\n\n")[0]
    names = set(re.findall(r"leangate_\w+", queries))
    reasons = set(re.search(r'reason=~"([^"]+)"', queries)[1].split(r"\|"))
    gateway = launch(KITCHEN)
    assert gateway.get("/").status == 200
    with Inside(gateway) as inside:
        samples = inside.metrics()
    assert len(names) > 5 and names <= set(samples)
    assert len(reasons) > 2 and reasons <= {dict(pairs)["reason"] for pairs in samples["leangate_worker_exits_total"]}
