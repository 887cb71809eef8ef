"""Stopping: by message, by signal, because the gateway is gone; idle, busy and with requests on their way."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

import fcgi_client as fcgi
from fcgi_client import STDIN, cgi_params, record, request
from marks import FORKS_BESIDE_THREADS
from worker import eventually

BUSY = """
    import atexit, sys
    atexit.register(lambda: print("atexit"))
    sys.stdout.write("no newline, ")

    def app(environ, start_response):
        if environ["REQUEST_METHOD"] == "POST":
            print("called")
        environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [b"done"]
"""


def message(worker):
    worker.say("STOP")


def sigterm(worker):
    worker.process.send_signal(signal.SIGTERM)


def gateway_gone(worker):
    worker.control.close()


WAYS = pytest.mark.parametrize("way", [message, sigterm, gateway_gone])


@WAYS
def test_stop_when_idle(serve, way):
    worker = serve(BUSY)
    with worker.connect() as connection:
        assert connection.ask().body == b"done"
        way(worker)
        assert worker.wait() == 0
        assert connection.at_end()
    assert worker.stdout == "no newline, atexit\n"
    assert worker.stderr == ""


@WAYS
def test_stop_at_once(spawn, way):
    worker = spawn("app = print").ready()
    way(worker)
    assert worker.wait() == 0


@WAYS
def test_stop_finishes_the_request(serve, way):
    worker = serve(BUSY)
    with worker.connect() as connection:
        connection.send(request(cgi_params("POST", "/", b"x"))[:-8])
        eventually(lambda: "called" in worker.stdout)
        way(worker)
        connection.send(record(STDIN, 1, b"x") + record(STDIN, 1))
        assert connection.read_answer().body == b"done"
        assert connection.at_end()
    assert worker.wait() == 0
    assert worker.stdout.endswith("called\natexit\n")


@WAYS
def test_requests_that_are_not_begun_are_refused(serve, way):
    """All of them were sent while all of the worker was busy; the gateway must be able to send them elsewhere."""
    worker = serve(BUSY, options=["--concurrency", "1"])
    busy = worker.connect()
    kept = worker.connect()
    assert kept.ask().body == b"done"
    busy.send(request(cgi_params("POST", "/", b"x"))[:-8])
    eventually(lambda: "called" in worker.stdout)
    way(worker)
    partly = worker.connect()
    partly.send(fcgi.begin(9) + fcgi.record(fcgi.PARAMS, 9, b"\1\1ab"))
    idle = worker.connect()
    kept.send(request(cgi_params(), b"y" * 100_000, request_id=7))
    busy.send(record(STDIN, 1, b"x") + record(STDIN, 1))
    assert busy.read_answer().body == b"done"
    answer = kept.read_answer(7)
    assert (answer.records, answer.protocol_status) == ([], fcgi.OVERLOADED)
    assert kept.at_end()
    if way is not gateway_gone:  # its listener is then no longer watched by anybody
        assert partly.read_answer(9).protocol_status == fcgi.OVERLOADED
    assert idle.at_end()
    assert worker.wait() == 0
    with pytest.raises((ConnectionRefusedError, ConnectionResetError, BrokenPipeError, EOFError)):
        worker.ask()
    for connection in (busy, kept, partly, idle):
        connection.close()


def test_second_sigterm_changes_nothing(serve):
    worker = serve(BUSY)
    with worker.connect() as connection:
        connection.send(request(cgi_params("POST", "/", b"x"))[:-8])
        eventually(lambda: "called" in worker.stdout)
        sigterm(worker)
        sigterm(worker)
        connection.send(record(STDIN, 1, b"x") + record(STDIN, 1))
        assert connection.read_answer().body == b"done"
    assert worker.wait() == 0


def test_unknown_messages_are_ignored(serve):
    worker = serve()
    for text in ("HELLO", "STOPX", "STO", "stop", "STOP 1", "x" * 16384):
        worker.say(text)
        assert worker.ask().body == b"hello"
    assert worker.stop() == 0


def test_connections_are_closed_before_exit_functions(serve):
    worker = serve("""
        import atexit, os, time

        @atexit.register
        def wait():
            while not os.path.exists("go"):
                time.sleep(0.001)
            print("went")

        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"ok"]
    """)
    with worker.connect() as connection:
        assert connection.ask().body == b"ok"
        worker.say("STOP")
        assert connection.at_end()
    (worker.directory / "go").touch()
    assert worker.wait() == 0
    assert worker.stdout == "went\n"


def test_temporary_files_that_the_app_still_holds_are_removed(serve):
    worker = serve("""
        import tempfile
        held = []

        def app(environ, start_response):
            held.append(tempfile.NamedTemporaryFile(dir="."))
            held.append(tempfile.TemporaryDirectory(dir="."))
            kept = tempfile.NamedTemporaryFile(dir=".", prefix="kept", delete=False)
            held.append(kept)
            start_response("200 OK", [])
            return [kept.name.encode()]
    """)
    before = {path.name for path in worker.directory.iterdir()}
    kept = worker.ask().body.decode()
    assert worker.stop() == 0
    left = {path.name for path in worker.directory.iterdir()} - before
    assert left - {"__pycache__"} == {kept.rpartition("/")[2]}


FORGETFUL = """
    log = open("log", "w")
    log.write("import ")
    print("loading, ", end="")

    def app(environ, start_response):
        global other
        log.write("request ")
        other = open("other", "ab")
        other.write(b"other ")
        start_response("200 OK", [])
        return [b"ok"]
