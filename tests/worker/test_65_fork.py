"""Mode fork: a process that has imported the app is copied for every request, and nothing of a request is left."""

import contextlib
import os
import resource
import signal
import textwrap
import time
from pathlib import Path

import pytest

from fcgi_client import END, OVERLOADED, Answer, ProtocolError, cgi_params, request
from worker import PRELOAD, eventually

FORK = ["--mode", "fork"]


def children(pid):
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.parent.name))
    return sorted(found)


@pytest.fixture
def copies(serve):
    """copies(source, ...): a worker in mode fork."""
    def start(source, options=(), **named):
        return serve(source, options=[*FORK, *options], **named)
    return start


def gone(worker, **named):
    """One request that its copy does not survive."""
    with worker.connect() as connection, pytest.raises((EOFError, ProtocolError, ConnectionError)):
        connection.ask(flags=0, **named)


# --- what is left after a request: nothing ---

TELLS = """
    import os, sys, signal, threading, random
    {state}
    def look():
        return {look}
    def app(environ, start_response):
        before = look()
        {change}
        start_response("200 OK", [])
        return [repr((before, look())).encode()]
"""


@pytest.mark.parametrize("state, look, change", [
    ("counter = []", "len(counter)", "counter.append(1)"),
    ("", "os.environ.get('CHANGED')", "os.environ['CHANGED'] = '1'"),
    ("", "os.getcwd()", "os.chdir('/')"),
    ("", "(lambda old: (os.umask(old), old)[1])(os.umask(0))", "os.umask(0o123)"),
    ("kept = []", "len(os.listdir('/proc/self/fd'))", "kept.append(open('/dev/null'))"),
    ("", "threading.active_count()", "threading.Thread(target=threading.Event().wait, daemon=True).start()"),
    ("", "signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL", "signal.signal(signal.SIGUSR1, lambda *a: None)"),
    ("", "sys.getrecursionlimit()", "sys.setrecursionlimit(5000)"),
    ("", "'colorsys' in sys.modules", "__import__('colorsys')"),
])
def test_nothing_is_left(copies, state, look, change):
    worker = copies(TELLS.format(state=state, look=look, change=change))
    answers = [worker.ask(flags=0).body for _ in range(3)]
    before, after = eval(answers[0])
    assert before != after, "the change must be seen in the same request"
    assert [eval(answer)[0] for answer in answers] == [before] * 3


def test_random_numbers_are_each_copy_s_own(copies):
    worker = copies("""
        import os, random, secrets, ssl, tempfile, uuid
        random.random(), ssl.RAND_bytes(16), uuid.uuid1(), tempfile.mktemp()
        def app(environ, start_response):
            start_response("200 OK", [])
            return [repr([random.random(), random.getrandbits(64), ssl.RAND_bytes(16), uuid.uuid1(), uuid.uuid4(),
                          secrets.token_hex(), os.urandom(8), tempfile.mktemp()]).encode()]
    """)
    answers = [worker.ask(flags=0).body for _ in range(8)]
    assert len(set(answers)) == 8
    for i in range(8):
        column = {str(eval(answer, {"UUID": str})[i]) for answer in answers}
        assert len(column) == 8, (i, column)


def test_numpy_is_seeded_anew(copies):
    """Stands in for numpy, which needs not be there: what is called in a copy, and when."""
    worker = copies("""
        import sys, types
        fake = sys.modules["numpy.random"] = types.ModuleType("numpy.random")
        seeds = []
        fake.seed = lambda: seeds.append(1)
        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"%d" % len(seeds)]
    """)
    assert [worker.ask(flags=0).body for _ in range(3)] == [b"1"] * 3


def test_sqlite(copies):
    worker = copies("""
        import sqlite3
        with sqlite3.connect("data.db") as db:
            db.execute("create table if not exists t (n integer)")
        db.close()
        def app(environ, start_response):
            with sqlite3.connect("data.db", timeout=30) as db:
                for n in range(20):
                    db.execute("insert into t values (?)", (n,))
                count = db.execute("select count(*) from t").fetchone()[0]
            start_response("200 OK", [])
            return [b"%d" % count]
    """)
    assert [int(worker.ask(flags=0).body) for _ in range(20)] == list(range(20, 420, 20))


def test_tls(copies, tmp_path):
    """A context made by the import is used by copies at both ends of a handshake."""
    import subprocess
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost", "-keyout", tmp_path / "key", "-out", tmp_path / "cert"], check=True, capture_output=True)
    worker = copies("""
        import ssl
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile={cert!r})
        server.load_cert_chain({cert!r}, {key!r})
        def app(environ, start_response):
            a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
            ends = client.wrap_bio(a, b, server_hostname="localhost"), server.wrap_bio(b, a, server_side=True)
            done = set()
            while len(done) < 2:
                for end in ends:
                    try:
                        end.do_handshake()
                        done.add(end)
                    except ssl.SSLWantReadError:
                        pass
            ends[0].write(b"secret")
            start_response("200 OK", [])
            return [ends[1].read(), b.read() + a.read(), ssl.RAND_bytes(8)]
    """.format(cert=str(tmp_path / "cert"), key=str(tmp_path / "key")))
    answers = [worker.ask(flags=0).body for _ in range(4)]
    assert all(answer.startswith(b"secret") for answer in answers) and len(set(answers)) == 4


