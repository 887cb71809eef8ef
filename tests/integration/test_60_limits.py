"""Limits and patience: every key of [limits] and [timeouts] at the limit and one past it, and what happens to everybody
else when clients are slow, many or gone, when descriptors, memory or the disk are used up."""

import os
import re
import resource
import select
import signal
import socket
import statistics
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager, suppress

import pytest

from gateway import BINARY, PATIENCE, SLOW, WRAPPER, Gateway, app, wait_until
from rawhttp import Connection, Cut, chunked

KITCHEN = {"app:kitchen": app("kitchen")}
BIG = 12_000_000  # more than the buffers of a socket pair hold

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


def refused(gateway, data, status):
    """One answer with that status, then the end; what stands behind is not looked at, no worker is woken."""
    with gateway.connect() as connection:
        connection.send(data + SMUGGLED)
        answer = connection.answer()
        assert (answer.status, answer.get("Connection")) == (status, "close")
        assert connection.ended()
    assert not gateway.workers
    assert "smuggled" not in gateway.out.text


def spooled(gateway):
    """Bytes in the unlinked files that it holds."""
    total = 0
    for number, target in gateway.descriptors().items():
        if target.startswith(str(gateway.tmp)) and target.endswith("(deleted)"):
            try:
                total += os.stat(f"/proc/{gateway.pid}/fd/{number}").st_size
            except FileNotFoundError:
                pass
    return total


def settled(value):
    """The value when it has stopped changing for a moment."""
    last, since = value(), time.monotonic()

    def calm():
        nonlocal last, since
        now = value()
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > 0.3

    wait_until(calm, "a value that stays")
    return last


class Narrow(Connection):
    """A client whose kernel takes little for it, until it wants its answer."""

    def answer(self, method="GET"):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        return super().answer(method)


@contextmanager
def narrow(gateway):
    connection = Narrow.__new__(Narrow)
    connection.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.socket.settimeout(PATIENCE)
    connection.socket.connect(gateway.address())
    connection.buffer = b""
    with connection:
        yield connection


# --- heads


@pytest.mark.parametrize("length, status", [(100, 200), (101, 414)])
def test_request_line(launch, length, status):
    gateway = launch(KITCHEN | {"limits": {"request_line": "100"}})
    line = b"GET /" + b"x" * (length - len("GET / HTTP/1.1")) + b" HTTP/1.1"
    assert len(line) == length
    head = line + b"\r\nHost: x\r\n\r\n"
    if status == 200:
        with gateway.connect() as connection:
            connection.send(head)
            assert connection.answer().status == 200
    else:
        refused(gateway, head, status)


@pytest.mark.parametrize("size, status", [(512, 200), (513, 431)])
def test_headers(launch, size, status):
    gateway = launch(KITCHEN | {"limits": {"headers": "512", "request_line": "100"}})
    head = b"GET / HTTP/1.1\r\nHost: x\r\nX-Fill: %b\r\n\r\n"
    head %= b"x" * (size - len(head % b""))
    assert len(head) == size
    if status == 200:
        with gateway.connect() as connection:
            connection.send(head)
            assert connection.answer().status == 200
    else:
        refused(gateway, head, status)


@pytest.mark.parametrize("count, status", [(5, 200), (6, 431)])
def test_header_count(launch, count, status):
    gateway = launch(KITCHEN | {"limits": {"header_count": "5"}})
    head = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * (count - 1) + b"\r\n"
    if status == 200:
        with gateway.connect() as connection:
            connection.send(head)
            assert connection.answer().status == 200
    else:
        refused(gateway, head, status)


def test_a_pipelined_head_has_the_same_limits(launch):
    gateway = launch(KITCHEN | {"limits": {"headers": "512", "request_line": "100"}})
    with gateway.connect() as connection:
        connection.send(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 600 + b"\r\n\r\n")
        assert connection.answer().text == "GET /1"
        assert connection.answer().status == 431 and connection.ended()


def test_header_timeout_counts_the_whole_head(launch):
    """Byte after byte, each in time, does not prolong it."""
    gateway = launch(KITCHEN | {"timeouts": {"header": "500ms"}})
    with gateway.connect() as connection:
        connection.socket.settimeout(0.1)
        began = time.monotonic()
        connection.send(b"GET / HTTP/1.1\r\nHost: x\r\nA: ")
        while True:
            try:
                connection.fill()
                break
            except TimeoutError:
                assert time.monotonic() - began < PATIENCE
                connection.send(b"x")
        assert time.monotonic() - began > 0.45
        connection.socket.settimeout(PATIENCE)
        answer = connection.answer()
        assert (answer.status, answer.get("Connection")) == (408, "close") and connection.ended()
    assert not gateway.workers


