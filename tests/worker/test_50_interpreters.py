"""One shared object for every CPython from 3.9 on, and one clear sentence for every other interpreter."""

import os
import re

import pytest

from fcgi_client import cgi_params, request
from worker import PRELOAD, PYTHON, WORKER_DIR, eventually, interpreters, number

SMOKE = """
    import io, sys

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/fail":
            raise ValueError("failed")
        body = environ["wsgi.input"].readline() + environ["wsgi.input"].read()
        start_response("200 OK", [("X-Python", "%d.%d" % sys.version_info[:2])])
        return environ["wsgi.file_wrapper"](io.BytesIO(body))
"""

ASGI = """
    import asyncio, sys

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["python"] = "%d.%d" % sys.version_info[:2]
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return await send({"type": "lifespan.shutdown.complete"})
        if scope["path"] == "/fail":
            raise ValueError("failed")
        body, more = b"", True
        while more:
            message = await asyncio.wait_for(receive(), 10)
            body, more = body + message["body"], message["more_body"]
        await asyncio.ensure_future(send({"type": "http.response.start", "status": 200,
                                          "headers": [(b"x-python", scope["state"]["python"].encode())]}))
        for piece in (body, b"", body):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body"})
        assert await receive() == {"type": "http.disconnect"}
"""


FOUND = interpreters()
GOOD = [version for version in FOUND if re.fullmatch(r"[\d.]+", version) and number(version) >= (3, 8)]
BAD = [version for version in FOUND if version not in GOOD]
NEEDED = os.environ.get("LEANGATE_NEED_PYTHONS", "").split()


@pytest.mark.skipif(not NEEDED, reason="LEANGATE_NEED_PYTHONS names no interpreters")
def test_those_that_are_asked_for_are_there():
    """As in `3.9|3.10 3.13`: the first or the second, and the third. The tests below are run on all that are found."""
    missing = [wanted for wanted in NEEDED if not set(wanted.split("|")) & set(GOOD)]
    assert not missing, "not among %s" % ", ".join(GOOD)


@pytest.mark.parametrize("version", sorted(GOOD, key=number))
def test_serves(serve, version):
    worker = serve(SMOKE, python=FOUND[version])
    with worker.connect() as connection:
        answer = connection.ask("POST", "/", b"two\nlines")
        assert (answer.body, answer.header("X-Python")) == (b"two\nlines", version)
        assert connection.ask(path="/fail").status == "500 Internal Server Error"
        assert connection.ask("POST", "/", b"x").body == b"x"
    assert "ValueError: failed" in worker.stderr
    assert worker.stop() == 0


@pytest.mark.parametrize("version", sorted(GOOD, key=number))
def test_serves_asgi(serve, version):
    worker = serve(ASGI, python=FOUND[version])
    with worker.connect() as connection:
        for size in (0, 10, 9000, 500000):
            answer = connection.ask("POST", "/", b"b" * size)
            assert (answer.body, answer.header("x-python")) == (b"b" * size * 2, version)
        assert connection.ask(path="/fail").status == "500 Internal Server Error"
        connection.send(request(cgi_params("POST", "/", b"b" * 10**7), b"b" * 10**7))
        eventually(worker.sleeps)  # the answer is more than a socket holds
        assert connection.read_answer().body == b"b" * 2 * 10**7
    assert "ValueError: failed" in worker.stderr
    assert worker.stop() == 0
    assert worker.stderr.count("Traceback") == 1


@pytest.mark.release  # GCC's ASan: see test_40_life.py
@pytest.mark.parametrize("optimize", ["", "1"])
@pytest.mark.parametrize("version", sorted(GOOD, key=number))
def test_a_child_of_any_thread_ends_as_it_should(serve, version, optimize):
    """From 3.13 on CPython crashes when it takes itself apart in a child of another thread than the main one."""
    worker = serve("""
        import atexit, os, sys, threading, time

        def app(environ, start_response):
            start_response("200 OK", [])
            if environ["PATH_INFO"] == "/wait":
                open("in", "w").close()
                while not os.path.exists("go"):
                    time.sleep(0.01)
                return [b"waited"]
            main = threading.current_thread() is threading.main_thread()
            child = os.fork()
            if child == 0:
                atexit.register(print, "atexit", flush=True)
                sys.stdout.write("buffered, ")
                sys.exit(3)
            status = os.waitpid(child, 0)[1]
            return [b"%d %d" % (main, status)]
    """, python=FOUND[version], environ={"PYTHONOPTIMIZE": optimize})
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/wait")))
        eventually((worker.directory / "in").exists)
        answers = {worker.ask().body}
        (worker.directory / "go").touch()
        assert connection.read_answer().body == b"waited"
        answers.add(connection.ask().body)
    assert worker.stop() == 0
    assert answers == {b"0 768", b"1 768"}
    assert worker.stdout == "buffered, atexit\n" * 2 and "Assert" not in worker.stderr