# --- the copies ---

def test_it_is_one_request_per_process(copies):
    worker = copies("""
        import os
        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"%d %d %d" % (os.getpid(), os.getpgid(0), os.getppid()), repr([environ["wsgi.run_once"],
                    environ["wsgi.multithread"], environ["wsgi.multiprocess"]]).encode()]
    """)
    seen = set()
    for _ in range(6):
        with worker.connect() as connection:
            body = connection.ask().body  # with KEEP_CONN: the copy closes all the same
            assert connection.at_end()
        pid, group, parent = map(int, body.partition(b"[")[0].split())
        assert pid == group and parent == worker.process.pid
        assert body.endswith(b"[True, False, True]")
        seen.add(pid)
    assert len(seen) == 6


def test_exactly_one_copy_waits(copies):
    worker = copies("def app(e, s):\n    s('200 OK', [])\n    return [b'x']\n")
    eventually(lambda: len(children(worker.process.pid)) == 1)
    first = children(worker.process.pid)
    for _ in range(5):
        worker.ask(flags=0)
    eventually(lambda: len(children(worker.process.pid)) == 1 and children(worker.process.pid) != first)


WAITS = """
    import os, time
    def app(environ, start_response):
        start_response("200 OK", [])
        open("entered", "w").close()
        while environ["PATH_INFO"] == "/wait" and not os.path.exists("go"):
            time.sleep(0.005)
        return [b"done"]
"""


def test_at_most_concurrency_copies(copies):
    worker = copies(WAITS, ["--concurrency", "3"])
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(worker.connect()) for _ in range(5)]
        for connection in connections:
            connection.send(request(cgi_params(path="/wait"), flags=0))
        eventually(lambda: len(children(worker.process.pid)) == 3)
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            assert len(children(worker.process.pid)) == 3
        (worker.directory / "go").touch()
        assert [connection.read_answer().body for connection in connections] == [b"done"] * 5


def test_a_connection_without_a_request_costs_a_copy_and_no_more(copies):
    worker = copies("def app(e, s):\n    s('200 OK', [])\n    return [b'x']\n", ["--concurrency", "2"])
    for _ in range(6):
        worker.connect().close()
    assert worker.ask(flags=0).body == b"x"
    eventually(lambda: len(children(worker.process.pid)) == 1)


# --- copies that die ---

@pytest.mark.parametrize("death", ["os._exit(0)", "os._exit(9)", "os.kill(os.getpid(), 9)", "os.abort()",
                                   pytest.param("ctypes.string_at(0)", marks=pytest.mark.release)])
def test_a_copy_that_dies_takes_its_request_alone(copies, death):
    worker = copies("""
        import ctypes, os, resource
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        def app(environ, start_response):
            if environ["PATH_INFO"] == "/die":
                %s
            start_response("200 OK", [])
            return [b"alive"]
    """ % death)
    for _ in range(6):
        gone(worker, path="/die")
        assert worker.ask(flags=0).body == b"alive"
    assert worker.stop() == 0


# A thread that blocks no signal, which Python knows nothing of: as a BLAS library has them.
LIBRARY = """
    import ctypes, time
    libc, thread, mutex = ctypes.CDLL(None), ctypes.c_ulong(), ctypes.create_string_buffer(64)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_create(ctypes.byref(thread), None, libc.pthread_mutex_lock, mutex)
    def app(environ, start_response):
        if environ["PATH_INFO"] == "/wait":
            open("entered", "w").close()
            time.sleep(0.3)
        start_response("200 OK", [])
        return [b"served"]
"""


def test_a_thread_of_a_library_takes_no_signals(copies):
    """Each end of a copy is seen, and SIGTERM lets requests finish."""
    worker = copies(LIBRARY, ["--concurrency", "2"])
    assert worker.notes == ["NOTE mode fork: 1 thread of a library will be missing in the copies"]
    for _ in range(6):
        assert worker.ask(flags=0).body == b"served"
    eventually(lambda: len(children(worker.process.pid)) == 1)
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/wait"), flags=0))
        eventually((worker.directory / "entered").exists)
        worker.process.send_signal(signal.SIGTERM)
        assert connection.read_answer().body == b"served"
    assert worker.wait() == 0