def test_no_408_where_no_request_had_begun(launch):
    gateway = launch(KITCHEN | {"timeouts": {"header": "200ms", "keepalive": "2s"}})
    with gateway.connect() as silent, gateway.connect() as served:
        assert served.get("/x").status == 200
        assert silent.ended() and served.ended()
    with gateway.connect() as begun:
        assert begun.get("/x").status == 200
        begun.send(b"G")
        assert begun.answer().status == 408 and begun.ended()


def test_an_empty_line_is_no_request_yet(launch):
    gateway = launch(KITCHEN | {"timeouts": {"header": "200ms"}})
    with gateway.connect() as connection:
        connection.send(b"\r\n")
        assert connection.ended()


# --- bodies


@pytest.mark.parametrize("coding", ["length", "chunked"])
@pytest.mark.parametrize("size, files", [(4096, 0), (4097, 1)])
def test_body_memory(launch, tmp_path, coding, size, files):
    gateway = launch(KITCHEN | {"limits": {"body_memory": "4k"}})
    file = tmp_path / "go"
    with gateway.connect() as connection:
        if coding == "length":
            connection.request("POST", f"/wait?file={file}", body=b"x" * size)
        else:
            connection.request("POST", f"/wait?file={file}", fields=[("Transfer-Encoding", "chunked")])
            connection.send(chunked(b"x" * size))
        wait_until(lambda: os.path.exists(f"{file}.here"), "the request in the app")
        assert len(gateway.files()) == files
        file.touch()
        assert connection.answer().text == "waited"
        wait_until(lambda: not gateway.files(), "the end of the file")


@pytest.mark.parametrize("coding", ["length", "chunked"])
@pytest.mark.parametrize("size, status", [(1000, 200), (1001, 413)])
def test_body_size(launch, coding, size, status):
    gateway = launch({"app:kitchen": app("kitchen", body_size="1000")})
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n"
    if coding == "length":
        data = head % b"Content-Length: %d" % size + b"x" * size
    else:
        data = head % b"Transfer-Encoding: chunked" + chunked(b"x" * 500, b"x" * (size - 500))
    if status == 200:
        with gateway.connect() as connection:
            connection.send(data)
            assert connection.answer().body == b"x" * size
    else:
        refused(gateway, data, status)


def test_413_comes_instead_of_100(launch):
    gateway = launch({"app:kitchen": app("kitchen", body_size="1000")})
    with gateway.connect() as connection:
        connection.request("POST", "/echo", fields=[("Content-Length", "1001"), ("Expect", "100-continue")])
        assert connection.head().status == 413


@pytest.mark.valgrind
def test_a_body_that_stops_coming(launch):
    gateway = launch(KITCHEN | {"timeouts": {"body": "300ms"}})
    for head in (b"Content-Length: 5\r\n\r\nab", b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"):
        with gateway.connect() as connection:
            connection.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + head)
            answer = connection.answer()
            assert (answer.status, answer.get("Connection")) == (408, "close") and connection.ended()
    assert not gateway.workers


def pour(connection, size, piece, pause):
    """Sends a body piece after piece until it is whole or an answer comes; the seconds that took."""
    began = time.monotonic()
    connection.request("POST", "/checksum", fields=[("Content-Length", str(size))])
    connection.socket.settimeout(pause)
    for _ in range(0, size, piece):
        connection.send(b"x" * piece)
        try:
            connection.fill()
            break
        except TimeoutError:
            pass
    connection.socket.settimeout(PATIENCE)
    return time.monotonic() - began


def test_a_slow_body_that_keeps_its_rate(launch):
    """Longer under way than `body`, but with more than 500 B/s."""
    gateway = launch(KITCHEN | {"timeouts": {"body": "2s"}})
    with gateway.connect() as connection:
        assert pour(connection, 5000, 200, 0.1) > 2.2
        assert connection.answer().status == 200


def test_a_body_below_the_lowest_rate(launch):
    """Each gap is short, but what comes is too little: 408 after `body` and 2 ms for each byte."""
    gateway = launch(KITCHEN | {"timeouts": {"body": "2s"}})
    with gateway.connect() as connection:
        assert pour(connection, 2000, 1, 0.05) > 1.95
        answer = connection.answer()
        assert (answer.status, answer.get("Connection")) == (408, "close") and "slow" in answer.text
        assert connection.ended()
    assert not gateway.workers


# --- answers


def test_response_headers(launch):
    """What counts is the block that the worker sends, its empty line included."""
    limit = 256
    gateway = launch(KITCHEN | {"limits": {"response_headers": str(limit)}})
    for size, status in [(limit, 204), (limit + 1, 502), (limit, 204)]:
        assert gateway.get(f"/header?size={size}").status == status
    gateway.err.wait("response_headers")


def test_a_head_that_is_too_large_costs_one_request(launch, tmp_path):
    """Others of that worker are finished, and it goes on."""
    gateway = launch(KITCHEN | {"limits": {"response_headers": "256"}})
    pid = gateway.get("/pid").text
    with gateway.connect() as connection:
        connection.request("GET", f"/drip?file={tmp_path / 'go'}")
        pieces = connection.pieces(connection.head())
        assert next(pieces) == b"first"
        assert gateway.get("/header?size=5000").status == 502
        (tmp_path / "go").touch()
        assert list(pieces) == [b"second"]
    assert gateway.get("/pid").text == pid


