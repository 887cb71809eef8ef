"""Requests that overlap: how many at once, on which threads, and what a thread costs while nothing overlaps."""

import os
import random
import resource
import signal
import threading
import time
from pathlib import Path

import pytest

from fcgi_client import OVERLOADED, PARAMS, begin, cgi_params, record, request
from measure import switches
from worker import eventually

# Answers with the thread it ran on. /meet waits for others inside the app, /wait for a file to appear, and tells by FILE.here.
APP = """
    import os, threading, time

    importing = threading.get_ident()
    meeting = threading.Barrier(int(os.environ.get("MEET", "4")))
    local = threading.local()
    inside = set()

    def app(environ, start_response):
        path, _, rest = environ["PATH_INFO"][1:].partition("/")
        inside.add(environ["PATH_INFO"])
        if path == "meet":
            meeting.wait(15)
        elif path == "wait":
            open(rest + ".here", "w").close()
            while not os.path.exists(rest):
                time.sleep(0.001)
        elif path == "sleep":
            time.sleep(float(rest))
        elif path == "inside":
            while environ["PATH_INFO"][7:] not in inside:
                time.sleep(0.001)
        local.count = getattr(local, "count", 0) + 1
        start_response("200 OK", [("X-Count", str(local.count)), ("X-Multithread", str(environ["wsgi.multithread"]))])
        return [b"importing" if threading.get_ident() == importing else b"other"]
"""


def threads(worker):
    return len(os.listdir("/proc/%d/task" % worker.process.pid))


def all_switches(worker):
    """Voluntary context switches of all threads so far."""
    return sum(switches("%d/task/%s" % (worker.process.pid, task)) for task in os.listdir("/proc/%d/task" % worker.process.pid))


def all_in_state(worker, state):
    """Whether all threads are: S, asleep in the kernel; T, stopped."""
    tasks = Path("/proc/%d/task" % worker.process.pid)
    return all((task / "stat").read_text().rpartition(")")[2].split()[0] == state for task in tasks.iterdir())


class Waiting:
    """Requests that stay inside the app until released, each on a connection of its own."""

    def __init__(self, worker, count):
        self.worker, self.file = worker, worker.directory / "released"
        self.connections = [worker.connect() for _ in range(count)]
        for i, connection in enumerate(self.connections):
            path = "/wait/%s" % self.file
            connection.send(request(cgi_params("GET", path, b"", QUERY_STRING=str(i)), b"", 1, 1))

    def release(self):
        self.file.touch()
        answers = [connection.read_answer() for connection in self.connections]
        for connection in self.connections:
            connection.close()
        return [answer.body for answer in answers]


def stay(worker, name):
    """A connection whose request is inside the app until the file `name` is there."""
    connection = worker.connect()
    connection.send(request(cgi_params("GET", "/wait/%s" % (worker.directory / name), b""), b"", 1, 1))
    eventually((worker.directory / (name + ".here")).exists)
    return connection


def test_as_many_at_once_as_concurrency_says(spawn):
    worker = spawn(APP)
    assert worker.message() == "START"
    assert worker.message().startswith("READY wsgi persistent 4 ")
    connections = [worker.connect() for _ in range(4)]
    for connection in connections:
        connection.send(request(cgi_params("GET", "/meet", b""), b"", 1, 1))
    answers = [connection.read_answer() for connection in connections]  # the barrier breaks unless four are inside
    assert sorted(answer.body for answer in answers) == [b"importing", b"other", b"other", b"other"]
    assert {answer.header("X-Multithread") for answer in answers} == {"True"}
    assert threads(worker) == 4


def test_one_more_waits_until_one_is_done(spawn):
    worker = spawn(APP, options=["--concurrency", "2"]).ready()
    waiting = Waiting(worker, 2)
    eventually(lambda: threads(worker) == 2)
    with worker.connect() as third:
        third.send(request(cgi_params("GET", "/", b""), b"", 1, 1))
        third.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            third.read_answer()
        third.socket.settimeout(20)
        assert sorted(waiting.release()) == [b"importing", b"other"]
        assert third.read_answer().status == "200 OK"
    assert threads(worker) == 2