def test_connections_of_the_import_are_told_of(copies):
    """All copies have them: of two that ask a database at once each may read the other's rows."""
    worker = copies("""
        import socket
        pair, datagrams = socket.socketpair(), socket.socket(type=socket.SOCK_DGRAM)
        datagrams.connect(("127.0.0.1", 9))
        server = socket.create_server(("127.0.0.1", 0))
        database = socket.create_connection(server.getsockname())
        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"served"]
    """)
    assert worker.notes == ["NOTE mode fork: the import of the app has made 1 connection, which all copies share; "
                            "connect in a request"]
    assert worker.ask(flags=0).body == b"served"


def test_a_copy_that_dies_of_a_signal_is_told(copies):
    worker = copies("import os\ndef app(e, s):\n    os.kill(os.getpid(), 9)\n")
    gone(worker)
    message = worker.message()
    assert message.startswith("NOTE copy ") and message.endswith(" was ended by signal 9, maybe out of memory")


def test_a_copy_that_cannot_be_made_is_told_of_once(copies):
    """Requests wait for it, and are served when there is what it lacked."""
    worker = copies("def app(e, s):\n    s('200 OK', [])\n    return [b'served']\n")
    eventually(lambda: len(children(worker.process.pid)) == 1)
    limits = resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (1, limits[1]))
    assert worker.ask(flags=0).body == b"served"  # by the copy that waited already
    with worker.connect() as connection:
        connection.send(request(cgi_params(), flags=0))
        message = worker.message()
        assert message == "NOTE cannot make a copy (tried again until it can): Too many open files"
        time.sleep(0.5)
        resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, limits)
        assert connection.read_answer().body == b"served"
    assert worker.stop() == 0
    assert not worker.message()


def test_kill_ends_the_copy_of_a_slot_and_what_it_started(copies):
    worker = copies("""
        import os, subprocess, time
        def app(environ, start_response):
            child = subprocess.Popen(["sleep", "100"])
            write = start_response("200 OK", [])
            write(b"%d %d" % (os.getpid(), child.pid))
            time.sleep(100)
    """)
    with worker.connect() as first, worker.connect() as second:
        pids = []
        for connection, slot in (first, 3), (second, 7):
            connection.send(request(cgi_params(), request_id=slot, flags=0))
            answer = connection.read_until(Answer(), lambda kind, content: answer_pids(content), slot)
            pids.append(answer_pids(answer.body))
        worker.say("KILL 7")
        assert second.at_end()
        for pid in pids[1]:
            eventually(lambda: ended(pid))
        assert not any(ended(pid) for pid in pids[0])
        worker.say("KILL 9")
        worker.say("KILL")
        worker.say("KILL x")
        worker.say("KILL 3 4")
        assert not any(ended(pid) for pid in pids[0])
        worker.say("KILL 3")
        assert first.at_end()
        for pid in pids[0]:
            eventually(lambda: ended(pid))
    assert worker.stop() == 0


def kill_before_it_hears(worker):
    """A request that is killed while the worker stands still, and so has heard of neither."""
    with worker.connect() as connection:
        connection.send(request(cgi_params(), request_id=5, flags=0))
        eventually((worker.directory / "entered").exists)
        worker.say("KILL 5")
        worker.process.send_signal(signal.SIGCONT)
        assert connection.at_end()
    assert worker.stop() == 0


@pytest.mark.parametrize("limit", [1, 2])
def test_a_kill_that_waited_is_for_the_request_that_was_told_before_it(copies, limit):
    """Also where what the worker hears first is that it needs the next copy."""
    worker = copies("""
        import time
        def app(environ, start_response):
            open("entered", "w").close()
            time.sleep(100)
    """, ["--concurrency", str(limit)])
    eventually(lambda: len(children(worker.process.pid)) == 1)
    eventually(worker.sleeps)
    worker.process.send_signal(signal.SIGSTOP)
    kill_before_it_hears(worker)


def test_a_kill_that_waited_is_for_the_request_that_came_with_ready(copies):
    """The first copy tells the gateway that it has started, and accepts; the worker has yet to hear of both."""
    worker = copies("""
        import asyncio, os, signal
        async def app(scope, receive, send):
            if scope["type"] == "http":
                open("entered", "w").close()
                await asyncio.sleep(100)
            await receive()
            if not os.path.exists("entered"):
                os.kill(os.getppid(), signal.SIGSTOP)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
    """)
    kill_before_it_hears(worker)
    assert not worker.message()


def test_a_kill_that_waited_is_not_for_the_next_request_of_its_slot(copies):
    """The one that it was for has ended, and a copy serves another one there before the worker hears of any of it."""
    worker = copies("""
        import os, time
        def app(environ, start_response):
            start_response("200 OK", [])
            open("entered" + environ["QUERY_STRING"], "w").close()
            while not os.path.exists("go" + environ["QUERY_STRING"]):
                time.sleep(0.005)
            return [b"done"]
    """)
    with worker.connect() as first:
        first.send(request(cgi_params(query="1"), request_id=5, flags=0))
        eventually((worker.directory / "entered1").exists)
        eventually(lambda: len(children(worker.process.pid)) == 2)  # the next one waits
        eventually(worker.sleeps)
        worker.process.send_signal(signal.SIGSTOP)
        for slot in 6, 7, 8, 5:
            worker.say("KILL %d" % slot)
        (worker.directory / "go1").touch()
        assert first.read_answer(5).body == b"done"
    with worker.connect() as second:
        second.send(request(cgi_params(query="2"), request_id=5, flags=0))
        eventually((worker.directory / "entered2").exists)
        worker.process.send_signal(signal.SIGCONT)
        eventually(worker.sleeps)
        (worker.directory / "go2").touch()
        assert second.read_answer(5).body == b"done"


