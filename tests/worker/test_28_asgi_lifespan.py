"""The lifespan of an ASGI app, as uvicorn understands auto, on and off."""

import pytest

from fcgi_client import cgi_params, request
from worker import eventually

APP = """
    import asyncio, contextvars, os, sys

    var = contextvars.ContextVar("var", default="unset")

    async def answer(scope, send):
        scope["state"]["count"] = scope["state"].get("count", 0) + 1
        body = repr((var.get(), scope["state"])).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def app(scope, receive, send):
        if scope["type"] == "http":
            return await answer(scope, send)
        assert scope["type"] == "lifespan" and scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
        assert await receive() == {"type": "lifespan.startup"}
        await startup(scope, send)
        assert await receive() == {"type": "lifespan.shutdown"}
        await shutdown(scope, send)

    async def startup(scope, send):
        print("startup", flush=True)
        scope["state"]["list"] = []
        var.set("set at startup")
        await send({"type": "lifespan.startup.complete"})

    async def shutdown(scope, send):
        print("shutdown", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
"""


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_startup_before_ready_and_shutdown_at_the_end(spawn, mode):
    worker = spawn(APP, options=["--lifespan", mode])
    assert worker.message() == "START"
    assert worker.message().startswith("READY asgi ")
    assert worker.stdout == "startup\n"
    for _ in range(2):  # the state is a shallow copy, the context a copy of the startup's
        assert eval(worker.ask().body) == ("set at startup", {"list": [], "count": 1})
    assert worker.stop() == 0
    assert worker.stdout == "startup\nshutdown\n"
    assert worker.stderr == ""


def test_off(serve):
    worker = serve(APP, options=["--lifespan", "off"])
    assert eval(worker.ask().body) == ("unset", {"count": 1})
    assert worker.stop() == 0
    assert worker.stdout == ""


def test_shutdown_comes_after_the_last_request(serve):
    worker = serve(APP + """
    async def answer(scope, send):
        print("in", flush=True)
        while not os.path.exists("go"):
            await asyncio.sleep(0.001)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})
        await asyncio.sleep(0.01)
        print("out", flush=True)
    """)
    with worker.connect() as connection:
        connection.send(request(cgi_params()))
        eventually(lambda: worker.stdout == "startup\nin\n")
        worker.say("STOP")
        eventually(worker.sleeps)
        (worker.directory / "go").touch()
        assert connection.read_answer().status == "200 OK"
    assert worker.wait() == 0
    assert worker.stdout == "startup\nin\nout\nshutdown\n"


@pytest.mark.parametrize("mode", ["persistent", "fork"])
@pytest.mark.parametrize("end, code", [("sys.exit, 3", 3), ("signal.raise_signal, signal.SIGINT", 130)])
def test_shutdown_comes_also_where_the_last_request_is_left_behind(serve, mode, end, code):
    """By what ends the loop while it waits for this request, and would stop when that is over."""
    worker = serve(APP + """
    import signal

    async def answer(scope, send):
        print("in", flush=True)
        while not os.path.exists("go"):
            await asyncio.sleep(0.001)
        asyncio.get_running_loop().call_soon(%s)
        await asyncio.sleep(100)
    """ % end, options=["--mode", mode])
    with worker.connect() as connection:
        connection.send(request(cgi_params(), flags=0))
        eventually(lambda: "in\n" in worker.stdout)
        if mode == "persistent":
            worker.say("STOP")
            with worker.connect() as late:
                late.send(request(cgi_params()))
                assert late.read_answer().protocol_status == 2
        (worker.directory / "go").touch()
        eventually(lambda: "shutdown\n" in worker.stdout)
        assert worker.wait() == code if mode == "persistent" else worker.stop() == 0
    assert "RuntimeError" not in worker.stderr


RAISES = APP + """
    async def startup(scope, send):
        raise KeyError("no database")
"""
FAILS = APP + """
    async def startup(scope, send):
        await send({"type": "lifespan.startup.failed", "message": "Traceback:\\n  no database\\n"})
        raise KeyError("no database")
"""


def test_auto_takes_an_exception_for_no_lifespan(spawn):
    worker = spawn(RAISES)
    assert worker.message() == "START"
    assert worker.message() == "NOTE the app has no lifespan (KeyError: 'no database'); lifespan = off spares the question"
    assert worker.message().startswith("READY ")
    assert worker.ask().status == "200 OK"
    assert worker.stop() == 0
    assert worker.stderr == ""