@pytest.mark.parametrize("limit", [2, 4])
def test_a_worker_whose_threads_were_all_busy_serves_beside_its_longest_request(spawn, limit):
    """The importing thread takes a request when all others are inside; who comes out then has to look after those that follow."""
    worker = spawn(APP.replace('elif path == "wait":', """elif path == "wait":
            print(environ["QUERY_STRING"], flush=True)"""), options=["--concurrency", str(limit)]).ready()
    connections = [worker.connect() for _ in range(limit + 1)]

    def send(number):
        connections[number].send(request(cgi_params("GET", "/wait/%s/%d" % (worker.directory, number), b"", QUERY_STRING=str(number)), b"", 1, 1))

    def has_entered(number):
        eventually(lambda: str(number) in worker.stdout.split())

    def finish(number):
        (worker.directory / str(number)).touch()
        return connections[number].read_answer().body

    for number in range(limit):
        send(number)
        has_entered(number)
    send(limit)  # waits in its socket
    assert finish(0) == b"importing"
    has_entered(limit)
    for number in range(1, limit):
        assert finish(number) == b"other"
    assert worker.ask().body == b"other"
    assert finish(limit) == b"importing"


def test_requests_that_do_not_overlap_stay_on_the_importing_thread(serve):
    worker = serve(APP)
    with worker.connect() as kept:
        for _ in range(50):
            assert worker.ask().body == kept.ask().body == b"importing"
    assert threads(worker) <= 2


def test_the_importing_thread_serves_again_after_others_have_helped(serve):
    worker = serve(APP)
    for _ in range(5):
        waiting = Waiting(worker, 1)
        assert worker.ask(path="/inside/wait/%s" % waiting.file).body == b"other"
        assert waiting.release() == [b"importing"]
        assert [worker.ask().body for _ in range(5)] == [b"importing"] * 5
        waiting.file.unlink()


def test_a_thread_keeps_what_the_app_keeps_by_thread(spawn):
    worker = spawn(APP, options=["--concurrency", "2"]).ready()
    waiting = Waiting(worker, 1)
    worker.ask(path="/inside/wait/%s" % waiting.file)
    assert [worker.ask().header("X-Count") for _ in range(3)] == ["2", "3", "4"]
    waiting.release()


def test_a_thread_that_could_not_be_made_is_made_later(serve):
    worker = serve(APP)
    pid = worker.process.pid
    size = os.sysconf("SC_PAGESIZE") * int(Path("/proc/%d/statm" % pid).read_text().split()[0])
    _, most = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (size + 2**20, most))  # less than a stack
    assert worker.ask().body == b"importing" and threads(worker) == 1
    resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
    waiting = Waiting(worker, 1)
    assert worker.ask(path="/inside/wait/%s" % waiting.file).body == b"other"
    waiting.release()


def test_with_one_at_a_time_there_is_one_thread(spawn):
    worker = spawn(APP, options=["--concurrency", "1"]).ready()
    waiting = Waiting(worker, 2)
    time.sleep(0.05)  # long enough for a thread that must not come
    assert threads(worker) == 1
    assert waiting.release() == [b"importing"] * 2
    assert worker.ask().header("X-Multithread") == "False"


def test_an_idle_worker_does_not_wake(serve):
    worker = serve(APP)
    waiting = Waiting(worker, 4)
    eventually(lambda: threads(worker) == 4)
    waiting.release()

    def quiet():
        before = all_switches(worker)
        time.sleep(0.3)
        return all_in_state(worker, "S") and all_switches(worker) == before

    eventually(quiet)
    before = all_switches(worker)
    time.sleep(1)
    assert all_switches(worker) == before


def test_stop_waits_for_all_that_are_inside(serve):
    worker = serve(APP)
    waiting = Waiting(worker, 3)
    eventually(lambda: threads(worker) == 4)  # three inside, one that waits for more
    worker.say("STOP")
    time.sleep(0.1)
    assert worker.process.poll() is None
    assert len(waiting.release()) == 3
    assert worker.wait() == 0


