"""Where the time of a request went, as the access line and Server-Timing tell it."""

import json
import re
import time

from gateway import app, wait_until

KITCHEN = {"app:kitchen": app("kitchen")}
SLOW_START = {"app:slow": app("slowstart", env="SECONDS=0.4")}
JSON = {"log": {"format": "json"}}


def lines(gateway, count):
    """The access lines of that many requests, parsed."""
    def all_of_them():
        found = [json.loads(line) for line in gateway.out.text.splitlines() if line.startswith("{")]
        return len(found) >= count and found
    return wait_until(all_of_them, f"{count} access lines")


def test_text_line(launch):
    gateway = launch(SLOW_START)
    gateway.get("/1")
    gateway.get("/2")
    start = gateway.out.wait(r'"GET /1 HTTP/1.1" 200 OK ([0-9.]+)ms slow cold '
                             r"\((?:queue [0-9.]+ )?start ([0-9.]+) app [0-9.]+\)$")
    assert float(start[1]) >= float(start[2]) >= 400
    gateway.out.wait(r'"GET /2 HTTP/1.1" 200 OK [0-9.]+ms slow warm( \(.*\))?$')


def test_json_line(launch):
    gateway = launch(SLOW_START | JSON)
    trace = "0af7651916cd43dd8448eb211c80319c"
    gateway.get("/cold", fields=[("traceparent", f"00-{trace}-b7ad6b7169203331-01")])
    pid = gateway.one_worker()
    gateway.get("/warm", fields=[("traceparent", "00-nonsense")])
    gateway.get("/-/health")
    cold, warm, health = lines(gateway, 3)
    assert (cold["start"], cold["app"], cold["pid"], cold["trace_id"]) == ("cold", "slow", pid, trace)
    assert cold["duration_s"] >= cold["start_s"] >= 0.4 and cold["queue_s"] < 0.2
    assert (warm["start"], warm["pid"], warm["start_s"]) == ("warm", pid, 0) and "trace_id" not in warm
    assert {"app", "start", "pid"}.isdisjoint(health)


def test_everybody_who_waits_for_a_start_is_cold(launch):
    """Also those for whom the worker that starts has no slot."""
    gateway = launch({"app:slow": app("slowstart", env="SECONDS=1")} | JSON)
    connections = [gateway.connect() for _ in range(20)]
    for connection in connections:
        connection.request("GET", "/")
    for connection in connections:
        assert connection.answer().status == 200
    for line in lines(gateway, 20):
        assert line["start"] == "cold" and 0.1 < line["start_s"] <= line["duration_s"]
        assert line["start_s"] + line["queue_s"] + line["app_s"] <= line["duration_s"]


def test_a_queue_is_told(launch, tmp_path):
    """However many requests a worker takes at once: one more than that waits."""
    gateway = launch(KITCHEN | JSON)
    gateway.get("/")
    file = tmp_path / "go"
    connections = [gateway.connect() for _ in range(10)]
    for connection in connections:
        connection.request("GET", f"/wait?file={file}")
    wait_until((tmp_path / "go.here").exists, "a busy worker")
    time.sleep(1)  # longer than the last of them needs to get there
    file.touch()
    for connection in connections:
        assert connection.answer().text == "waited"
        connection.close()
    waits = [line for line in lines(gateway, 11) if line["target"].startswith("/wait")]
    queued = [line for line in waits if line["queue_s"] >= 0.3]
    served = [line for line in waits if line not in queued and line["app_s"] >= 0.3]
    assert len(queued) + len(served) == 10 and queued and served
    assert all(line["start"] == "warm" for line in waits)


# --- Server-Timing


def timing(answer):
    """{"queue": ms, "start": ms, "app": ms}, by the grammar of the specification (tokens, no quoted strings here)."""
    metric = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+);dur=([0-9]+(?:\.[0-9]+)?)\Z")
    return {name: float(ms) for name, ms in (metric.match(text.strip()).groups()
                                             for text in answer.get("Server-Timing").split(","))}


def test_server_timing(launch, tmp_path):
    (tmp_path / "page.txt").write_text("a file")
    slow = app("slowstart", env="SECONDS=0.4", static=f"/files/ {tmp_path}")
    gateway = launch({"app:slow": slow, "log": {"server_timing": "on"}})
    cold, warm = timing(gateway.get("/")), timing(gateway.get("/"))
    assert list(cold) == list(warm) == ["queue", "start", "app"]
    assert cold["start"] >= 400 and warm["start"] == 0 and warm["app"] > 0
    for target in ("/-/health", "/files/page.txt", "/files/none"):
        assert gateway.get(target).get("Server-Timing") is None


def test_server_timing_beside_the_apps_own(launch):
    gateway = launch({"app:broken": app("broken", path="/broken"), "app:hello": app("hello"),
                      "log": {"server_timing": "on"}})
    failed = gateway.get("/broken")
    assert failed.status == 500 and timing(failed)["app"] == 0


def test_server_timing_is_off(launch):
    assert launch(KITCHEN).get("/").get("Server-Timing") is None


# --- queue_timeout


def test_the_time_in_the_queue_begins_with_the_first_worker(launch):
    """Also for those who have waited longer than that for its start."""
    gateway = launch({"app:slow": app("slowstart", env="SECONDS=1.5", queue_timeout="1s", concurrency=1)})
    connections = [gateway.connect() for _ in range(3)]
    for connection in connections:
        connection.request("GET", "/")
    for connection in connections:
        assert connection.answer().text == "at last\n"
        connection.close()
