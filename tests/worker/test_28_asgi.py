"""ASGI 3.0, http: what an app gets, what its answer becomes, and what it is told when it does wrong."""

import json
import socket
import threading
import time

import pytest

from fcgi_client import END, PARAMS, STDIN, STDOUT, Answer, ProtocolError, begin, cgi_params, pairs, record, request, stream
from worker import eventually

# The path names a coroutine of the app; further ones are added by the tests.
FRAME = """
    import asyncio, contextvars, json, os, sys, time

    class Disconnected(Exception):
        pass

    async def whole(receive):
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected(len(body))
            body, more = body + message["body"], message["more_body"]
        return body

    def start(status=200, *headers):
        return {"type": "http.response.start", "status": status, "headers": list(headers)}

    def piece(data=b"", more=False):
        return {"type": "http.response.body", "body": data, "more_body": more}

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError("not a type that this app knows: " + scope["type"])
        await globals()[scope["path"].split("/")[1]](scope, receive, send)

    async def hello(scope, receive, send):
        await send(start(200, (b"content-type", b"text/plain")))
        await send(piece(b"hello"))

    async def scope(scope, receive, send):
        await send(start())
        await send(piece(repr(scope).encode()))

    async def echo(scope, receive, send):
        body = await whole(receive)
        await send(start(200, (b"x-length", str(len(body)).encode())))
        await send(piece(body))
"""


@pytest.fixture
def asgi(serve):
    def start(source="", *arguments, **named):
        return serve(FRAME + source, *arguments, **named)
    return start


def scope_of(worker, **params):
    answer = worker.ask(path="/scope", **params)
    assert answer.status == "200 OK", worker.stderr
    return eval(answer.body.decode())  # our own app's repr()


# --- what a gateway sees ---

def test_ready_tells_kind_and_concurrency(spawn):
    worker = spawn(FRAME, options=["--lifespan", "off"])
    assert worker.message() == "START"
    assert worker.message().startswith("READY asgi persistent 256 ")
    worker = spawn(FRAME, options=["--lifespan=off", "--kind", "asgi", "--concurrency", "7"])
    assert worker.message() == "START"
    assert worker.message().startswith("READY asgi persistent 7 ")


@pytest.mark.parametrize("source", [
    "class App:\n    async def __call__(self, scope, receive, send): pass\napp = App()\n",
    "class App:\n    async def run(self, scope, receive, send): pass\napp = App().run\n",
    "import functools\nasync def run(more, scope, receive, send): pass\napp = functools.partial(functools.partial(run), 1)\n",
])
def test_kind_auto_finds_it(spawn, source):
    worker = spawn(source, options=["--lifespan", "off"])
    worker.message()
    assert worker.message().startswith("READY asgi ")


def test_kind_asgi_takes_any_callable(serve):
    worker = serve("""
        async def real(scope, receive, send):
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})
        def app(scope, receive, send):
            return real(scope, receive, send)
    """, options=["--kind", "asgi", "--lifespan", "off"])
    assert worker.ask().status == "204 No Content"


def test_kind_wsgi_refuses_it(spawn):
    assert spawn(FRAME, options=["--kind", "wsgi"]).failed()[0] == "main:app is an ASGI app, and kind is wsgi"


def test_a_wsgi_worker_has_no_asyncio(serve):
    worker = serve("""
        import sys
        def app(environ, start_response):
            start_response("200 OK", [])
            return [str("asyncio" in sys.modules).encode()]
    """)
    assert worker.ask().body == b"False"


def test_hello_is_one_write(asgi):
    worker = asgi()
    with worker.connect() as connection:
        for _ in range(3):
            answer = connection.ask(path="/hello")
            assert answer.status == "200 OK"
            assert answer.headers == [("content-type", "text/plain"), ("Content-Length", "5")]
            assert (answer.body, answer.stdout_ended, answer.app_status) == (b"hello", True, 0)
            assert len([1 for kind, content in answer.records if kind == STDOUT and content]) == 1
    assert worker.stop() == 0
    assert worker.stderr == ""


# --- the scope ---

def test_scope(asgi):
    scope = scope_of(asgi(), query="a=%20b&c", HTTP_X_TWO_WORDS="v", HTTP_COOKIE="a=b", CONTENT_TYPE="text/x")
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/scope",
        "raw_path": b"/scope",
        "query_string": b"a=%20b&c",
        "root_path": "",
        "headers": [(b"host", b"localhost:8000"), (b"user-agent", b"test"), (b"accept", b"*/*"), (b"x-two-words", b"v"),
                    (b"cookie", b"a=b"), (b"content-type", b"text/x")],
        "client": ("127.0.0.1", 40000),
        "server": ("localhost", 8000),
        "state": {},
    }