def test_sigterm_while_the_importing_thread_is_inside(serve):
    worker = serve(APP)
    waiting = Waiting(worker, 2)
    eventually(lambda: threads(worker) == 3)
    worker.process.send_signal(signal.SIGTERM)
    assert sorted(waiting.release()) == [b"importing", b"other"]
    assert worker.wait() == 0


def rests(worker):
    """Whether the importing thread waits: a signal that comes just before it does is seen only after it."""
    before = switches(worker.process.pid)
    time.sleep(0.05)
    return worker.sleeps() and switches(worker.process.pid) == before


WAYS = pytest.mark.parametrize("way", [
    lambda worker: worker.process.send_signal(signal.SIGTERM), lambda worker: worker.say("STOP"), lambda worker: worker.control.close(),
], ids=["SIGTERM", "STOP", "gateway gone"])


class Arrived:
    """One connection that is kept, and one with the beginning of a request."""

    def __init__(self, worker):
        self.worker, self.kept, self.partly = worker, worker.connect(), worker.connect()
        assert self.kept.ask().status == "200 OK"
        self.partly.send(begin(9) + record(PARAMS, 9, b"\1\1ab"))

    def refused(self):
        """Whether all of it is, and nothing more can come."""
        answer = self.partly.read_answer(9)
        assert self.kept.at_end() and self.partly.at_end() and self.worker.process.poll() is None
        with pytest.raises(ConnectionRefusedError):
            self.worker.connect()
        return (answer.protocol_status, answer.records) == (OVERLOADED, [])


def keep_a_helper_inside(worker):
    """Two connections: the request of the first has been answered by the importing thread, that of the second keeps another one."""
    first, long = stay(worker, "first"), stay(worker, "long")
    (worker.directory / "first").touch()
    assert first.read_answer().body == b"importing"
    return first, long


@WAYS
def test_who_ends_refuses_at_once_what_comes_beside_the_importing_thread(serve, way):
    """The longest request does not make others wait that somebody else could serve."""
    worker = serve(APP)
    arrived, long, short = Arrived(worker), stay(worker, "long"), stay(worker, "short")
    way(worker)
    assert arrived.refused()
    (worker.directory / "short").touch()
    assert short.read_answer().body == b"other" and short.at_end()
    assert worker.process.poll() is None
    (worker.directory / "long").touch()
    assert long.read_answer().body == b"importing" and long.at_end()
    assert worker.wait() == 0


@WAYS
@pytest.mark.parametrize("limit", [2, 4])
def test_who_ends_refuses_at_once_what_comes_beside_another_thread(spawn, way, limit):
    worker = spawn(APP, options=["--concurrency", str(limit)]).ready()
    first, long = keep_a_helper_inside(worker)
    arrived = Arrived(worker)
    way(worker)
    assert arrived.refused() and first.at_end()
    (worker.directory / "long").touch()
    assert long.read_answer().body == b"other" and long.at_end()
    assert worker.wait() == 0


@pytest.mark.parametrize("limit", [2, 4])
def test_an_exception_refuses_at_once_what_comes_beside_another_thread(spawn, limit):
    worker = spawn("import signal" + APP.replace("\n    ", "\n") + """
def usr1(number, frame):
    raise TimeoutError("too late")
signal.signal(signal.SIGUSR1, usr1)
""", options=["--concurrency", str(limit)]).ready()
    first, long = keep_a_helper_inside(worker)
    arrived = Arrived(worker)
    eventually(lambda: rests(worker))
    worker.process.send_signal(signal.SIGUSR1)
    assert arrived.refused() and first.at_end()
    (worker.directory / "long").touch()
    assert long.read_answer().body == b"other" and long.at_end()
    assert worker.wait() == 1
    assert worker.stderr.endswith("pyworker: TimeoutError: too late\n")


def let_a_helper_lead(worker):
    first = Waiting(worker, 1)
    worker.ask(path="/inside/wait/%s" % first.file)
    assert first.release() == [b"importing"]
    eventually(lambda: all_in_state(worker, "S"))