"""


@pytest.mark.parametrize("mode", ["persistent", "fork"])
def test_files_that_the_app_has_not_closed_are_written(serve, mode):
    worker = serve(FORGETFUL, options=["--mode", mode])
    for _ in range(2):
        assert worker.ask(flags=0).body == b"ok"
    assert worker.stop() == 0
    assert (worker.directory / "log").read_text() == "import request request "
    assert (worker.directory / "other").read_text() == "other other "
    assert worker.stdout == "loading, "


@pytest.mark.parametrize("mode", ["persistent", "fork"])
def test_a_file_that_a_daemon_thread_holds_for_ever_keeps_no_other_back(serve, mode):
    worker = serve("""
        import os, threading
        def app(environ, start_response):
            global held, log
            held = os.fdopen(os.pipe()[1], "w")
            threading.Thread(target=held.write, args=("x" * 1000000,), daemon=True).start()
            log = open("log", "w")
            log.write("written")
            start_response("200 OK", [])
            return [b"ok"]
    """, options=["--mode", mode])
    assert worker.ask(flags=0).body == b"ok"
    assert worker.stop() == 0
    assert (worker.directory / "log").read_text() == "written"


def test_an_exception_of_a_handler_at_the_end_keeps_no_file_back(serve):
    worker = serve("""
        import io, os, signal, sys, tempfile

        class Raw(io.RawIOBase):
            def writable(self):
                return True
            def write(self, data):
                os.kill(os.getpid(), signal.SIGUSR1)
                return len(data)

        def app(environ, start_response):
            global first, log, temporary
            signal.signal(signal.SIGUSR1, lambda *_: sys.exit(5))
            first, log, temporary = io.BufferedWriter(Raw()), open("log", "w"), tempfile.NamedTemporaryFile(dir=".", prefix="temporary")
            first.write(b"first")
            log.write("written")
            sys.stdout.write("printed")
            start_response("200 OK", [])
            return [b"ok"]
    """)
    assert worker.ask().body == b"ok"
    assert worker.stop() == 0
    assert "SystemExit: 5" in worker.stderr
    assert (worker.directory / "log").read_text() == "written"
    assert worker.stdout == "printed"
    assert not list(worker.directory.glob("temporary*"))


def test_threads_of_the_app_are_joined(serve):
    worker = serve("""
        import atexit, threading, time
        atexit.register(print, "atexit")

        def app(environ, start_response):
            threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
            start_response("200 OK", [])
            return [b"ok"]
    """)
    assert worker.ask().body == b"ok"
    assert worker.stop() == 0
    assert worker.stdout == "thread\natexit\n"


def test_ctrl_c_while_threads_are_joined(serve):
    worker = serve("""
        import atexit, threading, time
        atexit.register(print, "atexit")

        def app(environ, start_response):
            threading.Thread(target=time.sleep, args=(1000,)).start()
            start_response("200 OK", [])
            return [b"ok"]
    """)
    assert worker.ask().body == b"ok"
    worker.say("STOP")
    assert worker.message().startswith("LIVE thread")
    eventually(worker.sleeps)
    worker.process.send_signal(signal.SIGINT)
    assert worker.wait() == 0
    assert worker.stdout == "atexit\n"


def test_failing_exit_function(serve):
    worker = serve("""
        import atexit

        @atexit.register
        def broken():
            raise ValueError("at exit")

        app = print
    """)
    assert worker.stop() == 0
    assert "ValueError: at exit" in worker.stderr


def test_ctrl_c(serve):
    worker = serve(BUSY)
    eventually(worker.sleeps)
    worker.process.send_signal(signal.SIGINT)
    assert worker.wait() == 130
    assert worker.stdout == "no newline, atexit\n"
    assert worker.stderr == ""


def test_ctrl_c_in_a_request(serve):
    worker = serve("""
        import time

        class Body:
            def __iter__(self):
                yield b"begun"
                print("sleeping")
                while True:  # a signal just before a long sleep would be seen only after it
                    time.sleep(0.05)
            def close(self):
                print("closed")

        def app(environ, start_response):
            start_response("200 OK", [])
            return Body()
    """)
    with worker.connect() as connection:
        connection.send(request(cgi_params()))
        eventually(lambda: worker.stdout)
        worker.process.send_signal(signal.SIGINT)
        answer = connection.read_answer()
        assert answer.body == b"begun" and answer.app_status == 1 and not answer.stdout_ended
    assert worker.wait() == 130
    assert worker.stdout == "sleeping\nclosed\n"
    assert worker.stderr == ""


def test_sigterm_handler_of_the_app_is_its_own(serve):
    worker = serve("""
        import signal, sys
        signal.signal(signal.SIGTERM, lambda *_: (print("handled"), sys.exit(5)))
        app = print
    """)
    eventually(worker.sleeps)
    sigterm(worker)
    assert worker.wait() == 5
    assert worker.stdout == "handled\n"


def test_other_handlers_of_the_app_run_while_it_waits(serve):
    worker = serve("""
        import signal
        signal.signal(signal.SIGUSR1, lambda *_: print("signal"))

        def app(environ, start_response):
            start_response("200 OK", [])
            return [environ["wsgi.input"].read()]
    """)
    eventually(worker.sleeps)
    worker.process.send_signal(signal.SIGUSR1)
    eventually(lambda: worker.stdout == "signal\n")
    assert worker.ask("POST", "/", b"x").body == b"x"


@pytest.mark.parametrize("options", [["--kind", "wsgi"], ["--kind", "asgi"], ["--kind", "wsgi", "--mode", "fork"]], ids=lambda o: o[-1])
def test_an_exception_of_a_handler_ends_a_worker_and_is_told(serve, options):
    """An alarm that comes when its request is over, say. It is no failed start: the gateway would kill at that word, and tell nobody."""
    worker = serve("""
        import atexit, signal
        atexit.register(lambda: print("atexit"))
        def handler(*_):
            raise TimeoutError("too late")
        signal.signal(signal.SIGUSR1, handler)
        def app(*_):
            pass
    """, options=[*options, *(["--lifespan", "off"] if "asgi" in options else [])])
    eventually(worker.sleeps)
    worker.process.send_signal(signal.SIGUSR1)
    assert worker.message() == ""
    assert worker.wait() == 1
    assert "in handler\n" in worker.stderr and worker.stderr.endswith("\npyworker: TimeoutError: too late\n")
    assert worker.stdout == "atexit\n"


def test_signals_do_not_cut_bodies_or_answers(serve):
    """libfcgi takes an interrupted read or write for the end of the connection."""
    worker = serve("""
        import signal
        count = []
        signal.signal(signal.SIGALRM, lambda *_: count.append(1))

        def app(environ, start_response):
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            body = environ["wsgi.input"].read()
            start_response("200 OK", [("X-Length", str(len(body)))])
            yield body * 100
            yield b"x" * 3_000_000
            signal.setitimer(signal.ITIMER_REAL, 0)
            print(len(count))
    """)
    body = b"b" * 10_000
    with worker.connect() as connection:
        connection.send(request(cgi_params("POST", "/", body))[:-8])
        for i in range(0, len(body), 1000):
            eventually(worker.sleeps)
            signal.sigtimedwait([], 0.01)
            connection.send(record(STDIN, 1, body[i : i + 1000]))
        connection.send(record(STDIN, 1))
        answer = fcgi.Answer()
        while answer.app_status is None:
            signal.sigtimedwait([], 0.0005)
            connection.read_until(answer, lambda kind, content: True)
    assert answer.header("X-Length") == "10000"
    assert answer.body == body * 100 + b"x" * 3_000_000
    assert answer.app_status == 0
    assert int(worker.stdout) > 5


def test_what_a_handler_raises_while_an_answer_is_written_is_told(serve):
    """Also an OSError, as the TimeoutError of a watchdog is: it says nothing of the client."""
    worker = serve("""
        import signal
        calls = []
        def handler(*_):
            calls.append(1)
            if len(calls) == 1:
                raise TimeoutError("watchdog")
        signal.signal(signal.SIGUSR1, handler)

        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"x" * (10_000_000 if environ["PATH_INFO"] == "/large" else 1)]
    """)

    def told():
        worker.process.send_signal(signal.SIGUSR1)  # one that finds a write half done does not end it
        return "TimeoutError: watchdog" in worker.stderr
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/large")))
        connection.read_exactly(1)
        eventually(worker.sleeps)
        eventually(told)
    assert "pyworker: 'GET' '/large' failed:" in worker.stderr
    assert worker.ask().body == b"x"


# From 3.14 on asyncio's loop does not run any more in a forked child: a task there cannot end, and each try is told.
LOOP_STANDS = sys.version_info >= (3, 14)

CHILD_ENDS = pytest.mark.parametrize("end, code, text", [
    ("sys.exit(7)", 7, ""),
    ("raise ValueError('in the child')", 1, "ValueError: in the child"),
    ("pass", 0, ""),
])


@FORKS_BESIDE_THREADS
@CHILD_ENDS
def test_forked_child_that_comes_back_does_not_answer(serve, end, code, text):
    worker = serve("""
        import atexit, os, sys
        atexit.register(lambda: print("atexit", os.getpid() == parent, flush=True))
        parent = os.getpid()

        def app(environ, start_response):
            start_response("200 OK", [])
            child = os.fork()
            if child == 0:
                %s
                return [b"child"]
            return [b"parent %%d" %% (os.waitpid(child, 0)[1] >> 8)]
    """ % end)
    with worker.connect() as connection:
        for _ in range(2):
            assert connection.ask().body == b"parent %d" % code
    assert worker.stop() == 0
    assert worker.stdout == "atexit False\n" * 2 + "atexit True\n"
    assert worker.stderr.count(text) >= 1 and ("Traceback" in worker.stderr) == bool(text)


@FORKS_BESIDE_THREADS
@CHILD_ENDS
def test_forked_child_that_comes_back_from_close_is_no_second_worker(serve, end, code, text):
    worker = serve("""
        import os, sys

        class Body:
            def __iter__(self):
                yield b"%%d" %% os.getpid()

            def close(self):
                child = os.fork()
                if child == 0:
                    %s
                else:
                    print(os.waitpid(child, 0)[1] >> 8, flush=True)

        def app(environ, start_response):
            start_response("200 OK", [])
            return Body()
    """ % end)
    for _ in range(2):
        assert int(worker.ask().body) == worker.process.pid
    assert worker.stop() == 0
    assert worker.stdout == "%d\n" % code * 2
    assert worker.stderr.count(text) >= 1 and ("Traceback" in worker.stderr) == bool(text)


@pytest.mark.parametrize("end, code, text", [
    ("sys.exit(7)", 7, ""),
    ("raise ValueError('in the child')", 1, "ValueError: in the child"),
    ("pass", 0, ""),
    ("asyncio.new_event_loop().run_until_complete(asyncio.sleep(0)); os._exit(5)", 5, ""),
    ("await Once()", 0, ""),
])
def test_forked_child_that_comes_back_to_a_loop_is_no_second_worker(serve, end, code, text):
    worker = serve("""
        import asyncio, atexit, os, sys
        atexit.register(lambda: print("atexit", os.getpid() == parent, flush=True))
        parent = os.getpid()

        class Once:
            def __await__(self):
                yield

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200})
            child = os.fork()
            if child == 0:
                %s
            else:
                child = os.waitpid(child, 0)[1] >> 8
            await send({"type": "http.response.body", "body": b"parent %%d" %% child})
    """ % end, options=["--lifespan", "off"])
    with worker.connect() as connection:
        for _ in range(2):
            assert connection.ask().body == b"parent %d" % code
    assert worker.stop() == 0
    assert worker.stdout == ("" if "_exit" in end else "atexit False\n" * 2) + "atexit True\n"
    told = bool(text) or (LOOP_STANDS and "Once" in end)
    assert worker.stderr.count(text) >= 1 and ("Traceback" in worker.stderr) == told


@pytest.mark.parametrize("loop", ["EpollSelector", pytest.param("PollSelector", marks=pytest.mark.skipif(
    LOOP_STANDS, reason="the child waits for the next request"))])
def test_forked_child_that_leaves_the_loop_takes_nothing_down(serve, loop):
    """sys.exit() in a task of the app's own goes through the loop."""
    worker = serve("""
        import asyncio, os, selectors, sys

        class Policy(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self):
                return asyncio.SelectorEventLoop(selectors.%s())

        async def fork(codes):
            child = os.fork()
            if child == 0:
                sys.exit(3)
            codes.append(os.waitpid(child, 0)[1] >> 8)

        asyncio.set_event_loop_policy(Policy())

        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                await receive()
                await send({"type": "lifespan.startup.complete"})
                await receive()
                print("shutdown", os.getpid(), flush=True)
                await send({"type": "lifespan.shutdown.complete"})
            else:
                codes = []
                await send({"type": "http.response.start", "status": 200})
                await asyncio.create_task(fork(codes))
                await send({"type": "http.response.body", "body": b"%%d" %% codes[0]})
    """ % loop)
    for _ in range(3):
        assert worker.ask().body == (b"0" if LOOP_STANDS else b"3")
    assert worker.stop() == 0
    assert worker.stdout == "shutdown %d\n" % worker.process.pid


