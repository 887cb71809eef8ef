"""ASGI 3.0, http: what an app's messages become, and what it is told when they are wrong."""

import threading

import pytest

from fcgi_client import END, STDOUT, Answer, cgi_params, request
from worker import eventually


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


@pytest.mark.parametrize("path", ["/late", "/child/late"])
def test_the_head_leaves_before_the_first_event(asgi, path):
    worker = asgi("""
    async def late(scope, receive, send):
        await send(start(200, (b"content-type", b"text/event-stream")))
        while not os.path.exists("go"):
            await asyncio.sleep(0.001)
        await send(piece(b"data: x\\n\\n"))
    """)
    with worker.connect() as connection:
        connection.send(request(cgi_params(path=path)))
        answer = connection.read_until(Answer(), lambda kind, content: b"\r\n\r\n" in content)
        assert answer.header("content-type") == "text/event-stream"
        (worker.directory / "go").touch()
        connection.read_until(answer, lambda kind, content: kind == END)
        assert answer.body == b"data: x\n\n"


@pytest.mark.parametrize("path", ["/later", "/child/later"])
def test_background_work_comes_after_the_answer(asgi, path):
    worker = asgi("""
    async def later(scope, receive, send):
        await hello(scope, receive, send)
        while not os.path.exists("go"):
            await asyncio.sleep(0.001)
        print("done", flush=True)
    """)
    with worker.connect() as connection:
        for _ in range(20):  # the first ones are never held
            connection.ask(path="/hello")
        connection.send(request(cgi_params(path=path)))
        answer = connection.read_until(Answer(), lambda kind, content: kind == STDOUT and not content)
        assert answer.body == b"hello" and worker.stdout == ""
        (worker.directory / "go").touch()
        connection.read_until(answer, lambda kind, content: kind == END)
        assert worker.stdout == "done\n"


def test_a_short_answer_of_another_task_is_one_write(asgi):
    worker = asgi()
    with worker.connect() as connection:
        for _ in range(20):
            answer = connection.ask(path="/child/hello")
            assert answer.headers == [("content-type", "text/plain"), ("Content-Length", "5")]
            assert [kind for kind, content in answer.records if content] == [STDOUT] and answer.body == b"hello"


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


def test_senders_in_parallel_keep_their_order(asgi):
    worker = asgi("""
    async def many(scope, receive, send):
        await send(start())
        await asyncio.gather(*(send(piece(bytes([65 + i]) * 200000, True)) for i in range(8)))
        await send(piece())
    """)
    answer = worker.ask(path="/many")
    pieces = [answer.body[i : i + 200000] for i in range(0, len(answer.body), 200000)]
    assert pieces == [bytes([65 + i]) * 200000 for i in range(8)]


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


@pytest.mark.release
def test_debug_keeps_nothing_of_a_traceback_that_comes_too_late(asgi):
    worker = asgi("""
    async def late(scope, receive, send):
        await hello(scope, receive, send)
        raise ValueError("x" * 2000000)
    sys.excepthook = lambda *error: None
    """, options=["--debug"])
    for _ in range(3):
        worker.ask(path="/late")
    before = worker.memory()
    for _ in range(20):
        assert worker.ask(path="/late").body == b"hello"
    assert worker.memory() - before < 10_000_000
