"""FastCGI as it is on the wire: records in any shape, several connections, and peers that misbehave."""

import hashlib
import json
import os
import socket
import statistics
import time

import pytest

import fcgi_client as fcgi
from fcgi_client import (ABORT, BEGIN, END, GET_VALUES, GET_VALUES_RESULT, PARAMS, STDIN, STDOUT, UNKNOWN_TYPE,
                         cgi_params, pairs, record, request)
from worker import eventually

ECHO = """
    import json

    def app(environ, start_response):
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "application/json")])
        plain = {key: value for key, value in environ.items() if isinstance(value, str)}
        return [json.dumps([plain, body.decode("latin-1")]).encode()]
"""
LOG = """
    seen = []

    def app(environ, start_response):
        seen.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [" ".join(seen).encode()]
"""


@pytest.fixture
def echo(serve):
    return serve(ECHO)


def test_one_write_per_small_answer(serve):
    with serve().connect() as connection:
        connection.send(request(cgi_params()))
        data = connection.socket.recv(65536)
        connection.data = data
        answer = connection.read_answer()
    assert [kind for kind, _ in answer.records] == [STDOUT, STDOUT]
    assert answer.records[1] == (STDOUT, b"")
    assert (answer.app_status, answer.protocol_status) == (0, fcgi.REQUEST_COMPLETE)
    assert answer.stdout == b"Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"


def test_connection_is_kept_for_any_id(serve):
    with serve().connect() as connection:
        for request_id in (1, 2, 255, 256, 65535, 1):
            assert connection.ask(request_id=request_id).body == b"hello"


def test_connection_without_keep_conn_is_closed_at_once(serve):
    worker = serve()
    took = []
    for _ in range(5):
        begun = time.monotonic()
        with worker.connect() as connection:
            assert connection.ask(flags=0).body == b"hello"
            assert connection.at_end()
        took.append(time.monotonic() - begun)
    assert statistics.median(took) < 0.4  # libfcgi alone would wait up to two seconds each time


def test_many_connections_take_turns(serve):
    worker = serve()
    connections = [worker.connect() for _ in range(200)]
    for _ in range(3):
        for connection in connections:
            connection.send(request(cgi_params()))
        for connection in connections:
            assert connection.read_answer().body == b"hello"
    for connection in connections:
        connection.close()


def test_more_connections_than_it_takes_wait_their_turn(serve):
    worker = serve()
    connections = [worker.connect() for _ in range(1100)]  # it takes 1024; the rest fit into the backlog
    for connection in connections[:1024]:
        connection.close()
    assert connections[-1].ask().body == b"hello"
    for connection in connections[1024:]:
        connection.close()


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 100])
def test_streams_in_small_records(echo, size):
    body = b"the body of this request"
    with echo.connect() as connection:
        connection.send(request(cgi_params("POST", "/x", body), body, size=size))
        params, got = json.loads(connection.read_answer().body)
    assert got == body.decode() and params["PATH_INFO"] == "/x"


@pytest.mark.parametrize("padding", [1, 7, 8, 255])
def test_padding(echo, padding):
    body = b"padded"
    with echo.connect() as connection:
        for _ in range(2):
            connection.send(request(cgi_params("POST", "/", body), body, padding=padding))
            assert json.loads(connection.read_answer().body)[1] == "padded"


