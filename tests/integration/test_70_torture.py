"""Failure injection: over a short scenario the 1st, the 2nd, ... call of malloc, accept4, fork, write and so on fails once.

Requests may be refused or cut while something fails; but each gets its answer or its end in time, and afterwards the
gateway lives, serves the next request, and has lost no descriptor, no child and no file. The gateway is a build of its
own: sanitised, with its calls wrapped (tests/support/torture.c). A short version runs by default; `make torture` lets
every single call of the scenario fail."""

import errno
import hashlib
import json
import mmap
import os
import signal
import struct
import time

import pytest

import gateway as support
from gateway import app, wait_until
from inside import Inside
from rawhttp import Cut

# It brings its own binary: one run is enough.
pytestmark = pytest.mark.release

LONG = bool(os.environ.get("LEANGATE_LONG"))

# Of enum kind in torture.c, in its order, what the call fails with.
KINDS = {
    "memory": [errno.ENOMEM],
    "accept": [errno.EMFILE, errno.ECONNABORTED, errno.EINTR, errno.ENOMEM],
    "connect": [errno.EAGAIN, errno.ECONNREFUSED, errno.ENOMEM],
    "fork": [errno.EAGAIN],
    "pipe": [errno.EMFILE],
    "socketpair": [errno.EMFILE],
    "socket": [errno.EMFILE],
    "open": [errno.EMFILE, errno.ENOSPC],
    "send": [errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS, errno.EINTR],
    "write": [errno.EAGAIN, errno.ENOSPC, errno.EINTR],
    "pwrite": [errno.ENOSPC, errno.EINTR],
    "recv": [errno.EAGAIN, errno.ECONNRESET, errno.EINTR],
    "sendfile": [errno.EAGAIN, errno.EIO, errno.EINTR],
    "bind": [errno.ENOMEM, errno.EADDRINUSE],
    "read": [errno.EIO, errno.EAGAIN, errno.EINTR],
    "file state": [errno.EIO],
    "fcntl": [errno.EMFILE],
    "watch": [errno.ENOSPC, errno.ENOMEM],
    "lookup": [errno.EINTR, errno.EMFILE, errno.ESTALE, errno.EAGAIN],
    "growth": [errno.ENOMEM],
    "set": [errno.ENFILE, errno.ENOMEM],
}
NUMBERS = {kind: number for number, kind in enumerate(KINDS, 1)}
SHORT = [1, 2, 5]  # calls that fail in the short version
HANGS = 15.0  # seconds after which an answer counts as lost
PAGE = bytes(range(250)) * 400
BODY = b"x" * 20_000


class Order:
    """The mapped file through which torture.c is told what to do."""

    def __init__(self, path):
        path.write_bytes(bytes(16))
        with open(path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), 16)

    def give(self, kind, error, call):
        self.page[0:16] = struct.pack("iiii", 0, error, call, 0)
        self.page[0:4] = struct.pack("i", NUMBERS[kind])

    def revoke(self):
        """Nothing fails any more; whether something had."""
        self.page[0:4] = bytes(4)
        return self.done

    @property
    def done(self):
        return struct.unpack("iiii", self.page[0:16])[3] == 1


@pytest.fixture
def launch_tortured(launch, tmp_path, monkeypatch):
    """A gateway with its order; the arguments are keys of its app."""
    binary = support.BINARY.parent / "torture/leangate"
    assert binary.exists(), f"make {binary}"
    monkeypatch.setattr(support, "BINARY", binary)
    monkeypatch.setattr(support, "SANITISED", True)
    order = Order(tmp_path / "order")
    files = tmp_path / "files"
    files.mkdir()
    (files / "page").write_bytes(PAGE)
    # What is only ended by one of these long times has been lost.
    keys = {"idle_timeout": "150ms", "start_timeout": "5s", "request_timeout": "60s", "stop_timeout": "60s",
            "static": f"/files/ {files}"}

    def start(fails=None, **more):
        """`fails`: what the order is from the start on."""
        if fails is not None:
            order.give(*fails)
        gateway = launch(
            {"app:kitchen": app("kitchen", **keys | more),
             "app:remote": {"path": "/remote", "kind": "fastcgi", "address": f"unix:{tmp_path}/none", "queue_timeout": "2s"},
             "status": {"listen": f"unix:{tmp_path}/status"},
             "limits": {"body_memory": "4k", "response_memory": "8k", "response_headers": "2k"},
             "timeouts": {"header": "2s", "body": "2s", "send": "5s", "keepalive": "60s"}},
            environ={"TORTURE_FILE": str(tmp_path / "order")}, wait=fails is None)
        return gateway, order

    return start


