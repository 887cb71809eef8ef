"""As a service of systemd: what the gateway tells its manager, and what is left of it when nobody calls. The tests play
the manager with a datagram socket and a listening one."""

import json
import re
import signal
import socket
import time

import pytest

import rawhttp
from activated import Activated
from gateway import ROOT, app, children, wait_until

KITCHEN = {"app:kitchen": app("kitchen")}


class Manager:
    """Takes what is sent to $NOTIFY_SOCKET."""

    def __init__(self, address):
        self.name = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address[0] == "@" else address)
        self.messages = []

    def read(self):
        """All messages so far, each a dict."""
        while True:
            try:
                text = self.socket.recv(4096, socket.MSG_DONTWAIT).decode()
            except BlockingIOError:
                return self.messages
            self.messages.append(dict(line.split("=", 1) for line in text.split("\n")))

    def wait(self, condition, what):
        """The first message, new or old, for which the condition holds."""
        return wait_until(lambda: next((m for m in self.read() if condition(m)), None), what)

    def wait_for(self, **expected):
        return self.wait(lambda message: expected.items() <= message.items(), expected)

    def count(self, name):
        return sum(name in message for message in self.read())


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else f"@leangate-{tmp_path.name}-{id(request)}")
    yield manager
    manager.socket.close()


def test_a_life(launch, manager):
    gateway = launch(KITCHEN | {"app:other": app("hello", path="/other", idle_timeout="300ms")},
                     environ={"NOTIFY_SOCKET": manager.name})
    ready = manager.wait_for(READY="1")
    assert ready["STATUS"] == "2 apps, 0 workers" and manager.read().index(ready) == 0
    gateway.get("/other")
    manager.wait_for(STATUS="2 apps, 1 worker")
    gateway.no_worker()
    wait_until(lambda: manager.read()[-1] == {"STATUS": "2 apps, 0 workers"}, "the end of the worker")
    gateway.stop()
    assert manager.read()[-1] == {"STOPPING": "1", "STATUS": "draining"}
    assert manager.count("READY") == 1 and manager.count("WATCHDOG") == 0


def test_ready_means_that_it_listens(launch, manager, tmp_path):
    """start = check is over, and whoever connects now is served."""
    gateway = launch({"app:slow": app("slowstart", env="SECONDS=0.4", start="check")} | {"gateway": {"listen": f"unix:{tmp_path}/s"}},
                     environ={"NOTIFY_SOCKET": manager.name}, wait=False)
    manager.wait_for(READY="1")
    with rawhttp.Connection(str(tmp_path / "s")) as connection:
        assert connection.get("/").status == 200
    assert "imports in" in gateway.err.text


def test_a_reload_waits_for_the_check(launch, manager):
    """What would be served meanwhile was not checked, and READY would be too early."""
    gateway = launch({"app:slow": app("slowstart", env="SECONDS=0.4", start="check")},
                     environ={"NOTIFY_SOCKET": manager.name}, wait=False)
    wait_until(lambda: children(gateway.process.pid), "the worker that is checked")
    gateway.process.send_signal(signal.SIGHUP)
    manager.wait_for(READY="1")
    gateway.err.wait("configuration loaded anew")
    assert re.search("imports in .*^leangate .*configuration loaded anew", gateway.err.text, re.M | re.S)


def test_reload(launch, manager):
    gateway = launch(KITCHEN, environ={"NOTIFY_SOCKET": manager.name})
    manager.wait_for(READY="1")
    good = gateway.config.read_text()
    for text, count in ((good + "[app:more]\nmodule = hello\npath = /more\n", 2), (good + "[nonsense]\n", 3)):
        before = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
        gateway.config.write_text(text)
        gateway.send_signal(signal.SIGHUP)
        wait_until(lambda: manager.count("READY") == count, "ready again")
        reloading, ready = manager.read()[-2:]
        assert reloading["RELOADING"] == "1" and ready["STATUS"] == "2 apps, 0 workers"
        assert before <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6