@pytest.mark.parametrize("version", sorted((one for one in GOOD if number(one) >= (3, 12)), key=number))
def test_eager_tasks_are_gone_with_their_requests(serve, version):
    """Ctrl-C goes through one that has just begun, and ends the worker as it does elsewhere."""
    worker = serve("""
        import asyncio, gc, signal

        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
                await receive()
                await send({"type": "lifespan.startup.complete"})
                await receive()
                return await send({"type": "lifespan.shutdown.complete"})
            if scope["path"] == "/ctrl-c":
                signal.raise_signal(signal.SIGINT)
            tasks = sum(isinstance(one, asyncio.Task) for one in gc.get_objects())
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"%d" % tasks})
    """, python=FOUND[version])
    with worker.connect() as connection:
        assert len({connection.ask().body for _ in range(20)}) == 1
        connection.send(request(cgi_params(path="/ctrl-c")))
        assert worker.wait() == 130


@pytest.mark.parametrize("version", sorted(GOOD, key=number))
def test_says_what_is_wrong(spawn, version):
    summary, details = spawn("import nothing_like_it", python=FOUND[version]).failed()
    assert summary.startswith("cannot import \"main\": No module named 'nothing_like_it' (python: ")
    assert details.startswith("Traceback")


@pytest.mark.parametrize("version", sorted(BAD))
def test_other_interpreters_are_told(spawn, version):
    worker = spawn(python=FOUND[version], environ={"PYTHONDONTWRITEBYTECODE": "1"})
    message = worker.message()
    need = "CPython with its lock (GIL); this is the free-threaded " if version.endswith("t") else "CPython 3.9 or newer; this is "
    assert message.startswith("FAILED\npyworker needs " + need), message + worker.stderr
    assert " at " in message
    assert worker.wait() == 1
    assert worker.stderr.startswith("pyworker needs " + need)


@pytest.mark.parametrize("change, text", [
    ("sys.version_info = (3, 7, 1, 'final', 0)", "pyworker needs CPython 3.9 or newer; this is CPython 3.7 at {python}"),
    ("sys.modules['pyworker._pyworker'] = None; sys.implementation.name = 'pypy'",
     "pyworker needs CPython 3.9 or newer; this is CPython"),
    ("sys.abiflags = 't'",
     "pyworker needs CPython with its lock (GIL); this is the free-threaded CPython"),
    ("sys.modules['pyworker._pyworker'] = None", "pyworker cannot load its extension: import of pyworker._pyworker halted"),
])
@pytest.mark.parametrize("control", [True, False])
def test_sentences(spawn, change, text, control):
    script = "import sys; sys.path.insert(0, %r); %s; import pyworker.__main__" % (WORKER_DIR, change)
    worker = spawn(command=["-c", script], control=control)
    assert worker.wait() == 1
    assert worker.stderr.startswith(text.format(python=PYTHON))
    if control:
        assert worker.message().startswith("FAILED\n" + text.format(python=PYTHON))


SCRIPT = """
import os, sys, threading, atexit, subprocess
print("Content-Type: text/plain\\n\\n%s %d.%d" % (__name__, sys.version_info[0], sys.version_info[1]), flush=True)
subprocess.run(["cat"])
if os.fork() == 0:  # from 3.12 on it warns of threads
    os._exit(0)
os.wait()
child, terminal = os.forkpty()
if child == 0:
    os._exit(0)
os.wait()
os.close(terminal)
atexit.register(print, "exit")
thread = threading.Thread(target=print, args=("thread",))
thread.start()
if os.environ["QUERY_STRING"] == "fail":
    sys.stdout = open(os.devnull, "w")
    raise ValueError("failed")
"""


