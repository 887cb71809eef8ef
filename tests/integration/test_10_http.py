"""HTTP on the wire: what the gateway takes, what it refuses, and what it answers, to the byte."""

import hashlib
import json
import os
import pwd
import re
import signal
import socket
import time

import httpx
import pytest

from gateway import ROOT, app, needs_ipv6, wait_until
from measure import switches
from rawhttp import chunked

KITCHEN = {"app:kitchen": app("kitchen")}


@pytest.fixture
def gateway(launch):
    return launch(KITCHEN)


def digest(body):
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}"


# --- answers


@pytest.mark.valgrind
def test_an_answer(gateway):
    answer = gateway.get("/x")
    assert (answer.status, answer.reason, answer.text) == (200, "OK", "GET /x")
    assert answer.get("Content-Length") == "6" and answer.get("Content-Type") == "text/plain"
    assert re.fullmatch(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.get("Date"))
    assert answer.get("X-Request-ID") and answer.get("Server") is None


def test_a_real_client(gateway):
    host, port = gateway.address()
    with httpx.Client(base_url=f"http://{host}:{port}") as client:
        body = os.urandom(300_000)
        assert client.post("/checksum", content=body).text == digest(body)
        assert client.post("/checksum", content=iter([body[:1000], body[1000:]])).text == digest(body)
        assert client.get("/environ", params={"q": "a b"}).json()["QUERY_STRING"] == "q=a+b"


@pytest.mark.valgrind
def test_head(gateway):
    with gateway.connect() as connection:
        connection.request("HEAD", "/x")
        answer = connection.answer("HEAD")
        assert answer.status == 200 and answer.get("Content-Length") == "7" and answer.body == b""
        assert connection.get("/y").text == "GET /y"


def test_statuses_without_a_body(gateway):
    with gateway.connect() as connection:
        for code, reason in [(204, "No Content"), (304, "Not Modified")]:
            answer = connection.get(f"/status?is={code}%20{reason.replace(' ', '%20')}")
            assert (answer.status, answer.reason, answer.get("Content-Length")) == (code, reason, None)


def test_an_empty_answer_has_a_length_or_chunks(gateway):
    with gateway.connect() as connection:
        assert connection.get("/status?is=201%20Created").body == b""
        assert connection.get("/x").status == 200


@pytest.mark.valgrind
def test_answer_without_length_is_chunked(gateway):
    with gateway.connect() as connection:
        answer = connection.get("/big?size=500000&chunked")
        assert answer.get("Transfer-Encoding") == "chunked" and len(answer.body) == 500000
        assert connection.get("/x").status == 200


def test_answer_without_length_to_http_1_0(gateway):
    with gateway.connect() as connection:
        connection.send(b"GET /big?size=100000&chunked HTTP/1.0\r\n\r\n")
        answer = connection.answer()
        assert answer.get("Transfer-Encoding") is None and len(answer.body) == 100000
        assert connection.ended()