FORKS = """
        import ctypes, os, time
        def fork(how=os.fork):
            pid = how()
            if pid == 0:
                time.sleep(100)
                os._exit(0)
            return b"%d" % pid
"""


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
@pytest.mark.parametrize("how", ["os.fork", "getattr(ctypes.PyDLL(None), '_Fork', os.fork)"])  # the second one tells nobody
def test_a_process_that_was_forked_does_not_hold_the_connection(copies, kind, how):
    app = {"wsgi": """
        def app(environ, start_response):
            start_response("200 OK", [])
            return [fork(%s)]
    """, "asgi": """
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": fork(%s)})
    """}
    worker = copies(FORKS + app[kind] % how, options=("--lifespan", "off"))
    with worker.connect() as connection:
        pid = int(connection.ask(flags=0).body)
        try:
            assert connection.at_end()
            assert not ended(pid)
        finally:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("end", ["os._exit(0)", "os.abort()"])
def test_a_copy_that_is_lost_is_not_outlived_by_its_request(copies, kind, begun, end):
    """Whoever it has forked lives on, and has nothing of it."""
    app = {"wsgi": """
        def app(environ, start_response):
            write = start_response("200 OK", [])
            if environ["PATH_INFO"] == "/begun":
                write(b"begun")
            lose()
    """, "asgi": """
        async def app(scope, receive, send):
            if scope["path"] == "/begun":
                await send({"type": "http.response.start", "status": 200})
                await send({"type": "http.response.body", "body": b"begun", "more_body": True})
            lose()
    """}
    worker = copies(FORKS + """
        def lose():
            pid = fork()
            with open("child", "wb") as file:
                file.write(pid)
            %s
    """ % end + app[kind], options=("--lifespan", "off"))
    answer = Answer()
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/begun" if begun else "/"), flags=0))
        if begun:
            connection.read_until(answer, lambda kind, content: answer.body == b"begun")
        assert connection.at_end()
    pid = int((worker.directory / "child").read_text())
    assert not ended(pid)
    os.kill(pid, signal.SIGKILL)


def answer_pids(content):
    parts = content.rpartition(b"\n")[2].split()
    return [int(part) for part in parts] if len(parts) == 2 and all(part.isdigit() for part in parts) else None


def ended(pid):
    try:
        return Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_copies_die_with_the_zygote(copies):
    worker = copies(WAITS)
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/wait"), flags=0))
        eventually(lambda: len(children(worker.process.pid)) == 2)
        pids = children(worker.process.pid)
        worker.process.send_signal(signal.SIGKILL)
        for pid in pids:
            eventually(lambda: ended(pid))
        with contextlib.suppress(ConnectionError):
            assert connection.at_end()


def test_a_copy_that_cannot_live_does_not_make_the_zygote_spin(copies):
    worker = copies("""
        import os
        os.register_at_fork(after_in_child=lambda: os._exit(3))
        def app(e, s): pass
    """)
    time.sleep(0.5)
    ticks = sum(map(int, Path("/proc/%d/stat" % worker.process.pid).read_text().rpartition(")")[2].split()[11:13]))
    time.sleep(0.5)
    later = sum(map(int, Path("/proc/%d/stat" % worker.process.pid).read_text().rpartition(")")[2].split()[11:13]))
    assert later - ticks < 20
    assert worker.stop() == 0


# --- stopping ---

@pytest.mark.parametrize("how", ["STOP", "end of file", "SIGTERM"])
def test_stop_lets_running_copies_finish(copies, how):
    worker = copies(WAITS)
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/wait"), flags=0))
        eventually(lambda: len(children(worker.process.pid)) == 2)
        if how == "STOP":
            worker.say("STOP")
        elif how == "SIGTERM":
            worker.process.send_signal(signal.SIGTERM)
        else:
            worker.control.close()
        eventually(lambda: len(children(worker.process.pid)) == 1)
        eventually(worker.sleeps)  # and has refused what waited
        assert worker.process.poll() is None
        with pytest.raises(ConnectionError):
            worker.connect().read_record()
        (worker.directory / "go").touch()
        assert connection.read_answer().body == b"done"
    assert worker.wait() == 0