@pytest.mark.parametrize("mode", ["fork", "persistent"])
@pytest.mark.parametrize("version", sorted(GOOD, key=number))
def test_scripts(serve, tmp_path, version, mode):
    # In mode fork the end of the copy waits for the thread.
    script = SCRIPT if mode == "fork" else SCRIPT.replace("thread.start()", "thread.start()\nthread.join()")
    (tmp_path / "hello.py").write_text(script)
    (tmp_path / "app.py").write_text("app = lambda e, s: s('200 OK', []) and [__name__.encode()]\n")
    worker = serve(None, str(tmp_path), ["--kind", "files", "--mode", mode], python=FOUND[version])
    for _ in range(2):
        answer = worker.ask("POST", "/", b"body\n", flags=0, SCRIPT_FILENAME=str(tmp_path / "hello.py"))
        lines = answer.body.decode().split("\n")
        assert lines[:2] == ["__main__ " + version, "body"]
        assert sorted(lines[2:]) == (["", "exit", "thread"] if mode == "fork" else ["", "thread"])
        assert worker.ask(flags=0, SCRIPT_FILENAME=str(tmp_path / "app.py")).body == b"app"
    with worker.connect() as connection:
        connection.send(request(cgi_params(SCRIPT_FILENAME=str(tmp_path / "hello.py"), QUERY_STRING="fail"), flags=0))
        assert connection.read_answer().app_status == 1
    assert "ValueError: failed" in worker.stderr and "multi-threaded" not in worker.stderr
    assert worker.stop() == 0


@pytest.mark.parametrize("version", sorted(GOOD, key=number))
def test_mode_fork(serve, version):
    worker = serve(SMOKE, options=["--mode", "fork"], python=FOUND[version])
    assert PRELOAD or worker.memory() < 30_000_000  # of the holes in it no more is taken than there is
    for _ in range(3):
        answer = worker.ask("POST", "/", b"two\nlines", flags=0)
        assert (answer.body, answer.header("X-Python")) == (b"two\nlines", version)
    assert worker.ask(path="/fail", flags=0).status == "500 Internal Server Error"
    assert worker.stop() == 0


FORKED_ASGI = """
    import asyncio, atexit, os, threading, warnings

    warnings.simplefilter("ignore")  # about what is deprecated
    if hasattr(asyncio, "SafeChildWatcher"):
        asyncio.set_child_watcher(asyncio.SafeChildWatcher())  # waits for a signal with the loop that is set
    own = asyncio.new_event_loop()
    asyncio.set_event_loop(own)

    def at_exit():
        loop = asyncio.get_event_loop_policy().get_event_loop()
        print("own" if loop is own else "another", loop.is_closed(), flush=True)

    atexit.register(at_exit)

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        atexit.register(at_exit)
        loop = asyncio.get_running_loop()
        process = await asyncio.create_subprocess_exec("echo", "told", stdout=asyncio.subprocess.PIPE)
        told, _ = await asyncio.wait_for(process.communicate(), 10)
        woken = loop.create_future()
        threading.Timer(0.01, loop.call_soon_threadsafe, [woken.set_result, b"woken"]).start()
        body = told + await woken + b"%d" % await loop.run_in_executor(None, os.getppid)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
"""


@pytest.mark.parametrize("version", sorted(GOOD, key=number))
def test_the_loop_of_a_copy(serve, version):
    """It is set in each copy. Where a fork forgets that, the worker keeps the app's."""
    worker = serve(FORKED_ASGI, options=["--mode", "fork", "--kind", "asgi", "--lifespan", "off"], python=FOUND[version])
    for _ in range(2):
        assert worker.ask(flags=0).body == b"told\nwoken%d" % worker.process.pid
    eventually(lambda: worker.stdout == "another True\n" * 2)
    assert worker.stop() == 0
    assert worker.stdout == "another True\n" * 2 + ("own False\n" if number(version) >= (3, 12) else "another True\n")
    assert worker.stderr == ""