@pytest.mark.valgrind
def test_http_1_0_keep_alive(gateway):
    with gateway.connect() as connection:
        for _ in range(2):
            connection.send(b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer = connection.answer()
            assert answer.text == "GET /x" and answer.get("Connection").lower() == "keep-alive"
        connection.send(b"GET /x HTTP/1.0\r\n\r\n")
        assert connection.answer().status == 200
        assert connection.ended()


@pytest.mark.valgrind
def test_big_answer_to_a_slow_reader(gateway):
    size = 5_000_000
    with gateway.connect() as connection:
        connection.request("GET", f"/big?size={size}")
        time.sleep(0.3)
        answer = connection.answer()
    expected = (bytes(range(251)) * (size // 251 + 1))[:size]
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(expected).digest()


def test_a_slow_reader_does_not_hold_the_worker(gateway):
    """The answer waits in the gateway: the one worker is free for the next client."""
    with gateway.connect() as slow:
        slow.request("GET", "/big?size=8000000")
        assert gateway.get("/x").status == 200
        assert len(slow.answer().body) == 8_000_000


@pytest.mark.valgrind
def test_pieces_come_as_they_are_made(gateway, tmp_path):
    file = tmp_path / "go"
    with gateway.connect() as connection:
        connection.request("GET", f"/drip?file={file}")
        pieces = connection.pieces(connection.head())
        assert next(pieces) == b"first"
        file.touch()
        assert list(pieces) == [b"second"]


# --- connections


def test_keep_alive_and_close(gateway):
    with gateway.connect() as connection:
        for n in range(3):
            answer = connection.get(f"/{n}")
            assert answer.text == f"GET /{n}" and answer.get("Connection") is None
        connection.request("GET", "/last", fields=[("Connection", "close")])
        assert connection.answer().get("Connection") == "close"
        assert connection.ended()


@pytest.mark.valgrind
def test_pipelining_keeps_the_order(gateway):
    with gateway.connect() as connection:
        connection.send(b"".join(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n%04d" % n
                                 for n in range(50)))
        assert [connection.answer().text for _ in range(50)] == [f"{n:04}" for n in range(50)]


def test_pipelined_close_ends_it(gateway):
    with gateway.connect() as connection:
        connection.send(b"GET /1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                        b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.answer().text == "GET /1"
        assert connection.ended()


@pytest.mark.valgrind
def test_a_request_byte_by_byte(gateway):
    with gateway.connect() as connection:
        for byte in b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"abc", b"defg"):
            connection.send(bytes([byte]))
        assert connection.answer().text == "abcdefg"


def test_an_idle_connection_is_closed(launch):
    gateway = launch(KITCHEN | {"timeouts": {"keepalive": "1s"}})
    with gateway.connect() as connection:
        assert connection.get("/x").status == 200
        assert connection.ended()
    with gateway.connect() as connection:
        assert connection.ended()


def test_who_ends_half_of_a_connection_sees_that_the_answer_is_cut(gateway, tmp_path):
    """The end of his requests is the end of the exchange, but must not look like the end of an HTTP/1.0 answer."""
    with gateway.connect() as connection:
        connection.send(f"GET /drip?file={tmp_path}/go HTTP/1.0\r\n\r\n".encode())
        connection.head()
        assert connection.need(5) == b"first"
        connection.socket.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError):
            while connection.socket.recv(1000):
                pass
    (tmp_path / "go").touch()


@pytest.mark.valgrind
def test_a_client_that_leaves_before_its_request_is_whole(gateway):
    for piece in (b"GET", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab"):
        with gateway.connect() as connection:
            connection.send(piece)
    assert gateway.get("/x").status == 200


def test_descriptors_come_back(gateway):
    for _ in range(2):  # the first answer may overtake READY; its connection to the worker is not kept then
        gateway.get("/x")
    before = len(gateway.descriptors())
    connections = [gateway.connect() for _ in range(50)]
    for connection in connections:
        assert connection.get("/x").status == 200
    for connection in connections:
        connection.close()
    wait_until(lambda: len(gateway.descriptors()) <= before, "the descriptors of closed connections")


@pytest.mark.valgrind
def test_connection_limit_closes_the_longest_idle_one(launch):
    gateway = launch(KITCHEN | {"limits": {"connections": "2"}})
    with gateway.connect() as first, gateway.connect() as second:
        assert first.get("/1").status == 200
        assert second.get("/2").status == 200
        with gateway.connect() as third:
            assert third.get("/3").status == 200
            assert first.ended()
            assert second.get("/2").status == 200


def test_at_the_limit_a_connection_makes_room_as_soon_as_it_is_idle(launch, tmp_path):
    gateway = launch(KITCHEN | {"limits": {"connections": "1"}})
    go = tmp_path / "go"
    with gateway.connect() as first:
        first.request("GET", f"/wait?file={go}")
        wait_until((tmp_path / "go.here").exists, "the first request")
        with gateway.connect() as second:
            second.request("GET", "/2")
            go.touch()
            assert first.answer().status == 200
            assert second.answer().status == 200
            assert first.ended()


# --- bodies


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 1_000_000, 9_000_000])
@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_bodies(gateway, size, coding):
    body = (os.urandom(1000) * (size // 1000 + 1))[:size]
    with gateway.connect() as connection:
        if coding == "length":
            connection.request("POST", "/checksum", body=body)
        else:
            connection.request("POST", "/checksum", fields=[("Transfer-Encoding", "chunked")])
            connection.send(chunked(*(body[at:at + 50_000] for at in range(0, size, 50_000))))
        assert connection.answer().text == digest(body)
        assert connection.get("/x").status == 200


@pytest.mark.valgrind
def test_a_large_body_waits_in_an_unlinked_file(launch):
    gateway = launch(KITCHEN | {"limits": {"body_memory": "4k"}})
    with gateway.connect() as connection:
        connection.send(b"POST /checksum HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"a" * 50000)

        wait_until(gateway.files, "the file of the body")
        assert all(target.endswith("(deleted)") for target in gateway.files()) and not list(gateway.tmp.iterdir())
        assert not gateway.workers, "Python was started before the body was whole"
        connection.send(b"a" * 50000)
        assert connection.answer().text == digest(b"a" * 100000)
        wait_until(lambda: not gateway.files(), "the end of the file")


def test_the_app_may_leave_the_body_unread(gateway):
    with gateway.connect() as connection:
        for size in (10, 100_000, 3_000_000):
            assert connection.post("/unread", b"x" * size).text == "not looked at"


def test_content_length_of_a_chunked_body_is_counted(gateway):
    with gateway.connect() as connection:
        connection.request("POST", "/environ", fields=[("Transfer-Encoding", "chunked")])
        connection.send(chunked(b"abc", b"de"))
        environ = json.loads(connection.answer().text)
    assert environ["CONTENT_LENGTH"] == "5" and "HTTP_TRANSFER_ENCODING" not in environ


def test_no_content_length_without_a_body(gateway):
    assert "CONTENT_LENGTH" not in json.loads(gateway.get("/environ").text)


@pytest.mark.valgrind
def test_expect_continue(gateway):
    with gateway.connect() as connection:
        connection.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert connection.head().status == 100
        connection.send(b"abc")
        assert connection.answer().text == "abc"


@pytest.mark.release
def test_a_100_that_goes_out_in_part_ends_the_connection(launch):
    """As where the client reads too slowly what it was sent before: what comes next would be no head of an answer."""
    library = ROOT / "build/test/libfaults.so"
    assert library.exists(), f"make {library}"
    gateway = launch(KITCHEN, environ={"LD_PRELOAD": str(library), "SHORT_SEND": "25"})
    with gateway.connect() as connection:
        connection.request("POST", "/echo", fields=[("Content-Length", "3"), ("Expect", "100-continue")])
        assert connection.need(12) == b"HTTP/1.1 100"
        assert connection.ended()
    gateway.out.wait('"POST /echo HTTP/1.1" 499 ')


def test_expect_continue_of_a_body_that_is_there(gateway):
    with gateway.connect() as connection:
        connection.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc")
        assert connection.answer().text == "abc"


def test_expect_something_else(gateway):
    with gateway.connect() as connection:
        connection.request("POST", "/echo", body=b"abc", fields=[("Expect", "miracles")])
        assert connection.answer().status == 417


@pytest.mark.parametrize("size, words, expect", [("10241", "10241 bytes", ()),
                                                 ("24000000", r"24\.0 MB", [("Expect", "100-continue")])])
def test_too_large_a_body(launch, size, words, expect):
    gateway = launch({"app:kitchen": app("kitchen", body_size="10k")})
    with gateway.connect() as connection:
        connection.request("POST", "/echo", fields=[("Content-Length", size), *expect])
        answer = connection.answer()
        assert answer.status == 413 and answer.get("Connection") == "close"
    assert not gateway.workers
    gateway.err.wait(rf"413: {words} > body_size 10k; raise it in \[app:kitchen\]$")
    assert gateway.post("/checksum", b"x" * 10240).status == 200


def test_too_large_a_chunked_body(launch):
    gateway = launch({"app:kitchen": app("kitchen", body_size="10k")})
    with gateway.connect() as connection:
        connection.request("POST", "/echo", fields=[("Transfer-Encoding", "chunked")])
        connection.send(chunked(b"x" * 10241))
        assert connection.answer().status == 413
    assert not gateway.workers


@pytest.mark.valgrind
def test_413_reaches_a_client_that_is_still_sending(launch):
    """The answer must not be lost in a reset: unread input is taken for a moment before the close."""
    gateway = launch({"app:kitchen": app("kitchen", body_size="10k")})
    with gateway.connect() as connection:
        connection.request("POST", "/echo", fields=[("Content-Length", "2000000")])
        try:
            connection.send(b"x" * 500_000)
        except (BrokenPipeError, ConnectionResetError):
            pytest.fail("reset before the answer could be read")
        assert connection.answer().status == 413


# --- what is refused: the connection ends and nothing behind the mistake is looked at


BAD_HEADS = {
    "no version": b"GET /\r\n\r\n",
    "version 2": b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    "lower case version": b"GET / http/1.1\r\nHost: x\r\n\r\n",
    "two blanks": b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: x\n\n",
    "bare CR in a value": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
    "NUL": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
    "blank before colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "folded line": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "bad Host": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "empty name": b"GET / HTTP/1.1\r\nHost: x\r\n: a\r\n\r\n",
    "length and chunked": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
    "signed length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n",
    "length list": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n",
    "endless length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "chunked in 1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunked twice": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "broken percent": b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    "NUL in the path": b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "above the root": b"GET /../x HTTP/1.1\r\nHost: x\r\n\r\n",
    "chunk size with a blank": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n",
    "chunk without its CRLF": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("head", BAD_HEADS.values(), ids=BAD_HEADS.keys())
def test_strictness(gateway, head):
    with gateway.connect() as connection:
        connection.send(head + SMUGGLED)
        answer = connection.answer()
        assert answer.status == (505 if b"HTTP/2.0" in head else 400)
        assert answer.get("Connection") == "close" and connection.ended()
    assert not gateway.workers


@pytest.mark.parametrize("head, status", [
    (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    (b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n", 405),
    (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 33000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431),
])
def test_limits_and_methods(gateway, head, status):
    with gateway.connect() as connection:
        connection.send(head)
        answer = connection.answer()
        assert answer.status == status and (answer.get("Allow") is not None) == (status == 405)
    assert not gateway.workers


def test_no_route(launch):
    gateway = launch({"app:kitchen": app("kitchen", path="/api")})
    for target, status in [("/", 404), ("/apix", 404), ("/api", 200), ("/api/x", 200)]:
        assert gateway.get(target).status == status, target


@pytest.mark.valgrind
def test_errors_are_one_line_of_text_or_html(launch):
    gateway = launch({"app:kitchen": app("kitchen", path="/api")})
    answer = gateway.get("/<x>")
    assert answer.get("Content-Type").startswith("text/plain") and answer.text.count("\n") == 1
    assert answer.get("X-Request-ID") in answer.text
    page = gateway.get("/<x>", fields=[("Accept", "text/html,*/*;q=0.8")])
    assert page.get("Content-Type").startswith("text/html") and "<x>" not in page.text


def test_an_empty_line_before_the_request(gateway):
    with gateway.connect() as connection:
        connection.send(b"\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.answer().text == "GET /x"


# --- listeners


@needs_ipv6
def test_ipv6(launch):
    gateway = launch(KITCHEN | {"gateway": {"listen": "[::1]:0"}})
    assert gateway.urls[0].startswith("http://[::1]:")
    environ = json.loads(gateway.get("/environ").text)
    assert environ["REMOTE_ADDR"] == "::1"


@pytest.mark.valgrind
def test_unix_socket(launch, tmp_path):
    path = tmp_path / "http.sock"
    gateway = launch(KITCHEN | {"gateway": {"listen": f"unix:{path}", "listen_mode": "0600"}})
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert gateway.address() == str(path)
    assert gateway.get("/x").text == "GET /x"
    gateway.stop()
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("keys, group", [({"user": "nobody"}, pwd.getpwnam("nobody").pw_gid), ({"group": "12345"}, 12345)])
def test_unix_socket_is_of_the_group_that_serves(launch, tmp_path, keys, group):
    """A proxy in that group could not connect otherwise, whatever listen_mode says."""
    path = tmp_path / "http.sock"
    launch(KITCHEN | {"gateway": {"listen": f"unix:{path}"} | keys})
    assert (os.stat(path).st_gid, os.stat(path).st_mode & 0o777) == (group, 0o660)


def test_the_socket_of_a_successor_stays(launch, tmp_path):
    """The old name is removed, the successor binds it, and only then the old gateway is told to end."""
    keys = KITCHEN | {"gateway": {"listen": f"unix:{tmp_path}/http.sock"}}
    before = launch(keys)
    os.unlink(tmp_path / "http.sock")
    gateway = launch(keys)
    before.stop()
    assert gateway.get("/x").status == 200


def test_several_listeners(launch, tmp_path):
    gateway = launch(KITCHEN | {"gateway": {"listen": ["127.0.0.1:0", "127.0.0.1:0", f"unix:{tmp_path}/s"]}})
    assert len(gateway.urls) == 3
    for index in range(3):
        with gateway.connect(index) as connection:
            assert connection.get("/x").status == 200


# --- the app's view


def test_environ(gateway):
    host, port = gateway.address()
    environ = json.loads(gateway.get("/environ?a=b&c", host=f"example.com:{port}", fields=[
        ("X-One", "1"), ("X-One", "2"), ("Cookie", "a=1"), ("Cookie", "b=2"), ("Proxy", "evil"), ("X_Under", "no"),
        ("Content-Type", "text/x"), ("Connection", "x-hop"), ("X-Hop", "no")]).text)
    assert environ | {
        "REQUEST_METHOD": "GET", "REQUEST_URI": "/environ?a=b&c", "SCRIPT_NAME": "", "PATH_INFO": "/environ",
        "QUERY_STRING": "a=b&c", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": "example.com", "SERVER_PORT": str(port),
        "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_SCHEME": "http", "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": f"example.com:{port}", "HTTP_X_ONE": "1, 2", "HTTP_COOKIE": "a=1; b=2",
        "CONTENT_TYPE": "text/x"} == environ
    assert environ["SERVER_SOFTWARE"].startswith("leangate") and environ["REMOTE_PORT"].isdigit()
    for name in ("HTTP_PROXY", "HTTP_X_UNDER", "HTTP_X_HOP", "HTTPS", "CONTENT_LENGTH"):
        assert name not in environ, name


@pytest.mark.valgrind
def test_paths(launch):
    gateway = launch({"app:kitchen": app("kitchen", path="/api")})
    for target, info in [("/api//a/%41%2e/./b%20c", "//a/A./b c"), ("/api/x/../environ", "/environ"), ("/api", "")]:
        answer = gateway.get(target)
        assert answer.status == 200
        if info != "/environ":
            assert answer.text == f"GET {info}"
        else:
            environ = json.loads(answer.text)
            assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/api", "/environ")


@pytest.mark.valgrind
def test_logs_are_reopened(launch, tmp_path):
    log = tmp_path / "access.log"
    gateway = launch(KITCHEN | {"log": {"access": str(log)}})
    gateway.get("/first")
    wait_until(lambda: "/first" in log.read_text(), "the first line")
    log.rename(tmp_path / "access.log.1")
    gateway.send_signal(signal.SIGUSR1)
    wait_until(log.exists, "the new file")
    gateway.get("/second")
    wait_until(lambda: "/second" in log.read_text(), "the line in the new file")
    assert "/second" not in (tmp_path / "access.log.1").read_text()


@pytest.mark.valgrind
def test_lines_wait_for_a_full_disk(launch, tmp_path):
    log, roomy = tmp_path / "access.log", tmp_path / "roomy"
    log.symlink_to("/dev/full")
    gateway = launch(KITCHEN | {"log": {"access": str(log)}})
    targets = [f"/{number}/{'x' * 500}" for number in range(100)]
    for target in targets:
        gateway.get(target)
    asleep = switches(gateway.process.pid)
    time.sleep(0.2)
    assert switches(gateway.process.pid) - asleep <= 2, "it tries again and again"
    log.unlink()
    log.symlink_to(roomy)
    gateway.send_signal(signal.SIGUSR1)
    wait_until(lambda: roomy.exists() and targets[-1] in roomy.read_text(), "the lines that waited")
    assert [line.split('"GET ')[1].split()[0] for line in roomy.read_text().splitlines()] == targets
    gateway.get("/after")
    wait_until(lambda: "/after" in roomy.read_text(), "a line as ever")


@pytest.mark.parametrize("format", ["combined", "json"])
def test_access_formats(launch, format):
    gateway = launch(KITCHEN | {"log": {"format": format}})
    gateway.get("/a%22b", fields=[("User-Agent", 'x"y'), ("Referer", "r")])
    if format == "json":
        line = json.loads(gateway.out.wait(r"^\{.*\}$")[0])
        assert line["target"] == "/a%22b" and line["status"] == 200 and line["app"] == "kitchen"
        assert line["method"] == "GET" and line["start"] == "cold" and len(line["id"]) == 32
        assert line["duration_s"] >= line["start_s"] > 0
    else:
        gateway.out.wait(r'^127\.0\.0\.1 - - \[[^]]+\] "GET /a%22b HTTP/1\.1" 200 \d+ "r" "x\\"y"$')


def test_access_log(gateway):
    gateway.get("/x?y=1")
    line = gateway.out.wait(r'^127\.0\.0\.1:\d+ - "GET /x\?y=1 HTTP/1\.1" 200 .*$')[0]
    assert re.search(r"\d+(\.\d+)? ?ms", line) and "kitchen" in line
    gateway.get("/nothing%22%0a\x7e")
    gateway.out.wait(r'"GET /nothing%22%0a~ HTTP/1\.1" 200')


def test_access_log_on_stderr(launch):
    gateway = launch(KITCHEN | {"log": {"access": "stderr"}})
    gateway.get("/x")
    gateway.err.wait(r'"GET /x HTTP/1\.1" 200 ')
    gateway.stop()
    assert gateway.out.text == ""


def test_the_server_header(launch):
    gateway = launch(KITCHEN | {"gateway": {"server_header": "on"}})
    assert [gateway.get(target).get("Server") for target in ("/x", "/-/health")] == ["leangate", "leangate"]


def test_a_header_that_is_dropped_is_told_of_once(gateway):
    for name in "X_Under", "X_Under", "x_under":
        assert gateway.get("/x", fields=[(name, "1")]).status == 200
    gateway.stop()
    assert gateway.err.text.count('header "X_Under" from 127.0.0.1 dropped') == gateway.err.text.count(" dropped: ") == 1