def test_watchdog(launch, manager):
    began = time.monotonic()
    launch(KITCHEN, environ={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "200000"})
    wait_until(lambda: manager.count("WATCHDOG") >= 5, "five signs of life")
    assert time.monotonic() - began >= 0.4  # half the time is 100 ms


def test_watchdog_of_somebody_else(launch, manager):
    gateway = launch(KITCHEN, environ={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"})
    manager.wait_for(READY="1")
    gateway.get("/")
    wait_until(lambda: manager.count("STATUS") >= 2, "the worker")
    assert manager.count("WATCHDOG") == 0


def test_workers_are_not_told(launch, manager):
    gateway = launch(KITCHEN, environ={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "1000000"})
    seen = json.loads(gateway.get("/process-environ").text)
    assert not [name for name in seen if name.startswith(("NOTIFY_", "WATCHDOG_"))]
    assert manager.name not in str(json.loads(gateway.get("/descriptors").text))


def test_a_manager_that_does_not_listen(launch, manager):
    """Its queue is full after a few messages: what does not fit is lost, and nobody waits."""
    gateway = launch(KITCHEN, environ={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "4000"})
    time.sleep(0.5)
    for _ in range(20):
        assert gateway.get("/").status == 200
    assert manager.count("WATCHDOG") < 100 and manager.wait_for(WATCHDOG="1")


@pytest.mark.parametrize("name, message", [
    ("nowhere", "is no address of a unix socket"), ("/nowhere/at/all", "cannot be used"), ("@", "is no address"),
    ("/" + "x" * 200, "is no address"), ("", None)])
def test_a_bad_address(launch, name, message):
    gateway = launch(KITCHEN, environ={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000"})
    assert gateway.get("/").status == 200
    assert ("NOTIFY_SOCKET" in gateway.err.text) == (message is not None)
    assert message is None or message in gateway.err.text


def test_at_rest_only_a_socket_is_left(tmp_path):
    """Socket activation with idle_exit: the gateway comes with a request and goes after the last, and who calls in
    between only waits a little longer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for turn in range(3):
            directory = tmp_path / f"turn{turn}"
            directory.mkdir()
            gateway = Activated(directory, {"gateway": {"listen": "systemd:web"}, "timeouts": {"idle_exit": "400ms"},
                                            "app:kitchen": app("kitchen", idle_timeout="off")})
            try:
                with rawhttp.Connection(listener.getsockname()) as connection:
                    connection.request("GET", f"/turn{turn}")  # nobody is there yet
                    gateway.pass_sockets([listener], "web").start()
                    assert connection.answer().text == f"GET /turn{turn}"
                assert gateway.wait() == 0
                gateway.check_end()
            finally:
                gateway.kill()


def test_who_came_before_a_start_that_was_broken_off_is_served_by_the_next_one(tmp_path):
    """What waits in a socket of systemd's is not taken by a gateway that serves nobody yet."""
    with socket.create_server(("127.0.0.1", 0)) as listener, rawhttp.Connection(listener.getsockname()) as client:
        client.request("GET", "/")
        for seconds in ("60", "0"):
            directory = tmp_path / seconds
            directory.mkdir()
            gateway = Activated(directory, {"gateway": {"listen": "systemd:web"},
                                            "app:slow": app("slowstart", env=f"SECONDS={seconds}", start="check")})
            try:
                gateway.pass_sockets([listener], "web").start(wait=seconds == "0")
                if seconds == "60":
                    wait_until(lambda: children(gateway.process.pid), "the worker that is checked")
                    gateway.process.send_signal(signal.SIGTERM)
                else:
                    assert client.answer().status == 200
                    gateway.process.send_signal(signal.SIGTERM)
                assert gateway.wait() == 0
                gateway.check_end()
            finally:
                gateway.kill()


def test_the_unit_outlives_a_worker_without_memory():
    """By default systemd stops a service of which the kernel has killed one process for its memory."""
    assert "OOMPolicy=continue" in (ROOT / "examples/systemd/leangate.service").read_text().splitlines()