def test_what_waits_when_it_stops_is_refused(copies):
    worker = copies(WAITS, ["--concurrency", "1"])
    with worker.connect() as busy, worker.connect() as waiting:
        busy.send(request(cgi_params(path="/wait"), flags=0))
        eventually(lambda: (worker.directory / "entered").exists())
        waiting.send(request(cgi_params(), flags=0))
        worker.say("STOP")
        answer = waiting.read_answer()
        assert answer.protocol_status == OVERLOADED and not answer.records
        (worker.directory / "go").touch()
        assert busy.read_answer().body == b"done"
    assert worker.wait() == 0


@pytest.mark.parametrize("options", [[], FORK], ids=["persistent", "fork"])
def test_a_stop_before_it_is_ready(spawn, options):
    """The request that waits already is refused: whoever stops a start gives it to another one."""
    worker = spawn("""
        import os, time
        open("here", "w").close()
        while not os.path.exists("go"):
            time.sleep(0.005)
        def app(environ, start_response):
            open("begun", "w").close()
            start_response("200 OK", [])
            return [b"done"]
    """, options=options)
    with worker.connect() as connection:
        connection.send(request(cgi_params(), flags=0))
        eventually(lambda: (worker.directory / "here").exists())
        worker.say("STOP")
        (worker.directory / "go").touch()
        answer = connection.read_answer()
        assert answer.protocol_status == OVERLOADED and not answer.records
    assert worker.wait() == 0
    assert not (worker.directory / "begun").exists()


# --- what cannot be copied ---

def test_threads_at_import_are_refused(spawn):
    worker = spawn("""
        import threading
        threading.Thread(target=threading.Event().wait, name="poller", daemon=True).start()
        def app(e, s): pass
    """, options=FORK)
    summary, _ = worker.failed()
    assert summary == ("mode fork: the import of the app has started 1 thread (poller), which would be missing in its copies; "
                       "start them in a request, or use mode persistent")


def test_threads_that_have_no_name_are_refused(spawn):
    worker = spawn("""
        import _thread, threading
        begun, end = threading.Lock(), threading.Lock()
        def run():
            begun.release()
            end.acquire()
        begun.acquire(), end.acquire()
        _thread.start_new_thread(run, ())
        begun.acquire()
        def app(e, s): pass
    """, options=FORK)
    assert " 1 thread, which would be missing " in worker.failed()[0]


def test_preload(spawn, serve, tmp_path):
    (tmp_path / "routes.py").write_text("import os\nassert os.environ['SETTINGS']  # as Django's modules do\nmade_in = os.getpid()\n")
    worker = serve(f"""
        import os, sys
        sys.path.append({str(tmp_path)!r})
        os.environ["SETTINGS"] = "of the app"
        zygote = os.getpid()
        def app(environ, start_response):
            start_response("200 OK", [])
            return [repr(("colorsys" in sys.modules, sys.modules["routes"].made_in == zygote)).encode()]
    """, options=[*FORK, "--preload", "colorsys", "--preload=routes"])
    assert eval(worker.ask(flags=0).body) == (True, True)
    summary, _ = spawn(options=[*FORK, "--preload", "nothing_like_it"]).failed()
    assert summary.startswith("--preload nothing_like_it: No module named 'nothing_like_it'")


# --- the end of a copy ---

def test_exit_functions(copies):
    worker = copies("""
        import atexit, os, tempfile, weakref
        keep = tempfile.TemporaryDirectory(dir=".")
        atexit.register(lambda: open("zygote-%d" % os.getpid(), "w").close())
        def app(environ, start_response):
            atexit.register(lambda: open("copy", "w").close())
            start_response("200 OK", [])
            return [b"%d" % os.path.isdir(keep.name)]
    """)
    for _ in range(3):
        assert worker.ask(flags=0).body == b"1"
    eventually(lambda: (worker.directory / "copy").exists())
    assert worker.stop() == 0
    assert [path.name for path in worker.directory.glob("zygote-*")] == ["zygote-%d" % worker.process.pid]


def test_what_a_copy_has_logged_is_written_at_its_end(copies):
    """And what the import has, by the worker alone."""
    worker = copies("""
        import logging, logging.handlers
        logging.getLogger().addHandler(logging.handlers.MemoryHandler(100, target=logging.FileHandler("log")))
        logging.warning("import")
        def app(environ, start_response):
            logging.warning("request")
            start_response("200 OK", [])
            return [b"x"]
    """)
    log = worker.directory / "log"
    for number in range(1, 4):
        worker.ask(flags=0)
        eventually(lambda: log.read_text().count("request") == number)
    assert worker.stop() == 0
    assert log.read_text() == "import\n" + "request\n" * 3