def test_auto_tells_of_an_exception_of_any_length(spawn):
    """A message of the control channel has 16384 bytes."""
    worker = spawn(RAISES.replace('"no database"', '"\\U0001f40d" * 20000'))
    assert worker.message() == "START"
    note = worker.message()
    assert note.startswith("NOTE the app has no lifespan (KeyError: '\U0001f40d") and note.endswith("spares the question")
    assert worker.message().startswith("READY ")


def test_on_takes_it_for_a_failure(spawn):
    summary, details = spawn(RAISES, options=["--lifespan", "on"]).failed()
    assert summary == "the app's lifespan failed: KeyError: 'no database'"
    assert details.startswith("Traceback") and "in startup" in details


def test_a_startup_that_was_cancelled_is_an_exception(spawn):
    cancelled = RAISES.replace('KeyError("no database")', "asyncio.CancelledError")
    summary, details = spawn(cancelled, options=["--lifespan", "on"]).failed()
    assert summary == "the app's lifespan failed: CancelledError" and "in startup" in details
    worker = spawn(cancelled)
    assert worker.message() == "START"
    assert worker.message() == "NOTE the app has no lifespan (CancelledError); lifespan = off spares the question"
    assert worker.message().startswith("READY ")
    assert worker.stop() == 0
    assert worker.stderr == ""


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_startup_failed(spawn, mode):
    summary, details = spawn(FAILS, options=["--lifespan", mode]).failed()
    assert summary == "the app's startup failed: no database"
    assert "KeyError: 'no database'" in details


@pytest.mark.parametrize("mode", ["persistent", "fork"])
@pytest.mark.parametrize("source", [RAISES, FAILS])
def test_startup_that_exits_has_failed(spawn, source, mode):
    worker = spawn(source.replace('raise KeyError("no database")', "raise SystemExit(3)"), options=["--mode", mode])
    summary, details = worker.failed()
    assert summary == "the app's startup failed: SystemExit: 3" and "in startup" in details
    assert worker.stderr == ""


def test_startup_failed_without_an_exception(spawn):
    source = FAILS.replace('raise KeyError("no database")', "await asyncio.sleep(60)")
    summary, details = spawn(source).failed()
    assert (summary, details) == ("the app's startup failed: no database", "Traceback:\n  no database\n")


def test_startup_failed_without_a_gateway(spawn):
    worker = spawn("""
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
    """, control=False)
    assert worker.wait() == 1
    assert worker.stderr == "pyworker: the app's startup failed: no database\n"


def test_shutdown_failures_are_told(serve):
    worker = serve(APP + """
    async def shutdown(scope, send):
        await send({"type": "lifespan.shutdown.failed", "message": "no way"})
    """)
    assert worker.stop() == 0
    assert worker.stderr == "pyworker: the app's shutdown failed: no way\n"
    worker = serve(APP + """
    async def shutdown(scope, send):
        raise KeyError("no way")
    """)
    assert worker.stop() == 0
    assert "KeyError: 'no way'" in worker.stderr


def test_unexpected_messages_raise(spawn):
    source = APP + """
    async def startup(scope, send):
        await send({"type": "lifespan.shutdown.complete"})
    """
    assert "lifespan" in spawn(source, options=["--lifespan", "on"]).failed()[0]


def test_tasks_of_the_app_end_with_the_worker(serve):
    """As with asyncio.run(): what still runs after the shutdown is cancelled, and its ends are waited for."""
    worker = serve(APP + """
    async def forever():
        try:
            await asyncio.sleep(1000)
        finally:
            print("cancelled", flush=True)

    async def startup(scope, send):
        global task
        task = asyncio.get_running_loop().create_task(forever())
        await send({"type": "lifespan.startup.complete"})
    """)
    assert worker.stop() == 0
    assert worker.stdout == "shutdown\ncancelled\n"


@pytest.mark.parametrize("path", ["/", "/fail"])
def test_a_copy_has_a_loop_and_a_lifespan_of_its_own(spawn, path):
    worker = spawn(APP + """
    import builtins
    def print(*what, **how):
        builtins.print(os.getppid(), *what, **how)

    async def answer(scope, send):
        assert scope["path"] == "/", scope["path"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
    """, options=["--mode", "fork", "--concurrency", "3"])
    assert worker.message() == "START"
    assert worker.message().startswith("READY asgi fork 3 ")
    answers = [worker.ask(path=path) for _ in range(3)]
    expected = "200 OK" if path == "/" else "500 Internal Server Error"
    assert {answer.status for answer in answers} == {expected}
    assert len({answer.body for answer in answers}) == (3 if path == "/" else 1)
    eventually(lambda: worker.stdout.count("shutdown") == 3)
    assert worker.stop() == 0
    assert set(line.split()[0] for line in worker.stdout.splitlines()) == {str(worker.process.pid)}