def test_headers_about_the_body_come_once(asgi):
    """As nginx sends them: both ways, and empty where there is no body."""
    scope = scope_of(asgi(), HTTP_CONTENT_LENGTH="3", HTTP_CONTENT_TYPE="text/x", CONTENT_TYPE="text/x", CONTENT_LENGTH="")
    assert [pair for pair in scope["headers"] if b"content" in pair[0]] == [(b"content-type", b"text/x")]


@pytest.mark.parametrize("script, info, uri, path, raw", [
    ("", "/scope/\xc3\xa9 x", "/scope/%C3%A9%20x?q", "/scope/\xe9 x", b"/scope/%C3%A9%20x"),
    ("", "/scope//a/../b", "/scope//a/../b", "/scope//a/../b", b"/scope//a/../b"),
    ("", "/scope/\xff", "/scope/%ff", "/scope/\ufffd", b"/scope/%ff"),
    ("/scope", "/in", "/scope/in?x=1", "/scope/in", b"/scope/in"),
    ("/scope", "/in", "/%73cope/in", "/scope/in", b"/%73cope/in"),
    ("/scope", "", "/scope", "/scope", b"/scope"),
    ("/scope/proxy", "/a b", "/a%20b", "/scope/proxy/a b", b"/scope/proxy/a%20b"),
    ("/scope/m", "/a b", "/m/a%20b?q", "/scope/m/a b", b"/scope/m/a%20b"),
    ("/scope", "/in", "/other", "/scope/in", b"/other"),
])
def test_paths(asgi, script, info, uri, path, raw):
    scope = scope_of(asgi(), SCRIPT_NAME=script, PATH_INFO=info, REQUEST_URI=uri)
    assert (scope["path"], scope["root_path"], scope["raw_path"]) == (path, script, raw)


@pytest.mark.parametrize("params, scheme", [
    ({"REQUEST_SCHEME": "https"}, "https"),
    ({"REQUEST_SCHEME": "http", "HTTPS": "off"}, "http"),
    ({"REQUEST_SCHEME": "", "HTTPS": "on"}, "https"),
])
def test_scheme(asgi, params, scheme):
    assert scope_of(asgi(), **params)["scheme"] == scheme


def test_client_on_a_unix_socket_has_no_address(asgi):
    scope = scope_of(asgi(), REMOTE_ADDR="", REMOTE_PORT="", SERVER_PROTOCOL="HTTP/1.0")
    assert (scope["client"], scope["http_version"]) == (None, "1.0")


def test_a_request_without_parameters_is_served(serve):
    worker = serve("""
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": repr(scope["headers"]).encode()})
    """, options=["--lifespan", "off"])
    with worker.connect() as connection:
        connection.send(request({}))
        assert connection.read_answer().body == b"[]"


# --- the body ---

@pytest.mark.parametrize("size", [0, 1, 5000, 8000, 8192, 20000, 65535, 65536, 1_000_000])
@pytest.mark.parametrize("records", [65535, 1000])
@pytest.mark.parametrize("padding", [0, 7])
def test_bodies_come_whole(asgi, size, records, padding):
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    worker = asgi()
    with worker.connect() as connection:
        for _ in range(2):
            message = (begin(1) + stream(PARAMS, 1, pairs(cgi_params("POST", "/echo", body)))
                       + stream(STDIN, 1, body, records, padding)[:-8] + record(STDIN, 1))
            sender = threading.Thread(target=connection.send, args=(message,))
            sender.start()
            answer = connection.read_answer()
            sender.join()
            assert answer.body == body
            assert answer.header("x-length") == str(size)


def test_a_slow_body_keeps_nobody_waiting(asgi):
    """Byte by byte, as another web server may pass it on; others are served in between."""
    worker = asgi()
    body = b"0123456789"
    with worker.connect() as slow, worker.connect() as other:
        slow.send(begin(1) + stream(PARAMS, 1, pairs(cgi_params("POST", "/echo", body))))
        message = stream(STDIN, 1, body, 3, 2)
        for at in range(len(message)):
            slow.send(message[at : at + 1])
            if at % 5 == 0:
                assert other.ask(path="/hello").body == b"hello"
        assert slow.read_answer().body == body


def test_a_head_beyond_what_is_looked_at(asgi):
    worker = asgi()
    with worker.connect() as connection:
        for size in (15000, 17000, 40000):
            answer = connection.ask("POST", "/echo", b"b" * 30000, HTTP_X_LARGE="v" * size)
            assert answer.body == b"b" * 30000