@pytest.fixture
def tortured(launch_tortured):
    return launch_tortured()


# --- the scenario


def check(answer, body):
    """What is said to be well is so to the byte; what is not is no fault of the client."""
    assert answer.body == body if answer.status == 200 else answer.status in (500, 502, 503, 504), answer


def digest(body):
    """What /checksum says of it."""
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()


def keep_alive(gateway, connection):
    for target in ("/1", "/2"):
        check(connection.get(target), f"GET {target}".encode())


def spooled_body(gateway, connection):
    check(connection.post("/checksum", BODY), digest(BODY))


def chunks_and_percent(gateway, connection):
    connection.send(b"POST /%41/../checksum HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"5\r\nhello\r\n0\r\n\r\n")
    check(connection.answer(), digest(b"hello"))


def slow_client(gateway, connection):
    connection.request("GET", "/big?size=4016000")
    time.sleep(0.02)
    check(connection.answer(), bytes(range(251)) * 16_000)


def static_file(gateway, connection):
    check(connection.get("/files/page"), PAGE)


def error_page(gateway, connection):
    connection.send(b"BAD\x01\r\n\r\n")
    connection.answer()


def crash(gateway, connection):
    check(connection.get("/die"), None)


def gone_client(gateway, connection):
    connection.request("GET", "/big?size=1000000")
    connection.close()


def ranges(gateway, connection):
    for wanted, part in (("bytes=5-90000", PAGE[5:90_001]), ("bytes=-5", PAGE[-5:]), ("bytes=900000-", None)):
        answer = connection.get("/files/page", fields=[("Range", wanted)])
        assert answer.body == part if answer.status == 206 else answer.status in (416, 503), answer


def status_pages(gateway, connection):
    """Of the three one is left in the middle."""
    for target in ("/", "/status.json", "/metrics"):
        with Inside(gateway, timeout=HANGS) as inside:
            inside.get(target)
    with Inside(gateway, timeout=HANGS) as inside:
        inside.connection.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 3)


def many_at_once(gateway, connection):
    connections = [gateway.connect(timeout=HANGS) for _ in range(6)]
    bodies = [b"x" * 9000 * (number % 2) for number in range(6)]
    for one, body in zip(connections, bodies):
        one.request("POST", "/checksum", body=body)
    for one, body in zip(connections, bodies):
        with one:
            check(one.answer(), digest(body))


def server_that_is_not_there(gateway, connection):
    check(connection.get("/remote"), None)


def another_configuration(gateway, connection):
    """The log may have no memory for the line that tells of it."""
    with Inside(gateway, timeout=HANGS) as inside:
        def reloads():
            answer = inside.get("/status.json")
            counts = json.loads(answer.body)["connections"] if answer.status == 200 else {}
            return counts.get("reloads", 0) + counts.get("reloads_failed", 0)

        before = reloads()
        gateway.send_signal(signal.SIGHUP)
        check(connection.get("/1"), b"GET /1")
        wait_until(lambda: reloads() > before, "the reload", HANGS)


SCENARIO = [keep_alive, spooled_body, chunks_and_percent, static_file, slow_client, error_page, gone_client, crash,
            keep_alive]
if LONG:
    SCENARIO += [ranges, status_pages, many_at_once, server_that_is_not_there, another_configuration, keep_alive]


