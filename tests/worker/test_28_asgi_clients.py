"""ASGI: clients that leave, and many of them at once."""

import socket
import time

import pytest

from fcgi_client import END, Answer, begin, cgi_params, request
from worker import eventually


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
    async def answers(scope, receive, send):
        await whole(receive)
        print("waits", flush=True)
        print((await receive())["type"], flush=True)
        await send(start())
        await send(piece(b"too late"))
        print("behind the answer", flush=True)
    async def listens(scope, receive, send):
        async def stream():
            while True:
                await send(piece(b"x" * 1000, True))
        await whole(receive)
        await send(start())
        task = asyncio.create_task(stream())
        print((await receive())["type"], flush=True)
        task.cancel()
        print(*map(type, await asyncio.gather(task, return_exceptions=True)), flush=True)
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


@pytest.mark.parametrize("more", ["", ", KeyError('mine')"])
def test_a_group_of_what_send_raises_is_nobody_s_mistake(asgi, more):
    worker = asgi(LEAVING + """
    async def groups(scope, receive, send):
        kind = getattr(builtins, "ExceptionGroup", lambda text, errors: errors[-1])  # 3.11 has it
        try:
            await streams(scope, receive, send)
        except OSError as error:
            left = error
        raise kind("outer", [left, kind("inner", [left%s])])
    import builtins
    """ % more)
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/groups")))
        connection.read_exactly(100)
    eventually(lambda: worker.stdout == "left BrokenPipeError\n")
    assert worker.ask(path="/hello").body == b"hello"
    assert ("mine" in worker.stderr) == bool(more)
    assert ("Traceback" in worker.stderr) == bool(more)


def test_what_follows_an_answer_is_done_though_the_client_left(asgi):
    worker = asgi(LEAVING)
    connection = worker.connect()
    connection.send(request(cgi_params(path="/answers")))
    eventually(lambda: worker.stdout == "waits\n")
    connection.close()
    eventually(lambda: worker.stdout == "waits\nhttp.disconnect\nbehind the answer\n")
    assert worker.ask(path="/hello").body == b"hello"
    assert worker.stderr == ""


def test_a_stream_is_ended_by_who_listens_for_the_client(asgi):
    worker = asgi(LEAVING)
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/listens")))
        connection.read_exactly(100)
    eventually(lambda: worker.stdout.count("\n") == 2)
    assert worker.stdout == "http.disconnect\n<class 'asyncio.exceptions.CancelledError'>\n"
    assert worker.ask(path="/hello").body == b"hello"
    assert worker.stderr == ""


@pytest.mark.parametrize("mistake", ["KeyError", "ConnectionRefusedError"])
def test_a_mistake_is_logged_even_if_the_client_left(asgi, mistake):
    worker = asgi(LEAVING + f"""
    async def mistake(scope, receive, send):
        await receive()
        await receive()
        await send(start())
        await send(piece(b"too late"))
        raise {mistake}("mine")
    """)
    connection = worker.connect()
    connection.send(request(cgi_params(path="/mistake")))
    eventually(worker.sleeps)
    connection.close()
    eventually(lambda: mistake in worker.stderr)


def test_a_client_that_left_before_its_turn_costs_no_python(asgi):
    worker = asgi("""
    async def block(scope, receive, send):
        print("blocks", flush=True)
        while not os.path.exists("go"):
            time.sleep(0.001)
        await hello(scope, receive, send)
    async def never(scope, receive, send):
        print("called", flush=True)
    """)
    blocker, leaver = worker.connect(), worker.connect()
    blocker.send(request(cgi_params(path="/block")))
    eventually(lambda: worker.stdout)  # the other one's turn comes behind it
    leaver.send(request(cgi_params(path="/never")))
    leaver.close()
    (worker.directory / "go").touch()
    assert blocker.read_answer().body == b"hello"
    assert worker.ask(path="/hello").body == b"hello"
    assert worker.stdout == "blocks\n"


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