def test_forked_child_in_another_loop_takes_no_request(serve):
    worker = serve("""
        import asyncio, os, selectors, time

        class Policy(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self):
                return asyncio.SelectorEventLoop(selectors.PollSelector())

        class Once:
            def __await__(self):
                yield

        asyncio.set_event_loop_policy(Policy())
        child = -1
        end = time.monotonic() + 60

        async def app(scope, receive, send):
            global child
            if child == -1:
                child = os.fork()
            while child == 0 and time.monotonic() < end:
                await Once()
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"%d %d" % (os.getpid(), child)})
    """, options=["--lifespan", "off"])

    def came_back():
        """It comes to see that there is a request, unless its parent was faster."""
        pid, child = worker.ask().body.split()
        assert int(pid) == worker.process.pid
        return Path("/proc/%d/stat" % int(child)).read_text().rpartition(")")[2].split()[0] == "Z"

    eventually(came_back)
    assert worker.stop() == 0


@FORKS_BESIDE_THREADS
def test_forked_child_has_no_connections(serve):
    """Neither that of the request nor others: what it writes goes nowhere, and when the worker is lost all of them end."""
    worker = serve("""
        import os, time

        def app(environ, start_response):
            write = start_response("200 OK", [])
            if environ["PATH_INFO"] == "/":
                return [b"parent"]
            write(b"parent ")
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                try:
                    write(b"child")
                except OSError as error:
                    os.write(writer, type(error).__name__.encode())
                os.close(writer)
                if environ["PATH_INFO"] == "/lost":
                    time.sleep(100)
                os._exit(0)
            write(os.read(reader, 100))
            if environ["PATH_INFO"] == "/lost":
                write(b" %d" % pid)
                os._exit(3)
            return []
    """)
    with worker.connect() as idle, worker.connect() as lost:
        assert idle.ask().body == b"parent"
        assert lost.ask(path="/child").body == b"parent BrokenPipeError"
        lost.send(request(cgi_params(path="/lost")))
        answer = fcgi.Answer()
        lost.read_until(answer, lambda kind, content: b"Error " in answer.body)
        child = int(answer.body.split()[-1])
        try:
            assert lost.at_end() and idle.at_end()
        finally:
            os.kill(child, signal.SIGKILL)
    assert worker.wait() == 3