def test_a_handler_of_what_the_copy_has_imported_itself_is_closed_once(copies):
    worker = copies("""
        import sys
        def app(environ, start_response):
            assert "logging" not in sys.modules
            import logging
            class Handler(logging.Handler):
                def close(self):
                    with open("closed", "a") as file:
                        file.write("x")
            logging.getLogger().addHandler(Handler())
            start_response("200 OK", [])
            return [b"x"]
    """)
    assert worker.ask(flags=0).body == b"x"
    eventually((worker.directory / "closed").exists)
    assert worker.stop() == 0
    assert (worker.directory / "closed").read_text() == "x"


def test_what_multiprocessing_does_at_the_end_of_a_copy(copies):
    """It ends what the copy has begun, and not what the import has."""
    worker = copies("""
        import multiprocessing, multiprocessing.util, os, time
        context = multiprocessing.get_context("fork")
        def begin():
            process = context.Process(target=time.sleep, args=(100,), daemon=True)
            process.start()
            return process.pid
        of_import = begin()
        def app(environ, start_response):
            multiprocessing.util.Finalize(None, open, args=("finalized", "w"), exitpriority=0)
            start_response("200 OK", [])
            return [b"%d %d" % (of_import, begin())]
    """)
    for _ in range(3):
        of_import, of_copy = map(int, worker.ask(flags=0).body.split())
        eventually(lambda: ended(of_copy))
        eventually((worker.directory / "finalized").exists)
        (worker.directory / "finalized").unlink()
    assert not ended(of_import)
    assert worker.stop() == 0 and ended(of_import)
    assert worker.stderr == ""


def test_sentry_is_flushed_at_the_end_of_a_copy(copies):
    """Stands in for sentry_sdk, whose own exit function is lost with the import's others."""
    worker = copies("""
        import os, sys, types
        fake = sys.modules["sentry_sdk"] = types.ModuleType("sentry_sdk")
        fake.flush = lambda: open("flushed-%d" % os.getpid(), "w").close()
        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"%d" % os.getpid()]
    """)
    for _ in range(3):
        pid = int(worker.ask(flags=0).body)
        eventually((worker.directory / ("flushed-%d" % pid)).exists)


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_the_end_of_a_copy_has_a_limit(copies, kind):
    app = {"wsgi": """
        def app(environ, start_response):
            tell()
            start_response("200 OK", [])
            return [b"short"]
        """, "asgi": """
        async def app(scope, receive, send):
            tell()
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"short"})
        """}
    worker = copies("""
        import atexit, signal

        def tell():
            assert not signal.getitimer(signal.ITIMER_REAL)[0]
            atexit.register(lambda: print(0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 30))
    """ + app[kind], options=("--lifespan", "off"))
    assert worker.ask(flags=0).body == b"short"
    eventually(lambda: worker.stdout)
    assert worker.stdout == "True\n"


def test_so_has_the_end_of_a_copy_without_a_request(copies):
    """Of one whose client has left, and of one that waits when the worker stops."""
    worker = copies("""
        import signal
        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            print(0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 30, flush=True)
            await send({"type": "lifespan.shutdown.complete"})
    """)
    first = eventually(lambda: children(worker.process.pid))
    worker.connect().close()
    eventually(lambda: worker.stdout)
    eventually(lambda: set(children(worker.process.pid)) - set(first))
    assert worker.stop() == 0
    assert worker.stdout == "True\nTrue\n"


def test_after_the_answer(copies):
    """close() of the answer runs after the client has it all, and before the copy ends."""
    worker = copies("""
        import os, time
        class Answer:
            def __iter__(self):
                return iter([b"body"])
            def close(self):
                while not os.path.exists("go"):
                    time.sleep(0.001)
                open("closed", "w").close()
        def app(environ, start_response):
            start_response("200 OK", [])
            return Answer()
    """)
    with worker.connect() as connection:
        connection.send(request(cgi_params(), flags=0))
        answer = connection.read_until(Answer(), lambda kind, content: content == b"")
        assert answer.body == b"body" and not (worker.directory / "closed").exists()
        (worker.directory / "go").touch()
        connection.read_until(answer, lambda kind, content: kind == END)
        assert (worker.directory / "closed").exists()


@pytest.mark.parametrize("debug", [False, True])
def test_failures_as_ever(copies, debug):
    worker = copies("def app(e, s):\n    1/0\n", ["--debug"] if debug else [])
    answer = worker.ask(flags=0)
    assert answer.status == "500 Internal Server Error" and (b"ZeroDivisionError" in answer.body) == debug
    eventually(lambda: "ZeroDivisionError" in worker.stderr)


def test_without_a_gateway(spawn):
    worker = spawn(textwrap.dedent(WAITS), options=FORK, control=False)
    for _ in range(3):
        assert worker.ask(flags=0).body == b"done"
    worker.process.send_signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_thousand_copies_leave_nothing(copies):
    worker = copies("def app(e, s):\n    s('200 OK', [])\n    return [b'x']\n")
    for _ in range(50):
        worker.ask(flags=0)
    eventually(lambda: len(children(worker.process.pid)) == 1)
    memory, descriptors = worker.memory(), worker.descriptors()
    for _ in range(1000):
        assert worker.ask(flags=0).body == b"x"
    eventually(lambda: worker.descriptors() <= descriptors)  # the first count may have been taken as a copy was leaving
    assert worker.memory() - memory < 100_000
    assert os.path.exists("/proc/%d" % worker.process.pid)


