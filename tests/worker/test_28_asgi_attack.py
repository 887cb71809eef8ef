"""Peers that leave at every point, in any order, beside peers that behave: nothing is left, nobody else notices."""

import os
import random
import re
import socket

import pytest

from fcgi_client import END, Answer, ProtocolError, cgi_params, request
from worker import eventually

APP = """
    import asyncio

    async def app(scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        path = scope["path"]
        if path == "/raise":
            raise KeyError("mine")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-length", b"%d" % len(body))]})
        if path == "/cut":
            await send({"type": "http.response.body", "body": body, "more_body": True})
            raise KeyError("mine")
        if path == "/wait":
            await receive()
        if path == "/large":
            for _ in range(20):
                await send({"type": "http.response.body", "body": b"x" * 100000, "more_body": True})
        if path == "/stream":
            for _ in range(20):
                await send({"type": "http.response.body", "body": b"x" * 100, "more_body": True})
                await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": body})
        if path == "/later":
            await asyncio.sleep(0.001)
"""
PATHS = "/", "/raise", "/cut", "/large", "/stream", "/later", "/wait"
COUNT = 10000 if os.environ.get("LEANGATE_LONG") else 1000


def message(dice):
    body = b"b" * dice.choice((0, 0, 10, 5000, 9000, 30000, 150000))
    return request(cgi_params("POST", dice.choice(PATHS), body), body, size=dice.choice((65535, 1000)))


def bother(worker, dice):
    """One request that is given up somewhere."""
    with worker.connect() as connection:
        data = message(dice)
        connection.socket.setblocking(False)
        try:
            connection.socket.send(data[: dice.choice((len(data), len(data), dice.randrange(len(data))))])
        except BlockingIOError:
            pass
        connection.socket.setblocking(True)
        connection.socket.settimeout(dice.choice((0.0001, 0.002, 0.01)))
        if dice.random() < 0.3:
            connection.socket.shutdown(socket.SHUT_WR)
        try:
            for _ in range(dice.randrange(5)):
                connection.socket.recv(dice.choice((1, 100, 100000)))
        except OSError:
            pass