def test_sigterm_for_a_child_is_not_for_the_worker(serve):
    worker = serve("""
        import multiprocessing, time

        def app(environ, start_response):
            start_response("200 OK", [])
            child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,))
            child.start()
            child.terminate()
            child.join()
            return [b"%d" % child.exitcode]
    """)
    with worker.connect() as connection:
        for _ in range(2):
            assert connection.ask().body == b"-15"
    assert worker.stop() == 0


def test_strangers_are_refused(serve):
    if os.geteuid() != 0:
        pytest.skip("needs root, to be somebody else")
    worker = serve()
    worker.directory.chmod(0o711)
    os.chmod(worker.address, 0o777)
    parent = worker.directory.parent
    while os.stat(parent).st_mode & 1 == 0 and parent != parent.parent:
        parent.chmod(os.stat(parent).st_mode | 0o011)
        parent = parent.parent
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            connection = worker.connect()
            connection.ask()
            theirs.send(b"served")
        except (EOFError, ConnectionResetError, BrokenPipeError):
            theirs.send(b"refused")
        finally:
            os._exit(0)  # whatever else goes wrong: it must not go on as a second run of the tests
    theirs.close()
    assert ours.recv(100) == b"refused"
    os.waitpid(child, 0)
    assert worker.message() == "NOTE refused a connection from uid 65534"
    assert worker.ask().body == b"hello"


def test_descriptors_run_out(serve):
    worker = serve("""
        import os, resource
        held = []

        def app(environ, start_response):
            start_response("200 OK", [])
            if environ["PATH_INFO"] == "/take":
                resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
                try:
                    while True:
                        held.append(os.open("/dev/null", os.O_RDONLY))
                except OSError:
                    pass
            if environ["PATH_INFO"] == "/free":
                while held:
                    os.close(held.pop())
            return [b"ok"]
    """)
    with worker.connect() as connection:
        assert connection.ask(path="/take").body == b"ok"
        with worker.connect() as waiting:
            waiting.send(request(cgi_params()))
            assert connection.ask().body == b"ok"
            assert connection.ask(path="/free").body == b"ok"
            assert waiting.read_answer().body == b"ok"
