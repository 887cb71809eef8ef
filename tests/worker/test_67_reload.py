"""--reload: before a request the sources are looked at; a changed one means a fresh worker for this very request."""

import py_compile
import time

import pytest

from fcgi_client import OVERLOADED, cgi_params, request
from measure import switches
from worker import eventually

APP = """
    import os, time
    import other
    def app(environ, start_response):
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/later":
            import later
            return [later.TEXT]
        if environ["PATH_INFO"] == "/wait":
            open("here", "w").close()
            while not os.path.exists("go"):
                time.sleep(0.001)
        return [other.TEXT]
"""


@pytest.fixture
def reloading(spawn, tmp_path):
    """reloading(options): a worker whose app imports `other` at once and `later` when it is asked to."""
    def start(options=()):
        directory = tmp_path / "w0"
        directory.mkdir(exist_ok=True)
        for name in "other", "later":
            (directory / (name + ".py")).write_text("TEXT = b'one'\n")
        return spawn(APP, options=["--reload", *options]).ready()
    return start


def refused(worker):
    """Whether a request is refused, as the only thing that is said."""
    with worker.connect() as connection:
        connection.send(request(cgi_params("POST", "/", b"b" * 20000), b"b" * 20000))
        answer = connection.read_answer()
        if answer.protocol_status != OVERLOADED:
            return False
        assert not answer.records and connection.at_end()
        return True


MODES = [], ["--concurrency", "1"], ["--mode", "fork"]


@pytest.mark.parametrize("options", MODES)
@pytest.mark.parametrize("name", ["main", "other"])
def test_a_changed_source_stops_the_worker(reloading, options, name):
    worker = reloading(options)
    for _ in range(3):
        assert worker.ask(flags=0).body == b"one"
    with open(worker.directory / (name + ".py"), "a") as file:
        file.write("# changed\n")
    eventually(lambda: refused(worker))
    assert worker.wait() == 0


def test_a_changed_source_stops_the_worker_beside_a_long_request(reloading):
    """What comes at the same time as the request that finds it out is refused as well, and at once."""
    worker = reloading()
    with worker.connect() as long, worker.connect() as kept:
        assert kept.ask().body == b"one"
        long.send(request(cgi_params(path="/wait")))
        eventually((worker.directory / "here").exists)
        with open(worker.directory / "other.py", "a") as file:
            file.write("# changed\n")
        eventually(lambda: refused(worker))
        assert kept.at_end() and worker.process.poll() is None
        with pytest.raises(ConnectionRefusedError):
            worker.connect()
        (worker.directory / "go").touch()
        assert long.read_answer().body == b"one" and long.at_end()
    assert worker.wait() == 0


def test_what_is_imported_later_counts(reloading):
    worker = reloading()
    assert worker.ask(path="/later").body == b"one"
    eventually(lambda: time.monotonic() % 1 < 0.5 and worker.ask().body == b"one")
    (worker.directory / "later.py").write_text("TEXT = b'two, longer'\n")
    eventually(lambda: refused(worker))
    assert worker.wait() == 0


def test_bytecode_of_another_worker_hides_no_change(reloading):
    """A worker that is fresh already has compiled the new source, before this one looks at it for the first time."""
    worker = reloading()
    assert worker.ask(path="/later").body == b"one"
    source = worker.directory / "later.py"
    source.write_text("TEXT = b'two, longer'\n")
    py_compile.compile(str(source), doraise=True)
    eventually(lambda: refused(worker))
    assert worker.wait() == 0


def test_a_deleted_source_counts(reloading):
    worker = reloading()
    (worker.directory / "other.py").unlink()
    eventually(lambda: refused(worker))
    assert worker.wait() == 0


def test_a_touch_without_a_change_of_anything_is_none(reloading):
    worker = reloading()
    (worker.directory / "nobody_imports_it.py").write_text("")
    (worker.directory / "data.txt").write_text("")
    end = time.monotonic() + 2.2
    while time.monotonic() < end:
        assert not refused(worker)
    assert worker.stop() == 0


def test_a_source_that_the_import_writes_does_not_reload_for_ever(spawn):
    worker = spawn("""
        open("made.py", "w").write("TEXT = b'made'\\n")
        import made
        def app(environ, start_response):
            start_response("200 OK", [])
            return [made.TEXT]
    """, options=["--reload"]).ready()
    end = time.monotonic() + 2.2
    while time.monotonic() < end:
        assert not refused(worker)


def test_a_source_that_changes_during_the_import_counts(spawn):
    worker = spawn("""
        import helper
        open("helper.py", "a").write("# changed\\n")
        def app(environ, start_response):
            start_response("200 OK", [])
            return []
    """, options=["--reload"], prefix=["sh", "-c", 'echo >helper.py; exec "$@"', "sh"]).ready()
    assert refused(worker)
    assert worker.wait() == 0


def test_without_reload_nothing_is_looked_at(reloading, serve):
    worker = serve()
    (worker.directory / "main.py").write_text("def app(e, s): pass\n")
    end = time.monotonic() + 2.2
    while time.monotonic() < end:
        assert worker.ask().body == b"hello"


def test_an_idle_worker_does_not_wake_up(reloading):
    worker = reloading(["--concurrency", "1"])
    worker.ask()
    eventually(worker.sleeps)
    before = switches(worker.process.pid)
    time.sleep(2.2)
    assert switches(worker.process.pid) == before