@pytest.mark.parametrize("seed", range(3))
def test_peers_that_leave(serve, seed):
    dice = random.Random(seed)
    worker = serve(APP, options=["--lifespan", "off", "--concurrency", str(dice.choice((2, 20, 256)))])
    with worker.connect() as good:
        good.ask("POST", "/", b"warm")
        descriptors = worker.descriptors()
        for number in range(COUNT // 3):
            bother(worker, dice)
            if number % 20 == 0:
                body = b"g" * dice.choice((0, 100, 20000))
                assert good.ask("POST", "/stream", body).body == b"x" * 2000 + body
        eventually(lambda: worker.descriptors() == descriptors)
        assert good.ask("POST", "/", b"end").body == b"end"
    assert worker.stop() == 0
    assert set(re.findall(r"^\w*Error:.*", worker.stderr, re.M)) <= {"KeyError: 'mine'"}, worker.stderr


@pytest.mark.release
def test_answers_that_nobody_reads_hold_no_memory(serve):
    """Each of a hundred peers that do not read costs a socket, not its answer."""
    worker = serve(APP, options=["--lifespan", "off"])
    worker.ask(path="/large")
    before = worker.memory()
    connections = [worker.connect() for _ in range(100)]
    for connection in connections:
        connection.send(request(cgi_params(path="/large")))
        connection.read_exactly(1)
    eventually(worker.sleeps)
    assert worker.memory() - before < 40_000_000  # of 200 MB
    for connection in connections[:50]:
        connection.close()
    for connection in connections[50:]:
        try:
            connection.data = b"\1" + connection.data
            assert len(connection.read_answer().body) == 2_000_000
        except ProtocolError as error:
            pytest.fail(str(error))
        connection.close()


@pytest.mark.release
def test_a_body_of_100_mb_flows(serve):
    worker = serve("""
        async def app(scope, receive, send):
            size, more = 0, True
            while more:
                message = await receive()
                size, more = size + len(message["body"]), message["more_body"]
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"%d" % size})
    """, options=["--lifespan", "off"])
    body = b"b" * 100_000_000
    worker.ask("POST", "/", b"b" * 100000)
    before = worker.memory()
    assert worker.ask("POST", "/", body).body == b"100000000"
    assert worker.memory() - before < 10_000_000


def test_types_of_what_an_app_gets_make_nothing(asgi):
    worker = asgi("""
    async def make(scope, receive, send):
        waiting = receive()
        telling = send({"type": "http.response.start", "status": 200})
        for kind in type(waiting), type(telling), type(asyncio.current_task().get_coro()):
            try:
                kind()
            except TypeError as error:
                assert "the worker alone makes these" in str(error)
            else:
                raise AssertionError(kind)
        await telling
        await send({"type": "http.response.body", "body": b"none"})
    """)
    assert worker.ask(path="/make").body == b"none"


@pytest.mark.parametrize("act", ["send(None)", "throw(KeyError)", "close()"])
def test_what_runs_a_request_is_not_run_by_it(asgi, act):
    """The task of a request tells its coroutine to whoever asks, the request included."""
    worker = asgi("""
    async def again(scope, receive, send):
        try:
            asyncio.current_task().get_coro().%s
        except ValueError as error:
            await asyncio.sleep(0)
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": str(error).encode()})
    """ % act)
    for _ in range(3):
        assert worker.ask(path="/again").body == b"coroutine already executing"


@pytest.mark.parametrize("act", ["send(None)", "throw(KeyError)"])
def test_a_request_that_another_one_closes_is_cut(asgi, act):
    """Whatever it tries meanwhile: a part of an answer is not the whole."""
    worker = asgi("""
    async def part(scope, receive, send):
        global mine
        mine = asyncio.current_task().get_coro()
        await send(start())
        await send(piece(b"part", True))
        try:
            await asyncio.sleep(100)
        finally:
            mine.%s

    async def close(scope, receive, send):
        try:
            mine.close()
        except ValueError as error:
            await send(start())
            await send(piece(str(error).encode()))
    """ % act)
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/part")))
        answer = connection.read_until(Answer(), lambda kind, content: content.endswith(b"part"))
        assert worker.ask(path="/close").body == b"coroutine already executing"
        with pytest.raises((EOFError, ConnectionError)):
            connection.read_until(answer, lambda kind, content: kind == END)


@pytest.mark.parametrize("begin", ["loop.call_soon(step, *arguments, **named)", "step()"])
def test_a_task_that_was_begun_and_could_not_be_made(asgi, begin):
    """As without memory, or where a signal handler raises: the loop has it all the same, or it was an eager one. What it has to say
    then is in nobody's answer."""
    worker = asgi("""
    async def arm(scope, receive, send):
        await hello(scope, receive, send)
        loop = asyncio.get_running_loop()
        def call_soon(step, *arguments, **named):
            del loop.call_soon
            %s
            raise MemoryError("mine")
        loop.call_soon = call_soon

    async def fail(scope, receive, send):
        await asyncio.sleep(0)
        raise ValueError("late")
    """ % begin)
    for _ in range(3):
        assert worker.ask(path="/arm").body == b"hello"
        with pytest.raises((EOFError, ConnectionError)):
            worker.ask(path="/fail")
        for _ in range(3):
            assert worker.ask(path="/hello").body == b"hello"
    assert worker.stop() == 0 and worker.stderr.count("MemoryError: mine") == 3
    assert worker.stderr.count("ValueError: late") == (3 if begin == "step()" else 0)


def test_requests_that_the_loop_s_end_leaves_behind(asgi):
    """One that had not begun is not begun, one that was in the middle ends: both without what was freed with the connection."""
    worker = asgi("""
    async def hang(scope, receive, send):
        try:
            print("hangs", flush=True)
            await asyncio.sleep(100)
        finally:
            raise ValueError("cleaning up")

    async def end(scope, receive, send):
        print("waits", flush=True)
        while not os.path.exists("go"):
            time.sleep(0.001)
        asyncio.get_running_loop().call_soon(sys.exit, 3)

    async def late(scope, receive, send):
        print("has begun", flush=True)
    """)
    connections = [worker.connect() for _ in range(3)]
    for connection, path, words in zip(connections, ("/hang", "/end", "/late"), ("hangs\n", "hangs\nwaits\n", "hangs\nwaits\n")):
        connection.send(request(cgi_params(path=path)))
        eventually(lambda: worker.stdout == words)
    (worker.directory / "go").touch()
    assert worker.wait() == 3 and worker.stdout == "hangs\nwaits\n", worker.stderr
    assert worker.stderr.count("ValueError: cleaning up") == 1, worker.stderr
    assert "pyworker: a request that was left behind failed:\n" in worker.stderr
    for connection in connections:
        connection.close()