@pytest.mark.parametrize("size", [100, 30000])
@pytest.mark.parametrize("how", ["close", "half", "short", "wrong record"])
def test_a_body_that_breaks_off_is_never_whole(asgi, size, how):
    worker = asgi("""
    async def broken(scope, receive, send):
        try:
            await whole(receive)
            print("whole", flush=True)
        except Disconnected:
            print("disconnect", flush=True)
            assert await receive() == {"type": "http.disconnect"}
            raise
    """)
    body = b"b" * size
    connection = worker.connect()
    head = begin(1) + stream(PARAMS, 1, pairs(cgi_params("POST", "/broken", body)))
    connection.send(head + record(STDIN, 1, body[: size // 2]))
    if how == "close":
        connection.close()
    elif how == "half":
        connection.socket.shutdown(socket.SHUT_WR)
    elif how == "short":
        connection.send(record(STDIN, 1))
    else:
        connection.send(record(PARAMS, 1, b"x" * 20))
    if how in ("short", "wrong record"):
        eventually(lambda: worker.stdout == "disconnect\n")
    else:
        eventually(lambda: worker.sleeps)
        assert worker.stdout in ("disconnect\n", "")  # seen before the app was called, it is not
    connection.close()
    assert worker.ask(path="/hello").body == b"hello"
    assert "whole" not in worker.stdout


@pytest.mark.parametrize("size, kept", [(5, True), (8100, True), (60000, True), (400000, False)])
def test_a_body_that_nobody_reads_never_becomes_a_request(asgi, size, kept):
    worker = asgi()
    forged = request(cgi_params("GET", "/scope", HTTP_X_FORGED="1"))
    body = (forged * (size // len(forged) + 1))[:size]
    with worker.connect() as connection:
        sender = threading.Thread(target=lambda: try_to_send(connection, request(cgi_params("POST", "/hello", body), body)))
        sender.start()
        assert connection.read_answer().body == b"hello"
        sender.join()
        if kept:
            assert connection.ask(path="/hello").body == b"hello"
        else:
            assert connection.at_end()


def try_to_send(connection, data):
    try:
        connection.send(data)
    except OSError:
        pass  # the worker has closed: expected for a large body


# --- the answer ---

def test_streaming_flows_piece_by_piece(asgi):
    worker = asgi("""
    async def steps(scope, receive, send):
        await send(start())
        for i in range(3):
            await send(piece(b"%d" % i, True))
            while not os.path.exists("go%d" % i):
                await asyncio.sleep(0.001)
        await send(piece())
    """)
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/steps")))
        answer = Answer()
        for i in range(3):
            connection.read_until(answer, lambda kind, content: content.endswith(b"%d" % i))
            assert answer.body == b"012"[: i + 1]
            (worker.directory / ("go%d" % i)).touch()
        connection.read_until(answer, lambda kind, content: kind == END)
        assert (answer.stdout_ended, answer.header("Content-Length")) == (True, None)


def test_the_head_leaves_before_the_first_event(asgi):
    worker = asgi("""
    async def late(scope, receive, send):
        await send(start(200, (b"content-type", b"text/event-stream")))
        while not os.path.exists("go"):
            await asyncio.sleep(0.001)
        await send(piece(b"data: x\\n\\n"))
    """)
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/late")))
        answer = connection.read_until(Answer(), lambda kind, content: b"\r\n\r\n" in content)
        assert answer.header("content-type") == "text/event-stream"
        (worker.directory / "go").touch()
        connection.read_until(answer, lambda kind, content: kind == END)
        assert answer.body == b"data: x\n\n"


def test_background_work_comes_after_the_answer(asgi):
    worker = asgi("""
    async def later(scope, receive, send):
        await hello(scope, receive, send)
        while not os.path.exists("go"):
            await asyncio.sleep(0.001)
        print("done", flush=True)
    """)
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/later")))
        answer = connection.read_until(Answer(), lambda kind, content: kind == STDOUT and not content)
        assert answer.body == b"hello" and worker.stdout == ""
        (worker.directory / "go").touch()
        connection.read_until(answer, lambda kind, content: kind == END)
        assert worker.stdout == "done\n"


def test_work_that_awaits_nothing_keeps_the_answer_once_at_most(asgi):
    """A client cannot be told before the app lets go; but it is noticed, and then the answer goes first."""
    worker = asgi("""
    async def busy(scope, receive, send):
        await hello(scope, receive, send)
        while not os.path.exists("go"):
            time.sleep(0.005)
    """)
    with worker.connect() as connection:
        (worker.directory / "go").touch()
        connection.ask(path="/busy")
        (worker.directory / "go").unlink()
        connection.send(request(cgi_params(path="/busy")))
        threading.Timer(0.3, (worker.directory / "go").touch).start()
        assert connection.read_answer().body == b"hello"
        (worker.directory / "go").unlink()
        connection.send(request(cgi_params(path="/busy")))
        answer = connection.read_until(Answer(), lambda kind, content: kind == STDOUT and not content)
        assert answer.body == b"hello"
        (worker.directory / "go").touch()


def test_head_and_bodyless_answers(asgi):
    worker = asgi("""
    async def nothing(scope, receive, send):
        await send(start(int(scope["query_string"])))
        await send(piece(b"never seen"))
    async def promised(scope, receive, send):
        await send(start(200, (b"content-length", b"1000")))
        await send(piece())
    """)
    answer = worker.ask("HEAD", "/hello")
    assert (answer.status, answer.body, answer.header("Content-Length")) == ("200 OK", b"", None)
    answer = worker.ask("HEAD", "/promised")
    assert (answer.body, answer.header("Content-Length"), answer.app_status) == (b"", "1000", 0)
    for status, line in (("204", "204 No Content"), ("304", "304 Not Modified")):
        answer = worker.ask(path="/nothing", QUERY_STRING=status)
        assert (answer.status, answer.body, answer.app_status) == (line, b"", 0)


def test_large_answers(asgi):
    worker = asgi("""
    async def large(scope, receive, send):
        await send(start())
        for i in range(int(scope["query_string"])):
            await send(piece(bytes([i % 256]) * 300000, True))
        await send(piece(bytearray(b"end")))
    """)
    with worker.connect() as connection:
        for count in (0, 1, 30):
            answer = connection.ask(path="/large", QUERY_STRING=str(count))
            assert answer.body == b"".join(bytes([i % 256]) * 300000 for i in range(count)) + b"end"


def test_a_client_that_does_not_read_slows_send_down(asgi):
    worker = asgi("""
    sent = 0
    async def endless(scope, receive, send):
        global sent
        await send(start())
        while True:
            await send(piece(b"x" * 65536, True))
            sent += 65536
    async def count(scope, receive, send):
        await send(start())
        await send(piece(str(sent).encode()))
    """)
    with worker.connect() as slow, worker.connect() as other:
        slow.send(request(cgi_params(path="/endless")))
        slow.read_exactly(1)

        def settled():
            first = other.ask(path="/count").body
            eventually(worker.sleeps)
            return first == other.ask(path="/count").body and int(first) > 0
        eventually(settled)
        sent = int(other.ask(path="/count").body)
        assert sent < 2_000_000
        slow.read_exactly(sent)
        eventually(lambda: int(other.ask(path="/count").body) > sent)


def test_senders_in_parallel_do_not_mix(asgi):
    worker = asgi("""
    async def many(scope, receive, send):
        await send(start())
        await asyncio.gather(*(send(piece(bytes([65 + i]) * 200000, True)) for i in range(8)))
        await send(piece())
    """)
    answer = worker.ask(path="/many")
    pieces = [answer.body[i : i + 200000] for i in range(0, len(answer.body), 200000)]
    assert sorted(pieces) == [bytes([65 + i]) * 200000 for i in range(8)]


# --- what is wrong ---

@pytest.mark.parametrize("code, message", [
    ("await send(piece(b'x'))", "RuntimeError: send(): expected message 'http.response.start', but got 'http.response.body'"),
    ("await send(start()); await send(start())", "RuntimeError: send(): expected message 'http.response.body', but got"),
    ("await send({'type': 'websocket.accept'})", "expected message 'http.response.start', but got 'websocket.accept'"),
    ("future = asyncio.Future(); future.cancel(); await future", "CancelledError"),
    ("asyncio.current_task().cancel(); await asyncio.sleep(0)", "CancelledError"),
    ("await send('text')", "TypeError: send() takes a dict"),
    ("await send({})", "TypeError: send() takes a dict"),
    ("await send(start('200'))", "ValueError: http.response.start: status must be an int from 200 to 999, not '200'"),
    ("await send(start(101))", "status must be an int from 200 to 999, not 101"),
    ("await send(start(200, ('a', 'b')))", "TypeError: http.response.start: headers must be pairs of bytes, not ('a', 'b')"),
    ("await send(start(200, (b'a',)))", "headers must be pairs of bytes"),
    ("await send(start(200, (b'a b', b'')))", "ValueError: b'a b' cannot be the name of a header"),
    ("await send(start(200, (b'a', b'b\\r\\nc: d')))", "ValueError: header a: control characters in its value"),
    ("await send(start(200, (b'status', b'404')))", "cannot be the name of a header"),
    ("await send(start(200, (b'content-length', b'-1')))", "is not a length"),
    ("await send({**start(), 'headers': 5})", "TypeError"),
    ("await send(start()); await send(piece('text'))", "TypeError: http.response.body: body must be bytes"),
    ("await send(start(200, (b'content-length', b'3'))); await send(piece(b'four'))", "RuntimeError: the body is longer than"),
    ("await send(start(200, (b'content-length', b'5'))); await send(piece(b'four'))", "RuntimeError: the body is shorter than"),
    ("pass", "RuntimeError: the app returned without an answer"),
    ("await send(start())", "RuntimeError: the app returned without completing its answer"),
    ("raise KeyError('mine')", "KeyError: 'mine'"),
    ("sys.exit(3)", "SystemExit: 3"),
    ("await send(start()); raise KeyError('mine')", "KeyError: 'mine'"),
])
def test_misuse_before_the_first_byte_is_a_500(asgi, code, message):
    worker = asgi("""
    async def wrong(scope, receive, send):
        %s
    """ % code)
    with worker.connect() as connection:
        answer = connection.ask(path="/wrong")
        assert (answer.status, answer.body) == ("500 Internal Server Error", b"Internal Server Error\n")
        assert (answer.stdout_ended, answer.app_status) == (True, 0)
        assert connection.ask(path="/hello").body == b"hello"
    assert message in worker.stderr
    assert "pyworker: 'GET' '/wrong' failed:\n" in worker.stderr


@pytest.mark.parametrize("code", ["raise KeyError('mine')", "pass", "await send(start())"])
def test_misuse_after_the_first_byte_cuts_the_answer(asgi, code):
    worker = asgi("""
    async def wrong(scope, receive, send):
        await send(start())
        await send(piece(b"begun", True))
        %s
    """ % code)
    with worker.connect() as connection:
        answer = connection.ask(path="/wrong")
        assert (answer.body, answer.stdout_ended, answer.app_status) == (b"begun", False, 1)
        assert connection.ask(path="/hello").body == b"hello"
    assert "failed:" in worker.stderr


@pytest.mark.parametrize("code", ["raise KeyError('mine')", "await send(piece(b'more'))"])
def test_misuse_after_the_answer_is_only_logged(asgi, code):
    worker = asgi("""
    async def wrong(scope, receive, send):
        await hello(scope, receive, send)
        %s
    """ % code)
    answer = worker.ask(path="/wrong")
    assert (answer.status, answer.body, answer.app_status) == ("200 OK", b"hello", 0)
    assert "failed:" in worker.stderr


def test_debug_shows_the_traceback(asgi):
    worker = asgi("""
    async def wrong(scope, receive, send):
        raise KeyError("mine")
    """, options=["--debug"])
    assert b"KeyError: 'mine'" in worker.ask(path="/wrong").body


def test_receive_and_send_outlive_their_request(asgi):
    worker = asgi("""
    kept = []
    async def keep(scope, receive, send):
        kept.append((receive, send))
        await hello(scope, receive, send)
    async def use(scope, receive, send):
        message = await kept[0][0]()
        try:
            await kept[0][1](piece(b"late"))
        except RuntimeError as error:
            message["error"] = str(error)
        await send(start())
        await send(piece(repr(message).encode()))
    """)
    worker.ask(path="/keep")
    assert eval(worker.ask(path="/use").body) == {"type": "http.disconnect", "error": "send(): the request is over"}


def test_receive_and_send_can_be_tasks(asgi):
    worker = asgi("""
    async def tasks(scope, receive, send):
        message = await asyncio.wait_for(receive(), 5)
        again = asyncio.ensure_future(receive())
        await asyncio.create_task(send(start()))
        try:
            await asyncio.wait_for(receive(), 0.01)
        except asyncio.TimeoutError:
            await asyncio.create_task(send(piece(message["body"])))
        print((await again)["type"], flush=True)
    """)
    assert worker.ask("POST", "/tasks", b"body").body == b"body"
    assert worker.stdout == "http.disconnect\n"
    assert worker.stderr == ""


# --- clients that leave ---

LEAVING = """
    async def waits(scope, receive, send):
        await whole(receive)
        print("waits", flush=True)
        print((await receive())["type"], flush=True)
    async def streams(scope, receive, send):
        await send(start())
        try:
            while True:
                await send(piece(b"x" * 1000, True))
                await asyncio.sleep(0.001)
        except OSError as error:
            print("left", type(error).__name__, flush=True)
            raise
    async def ignores(scope, receive, send):
        try:
            await streams(scope, receive, send)
        except OSError:
            raise Disconnected from None
    """


@pytest.mark.parametrize("half", [False, True])
def test_receive_tells_that_the_client_left(asgi, half):
    worker = asgi(LEAVING)
    connection = worker.connect()
    connection.send(request(cgi_params(path="/waits")))
    eventually(lambda: worker.stdout == "waits\n")
    connection.socket.shutdown(socket.SHUT_WR) if half else connection.close()
    eventually(lambda: worker.stdout == "waits\nhttp.disconnect\n")
    connection.close()
    assert worker.ask(path="/hello").body == b"hello"
    assert worker.stderr == ""


@pytest.mark.parametrize("half", [False, True])
def test_send_raises_when_the_client_left(asgi, half):
    worker = asgi(LEAVING)
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/streams")))
        connection.read_exactly(100)
        if half:
            connection.socket.shutdown(socket.SHUT_WR)
            eventually(lambda: worker.stdout == "left BrokenPipeError\n")
    eventually(lambda: worker.stdout == "left BrokenPipeError\n")
    assert worker.ask(path="/hello").body == b"hello"
    assert worker.stderr == ""  # nobody's mistake


def test_a_mistake_is_logged_even_if_the_client_left(asgi):
    worker = asgi(LEAVING + """
    async def mistake(scope, receive, send):
        await receive()
        await receive()
        raise KeyError("mine")
    """)
    connection = worker.connect()
    connection.send(request(cgi_params(path="/mistake")))
    eventually(worker.sleeps)
    connection.close()
    eventually(lambda: "KeyError: 'mine'" in worker.stderr)


def test_a_client_that_left_before_its_turn_costs_no_python(asgi):
    worker = asgi("""
    async def block(scope, receive, send):
        while not os.path.exists("go"):
            time.sleep(0.001)
        await hello(scope, receive, send)
    async def never(scope, receive, send):
        print("called", flush=True)
    """)
    blocker, leaver = worker.connect(), worker.connect()
    blocker.send(request(cgi_params(path="/block")))
    leaver.send(request(cgi_params(path="/never")))
    leaver.close()
    (worker.directory / "go").touch()
    assert blocker.read_answer().body == b"hello"
    assert worker.ask(path="/hello").body == b"hello"
    assert worker.stdout == ""


# --- many at once ---

def test_as_many_at_once_as_concurrency_says(asgi):
    worker = asgi("""
    inside = 0
    async def meet(scope, receive, send):
        global inside
        inside += 1
        print("in", inside, flush=True)
        while not os.path.exists("go"):
            await asyncio.sleep(0.001)
        inside -= 1
        await hello(scope, receive, send)
    """, options=["--concurrency", "3"])
    connections = [worker.connect() for _ in range(8)]
    for connection in connections:
        connection.send(request(cgi_params(path="/meet")))
    eventually(lambda: worker.stdout.count("in") == 3)
    eventually(worker.sleeps)
    assert worker.stdout.count("in") == 3
    connections[7].close()
    (worker.directory / "go").touch()
    for connection in connections[:7]:
        assert connection.read_answer().body == b"hello"
        connection.close()
    assert max(int(line.split()[1]) for line in worker.stdout.splitlines()) <= 3
    assert worker.stdout.count("in") == 7  # who has left while waiting was not served


def test_half_a_head_does_not_take_the_place_of_a_whole_one(asgi):
    worker = asgi("""
    async def gate(scope, receive, send):
        print("in", flush=True)
        while not os.path.exists("go"):
            await asyncio.sleep(0.001)
        await hello(scope, receive, send)
    """, options=["--concurrency", "1"])
    with worker.connect() as first, worker.connect() as half, worker.connect() as whole:
        first.send(request(cgi_params(path="/gate")))
        eventually(lambda: worker.stdout == "in\n")
        half.send(begin(1))
        whole.send(request(cgi_params(path="/hello")))
        time.sleep(0.1)  # long enough for both to be noted: they wait
        (worker.directory / "go").touch()
        assert first.read_answer().body == whole.read_answer().body == b"hello"
        half.send(request(cgi_params(path="/hello"))[len(begin(1)):])
        assert half.read_answer().body == b"hello"


def test_two_hundred_streams_on_one_thread(asgi):
    worker = asgi("""
    async def stream(scope, receive, send):
        await send(start())
        await send(piece(b"begun", True))
        while not os.path.exists("go"):
            await asyncio.sleep(0.01)
        await send(piece(b"ended"))
    """)
    connections = [worker.connect() for _ in range(200)]
    answers = [Answer() for _ in connections]
    for connection, answer in zip(connections, answers):
        connection.send(request(cgi_params(path="/stream")))
        connection.read_until(answer, lambda kind, content: b"begun" in content)
    (worker.directory / "go").touch()
    for connection, answer in zip(connections, answers):
        connection.read_until(answer, lambda kind, content: kind == END)
        assert answer.body == b"begunended"
        connection.close()
    eventually(lambda: worker.descriptors() < 20)


def test_context_variables_are_each_requests_own(asgi):
    worker = asgi("""
    var = contextvars.ContextVar("var", default="unset")
    async def vary(scope, receive, send):
        before = var.get()
        var.set("changed")
        await asyncio.sleep(0)
        await send(start())
        await send(piece(("%s %s" % (before, var.get())).encode()))
    async def task(scope, receive, send):
        await send(start())
        await send(piece(str(asyncio.current_task() in asyncio.all_tasks()).encode()))
    """)
    for _ in range(2):
        assert worker.ask(path="/vary").body == b"unset changed"
    assert worker.ask(path="/task").body == b"True"


# --- what the gateway says meanwhile ---

def test_cancel_ends_one_request(asgi):
    worker = asgi("""
    async def hang(scope, receive, send):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            print("cancelled", scope["query_string"], flush=True)
            raise
    async def stubborn(scope, receive, send):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await hello(scope, receive, send)
    """)
    with worker.connect() as one, worker.connect() as two, worker.connect() as three:
        one.send(request(cgi_params(path="/hang", query="1"), request_id=1))
        two.send(request(cgi_params(path="/hang", query="2"), request_id=2))
        three.send(request(cgi_params(path="/stubborn"), request_id=3))
        eventually(worker.sleeps)
        worker.say("CANCEL 99")
        worker.say("CANCEL 2")
        answer = two.read_answer(2)
        assert (answer.stdout, answer.app_status) == (b"", 1)
        assert two.ask(path="/hello", request_id=2).body == b"hello"
        worker.say("CANCEL 3")
        assert three.read_answer(3).body == b"hello"
        worker.say("CANCEL 1")
        one.read_answer()
    assert worker.stdout == "cancelled b'2'\ncancelled b'1'\n"
    assert worker.stderr == ""


def test_cancel_while_the_client_does_not_read(asgi):
    worker = asgi("""
    async def endless(scope, receive, send):
        await send(start())
        while True:
            await send(piece(b"x" * 65536, True))
    """)
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/endless")))
        connection.read_exactly(1)
        eventually(worker.sleeps)
        worker.say("CANCEL 1")  # the task gives up its send(), the end of the answer waits for the client
        eventually(worker.sleeps)
        worker.say("CANCEL 1")  # now nothing of it is left
        with pytest.raises((EOFError, ProtocolError)):
            connection.read_exactly(2**30)
    assert worker.ask(path="/hello").body == b"hello"


def test_stack_shows_where_a_task_is(asgi):
    worker = asgi("""
    async def inner():
        await asyncio.sleep(60)  # here
    async def outer(scope, receive, send):
        await inner()
    """)
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/outer"), request_id=5))
        eventually(worker.sleeps)
        worker.say("STACK 6")
        worker.say("STACK 5")
        eventually(lambda: "await asyncio.sleep(60)  # here" in worker.stderr)
    for name in ("in app", "in outer", "in inner", "in sleep"):
        assert name in worker.stderr
    assert worker.stderr.count("stands at") == 1


def test_unknown_messages_are_ignored(asgi):
    worker = asgi()
    for text in ("CANCEL", "CANCEL x", "CANCEL 1x", "STACK 70000", "STACK ", "HELLO", "STOPP", "STOP\0"):
        worker.say(text)
    assert worker.ask(path="/hello").body == b"hello"
    assert worker.stderr == ""


def test_stop_finishes_what_runs(asgi):
    worker = asgi("""
    async def slow(scope, receive, send):
        await send(start())
        await send(piece(b"begun ", True))
        while not os.path.exists("go"):
            await asyncio.sleep(0.001)
        await send(piece(b"ended"))
        await asyncio.sleep(0.01)
        print("background", flush=True)
    """)
    with worker.connect() as connection, worker.connect() as idle, worker.connect() as late:
        assert idle.ask(path="/hello").body == b"hello"
        connection.send(request(cgi_params(path="/slow")))
        answer = connection.read_until(Answer(), lambda kind, content: b"begun" in content)
        worker.say("STOP")
        eventually(worker.sleeps)
        late.send(request(cgi_params(path="/hello")))
        refused = late.read_answer()
        assert (refused.protocol_status, refused.stdout) == (2, b"")
        idle.send(request(cgi_params(path="/hello")))
        assert idle.read_answer().protocol_status == 2
        (worker.directory / "go").touch()
        connection.read_until(answer, lambda kind, content: kind == END)
        assert answer.body == b"begun ended"
    assert worker.wait() == 0
    assert worker.stdout == "background\n"


def test_sigterm_and_the_end_of_the_gateway_are_as_stop(asgi):
    import signal

    for end in (lambda worker: worker.process.send_signal(signal.SIGTERM), lambda worker: worker.control.close()):
        worker = asgi("""
    async def slow(scope, receive, send):
        print("in", flush=True)
        while not os.path.exists("go"):
            await asyncio.sleep(0.001)
        await hello(scope, receive, send)
        """)
        with worker.connect() as connection:
            connection.send(request(cgi_params(path="/slow")))
            eventually(lambda: worker.stdout == "in\n")
            end(worker)
            eventually(worker.sleeps)
            (worker.directory / "go").touch()
            assert connection.read_answer().body == b"hello"
        assert worker.wait() == 0


def test_ctrl_c_cancels(asgi):
    import signal

    worker = asgi("""
    async def hang(scope, receive, send):
        try:
            print("in", flush=True)
            await asyncio.sleep(60)
        finally:
            print("out", flush=True)
    """)
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/hang")))
        eventually(lambda: worker.stdout == "in\n")
        worker.process.send_signal(signal.SIGINT)
        assert worker.wait() == 130
    assert worker.stdout == "in\nout\n"


def test_an_apps_own_handler_of_sigterm_is_respected(serve):
    import signal

    worker = serve("""
        import asyncio, signal
        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                await receive()
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print, "mine")
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await send({"type": "lifespan.shutdown.complete"})
    """)
    worker.process.send_signal(signal.SIGTERM)
    eventually(lambda: worker.stdout == "mine\n")
    assert worker.stop() == 0


def test_without_descriptors_it_waits_for_some(asgi):
    worker = asgi("""
    import resource
    async def limit(scope, receive, send):
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, 4096))
        await hello(scope, receive, send)
    async def release(scope, receive, send):
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        await hello(scope, receive, send)
    """)
    with worker.connect() as first, worker.connect() as second:
        first.ask(path="/limit")
        second.send(request(cgi_params(path="/hello")))
        eventually(worker.sleeps)
        first.ask(path="/release")
        assert second.read_answer().body == b"hello"


@pytest.mark.parametrize("mode", ["persistent", "fork"])
def test_reload_refuses_the_request_that_finds_a_changed_source(asgi, mode):
    worker = asgi(options=["--reload", "--mode", mode, "--lifespan", "off"])
    assert worker.ask(path="/hello").body == b"hello"
    with open(worker.directory / "main.py", "a") as file:
        file.write("# changed\n")

    def refused():
        with worker.connect() as connection:
            connection.send(request(cgi_params("POST", "/echo", b"b" * 20000), b"b" * 20000))
            answer = connection.read_answer()
            return answer.protocol_status == 2 and not answer.records and connection.at_end()
    eventually(refused)
    assert worker.wait() == 0


def test_a_task_factory_of_the_app_is_respected(serve):
    worker = serve("""
        import asyncio
        class Mine(asyncio.Task):
            pass
        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                await receive()
                asyncio.get_running_loop().set_task_factory(lambda loop, coro, **more: Mine(coro, loop=loop, **more))
                await send({"type": "lifespan.startup.complete"})
                await receive()
                return await send({"type": "lifespan.shutdown.complete"})
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": type(asyncio.current_task()).__name__.encode()})
    """)
    assert worker.ask().body == b"Mine"


def test_work_behind_an_answer_without_an_await_keeps_it_from_nobody(serve):
    worker = serve("""
        import os, time

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"answer"})
            while scope["path"] == "/work" and not os.path.exists("done"):
                time.sleep(0.01)
    """)
    for _ in range(3):
        with worker.connect() as connection:
            connection.send(request(cgi_params("GET", "/work", b"")))
            answer = connection.read_until(Answer(), lambda kind, content: kind == STDOUT and content == b"")
            assert answer.body == b"answer"
            (worker.directory / "done").touch()
            connection.read_until(answer, lambda kind, content: kind == END)
            (worker.directory / "done").unlink()
    assert worker.ask().body == b"answer"


def test_a_request_takes_one_turn_of_asyncios_own_loop(asgi):
    """select() of the loop's selector is the worker's, and what it begins runs before the next one."""
    worker = asgi("""
    turns = 0
    async def turn(scope, receive, send):
        global turns
        select = asyncio.get_running_loop()._selector.select
        def counted(timeout):
            global turns
            turns += 1
            return select(timeout)
        if turns == 0:
            asyncio.get_running_loop()._selector.select = counted
        await send(start())
        await send(piece(b"%d" % turns))
    """)
    with worker.connect() as connection:
        counts = [int(connection.ask(path="/turn").body) for _ in range(20)]
    assert counts == list(range(20))


def test_the_apps_own_descriptors_timers_and_threads_go_on_beside_requests(asgi):
    """A socket that is always readable, a timer and a thread that wakes the loop, while requests come: nobody starves."""
    worker = asgi("""
    import socket, threading
    done = {"socket": 0, "timer": 0, "thread": 0}
    begun = False

    async def busy(scope, receive, send):
        global begun
        if not begun:
            begun = True
            loop = asyncio.get_running_loop()
            a, b = socket.socketpair()
            b.send(b"x")
            loop.add_reader(a, count, "socket")
            timer(loop)
            threading.Thread(target=poke, args=(loop,), daemon=True).start()
        await send(start())
        await send(piece(json.dumps(done).encode()))

    def count(what):
        done[what] += 1

    def timer(loop):
        count("timer")
        loop.call_later(0.001, timer, loop)

    def poke(loop):
        while True:
            loop.call_soon_threadsafe(count, "thread")
            time.sleep(0.001)
    """)
    with worker.connect() as connection:
        first = json.loads(connection.ask(path="/busy").body)
        for _ in range(500):
            last = json.loads(connection.ask(path="/busy").body)
        connection.ask(path="/hello")
    eventually(lambda: all(json.loads(worker.ask(path="/busy").body)[what] > 50 for what in first))
    assert last["socket"] > first["socket"]


def test_a_timer_of_the_app_is_never_early(asgi):
    worker = asgi("""
    async def nap(scope, receive, send):
        begun = time.monotonic()
        for delay in (0.0001, 0.0015, 0.01):
            await asyncio.sleep(delay)
        await send(start())
        await send(piece(b"%f" % (time.monotonic() - begun)))
    """)
    assert float(worker.ask(path="/nap").body) >= 0.0116