def play(gateway):
    """All steps, each on a connection of its own; what is refused or cut is fine, what never ends is not."""
    for step in SCENARIO:
        began = time.monotonic()
        try:
            with gateway.connect(timeout=HANGS) as connection:
                step(gateway, connection)
        except TimeoutError:
            raise AssertionError(f"{step.__name__} got neither an answer nor an end") from None
        except (OSError, Cut):
            pass
        assert gateway.process.poll() is None, f"the gateway ended in {step.__name__}:\n{gateway.err.text}"
        assert time.monotonic() - began < HANGS


def served(gateway):
    """Whether a request is answered well; back-off and pauses may need a moment."""
    try:
        with gateway.connect(timeout=HANGS) as connection:
            return connection.get("/x").text == "GET /x"
    except (OSError, Cut):
        return False


def settle(gateway, base):
    """Everything is as it was: no worker, no descriptor, no zombie, no file, and no word of a sanitiser."""
    wait_until(lambda: served(gateway), "the next request served", 10)
    gateway.no_worker()
    wait_until(lambda: len(gateway.descriptors()) <= base, f"{base} descriptors, not {gateway.descriptors()}", 8)
    assert not gateway.zombies()
    assert not list(gateway.tmp.iterdir()), list(gateway.tmp.iterdir())
    assert not support.COMPLAINT.search(gateway.err.text), gateway.err.text


# What an ordinary scenario need not come to.
RARE = ["set"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in RARE])
def test_torture(tortured, kind):
    gateway, order = tortured
    play(gateway)
    gateway.no_worker()
    base = len(gateway.descriptors())
    for error in KINDS[kind] if LONG else KINDS[kind][:1]:
        call, failed = 0, True
        while failed and (LONG or call < len(SHORT)):
            call += 1
            number = call if LONG else SHORT[call - 1]
            order.give(kind, error, number)
            try:
                play(gateway)
            except AssertionError as problem:
                raise AssertionError(f"call {number} of {kind}: {errno.errorcode[error]}: {problem}") from None
            failed = order.revoke()
            assert failed or number > 1, f"no {kind} in all of the scenario"
            try:
                settle(gateway, base)
            except AssertionError as problem:
                raise AssertionError(f"after call {number} of {kind}: {errno.errorcode[error]}: {problem}") from None
        if LONG:
            print(f"{kind} {errno.errorcode[error]}: {call - 1} calls failed, one after the other")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if errno.EINTR in KINDS[kind]])
def test_what_is_interrupted_goes_on(tortured, kind):
    """No EINTR of any call is seen by anybody."""
    gateway, order = tortured
    for call in range(1, 40 if LONG else 5):
        order.give(kind, errno.EINTR, call)
        with gateway.connect() as connection:
            assert connection.get("/1").text == "GET /1"
            assert connection.post("/checksum", BODY).body == digest(BODY)
            assert connection.get("/files/page").body == PAGE
        gateway.no_worker()
        assert order.revoke() or call > 1, f"no {kind} in all of that"
    assert "error" not in gateway.err.text


def test_stop_that_cannot_be_sent(tortured):
    """An idle worker is told to end even so: it is not left until stop_timeout kills it."""
    gateway, order = tortured
    with gateway.connect() as connection:
        assert connection.get("/1").status == 200
    order.give("send", errno.ENOBUFS, 1)
    gateway.no_worker()
    assert order.revoke()
    assert "stop_timeout" not in gateway.err.text


@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE, errno.EMFILE])
def test_file_that_cannot_be_had_now(tortured, error):
    """It is not said to be missing: somebody might remember that."""
    gateway, order = tortured
    order.give("lookup", error, 1)
    with gateway.connect() as connection:
        assert connection.get("/files/page").status == 503
        assert connection.get("/files/page").status == 200
        assert connection.get("/files/none").status == 404


def test_loop_without_memory(tortured):
    """libev ends the process where it gets none."""
    gateway, order = tortured
    order.give("growth", errno.ENOMEM, 1)
    connections = [gateway.connect() for _ in range(200)]
    wait_until(lambda: order.done, "tables that grow")
    assert connections[-1].get("/1").status == 200
    for connection in connections:
        connection.close()