def test_sigterm_lets_a_copy_finish(copies):
    worker = copies("""
        import os, signal
        def app(environ, start_response):
            os.kill(os.getpid(), signal.SIGTERM)
            start_response("200 OK", [])
            return [b"finished"]
    """)
    for _ in range(3):
        assert worker.ask(flags=0).body == b"finished"


def test_a_copy_that_forks_a_hundred_processes_is_killed_with_them(copies):
    worker = copies("""
        import os, time
        def app(environ, start_response):
            write = start_response("200 OK", [])
            for _ in range(6):
                os.fork()
            open("forked-%d" % os.getpid(), "w").close()
            time.sleep(100)
    """)
    with worker.connect() as connection:
        connection.send(request(cgi_params(), request_id=5, flags=0))
        eventually(lambda: len(list(worker.directory.glob("forked-*"))) == 64)
        pids = [int(path.name[7:]) for path in worker.directory.glob("forked-*")]
        worker.say("KILL 5")
        for pid in pids:
            eventually(lambda: ended(pid))
    assert worker.stop() == 0


def test_get_values(copies):
    from fcgi_client import GET_VALUES, GET_VALUES_RESULT, pairs, parse_pairs, record
    worker = copies("def app(e, s): pass\n", ["--concurrency", "7"])
    with worker.connect() as connection:
        connection.send(record(GET_VALUES, 0, pairs({"FCGI_MAX_REQS": ""})))
        kind, _, content = connection.read_record()
        assert kind == GET_VALUES_RESULT and parse_pairs(content) == {b"FCGI_MAX_REQS": b"7"}


ANYIO = """
        import os, sys
        os.makedirs("anyio/_backends", exist_ok=True)
        for name in "anyio/__init__.py", "anyio/_backends/__init__.py":
            open(name, "w").close()
        open("anyio/_backends/_asyncio.py", "w").write({late!r})
        import anyio
"""


def test_what_a_library_imports_at_its_first_use_is_there_before(copies):
    worker = copies(ANYIO.format(late="import os; OWNER = os.getpid()\n") + """
        def app(environ, start_response):
            from anyio._backends._asyncio import OWNER
            start_response("200 OK", [])
            return [b"%d" % OWNER]
    """)
    assert int(worker.ask(flags=0).body) == worker.process.pid


def test_what_a_library_cannot_import_is_the_app_s_own_affair(copies):
    worker = copies(ANYIO.format(late="raise DeprecationWarning('as with -W error')") + """
        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"served"]
    """)
    assert worker.ask(flags=0).body == b"served"


# --- what a copy shares with the worker, and what not ---

HOLES = """
    kept = [b"x" * (40 + n % 400) for n in range(60000)]
    del kept[::17]  # a hole in nearly every page
    def written():
        with open("/proc/self/smaps_rollup") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Private_Dirty"))
    def app(environ, start_response):
        before = written()
        made = [b"y" * (40 + n % 400) for n in range(0, 60000, 50)]
        start_response("200 OK", [])
        return [b"%d" % (written() - before)]
"""


@pytest.mark.skipif(PRELOAD != "", reason="another allocator")
def test_what_a_copy_makes_lies_together(copies):
    """1,200 objects, 0.3 MB: one by one between the app's own they would have made a page each its own, 4 MB."""
    worker = copies(HOLES)
    assert int(worker.ask(flags=0).body) < 1000
    assert worker.stop() == 0


@pytest.mark.parametrize("allocator", ["malloc", "debug", "pymalloc_debug"])
def test_holes_with_another_allocator(copies, allocator):
    worker = copies(HOLES, environ={"PYTHONMALLOC": allocator})
    assert worker.memory() < 120_000_000
    assert int(worker.ask(flags=0).body) > 0
    assert worker.stop() == 0


LOOPS = """
    import asyncio, os, socket, threading
    # In debug mode it warns of what has taken long, as anything may beside others.
    asyncio.base_events.logger.addFilter(lambda record: not record.msg.startswith("Executing "))

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            raise ValueError
        loop = asyncio.get_running_loop()
        answer = await {look}
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        await send({{"type": "http.response.body", "body": repr(answer).encode()}})

    async def inodes(loop):
        await wait_for_all()
        fds = loop._selector.fileno(), loop._ssock.fileno(), loop._csock.fileno()
        return [(os.get_inheritable(fd), os.get_blocking(fd), os.fstat(fd).st_ino) for fd in fds[1:]]

    async def woken(loop):
        await wait_for_all()
        future = loop.create_future()
        threading.Timer(0.01, loop.call_soon_threadsafe, [future.set_result, os.getpid()]).start()
        return await asyncio.wait_for(future, 10) == os.getpid()

    async def signalled(loop):
        import signal
        event = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, event.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(event.wait(), 10)
        return True

    async def read(loop):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.send(b"%d" % os.getpid())
            return await loop.sock_recv(ours, 100) == b"%d" % os.getpid()

    async def wait_for_all():
        open("in-%d" % os.getpid(), "w").close()
        while len([name for name in os.listdir(".") if name.startswith("in-")]) < 3:
            await asyncio.sleep(0.001)
"""


