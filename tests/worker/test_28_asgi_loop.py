"""ASGI: the loop of a worker: what the gateway says to it, and what else runs in it."""

import json
import time

import pytest

from fcgi_client import END, STDOUT, Answer, ProtocolError, cgi_params, request
from worker import eventually


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


def test_a_cancel_that_waited_is_not_for_the_next_request_of_its_slot(asgi):
    """Many are given up at once while the loop is busy, and others have their slots before it goes on."""
    worker = asgi("""
    async def hang(scope, receive, send):
        print("in", flush=True)
        while (await receive())["type"] != "http.disconnect":
            pass
    async def block(scope, receive, send):
        print("blocks", flush=True)
        while not os.path.exists("go"):
            time.sleep(0.001)
        await hello(scope, receive, send)
    async def turns(scope, receive, send):
        for _ in range(50):
            await asyncio.sleep(0)
        await hello(scope, receive, send)
    """)
    slots = range(1, 6)
    given_up, next_ones = [], []
    with worker.connect() as busy:
        for slot in slots:
            given_up.append(worker.connect())
            given_up[-1].send(request(cgi_params(path="/hang"), request_id=slot))
        eventually(lambda: worker.stdout.count("in") == len(slots))
        busy.send(request(cgi_params(path="/block"), request_id=9))
        eventually(lambda: "blocks" in worker.stdout)
        for slot in slots:
            worker.say("CANCEL %d" % slot)
        for connection in given_up:
            connection.close()
        for slot in slots:
            next_ones.append(worker.connect())
            next_ones[-1].send(request(cgi_params(path="/turns"), request_id=slot))
        (worker.directory / "go").touch()
        assert busy.read_answer(9).body == b"hello"
    for slot, connection in zip(slots, next_ones):
        assert connection.read_answer(slot).body == b"hello"
        connection.close()
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


ENDED = """
    import signal, time

    def end(number, frame):
        {how}
    signal.signal(signal.SIGUSR1, end)

    serves = False

    def once(target, name, behind=False):
        real = getattr(target, name)
        def last(*arguments, **named):
            if not serves:
                return real(*arguments, **named)
            delattr(target, name)
            if behind:
                real(*arguments, **named)
            signal.raise_signal(signal.SIGUSR1)
        setattr(target, name, last)

    http = app
    async def app(scope, receive, send):
        if scope["type"] == "http":
            return await http(scope, receive, send)
        await receive()
        if "{where}".startswith("stop"):
            once(asyncio.get_running_loop(), "stop", "{where}".endswith("behind"))
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        print("shutdown", flush=True)
        await send({{"type": "lifespan.shutdown.complete"}})

    async def wait(scope, receive, send):
        global serves
        serves = True
        if "{where}" == "stack":
            once(asyncio.current_task(), "get_name")
        elif "{where}" == "sources":
            clock = time.time_ns
            def look():
                time.time_ns = clock
                signal.raise_signal(signal.SIGUSR1)
            time.time_ns = look
        elif not "{where}".startswith("stop"):
            once(asyncio.get_running_loop(), "call_soon", "{where}" == "news")
        print("in", flush=True)
        while (await receive())["type"] != "http.disconnect":
            pass
"""


@pytest.mark.parametrize("how, code", [("sys.exit(3)", 3), ("raise KeyboardInterrupt", 130)])
@pytest.mark.parametrize("where", ["stack", "task", "news", "stop", "stop behind", "sources"])
def test_a_signal_handler_ends_the_worker_wherever_it_runs(asgi, where, how, code):
    """It does so through the loop: also where a task is shown or made or told, the loop is stopped, or sources are looked at."""
    worker = asgi(ENDED.format(where=where, how=how), options=["--reload"] if where == "sources" else [])
    with worker.connect() as connection, worker.connect() as other:
        connection.send(request(cgi_params(path="/wait")))
        eventually(lambda: worker.stdout == "in\n")
        if where == "stack":
            worker.say("STACK 1")
        elif where.startswith("stop"):
            worker.say("STOP")
            other.send(request(cgi_params(path="/hello")))
            assert other.read_answer().protocol_status == 2
        elif where == "task" or where == "sources":
            time.sleep(1.1 if where == "sources" else 0)  # it looks every second
            other.send(request(cgi_params(path="/hello")))
        if where == "news" or where.startswith("stop"):
            connection.close()
        assert worker.wait() == code, worker.stderr
    assert worker.stdout == "in\nshutdown\n"


# --- what else the loop has to do ---

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