def test_split_at_every_byte(echo):
    body = b"ab"
    message = request({"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "2", "PATH_INFO": "/"}, body)
    with echo.connect() as connection:
        for at in range(1, len(message)):
            connection.send(message[:at])
            eventually(echo.sleeps)
            connection.send(message[at:])
            params, got = json.loads(connection.read_answer().body)
            assert got == "ab" and params["REQUEST_METHOD"] == "POST"


def test_byte_by_byte(echo):
    message = request({"REQUEST_METHOD": "GET", "PATH_INFO": "/"})
    with echo.connect() as connection:
        for byte in message:
            connection.send(bytes([byte]))
        assert json.loads(connection.read_answer().body)[0]["PATH_INFO"] == "/"


@pytest.mark.parametrize("size, piece", [(2000, 100), (30_000, 1000), (300_000, 1000), (300_000, 5000)])
def test_long_head_in_small_writes(echo, size, piece):
    message = request({"REQUEST_METHOD": "GET", "PATH_INFO": "/" + "x" * size})
    with echo.connect() as connection:
        for at in range(0, len(message), piece):
            connection.send(message[at : at + piece])
        assert len(json.loads(connection.read_answer().body)[0]["PATH_INFO"]) == size + 1


def test_half_a_head_holds_up_nobody(serve):
    worker = serve()
    message = request(cgi_params())
    for cut in (1, 7, 8, 15, 16, 20, len(message) - 17):
        with worker.connect() as slow:
            slow.send(message[:cut])
            begun = time.monotonic()
            assert worker.ask().body == b"hello"
            assert time.monotonic() - begun < 5
            slow.send(message[cut:])
            assert slow.read_answer().body == b"hello"


@pytest.mark.parametrize("size", [126, 127, 128, 129, 255, 256, 8191, 8192, 65535, 65536, 200_000, 700_000])
def test_long_parameters(echo, size):
    value = "v" * size
    name = "HTTP_" + "N" * min(size, 70_000)
    params, _ = json.loads(echo.ask(**{name: value}).body)
    assert params[name] == value


def test_many_parameters(echo):
    extra = {"HTTP_X%d" % i: str(i) for i in range(1000)}
    with echo.connect() as connection:
        for _ in range(2):
            params, _ = json.loads(connection.ask(**extra).body)
            assert all(params[name] == value for name, value in extra.items())


def test_no_parameters(serve):
    with serve().connect() as connection:
        connection.send(fcgi.begin(1) + record(PARAMS, 1) + record(STDIN, 1))
        assert connection.read_answer().body == b"hello"


@pytest.mark.parametrize("size", [1, 8000, 8192, 65535, 65536, 10_000_000])
def test_bodies_of_any_size(serve, size):
    worker = serve("""
        import hashlib

        def app(environ, start_response):
            body = environ["wsgi.input"].read()
            start_response("200 OK", [("X-Hash", hashlib.sha256(body).hexdigest())])
            return [body]
    """)
    body = os.urandom(size)
    answer = worker.ask("POST", "/", body)
    assert answer.header("X-Hash") == hashlib.sha256(body).hexdigest()
    assert answer.body == body
    assert answer.header("Content-Length") == str(size)


# --- bodies that the app does not read ---


@pytest.mark.parametrize("size", [10, 5000, 20_000, 60_000])
def test_unread_body_does_not_become_records(serve, size):
    """libfcgi forgets its buffer at the end of a request; what stays in the socket would be the next request."""
    worker = serve(LOG)
    evil = request(cgi_params(path="/evil"), request_id=1)
    body = (b"x" * (size % 8 or 8)) + evil * (size // len(evil) + 1)
    with worker.connect() as connection:
        connection.send(request(cgi_params("POST", "/one", body), body))
        assert connection.read_answer().body == b"/one"
        assert connection.ask(path="/two").body == b"/one /two"


@pytest.mark.parametrize("size", [100_000, 5_000_000])
def test_long_unread_body_costs_the_connection(serve, size):
    worker = serve(LOG)
    evil = request(cgi_params(path="/evil"))
    body = evil * (size // len(evil))
    with worker.connect() as connection:
        connection.send(request(cgi_params("POST", "/one"), b"") [: -8])  # all but the empty STDIN
        try:
            connection.send(fcgi.stream(STDIN, 1, body))
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert connection.read_answer().body == b"/one"
        assert connection.at_end()
    assert worker.ask(path="/two").body == b"/one /two"


def test_body_that_comes_after_the_answer(serve):
    worker = serve(LOG)
    with worker.connect() as connection:
        connection.send(request(cgi_params("POST", "/one", b"12345"), b"12345")[:-8])
        answer = connection.read_until(fcgi.Answer(), lambda kind, content: (kind, content) == (STDOUT, b""))
        assert answer.body == b"/one"  # complete for the client, though the request is not
        connection.send(record(STDIN, 1))
        connection.read_until(answer, lambda kind, content: kind == END)
        assert connection.ask(path="/two").body == b"/one /two"


# --- peers that go away ---


def test_abandoned_before_the_call_costs_no_python(serve):
    worker = serve("""
        import os
        seen = []

        def app(environ, start_response):
            seen.append(environ["PATH_INFO"])
            start_response("200 OK", [])
            if environ["PATH_INFO"] == "/first":
                os.write(1, b"in\\n")
                environ["wsgi.input"].read()
            return [" ".join(seen).encode()]
    """, options=["--concurrency", "1"])
    first = worker.connect()
    first.send(request(cgi_params("POST", "/first", b"x"), b"x")[:-17])
    eventually(lambda: worker.stdout)
    for half in (False, True):
        gone = worker.connect()
        gone.send(request(cgi_params(path="/gone")))
        if half:
            gone.socket.shutdown(socket.SHUT_WR)
        else:
            gone.close()
    first.send(record(STDIN, 1, b"x") + record(STDIN, 1))
    assert first.read_answer().body == b"/first"
    assert gone.at_end()
    assert first.ask(path="/next").body == b"/first /next"
    first.close()
    gone.close()


CUT = """
    problems = []

    def app(environ, start_response):
        if environ["REQUEST_METHOD"] == "POST":
            print("called")
            try:
                body = environ["wsgi.input"].%s
                problems.append("whole: %%d" %% len(body))
            except OSError as error:
                problems.append(str(error))
        start_response("200 OK", [])
        return [repr(problems).encode()]
"""


@pytest.mark.parametrize("how", ["read()", "read(50)", "readline()", "readlines()"])
@pytest.mark.parametrize("declared", [True, False])
def test_connection_that_breaks_in_the_body(serve, how, declared):
    worker = serve(CUT % how)
    with worker.connect() as connection:
        params = cgi_params("POST", "/", b"x" * 40)
        if not declared:
            del params["CONTENT_LENGTH"]
        connection.send(request(params)[:-8] + record(STDIN, 1, b"y" * 20))
        eventually(lambda: worker.stdout)  # a connection that is closed before is dropped without a call
    eventually(lambda: b"request body cut short" in worker.ask().body)
    assert b"whole" not in worker.ask().body


def test_body_that_is_shorter_than_declared(serve):
    worker = serve(CUT % "read()")
    with worker.connect() as connection:
        connection.send(request(cgi_params("POST", "/", b"x" * 40), b"y" * 20))
        assert b"request body cut short: 20 of 40 bytes came" in connection.read_answer().body


OVERRUN = record(GET_VALUES, 0, pairs({"FCGI_MAX_CONNS": ""}) * 40)  # of a buffer on the stack of libfcgi
TOO_LONG = b"\xff\xff\xff\xff\xff\xff\xff\xff"  # lengths of a name and its value
LONG = b"\4\x80\0\x60\0LONG" + b"x" * 0x6000  # more than is looked at before it is read


@pytest.mark.parametrize("wrong", [
    record(ABORT, 1), OVERRUN, record(GET_VALUES, 0, TOO_LONG), record(PARAMS, 1, b"x"), record(STDIN, 2, b"x"),
    record(STDIN, 1, version=2), fcgi.begin(1), fcgi.begin(2)], ids=range(8))
@pytest.mark.parametrize("head", [b"", record(PARAMS, 1, LONG)], ids=["short", "long"])
def test_what_is_no_body_breaks_it_off(serve, head, wrong):
    worker = serve(CUT % "read()")
    with worker.connect() as connection:
        whole = request(cgi_params("POST", "/", b"x" * 40))[:-8]
        connection.send(whole[:16] + head + whole[16:] + record(STDIN, 1, b"y" * 20) + wrong + record(STDIN, 1))
        assert b"cut short" in connection.read_answer().body
        assert connection.at_end()
    assert b"cut short" in worker.ask().body


@pytest.mark.parametrize("wrong", [OVERRUN, record(PARAMS, 1, TOO_LONG), record(STDIN, 1), record(PARAMS, 2, b"x"), fcgi.begin(1)],
                         ids=range(5))
def test_what_is_wrong_deep_in_a_long_head_closes_the_connection(serve, wrong):
    worker = serve()
    with worker.connect() as connection:
        connection.send(fcgi.begin(1) + record(PARAMS, 1, LONG) + wrong + record(PARAMS, 1) + record(STDIN, 1))
        assert connection.at_end()
    assert worker.ask().body == b"hello"


# --- what is no request ---


def test_management_records_are_answered(serve):
    with serve().connect() as connection:
        for names in ({}, {"FCGI_MAX_CONNS": "", "FCGI_MAX_REQS": "", "FCGI_MPXS_CONNS": "", "OTHER": ""}):
            connection.send(record(GET_VALUES, 0, pairs(names), padding=3))
            kind, request_id, content = connection.read_record()
            assert (kind, request_id) == (GET_VALUES_RESULT, 0)
            values = fcgi.parse_pairs(content)
            assert set(values) == {name.encode() for name in names} - {b"OTHER"}
        assert values[b"FCGI_MPXS_CONNS"] == b"0"
        assert int(values[b"FCGI_MAX_CONNS"]) >= 1000 and values[b"FCGI_MAX_REQS"] == b"4"
        connection.send(record(77, 0, b"what?"))
        kind, request_id, content = connection.read_record()
        assert (kind, request_id, content) == (UNKNOWN_TYPE, 0, bytes([77]) + b"\0" * 7)
        assert connection.ask().body == b"hello"


def test_management_record_that_overruns_libfcgi(serve):
    with serve().connect() as connection:
        connection.send(OVERRUN + request(cgi_params()))
        kind, _, content = connection.read_record()
        assert kind == GET_VALUES_RESULT and len(fcgi.parse_pairs(content)) == 1
        assert connection.read_answer().body == b"hello"


def test_management_record_split_at_every_byte(serve):
    worker = serve()
    message = record(GET_VALUES, 0, pairs({"FCGI_MPXS_CONNS": ""}))
    with worker.connect() as connection:
        for at in range(1, len(message)):
            connection.send(message[:at])
            eventually(worker.sleeps)
            connection.send(message[at:])
            assert connection.read_record() == (GET_VALUES_RESULT, 0, pairs({"FCGI_MPXS_CONNS": "0"}))


@pytest.mark.parametrize("message", [
    record(BEGIN, 1, b"\0\1\1\0\0\0\0\0", version=2),
    b"GET / HTTP/1.1\r\n\r\n",
    b"\0",
    record(BEGIN, 0, b"\0\1\1\0\0\0\0\0"),
    record(BEGIN, 1, b"short"),
    record(PARAMS, 1, b"x"),
    record(STDIN, 1, b"x"),
    record(ABORT, 1),
    record(GET_VALUES, 0, b"\x0e\0FCGI_MAX_CONNS" * 100),
    fcgi.begin(1) + record(PARAMS, 2, b"x"),
    fcgi.begin(1) + record(GET_VALUES, 0, b""),
    fcgi.begin(1) + record(STDIN, 1),
    fcgi.begin(1) + record(PARAMS, 1, version=3),
    fcgi.begin(1) + record(PARAMS, 1, padding=8) + record(STDIN, 1),
    fcgi.begin(1) + record(PARAMS, 1, b"\xff\xff\xff\xff\x7f\xff\xff\xff") + record(PARAMS, 1),
    fcgi.begin(1) + record(PARAMS, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff") + record(PARAMS, 1),
    fcgi.begin(1) + record(PARAMS, 1, b"\1\1AB\xff\xff") + record(PARAMS, 1, b"\xff\xff\xff\xff\xff\xff") + record(PARAMS, 1),
    fcgi.begin(1) + record(PARAMS, 1, b"\0\x80\x40\0\1"),
    fcgi.begin(1) + record(PARAMS, 1, b"\5\5abc") + record(PARAMS, 1),
], ids=range(19))
def test_what_is_no_request_closes_the_connection(serve, message):
    worker = serve()
    with worker.connect() as connection:
        connection.send(message)
        assert connection.at_end()
    assert worker.ask().body == b"hello"


@pytest.mark.parametrize("role", [0, fcgi.AUTHORIZER, fcgi.FILTER, 65535])
def test_other_roles_are_refused(serve, role):
    with serve().connect() as connection:
        connection.send(request(cgi_params(), role=role))
        assert connection.read_answer().protocol_status == fcgi.UNKNOWN_ROLE


def test_names_and_values_that_no_gateway_sends(echo):
    with echo.connect() as connection:
        connection.send(request({"": "empty name", "A=B": "c", "NUL\0": "x", "V": "a\0b", "E": "", "HIGH": "\xff"}))
        params, _ = json.loads(connection.read_answer().body)
    assert params["A"] == "B=c" and params["V"] == "a" and params["E"] == "" and params["HIGH"] == "\xff"
    assert "" not in params and "NUL" not in params


# --- big and slow answers ---


def test_big_answer_to_a_slow_reader(serve):
    worker = serve("""
        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"a" * 100_000, b"b" * 300_000, b"", b"c", b"d" * 9000, b"e" * 1_000_000]
    """)
    with worker.connect() as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.send(request(cgi_params()))
        eventually(worker.sleeps)
        answer = connection.read_answer()
    assert answer.body == b"a" * 100_000 + b"b" * 300_000 + b"c" + b"d" * 9000 + b"e" * 1_000_000
    assert answer.header("Content-Length") == "1409001"
    assert max(len(content) for _, content in answer.records) == 65535


def test_ten_megabytes_in_pieces(serve):
    worker = serve("""
        import hashlib

        def app(environ, start_response):
            start_response("200 OK", [])
            for i in range(160):
                yield hashlib.sha256(b"%d" % i).digest() * 2048
    """)
    expected = b"".join(hashlib.sha256(b"%d" % i).digest() * 2048 for i in range(160))
    assert worker.ask().body == expected


def test_client_that_leaves_a_blocked_writer(serve):
    worker = serve("""
        import sys

        def app(environ, start_response):
            if environ["PATH_INFO"] == "/":
                start_response("200 OK", [])
                return [b"ok"]
            return endless(start_response)

        def endless(start_response):
            start_response("200 OK", [])
            try:
                while True:
                    yield b"x" * 100_000
            finally:
                print("closed", flush=True)
    """)
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/endless")))
        connection.read_exactly(1000)
    eventually(lambda: worker.stdout == "closed\n")
    assert worker.ask().body == b"ok"
    assert worker.stderr == ""