def asked_at_once(worker, count):
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(worker.connect()) for _ in range(count)]
        for connection in connections:
            connection.send(request(cgi_params(), flags=0))
        return [eval(connection.read_answer().body) for connection in connections]


def test_the_loops_of_copies_share_nothing(copies):
    worker = copies(LOOPS.format(look="inodes(loop)"), ["--kind", "asgi"])
    answers = asked_at_once(worker, 3)
    assert [(inheritable, blocking) for answer in answers for inheritable, blocking, _ in answer] == [(False, False)] * 6
    assert len({inode for answer in answers for _, _, inode in answer}) == 6
    assert worker.stop() == 0


@pytest.mark.parametrize("look", ["woken(loop)", "signalled(loop)", "read(loop)"])
def test_the_loop_of_a_copy_works(copies, look):
    worker = copies(LOOPS.format(look=look), ["--kind", "asgi"], environ={"PYTHONWARNINGS": "always", "PYTHONASYNCIODEBUG": "1"})
    assert asked_at_once(worker, 3) == [True] * 3
    assert worker.stop() == 0
    assert worker.stderr == ""


def test_an_app_s_own_loop_policy(copies):
    worker = copies("""
    import asyncio, os
    class Loop(asyncio.SelectorEventLoop):
        pass
    class Policy(asyncio.DefaultEventLoopPolicy):
        _loop_factory = Loop
    asyncio.set_event_loop_policy(Policy())
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": type(asyncio.get_running_loop()).__name__.encode()})
    """, ["--kind", "asgi", "--lifespan", "off"])
    assert [worker.ask(flags=0).body for _ in range(2)] == [b"Loop"] * 2


RESPONSES = """
import asyncio, os
done = []
class JSONResponse:
    def __init__(self, content):
        done.append((type(self).__name__, os.getpid()))
    async def __call__(self, scope, receive, send):
        {responds}
class StreamingResponse(JSONResponse):
    pass
"""
ROUTING = """
import linecache, os
looked = []
class APIRoute:
    class dependant:
        call = len
class Subclass(APIRoute):
    pass
class SubclassOfThat(Subclass):
    pass
def _extract_endpoint_context(call):
    linecache.getlines(__file__)
    looked.append((call, os.getpid()))
    {looks}
"""
USES = """
    import linecache, os
    import anyio, fastapi.routing, starlette.responses
    import pyworker.rehearse
    pyworker.rehearse.LOOK_UP = 60  # else a process that waits for the processor leaves endpoints out
    route = fastapi.routing.SubclassOfThat()
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            return await send({"type": "lifespan.startup.complete"})
        answer = starlette.responses.done, fastapi.routing.looked, fastapi.routing.__file__ in linecache.cache
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": repr(answer).replace("<built-in function len>", "len").encode()})
"""


@pytest.fixture
def rehearsed(copies, tmp_path):
    """rehearsed(responds, looks): a worker whose libraries behave so, and what was done with them before its first copy."""
    def start(responds="pass", looks="pass"):
        files = {"anyio/__init__.py": "", "starlette/__init__.py": "", "fastapi/__init__.py": "",
                 "starlette/responses.py": RESPONSES.format(responds=responds), "fastapi/routing.py": ROUTING.format(looks=looks)}
        for name, text in files.items():
            path = tmp_path / "w0" / name  # the app's directory
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        worker = copies(USES, ["--kind", "asgi"])
        answers = [eval(worker.ask(flags=0).body) for _ in range(2)]
        assert answers[0] == answers[1]
        done, looked, kept = answers[0]
        assert looked == [(len, worker.process.pid)] and not kept
        assert {pid for _, pid in done} == {worker.process.pid}
        assert worker.stop() == 0
        assert worker.stderr == ""
        return [name for name, _ in done]
    return start


def test_what_libraries_do_at_their_first_use_is_done_before(rehearsed):
    assert set(rehearsed()) == {"JSONResponse", "StreamingResponse"}


@pytest.mark.parametrize("responds", ["raise KeyError", "raise asyncio.CancelledError", "await asyncio.sleep(100)"])
def test_a_library_that_cannot_be_rehearsed(rehearsed, responds):
    assert rehearsed(responds=responds) == ["JSONResponse"]


def test_endpoints_that_cannot_be_looked_at(rehearsed):
    rehearsed(looks="raise KeyError")