def test_waiting_for_the_shutdown_can_be_given_up(serve):
    """receive() is cancelled, called twice at once, and tells each event once."""
    worker = serve("""
    import asyncio
    async def app(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            return await send({"type": "http.response.body", "body": b"served"})
        print((await receive())["type"], flush=True)
        try:
            await asyncio.wait_for(receive(), 0.001)
        except asyncio.TimeoutError:
            print("given up", flush=True)
        await send({"type": "lifespan.startup.complete"})
        both = [asyncio.ensure_future(receive()) for _ in range(2)]
        done, waits = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        print([one.result()["type"] for one in done], len(waits), flush=True)
        await asyncio.sleep(0.01)
        print([one.done() for one in waits], flush=True)
        await send({"type": "lifespan.shutdown.complete"})
    """)
    assert worker.ask().body == b"served"
    assert worker.stop() == 0
    assert worker.stdout == "lifespan.startup\ngiven up\n['lifespan.shutdown'] 1\n[False]\n"


def test_what_was_given_up_is_forgotten(serve):
    worker = serve("""
    import asyncio, gc
    async def app(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            return await send({"type": "http.response.body"})
        await receive()
        counts = []
        for _ in range(3):
            for _ in range(100):
                try:
                    await asyncio.wait_for(receive(), 0.0001)
                except asyncio.TimeoutError:
                    pass
            counts.append(sum(type(one) is asyncio.Future for one in gc.get_objects()))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print(counts[0] == counts[1] == counts[2] or counts)
        await send({"type": "lifespan.shutdown.complete"})
    """)
    assert worker.stop() == 0
    assert worker.stdout == "True\n"


# --- in copies, which have one each ---

def test_the_first_copy_tells_ready_when_it_has_started(spawn):
    worker = spawn(APP + """
    async def startup(scope, send):
        await asyncio.sleep(0.2)
        print("startup", flush=True)
        await send({"type": "lifespan.startup.complete"})
""", options=["--mode", "fork"])
    assert worker.message() == "START"
    assert worker.message().startswith("READY asgi fork ")
    assert worker.stdout == "startup\n"
    for _ in range(2):
        assert worker.ask(flags=0).status == "200 OK"
    assert worker.stop() == 0  # and no second READY, which stop() would not expect


def test_a_first_copy_that_cannot_start_fails_the_worker(spawn):
    summary, details = spawn(FAILS, options=["--mode", "fork"]).failed()
    assert summary == "the app's startup failed: no database"
    assert "KeyError: 'no database'" in details


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(0)"])
def test_a_first_copy_that_ends_ends_the_worker(spawn, end):
    worker = spawn(APP + "    import os\n    async def startup(scope, send):\n        %s\n" % end, options=["--mode", "fork"])
    assert worker.message() == "START"
    if "kill" in end:
        assert "was ended by signal 9" in worker.message()
    assert worker.wait() == 1


def test_a_later_copy_that_cannot_start_ends_the_worker(spawn, tmp_path):
    """Whatever waits is refused: another worker tells why."""
    worker = spawn(APP + """
    import os
    async def startup(scope, send):
        if os.path.exists(%r):
            raise KeyError("no database")
        await send({"type": "lifespan.startup.complete"})
""" % str(tmp_path / "gone"), options=["--mode", "fork", "--lifespan", "on", "--concurrency", "1"])
    worker.ready()
    with worker.connect() as connection:
        (tmp_path / "gone").touch()
        connection.send(request(cgi_params(), flags=0))
        assert connection.read_answer().status == "200 OK"
    assert worker.wait() == 1
    assert worker.stderr.startswith("pyworker: the app's lifespan failed: KeyError: 'no database'\nTraceback")
    assert worker.stderr.count("lifespan failed") == 1


def test_a_copy_that_cannot_start_without_a_gateway(spawn):
    worker = spawn(FAILS, options=["--mode", "fork"], control=False)
    assert worker.wait() == 1
    assert worker.stderr.startswith("pyworker: the app's startup failed: no database\n")