@pytest.mark.parametrize("memory, files", [("12m", 0), ("4k", 1)])
def test_response_memory(launch, memory, files):
    gateway = launch(KITCHEN | {"limits": {"response_memory": memory, "response_headers": "1k"}})
    with narrow(gateway) as connection:
        connection.request("GET", f"/big?size={BIG}")
        gateway.get("/x")
        if files:
            wait_until(gateway.files, "the file of the answer")
        else:
            settled(lambda: len(gateway.files()))
        assert len(gateway.files()) == files
        assert len(connection.answer().body) == BIG
    wait_until(lambda: not gateway.files(), "the end of the file")


@pytest.mark.parametrize("limit", [0, 1_000_000])
def test_response_spool(launch, limit):
    """Past it the worker is slowed down; the answer comes whole when it is read."""
    gateway = launch(KITCHEN | {"limits": {"response_spool": str(limit), "response_memory": "4k",
                                           "response_headers": "1k"}})
    with narrow(gateway) as connection:
        connection.request("GET", f"/big?size={BIG}")
        wait_until(lambda: gateway.files() and spooled(gateway) >= limit, "a full file of the answer")
        size = settled(lambda: spooled(gateway))
        assert limit <= size <= limit + 512 * 1024, size
        assert len(connection.answer().body) == BIG


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who may write to a file of the gateway")
def test_an_answer_whose_file_cannot_be_read_does_not_look_whole(launch):
    """Where the end of the connection is the end of the body, only a reset tells the difference."""
    gateway = launch({"app:kitchen": app("kitchen", concurrency=1),
                      "limits": {"response_memory": "4k", "response_headers": "1k"}})
    with narrow(gateway) as connection:
        connection.send(f"GET /big?size={BIG}&chunked HTTP/1.0\r\n\r\n".encode())
        wait_until(gateway.files, "the file of the answer")
        assert gateway.get("/x").status == 200  # by the one slot there is: the worker has sent all of the other answer
        for number, target in gateway.descriptors().items():
            if target in gateway.files():
                os.truncate(f"/proc/{gateway.pid}/fd/{number}", 1)
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        with pytest.raises(ConnectionResetError):
            while connection.socket.recv(100_000):
                pass
    gateway.err.wait("^error: kitchen: an answer was cut: its file cannot be read")


