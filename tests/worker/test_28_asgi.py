"""ASGI 3.0, http: what a gateway sees of it, and what an app gets, the scope and the body."""

import signal
import socket
import threading

import pytest

from asgi_app import FRAME
from fcgi_client import PARAMS, STDIN, STDOUT, begin, cgi_params, pairs, record, request, stream
from worker import eventually


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
    "class App:\n    __slots__ = '__call__',\n    async def run(self, scope, receive, send): pass\n"
    "app = App()\napp.__call__ = app.run\n",
    "class app:\n    def __init__(self, scope, receive, send): pass\n    def __await__(self): yield\n",
    "class App:\n    async def run(self, scope, receive, send): pass\napp = App().run\n",
    "class Real:\n    async def __call__(self, scope, receive, send): pass\n"
    "class Wrapper:\n    __class__ = Real\n    def __call__(self, *arguments): pass\napp = Wrapper()\n",
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


@pytest.mark.parametrize("result", ["self.run()", "[]"])
def test_await_that_returns_no_iterator_is_a_500(serve, result):
    worker = serve("""
        class app:
            def __init__(self, scope, receive, send):
                pass

            def __await__(self):
                return %s

            async def run(self):
                pass
    """ % result)
    for _ in range(2):
        assert worker.ask().status == "500 Internal Server Error"
    assert worker.stderr.count("TypeError: __await__() returned <class '") == 2


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


def test_headers_with_a_name_of_one_byte_change_nothing_else(serve):
    """There is one bytes object for each single byte, and all of the interpreter has it."""
    worker = serve("""
        async def app(scope, receive, send):
            single = all(bytes([n])[0] == n for n in range(256))
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": repr((single, scope["headers"])).encode()})
    """, options=["--lifespan", "off"])
    for params in [{"HTTP_B": "C"}, {"HTTP__": "C"}, {"HTTP_1": "C"}]:
        worker.ask(**params)
    single, headers = eval(worker.ask(HTTP_C="B", HTTP_Z="C").body)
    assert single
    assert headers[-2:] == [(b"c", b"B"), (b"z", b"C")]


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


@pytest.mark.parametrize("protocol, version", [
    ("HTTP/1.0", "1.0"), ("HTTP/1.1", "1.1"), ("HTTP/2", "2"), ("HTTP/2.0", "2"), ("HTTP/3.0", "3")])
def test_http_version(asgi, protocol, version):
    assert scope_of(asgi(), SERVER_PROTOCOL=protocol)["http_version"] == version


def test_what_an_app_adds_to_a_scope_is_gone_with_its_request(asgi):
    worker = asgi("""
    async def add(scope, receive, send):
        seen = repr(scope["asgi"]).encode()
        scope["asgi"]["mine"] = scope["mine"] = 1
        await send(start())
        await send(piece(seen))
    """)
    assert len({worker.ask(path="/add").body for _ in range(3)}) == 1


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
        eventually(worker.sleeps)
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
        if kept:  # it is there as a whole when the answer is
            worker.process.send_signal(signal.SIGSTOP)
        sender.start()
        if kept:
            sender.join()
            worker.process.send_signal(signal.SIGCONT)
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