def test_loop_without_a_set(tortured):
    """libev makes its set anew when it hears of a descriptor that is closed here, but not yet in a child that is about to exec;
    it ends the process where it gets none."""
    gateway, order = tortured
    order.give("set", errno.ENFILE, 1)

    def close_beside_a_start():
        gateway.no_worker()
        others = [gateway.connect() for _ in range(50)]
        assert others[-1].get("/files/page").status == 200
        with gateway.connect() as connection:
            connection.request("GET", "/1")
            for other in others:
                other.close()
            assert connection.answer().status == 200
        return order.done

    wait_until(close_beside_a_start, "a set that is made anew")
    gateway.err.wait("epoll_create: Too many open files in system; it is tried again")
    assert served(gateway)


def test_head_without_memory(tortured):
    """It is not said to be too large."""
    gateway, order = tortured
    with gateway.connect() as connection:
        connection.get("/files/page")
        gateway.out.wait("/files/page")
        order.give("growth", errno.ENOMEM, 1)
        assert connection.get("/files/page").status == 503
    gateway.err.wait("no memory for the head")


def test_what_follows_a_body_without_memory(launch_tortured):
    """Nor is that."""
    gateway, order = launch_tortured(idle_timeout="off")
    with gateway.connect() as connection:
        assert connection.post("/checksum", b"x").status == 200  # what grows once has grown, the table of timers too
        gateway.out.wait("/checksum")
        connection.send(b"POST /checksum HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        assert connection.head().status == 100
        with gateway.connect() as other:
            assert other.get("/files/page").status == 200
            gateway.out.wait("/files/page")  # the turn that has sent 100 is over
        order.give("growth", errno.ENOMEM, 1)
        connection.send(b"0\r\n\r\nGET /1 HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 600 + b"\r\n\r\n")
        assert connection.answer().status == 503
    gateway.err.wait("no memory for what follows a body")


def test_body_that_cannot_be_read_back(launch_tortured):
    """The client is told so, and the worker is not blamed for it."""
    gateway, order = launch_tortured(idle_timeout="off")
    assert gateway.get("/1").status == 200
    worker = gateway.one_worker()
    statuses = []
    for call in 1, 2, 3, 4:
        order.give("read", errno.EIO, call)
        answer = gateway.post("/checksum", BODY)
        order.revoke()
        assert answer.status == 503 or answer.body == digest(BODY), answer
        statuses.append(answer.status)
        assert gateway.get("/1").status == 200
        assert gateway.one_worker() == worker
    assert 503 in statuses
    assert "exited" not in gateway.err.text


def test_slot_without_memory(launch_tortured):
    """An idle worker has no request whose end would tell that there is memory again."""
    gateway, order = launch_tortured(start="eager", idle_timeout="off", queue_timeout="2s")
    gateway.err.wait("ready in")
    with gateway.connect() as connection:
        connection.get("/files/page")
        gateway.out.wait("/files/page")
        order.give("memory", errno.ENOMEM, 4)  # behind those of the request, its head and its deadline
        assert connection.get("/1").status == 200
    assert order.done


def test_first_slot_of_a_server_without_memory(tortured):
    """It is tried again: that the server is not there is found out."""
    gateway, order = tortured
    with gateway.connect() as connection:
        connection.get("/files/page")
        gateway.out.wait("/files/page")
        order.give("memory", errno.ENOMEM, 7)  # behind those of the request, its head, its deadline and the app
        assert connection.get("/remote").status == 502
    assert order.done


def test_start_without_dev_null(launch_tortured):
    """As in a directory that somebody has made its root: it says what is missing."""
    gateway, _ = launch_tortured(("open", errno.ENOENT, 1))
    assert gateway.wait() == 1
    assert gateway.err.text == "leangate: /dev/null: No such file or directory\n"


def test_small_file_that_cannot_be_read(tortured, tmp_path):
    """The operator hears of it."""
    gateway, order = tortured
    (tmp_path / "files/small").write_bytes(b"small")
    with gateway.connect() as connection:
        order.give("read", errno.EIO, 1)
        assert connection.get("/files/small").status == 503
        assert connection.get("/files/small").body == b"small"
    gateway.err.wait("kitchen: static: a file cannot be read")