@pytest.mark.parametrize("memory", ["4k", "256k"])
@pytest.mark.parametrize("more", ["", "&chunked"])
def test_where_no_file_can_be_made_the_worker_is_slowed_down(launch, tmp_path, memory, more):
    run = tmp_path / "run"
    run.mkdir()
    gateway = launch(KITCHEN | {"limits": {"response_memory": memory, "response_headers": "1k"}},
                     environ={"TMPDIR": str(tmp_path / "nothing"), "RUNTIME_DIRECTORY": str(run)})
    with narrow(gateway) as connection:
        connection.request("GET", f"/big?size={BIG}{more}")
        body = connection.answer().body
        assert body == (bytes(range(251)) * (BIG // 251 + 1))[:BIG]
        assert connection.get("/x").text == "GET /x"


@pytest.mark.valgrind
def test_send_timeout(launch):
    """A client that does not read is cut off, and must see that its answer is not whole."""
    gateway = launch(KITCHEN | {"timeouts": {"send": "300ms"}})
    with narrow(gateway) as connection:
        connection.request("GET", f"/big?size={BIG}")
        gateway.out.wait(r'"GET /big\S* HTTP/1.1" 200')
        with pytest.raises(Cut):
            connection.answer()
    wait_until(lambda: not gateway.files(), "the end of the file")


def test_a_client_that_reads_slowly_enough_is_served(launch):
    """`send` lies between two writes: each one begins it anew."""
    gateway = launch(KITCHEN | {"timeouts": {"send": "2s"}})
    with narrow(gateway) as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        connection.request("GET", f"/big?size={24 * 750_000}")
        connection.head()
        for _ in range(24):
            connection.need(750_000)
            time.sleep(0.15)
    assert logged_ms(gateway, "GET /big")[0] > 2200  # so long it wrote; the rest the sockets held


# --- all together: memory, files, connections


def fill_buffers(gateway, stack):
    """Heads whose bodies do not come take the memory. The clients that were let in, and the one whose head waits."""
    head = b"POST /checksum HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\nA: " + b"x" * 15_000 + b"\r\n\r\n"
    taken = []
    while True:
        client = stack.enter_context(gateway.connect())
        client.send(head)
        if client.silent(1.5):
            return taken, client
        assert client.head().status == 100
        taken.append(client)


def logged_ms(gateway, pattern, count=1):
    """The times in the access lines that match, as soon as there are so many."""
    def times():
        found = re.findall(rf"{pattern}.*? ([0-9.]+)ms", gateway.out.text)
        return len(found) >= count and [float(ms) for ms in found]
    return wait_until(times, pattern)


@pytest.mark.valgrind
def test_buffers_new_heads_wait(launch):
    """Heads whose bodies do not come fill the memory: the next one is not read until there is room again."""
    gateway = launch(KITCHEN | {"limits": {"buffers": "1m"}})
    with ExitStack() as stack:
        taken, client = fill_buffers(gateway, stack)
        assert 40 < len(taken) < 80
        time.sleep(0.5)
        for other in taken[:5]:
            other.send(b"x")
            assert other.answer().status == 200
        client.socket.settimeout(PATIENCE)
        assert client.head().status == 100
        client.send(b"x")
        assert client.answer().status == 200
        assert logged_ms(gateway, "POST /checksum .* 200 OK", 6)[-1] >= 1900


def test_buffers_new_heads_wait_for_so_long(launch):
    """Then they are told; of who has sent nothing only the connection ends."""
    gateway = launch(KITCHEN | {"limits": {"buffers": "1m"}, "timeouts": {"header": "3s"}})
    with ExitStack() as stack:
        taken, client = fill_buffers(gateway, stack)
        quiet = stack.enter_context(gateway.connect())
        client.socket.settimeout(PATIENCE)
        answer = client.answer()
        assert (answer.status, answer.get("Connection"), answer.get("Retry-After")) == (503, "close", "1")
        assert client.ended() and quiet.ended()
        assert logged_ms(gateway, '"-" 503')[-1] >= 2900
        taken[0].send(b"x")
        assert taken[0].answer().status == 200


def test_buffers_slow_clients_leave_room_for_heads(launch):
    """Neither bodies that do not come to their end nor answers that nobody reads keep others from being served."""
    gateway = launch(KITCHEN | {"limits": {"buffers": "1m", "body_memory": "300k"}})
    with ExitStack() as stack:
        for _ in range(60):
            client = stack.enter_context(gateway.connect())
            client.send(b"POST /checksum HTTP/1.1\r\nHost: x\r\nContent-Length: 20001\r\n\r\n" + b"x" * 20_000)
        wait_until(lambda: settled(lambda: spooled(gateway)), "bodies go to files before their time")
        assert gateway.get("/x").text == "GET /x"
    wait_until(lambda: not spooled(gateway), "the end of the files")
    with ExitStack() as stack:
        for _ in range(6):
            client = stack.enter_context(narrow(gateway))
            client.request("GET", f"/big?size={BIG}")
        wait_until(lambda: settled(lambda: spooled(gateway)), "answers in files")
        assert gateway.get("/-/health").status == 200
        assert gateway.get("/x").text == "GET /x"


def test_buffers_heads_that_come_in_pieces(launch):
    """Let in for a few bytes each, they do not grow beyond what there is for all: those that would are refused."""
    gateway = launch(KITCHEN | {"limits": {"buffers": "1m"}})
    with ExitStack() as stack:
        slow = [stack.enter_context(gateway.connect()) for _ in range(60)]
        for client in slow:
            client.send(b"GET /x HTTP/1.1\r\nHost: x\r\nX-Long: ")
        assert gateway.get("/-/health").status == 200  # what came before it has been read
        for client in slow:
            client.send(b"x" * 30_000)
        def refused():
            return select.select([client.socket for client in slow], [], [], 0)[0]
        wait_until(lambda: len(refused()) > 20, "refusals")
        told = refused()
        for client in slow:
            if client.socket not in told:
                client.send(b"\r\n\r\n")
        statuses = [client.answer().status for client in slow]
        assert statuses.count(503) >= len(told) and statuses.count(200) >= 20 and len(set(statuses)) == 2
        assert gateway.get("/x").status == 200


def test_buffers_are_not_used_up_behind_requests_that_wait(launch, tmp_path):
    """What follows a request stays in the socket until that one is answered."""
    gateway = launch({"app:kitchen": app("kitchen", concurrency=1), "limits": {"buffers": "1m"}})
    go = tmp_path / "go"
    with ExitStack() as stack:
        clients = [stack.enter_context(gateway.connect()) for _ in range(60)]
        for client in clients:
            client.request("GET", f"/wait?file={go}")
        wait_until(lambda: os.path.exists(f"{go}.here"), "the request in the app")
        for client in clients:
            client.send(b"GET /next HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 30_000 + b"\r\n\r\n")
        for _ in range(3):
            assert gateway.get("/-/health").status == 200
        go.touch()
        for client in clients:
            assert client.answer().text == "waited"


@pytest.mark.parametrize("size", [400, 512, 1024])
def test_the_end_of_a_client_that_waits_is_seen_whatever_the_size_of_its_head(launch, tmp_path, size):
    gateway = launch({"app:kitchen": app("kitchen", concurrency=1)})
    go = tmp_path / "go"
    with gateway.connect() as busy:
        busy.request("GET", f"/wait?file={go}")
        wait_until(lambda: os.path.exists(f"{go}.here"), "the request in the app")
        with gateway.connect() as other:
            start = b"GET /gone HTTP/1.1\r\nHost: x\r\nA: "
            other.send(start + b"x" * (size - len(start) - 4) + b"\r\n\r\n")
        gateway.out.wait('"GET /gone HTTP/1.1" 499')
        go.touch()
        assert busy.answer().text == "waited"


def test_buffers_that_one_exchange_uses_up_alone(launch):
    """A head never waits when nobody else is there to make room."""
    gateway = launch(KITCHEN | {"limits": {"buffers": "1m", "body_memory": "8m"}})
    for _ in range(3):
        with gateway.connect() as connection:
            assert connection.post("/checksum", b"x" * 4_000_000).status == 200
            assert connection.get("/x").status == 200


def test_buffers_bodies_go_to_files(launch):
    gateway = launch(KITCHEN | {"limits": {"buffers": "1m", "body_memory": "2m"}})
    with gateway.connect() as big, gateway.connect() as small:
        for connection in (big, small):
            connection.request("POST", "/checksum", fields=[("Content-Length", "1900000"), ("Expect", "100-continue")])
            assert connection.head().status == 100
        big.send(b"x" * 1_800_000)
        wait_until(lambda: spooled(gateway) > 500_000, "the file of a body that needs too much memory")
        small.send(b"x" * 100_000)
        wait_until(lambda: len(gateway.files()) == 2, "the file of a small body")
        small.send(b"x" * 1_800_000)
        big.send(b"x" * 100_000)
        assert small.answer().text == big.answer().text
    wait_until(lambda: not gateway.files(), "the end of the files")


@pytest.mark.valgrind
def test_spool_refuses_bodies(launch):
    """503 for what needs a file that there is no room for, at the limit and one past it; memory is not touched by it."""
    gateway = launch(KITCHEN | {"limits": {"spool": "1m", "body_memory": "4k"}})
    room = (1 << 20) + 4096
    with gateway.connect() as connection:
        assert connection.post("/checksum", b"x" * room).status == 200
        answer = connection.post("/checksum", b"x" * (room + 1))
        assert (answer.status, answer.get("Connection"), answer.get("Retry-After")) == (503, "close", "1")
        assert connection.ended()
    gateway.err.wait("spool is used up")
    wait_until(lambda: not gateway.files(), "the end of the refused body's file")
    with gateway.connect() as holder:
        holder.request("POST", "/checksum", fields=[("Content-Length", str(room))])
        holder.send(b"x" * (room - 1))
        wait_until(lambda: spooled(gateway) >= (1 << 20) - 1, "a full spool")
        assert gateway.post("/checksum", b"x" * 4098).status == 503
        assert gateway.post("/checksum", b"x" * 4096).status == 200
        holder.send(b"x")
        assert holder.answer().status == 200
    wait_until(lambda: not gateway.files(), "the end of the files")
    assert gateway.post("/checksum", b"x" * 100_000).status == 200


def test_where_no_file_can_be_made_the_log_names_the_directory(launch, tmp_path):
    gateway = launch(KITCHEN, environ={"TMPDIR": str(tmp_path / "nothing"), "RUNTIME_DIRECTORY": str(tmp_path)})
    assert gateway.post("/checksum", b"x" * 100_000).status == 503
    gateway.err.wait(f"^error: a request body cannot be kept in {tmp_path}/nothing: No such file or directory$")


def test_spool_slows_answers(launch):
    limit = 1_000_000
    gateway = launch({"app:kitchen": app("kitchen", workers=3)} | {
        "limits": {"spool": str(limit), "response_memory": "4k", "response_headers": "1k"}})
    with narrow(gateway) as first, narrow(gateway) as second:
        for connection in (first, second):
            connection.request("GET", f"/big?size={BIG}")
        wait_until(lambda: spooled(gateway) >= limit, "a full spool")
        assert settled(lambda: spooled(gateway)) < limit + 512 * 1024
        assert gateway.get("/x").status == 200
        for connection in (first, second):
            assert len(connection.answer().body) == BIG
    wait_until(lambda: not gateway.files(), "the end of the files")


@pytest.mark.valgrind
def test_connections_wait_when_none_is_idle(launch, tmp_path):
    gateway = launch(KITCHEN | {"limits": {"connections": "2"}})
    file = tmp_path / "go"
    with gateway.connect() as first, gateway.connect() as second:
        for n, connection in enumerate((first, second)):
            connection.request("GET", f"/wait?file={file}{n}", fields=[("Connection", "close")])
        wait_until(lambda: os.path.exists(f"{file}0.here"), "the request in the app")
        with gateway.connect() as third:
            third.request("GET", "/x")
            with pytest.raises(TimeoutError):
                third.socket.settimeout(0.3)
                third.answer()
            third.socket.settimeout(PATIENCE)
            for n in range(2):
                (tmp_path / f"go{n}").touch()
            assert third.answer().text == "GET /x"
            assert first.answer().text == second.answer().text == "waited"


def test_clients_that_wait_leave_descriptors_to_workers(launch, tmp_path, monkeypatch):
    script = tmp_path / "entry"
    script.write_text(f'#!/bin/sh\nulimit -n 128\nexec "{BINARY}" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr("gateway.BINARY", script)
    gateway = launch(KITCHEN | {"limits": {"connections": "200"}})
    gateway.err.wait(r"^warning: \[limits\] connections = 200: only 96, for there are at most 128 descriptors")
    with ExitStack() as stack:
        for _ in range(150):
            assert stack.enter_context(gateway.connect()).get("/-/health").status == 200
        assert len(gateway.descriptors()) < 128
        assert gateway.get("/x").text == "GET /x"


# --- the end of a connection


def test_an_early_error_reaches_a_client_that_sends_all_of_its_body_first(launch):
    """However much that is. Who neither sends nor closes is let go."""
    gateway = launch({"app:kitchen": app("kitchen", body_size="1000")})
    with gateway.connect() as connection:
        connection.request("POST", "/echo", fields=[("Content-Length", "100000000")])
        connection.send(bytes(BIG))
        assert connection.answer().status == 413
        silent, held = time.monotonic(), len(gateway.descriptors())
        wait_until(lambda: len(gateway.descriptors()) < held, "the end of the connection")
        assert 4 < time.monotonic() - silent < 15


def test_who_has_its_answer_does_not_keep_others_out(launch):
    """All places are taken by clients that send on behind theirs, a byte now and then."""
    gateway = launch({"limits": {"connections": 5}, "app:kitchen": app("kitchen", path="/k")})
    taken = [gateway.connect() for _ in range(5)]
    for connection in taken:
        connection.request("POST", "/nobody", fields=[("Content-Length", "100000000")])
        assert connection.answer().status == 404
    over = threading.Event()

    def drip():
        while not over.wait(0.1):
            for connection in taken:
                with suppress(OSError):
                    connection.send(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        began = time.monotonic()
        assert gateway.get("/-/health").status == 200  # which needs no worker: it is the place that takes time
        assert time.monotonic() - began < (12 if SLOW else 6)
    finally:
        over.set()
        thread.join()


def test_the_last_answer_survives_what_comes_after_it(launch, tmp_path):
    """Bytes behind a request that was the last one are never read; the close that they meet must take nothing away."""
    size = 12_000_000  # more than the sockets between the two hold
    (tmp_path / "large").write_bytes(bytes(size))
    gateway = launch({"app:files": {"module": "none", "static": f"/ {tmp_path}"}})
    with gateway.connect() as connection:
        connection.request("GET", "/large", fields=[("Connection", "close")])
        head = connection.head()
        connection.send(b"x" * 50_000)
        assert sum(map(len, connection.pieces(head))) == size


# --- many slow clients


def test_slow_clients_do_not_slow_others_down(launch):
    """200 heads that dribble in and 20 answers that dribble out. A functional guard with a generous factor: figures are
    for the benchmark."""
    gateway = launch(KITCHEN | {"gateway": {"backlog": "1024"}, "timeouts": {"header": "60s", "send": "60s"}})

    def median(connection):
        times = []
        for _ in range(200):
            began = time.monotonic()
            assert connection.get("/x").status == 200
            times.append(time.monotonic() - began)
        return statistics.median(times)

    with ExitStack() as stack:
        normal = stack.enter_context(gateway.connect())
        median(normal)
        quiet = median(normal)
        dribbling = [stack.enter_context(gateway.connect()) for _ in range(200)]
        readers = [stack.enter_context(narrow(gateway)) for _ in range(20)]
        for reader in readers:
            reader.request("GET", "/big?size=2000000")
        for client in dribbling:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\nA: ")
        stop = threading.Event()

        def dribble():
            while not stop.is_set():
                for number, client in enumerate(dribbling):
                    client.send(b"x")
                    if number % 10 == 0:
                        readers[number // 10].socket.recv(100)
                        if stop.wait(0.05):
                            return

        thread = threading.Thread(target=dribble)
        thread.start()
        try:
            busy = median(normal)
        finally:
            stop.set()
            thread.join()
        for client in dribbling:
            client.send(b"\r\n\r\n")
            assert client.answer().status == 200
        for client in dribbling + readers:
            client.close()
        median(normal)
        quiet = max(quiet, median(normal))  # the machine may be busier than it was before
    assert busy < 5 * quiet + 0.005, f"{quiet * 1e3:.2f} ms without, {busy * 1e3:.2f} ms beside slow clients"


# --- what the machine does to us


class Unread(Gateway):
    """Its standard output is a pipe that nobody reads, as in `leangate | (sleep 1000)`."""

    def start(self, wait=True):
        self.reader, writer = os.pipe()
        log = self.directory / "err"
        with open(log, "w") as err:
            self.process = subprocess.Popen([*WRAPPER, self.binary], cwd=self.directory, env=self.environ,
                                            stdin=subprocess.DEVNULL, stdout=writer, stderr=err)
        os.close(writer)
        wait_until(lambda: "leangate" in log.read_text() and "\n" in log.read_text(), "the banner")
        self.urls = [log.read_text().split(" on ")[1].split("  (")[0]]
        return self


def test_an_access_log_that_nobody_reads(tmp_path):
    gateway = Unread(tmp_path, {"gateway": {"listen": "127.0.0.1:0"}} | KITCHEN)
    gateway.start()
    try:
        with gateway.connect() as connection:  # more than the pipe and what may wait for it hold
            for _ in range(300):
                assert connection.get("/" + "x" * 7000).status == 200
        os.set_blocking(gateway.reader, False)
        read = []

        def told():  # each request of ours makes it try again
            assert gateway.get("/").status == 200
            with suppress(BlockingIOError):
                read.append(os.read(gateway.reader, 1 << 20))
            return b"log lines dropped" in b"".join(read)

        wait_until(told, "the line about those that were dropped")
        assert gateway.get("/").status == 200
    finally:
        gateway.process.terminate()
        assert gateway.process.wait(PATIENCE) == 0
        os.close(gateway.reader)


def test_a_standstill_is_nobodys_fault(launch, tmp_path):
    """While the gateway is stopped no deadline runs: not the app's, and not that of a client's body."""
    gateway = launch({"app:kitchen": app("kitchen", request_timeout="2s", idle_timeout="2s"),
                      "timeouts": {"body": "2s", "header": "2s", "keepalive": "2s"}})
    file = tmp_path / "go"
    with ExitStack() as stack:
        idle = stack.enter_context(gateway.connect())
        assert idle.get("/x").status == 200
        worker = gateway.one_worker()  # only now do the others come: their time runs from then on
        busy, sending, asking = (stack.enter_context(gateway.connect()) for _ in range(3))
        busy.request("GET", f"/wait?file={file}")
        wait_until(lambda: os.path.exists(f"{file}.here"), "the request in the app")
        sending.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        asking.send(b"GET /y HTTP/1.1\r\nHost:")
        gateway.send_signal(signal.SIGSTOP)
        try:
            time.sleep(3.5)
        finally:
            gateway.send_signal(signal.SIGCONT)
        sending.send(b"cd")
        asking.send(b" x\r\n\r\n")
        file.touch()
        assert busy.answer().text == "waited"
        assert sending.answer().text == "abcd" and asking.answer().text == "GET /y"
        assert idle.get("/x").status == 200
        assert gateway.one_worker() == worker


def test_a_standstill_in_the_middle_of_work(launch):
    """The same where the gateway is stopped while it does something, not while it waits."""
    gateway = launch(KITCHEN | {"timeouts": {"keepalive": "2s"}})
    url = f"http://127.0.0.1:{gateway.address()[1]}/-/health"
    with subprocess.Popen(["wrk", "-t1", "-c16", "-d30s", url], stdout=subprocess.DEVNULL) as work, gateway.connect() as idle:
        try:
            for _ in range(4):
                assert idle.get("/-/health").status == 200
                gateway.send_signal(signal.SIGSTOP)
                time.sleep(3.5)
                gateway.send_signal(signal.SIGCONT)
                time.sleep(0.3)  # less than keepalive
            assert idle.get("/-/health").status == 200
        finally:
            work.terminate()


@pytest.mark.skipif(bool(WRAPPER), reason="valgrind keeps descriptors for itself")
def test_descriptors_used_up(launch):
    """Accepting pauses, who is served stays served, and it goes on when there are descriptors again."""
    gateway = launch(KITCHEN)
    for _ in range(2):  # its worker stays, and so does the connection of the second: the first may have been answered before READY
        assert gateway.get("/x").status == 200
    with ExitStack() as stack:
        busy = []
        while not busy or max(gateway.descriptors()) >= len(gateway.descriptors()):  # none is free below the limit
            client = stack.enter_context(gateway.connect())
            client.request("POST", "/echo", fields=[("Content-Length", "2"), ("Expect", "100-continue")])
            assert client.head().status == 100
            busy.append(client)
        number = len(gateway.descriptors())
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (number, number))
        late = [stack.enter_context(gateway.connect()) for _ in range(5)]
        for client in late:
            client.request("GET", "/x", fields=[("Connection", "close")])
        gateway.err.wait("accepting on .* pauses: Too many open files")
        for client in busy:
            client.send(b"ab")
            assert client.answer().text == "ab"
        for client in busy:
            client.close()
        assert [client.answer().status for client in late] == [200] * 5
    assert gateway.get("/x").status == 200


@pytest.mark.skipif(bool(WRAPPER), reason="valgrind keeps descriptors for itself")
def test_the_end_takes_all_that_wait_also_without_descriptors(launch):
    """Idle connections make room for as many as have come before the signal."""
    gateway = launch(KITCHEN)
    with ExitStack() as stack:
        idle = []
        while len(idle) < 5 or max(gateway.descriptors()) >= len(gateway.descriptors()):  # none is free below the limit
            idle.append(stack.enter_context(gateway.connect()))
            assert idle[-1].get("/-/health").status == 200
        number = len(gateway.descriptors())
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (number, number))
        gateway.send_signal(signal.SIGSTOP)
        late = [stack.enter_context(gateway.connect()) for _ in range(4)]
        for client in late:
            client.request("GET", "/-/health")
        gateway.send_signal(signal.SIGTERM)
        gateway.send_signal(signal.SIGCONT)
        assert [client.answer().status for client in late] == [200] * 4
    assert gateway.wait() == 0


def lower_limit(gateway, free):
    """As many descriptors are free from now on. Returns the limits there were."""
    used = {}
    while used != (used := gateway.descriptors()):  # the last of its start are opened behind the banner
        time.sleep(0.1)
    number = [n for n in range(len(used) + free) if n not in used][free - 1] + 1
    before = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (number, before[1]))
    return before


@pytest.mark.skipif(bool(WRAPPER), reason="valgrind keeps descriptors for itself")
@pytest.mark.parametrize("free, words", [
    (2, r"kitchen: cannot make the worker's socket in .*: Too many open files"),
    (5, r"kitchen: cannot make the worker's pipes: Too many open files"),
])
def test_a_start_without_descriptors(launch, free, words):
    """It is nobody's code that is wrong, and the log says what is."""
    gateway = launch(KITCHEN)
    before = lower_limit(gateway, free)
    answer = gateway.get("/x")
    assert (answer.status, answer.get("Retry-After")) == (503, "1")
    gateway.err.wait(f"^error: {words}$")
    resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, before)
    wait_until(lambda: gateway.get("/x").status == 200, "the end of the back-off")


@pytest.mark.skipif(bool(WRAPPER), reason="valgrind keeps descriptors for itself")
def test_a_start_with_the_last_descriptors(launch):
    """Its process needs none more than the gateway had for it."""
    gateway = launch(KITCHEN)
    lower_limit(gateway, 11)
    assert gateway.get("/x").status == 200


def on_small_disk(directory):
    """A file system of 256 KB, where the tests may mount one."""
    return subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", directory],
                          capture_output=True).returncode == 0


@pytest.mark.valgrind
def test_a_full_disk_is_a_503_for_that_request_alone(launch, tmp_path):
    small, run = tmp_path / "small", tmp_path / "run"
    small.mkdir()
    run.mkdir()
    if os.geteuid() != 0 or not on_small_disk(small):
        pytest.skip("needs the right to mount")
    try:
        gateway = launch(KITCHEN, environ={"TMPDIR": str(small), "RUNTIME_DIRECTORY": str(run)})
        with gateway.connect() as other:
            other.request("POST", "/checksum", fields=[("Content-Length", "100001")])
            other.send(b"x" * 100_000)
            answer = gateway.post("/checksum", b"x" * 2_000_000)
            assert (answer.status, answer.get("Retry-After")) == (503, "1")
            other.send(b"x")
            assert other.answer().status == 200
            assert gateway.post("/checksum", b"x" * 200_000).status == 200
        gateway.err.wait("No space left on device")
        gateway.stop()
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_a_file_size_limit_is_a_503(launch):
    """The kernel's signal for it would end the gateway."""
    gateway = launch(KITCHEN)
    assert gateway.get("/x").status == 200
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
    assert gateway.post("/checksum", b"x" * 1_000_000).status == 503
    assert gateway.post("/checksum", b"x" * 100_000).status == 200


def test_a_log_whose_disk_is_away_for_a_while(launch, tmp_path):
    """A disk that fails, or is read-only, is not one without a reader: its lines wait, as those of a full one do."""
    log = tmp_path / "access.log"
    gateway = launch({"log": {"access": log}} | KITCHEN)
    assert gateway.get("/one").status == 200
    wait_until(lambda: "/one" in log.read_text(), "the line")
    before = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (log.stat().st_size, before[1]))  # EFBIG is as good as EIO
    assert gateway.get("/two").status == gateway.get("/three").status == 200
    assert "/two" not in log.read_text()
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, before)
    assert gateway.get("/four").status == 200
    wait_until(lambda: "/four" in log.read_text(), "the line")
    assert re.findall("GET /([a-z]+)", log.read_text()) == ["one", "two", "three", "four"]


def test_body_size_off(launch):
    gateway = launch({"app:kitchen": app("kitchen", body_size="off")})
    assert gateway.post("/unread", bytes(11 << 20)).status == 200  # more than the default