def test_a_handler_of_the_app_runs_while_another_thread_leads(serve):
    worker = serve("import signal, sys" + APP.replace("\n    ", "\n") + """
def usr1(number, frame):
    print("handled", flush=True)
signal.signal(signal.SIGUSR1, usr1)
""")
    let_a_helper_lead(worker)
    worker.process.send_signal(signal.SIGUSR1)
    eventually(lambda: worker.stdout == "handled\n")
    assert worker.ask().body == b"importing"


def test_a_worker_that_was_stopped_and_continued_while_another_thread_leads(serve):
    """epoll_wait() ends with EINTR then, and with no handler of anybody's; a suspended machine, a frozen container do the same."""
    worker = serve(APP)
    assert worker.ask(path="/sleep/0.3").body == b"importing"  # long enough for another thread to lead from now on
    eventually(lambda: all_in_state(worker, "S"))
    for number, state in (signal.SIGSTOP, "T"), (signal.SIGCONT, "S"):
        worker.process.send_signal(number)
        eventually(lambda: all_in_state(worker, state))
    assert worker.ask().body == b"importing"


def test_what_was_taken_for_a_thread_that_ends_is_refused(serve):
    """A handler raises in the importing thread when another one has a request for it."""
    worker = serve("import os, signal, time" + APP.replace("\n    ", "\n") + """
def usr1(number, frame):
    print("in", flush=True)
    while not os.path.exists("go"):
        time.sleep(0.001)
    raise KeyboardInterrupt
signal.signal(signal.SIGUSR1, usr1)
""")
    first, long = stay(worker, "first"), stay(worker, "long")
    assert worker.ask().body == b"other"  # which leads from now on
    (worker.directory / "first").touch()
    assert first.read_answer().body == b"importing"
    eventually(lambda: rests(worker))
    worker.process.send_signal(signal.SIGUSR1)
    eventually(lambda: worker.stdout == "in\n")
    with worker.connect() as connection:
        connection.send(request(cgi_params("GET", "/", b""), b"", 1, 1))
        time.sleep(0.2)  # long enough for the helper to take it
        (worker.directory / "go").touch()
        answer = connection.read_answer()
    assert (answer.protocol_status, answer.records) == (OVERLOADED, [])
    (worker.directory / "long").touch()
    assert long.read_answer().body == b"other"
    assert worker.wait() == 130


def test_interrupt_raised_by_the_app_on_another_thread(serve):
    worker = serve(APP.replace('elif path == "inside":', """elif path == "interrupt":
            raise KeyboardInterrupt
        elif path == "inside":"""))
    long = stay(worker, "long")
    arrived = Arrived(worker)
    with worker.connect() as connection:
        connection.send(request(cgi_params("GET", "/interrupt", b""), b"", 1, 1))
        assert connection.read_answer().app_status == 1
    assert arrived.refused()
    (worker.directory / "long").touch()
    assert long.read_answer().body == b"importing"
    assert worker.wait() == 130


def test_a_peer_that_leaves_while_its_request_is_served_and_another_thread_leads(serve):
    worker = serve(APP)
    waiting = Waiting(worker, 1)
    worker.ask(path="/inside/wait/%s" % waiting.file)
    waiting.connections[0].close()
    assert worker.ask().body == b"other"
    before = worker.descriptors()
    waiting.file.touch()
    eventually(lambda: worker.ask().body == b"importing")
    eventually(lambda: worker.descriptors() < before)


def test_many_requests_of_mixed_lengths(serve):
    worker = serve("""
        import time

        def app(environ, start_response):
            time.sleep(float(environ["QUERY_STRING"]))
            body = environ["wsgi.input"].read()
            start_response("200 OK", [])
            return [environ["PATH_INFO"].encode(), b" ", body]
    """)
    wrong = []

    def client(number):
        dice = random.Random(number)
        with worker.connect() as connection:
            for i in range(60):
                body = bytes([number]) * dice.choice((0, 10, 20000, 100000))
                pause = dice.choice((0, 0, 0, 0.001, 0.004))
                answer = connection.ask("POST", "/%d/%d" % (number, i), body, QUERY_STRING=str(pause))
                if answer.body != b"/%d/%d " % (number, i) + body:
                    wrong.append((number, i, answer.records))

    clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert not wrong
    assert worker.stop() == 0
