"""The life of a worker: none before the first request, started, reused, stopped, started again; and every way to die."""

import json
import os
import re
import shlex
import signal
import subprocess
import time
from contextlib import ExitStack

import pytest

from gateway import APPS, BINARY, SLOW, Gateway, alive, app, children, kitchen, proc_file, proc_state, wait_until
from load import Load
from rawhttp import Cut


# --- asleep and awake


def test_what_the_user_sees(launch):
    gateway = launch(kitchen(idle_timeout="300ms"))
    lines = gateway.err.text.splitlines()
    assert re.fullmatch(r"leangate 0\.1 on http://127\.0\.0\.1:\d+  \(Ctrl-C stops\)", lines[0])
    gateway.err.wait(r"^  /  kitchen  .*asleep: starts on request, stops after (300ms|0\.3s) idle$")
    gateway.get("/")
    gateway.err.wait(r"^kitchen: ready in \d+ ms \(import \d+\)")
    gateway.err.wait(r"^kitchen: stopped after (300ms|0\.3s) idle, \d+\.\d MB given back; gateway \d+\.\d MB$")


def test_nothing_python_before_the_first_request(launch):
    gateway = launch(kitchen())
    with gateway.connect() as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        time.sleep(0.3)
        assert not children(gateway.pid)
        connection.send(b"\r\n")
        assert connection.answer().status == 200
    assert len(gateway.workers) == 1


def test_what_is_answered_without_the_app_wakes_nobody(launch):
    gateway = launch(kitchen(path="/api"))
    with gateway.connect() as connection:
        assert connection.get("/elsewhere").status == 404
        connection.send(b"nonsense\r\n\r\n")
        assert connection.answer().status == 400
    assert not children(gateway.pid)


@pytest.mark.valgrind
def test_start_reuse_stop_start(launch):
    gateway = launch(kitchen(idle_timeout="3s"))
    first = gateway.get("/pid").text
    assert gateway.get("/pid").text == first == str(gateway.one_worker())
    gateway.no_worker()
    assert not gateway.zombies()
    second = gateway.get("/pid").text
    assert second != first


def test_requests_put_the_idle_stop_off(launch):
    gateway = launch(kitchen(idle_timeout="2s"))
    first = gateway.get("/pid").text
    for _ in range(5):
        time.sleep(0.5)
        assert gateway.get("/pid").text == first


def test_a_long_request_is_not_idle(launch, tmp_path):
    gateway = launch(kitchen(idle_timeout="200ms"))
    file = tmp_path / "go"
    with gateway.connect() as connection:
        connection.request("GET", f"/wait?file={file}")
        wait_until((tmp_path / "go.here").exists, "the request")
        time.sleep(0.6)
        file.touch()
        assert connection.answer().text == "waited"


def test_idle_timeout_off(launch):
    gateway = launch(kitchen(idle_timeout="off"))
    gateway.get("/")
    time.sleep(0.5)
    gateway.one_worker()


def test_apps_are_apart(launch):
    gateway = launch({"app:one": app("kitchen", path="/one"), "app:two": app("kitchen", path="/two")})
    one = gateway.get("/one/pid").text
    assert len(gateway.workers) == 1
    two = gateway.get("/two/pid").text
    assert one != two and len(gateway.workers) == 2


def test_many_requests_at_a_cold_app(launch):
    """All of them wait for the one start; none is lost and no second worker is made."""
    gateway = launch({"app:slow": app("slowstart", env="SECONDS=0.5")})
    connections = [gateway.connect() for _ in range(20)]
    for connection in connections:
        connection.request("GET", "/")
    for connection in connections:
        assert connection.answer().text == "at last\n"
        connection.close()
    gateway.err.wait("^slow: ready")
    assert len(re.findall("slow: ready", gateway.err.text)) == 1


@pytest.mark.parametrize("size", [100000, 1000000])
def test_bodies_that_nobody_reads_cost_no_worker(launch, size):
    """Behind a long one the worker closes the connection, and another request waits for just that slot."""
    gateway = launch(kitchen(concurrency=1))
    load = Load(gateway, "/unread", clients=4, requests=20, body=bytes(size)).join()
    assert load.all_good() == 80
    assert len(re.findall("^kitchen: ready", gateway.err.text, re.M)) == 1


@pytest.mark.valgrind
def test_second_worker_when_the_first_is_busy(launch, tmp_path):
    gateway = launch(kitchen(workers=2, concurrency=1))
    connections = [gateway.connect() for _ in range(2)]
    for n, connection in enumerate(connections):
        connection.request("GET", f"/wait?file={tmp_path}/{n}")
    for n in range(2):
        wait_until((tmp_path / f"{n}.here").exists, f"request {n}")
    assert len(gateway.workers) == 2
    for n, connection in enumerate(connections):
        (tmp_path / str(n)).touch()
        assert connection.answer().text == "waited"
        connection.close()


# --- what a worker is given


def test_descriptors(launch):
    gateway = launch(kitchen())
    found = json.loads(gateway.get("/descriptors").text)
    assert found["0"] == "/dev/null"
    assert found["1"].startswith("pipe:") and found["2"].startswith("pipe:")
    listening = {link for link in gateway.descriptors().values() if link.startswith("socket:")}
    assert not listening & set(found.values()), "a socket of the gateway is in the worker"


def test_subprocesses_of_an_app_inherit_nothing(launch):
    gateway = launch(kitchen(idle_timeout="off"))
    child = int(gateway.get("/subprocess").text)

    def links():
        try:
            return {name: os.readlink(f"/proc/{child}/fd/{name}") for name in os.listdir(f"/proc/{child}/fd")}
        except OSError:  # one that was open while the program was loaded
            return {}

    wait_until(lambda: "sleep" in proc_file(child, "comm") and set(links()) == {"0", "1", "2"}, "nothing else")
    assert links()["0"] == "/dev/null"


def test_environment(launch, tmp_path):
    (tmp_path / "more.env").write_text("FROM_FILE=yes\nLONG=" + "x" * 5000 + "\n")
    gateway = launch(kitchen(env=["A=1", "B=two words"], env_file=tmp_path / "more.env"),
                     environ={"LISTEN_FDS": "0", "NOTIFY_SOCKET": "/nowhere", "LEANGATE_LOG_LEVEL": "info", "KEPT": "1"})
    environ = json.loads(gateway.get("/process-environ").text)
    assert environ | {"A": "1", "B": "two words", "FROM_FILE": "yes", "LONG": "x" * 5000, "KEPT": "1"} == environ
    assert not [name for name in environ if name.startswith(("LEANGATE_", "LISTEN_", "NOTIFY_", "WATCHDOG_"))]


def test_clear_env(launch):
    gateway = launch(kitchen(clear_env="on", env="A=1"), environ={"SECRET": "1"})
    environ = json.loads(gateway.get("/process-environ").text)
    assert "SECRET" not in environ and environ["A"] == "1" and "PATH" in environ
    worker = gateway.one_worker()
    gateway.stop()
    assert not alive(worker)  # leftovers() would not know it by its environment


@pytest.mark.parametrize("env, found", [([], "leangate/"), (["SERVER_SOFTWARE=Development"], "Development")])
def test_a_worker_knows_before_a_request_that_there_is_a_server(launch, env, found):
    gateway = launch(kitchen(env=env))
    assert json.loads(gateway.get("/process-environ").text)["SERVER_SOFTWARE"].startswith(found)


def test_the_process(launch):
    gateway = launch(kitchen(umask="0027"))
    gateway.get("/")
    pid = gateway.one_worker()
    status = dict(line.split(":\t", 1) for line in proc_file(pid, "status").splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1" and status["Umask"] == "0027"
    assert os.getpgid(pid) == pid and os.readlink(f"/proc/{pid}/cwd") == str(APPS)


@pytest.mark.skipif(SLOW, reason="they need /proc")
def test_without_proc(launch, tmp_path, monkeypatch):
    """As in a directory that somebody has changed the root to: the socket keeps a name, and goes with its worker."""
    bare = ["unshare", "-m", "--propagation", "private", "sh", "-c", 'umount -l /proc && exec "$@"', "sh"]
    if subprocess.run([*bare, "true"], capture_output=True).returncode != 0:
        pytest.skip("needs the right to unmount")
    script = tmp_path / "entry"
    script.write_text(f'#!/bin/sh\nexec {shlex.join([*bare, str(BINARY)])} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr("gateway.BINARY", script)
    gateway = launch(kitchen(idle_timeout="300ms"))
    for _ in range(2):
        assert gateway.get("/x").text == "GET /x"
        gateway.no_worker()


def test_a_place_that_takes_a_directory_but_no_socket(launch, tmp_path):
    """As FAT does, or a file system without inodes: the next place is taken."""
    place = tmp_path / "run"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=2", "none", place], capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount")
    try:
        gateway = launch(kitchen(), environ={"RUNTIME_DIRECTORY": str(place)})
        assert gateway.get("/x").text == "GET /x"
        assert not list(place.iterdir())
        gateway.stop()
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_output_of_the_worker_raw(launch):
    gateway = launch(kitchen())
    gateway.get("/print")
    gateway.out.wait("^a line on stdout$")
    gateway.err.wait("^a line on stderr$")
    gateway.err.wait("a line on wsgi.errors$")


@pytest.mark.valgrind
def test_output_of_the_worker_tagged(launch):
    gateway = launch({"log": {"worker": "tagged"}} | kitchen())
    gateway.get("/print")
    pid = gateway.one_worker()
    wait_until(lambda: "a line on stdout" in gateway.out.text + gateway.err.text, "the line")
    line = re.search("^.*a line on stdout$", gateway.out.text + gateway.err.text, re.M)[0]
    assert "kitchen" in line and str(pid) in line


# --- apps that cannot be imported


@pytest.mark.parametrize("module, words", [("broken", "No module named 'a_module_that_is_nowhere'"),
                                           ("raises", "the database is not there")])
@pytest.mark.valgrind
def test_import_failure(launch, module, words):
    gateway = launch({"app:bad": app(module)})
    answer = gateway.get("/")
    assert answer.status == 500 and words not in answer.text
    gateway.err.wait(re.escape(words))
    gateway.err.wait("^Traceback")
    assert "pyworker" not in re.sub(r"\(python: .*", "", gateway.err.text), "our own frames in the traceback"


def test_import_failure_with_debug(launch):
    gateway = launch({"app:bad": app("raises", debug="on")})
    answer = gateway.get("/")
    assert answer.status == 500 and "Traceback" in answer.text and "the database is not there" in answer.text


@pytest.mark.valgrind
def test_back_off(launch):
    """The stored failure is answered at once, without a start, until a pause that doubles is over."""
    gateway = launch({"app:bad": app("broken")})

    def starts():
        assert gateway.get("/").status == 500
        return len(re.findall("^Traceback", gateway.err.text, re.M))

    wait_until(lambda: starts() >= 6, "six failed starts")  # 0.1 + 0.2 + 0.4 + 0.8 + 1.6 s; the next pause has 3.2
    gateway.no_worker()  # the last one has told why, and is gone a moment later
    before = starts()
    for _ in range(10):
        assert starts() == before and not gateway.workers


def test_a_mended_app_comes_back(launch, tmp_path):
    gateway = launch({"app:app": app("mending", env=f"MENDED={tmp_path}/mended")})
    assert gateway.get("/").status == 500
    (tmp_path / "mended").touch()
    assert wait_until(lambda: (answer := gateway.get("/")).status == 200 and answer, "the mended app").text == "mended\n"


def test_exit_at_import(launch):
    gateway = launch({"app:bad": app("exits")})
    assert gateway.get("/").status == 502


# --- workers that die


def test_crash_before_the_answer(launch, tmp_path):
    gateway = launch(kitchen())
    assert gateway.get(f"/die?once={tmp_path}/died").text == "survived"
    assert gateway.post("/die", b"").status == 502
    gateway.err.wait("kitchen: .*(7|exit)")


def test_crash_by_signal(launch):
    gateway = launch(kitchen())
    assert gateway.post("/die?signal=9", b"").status == 502
    assert gateway.get("/").status == 200


@pytest.mark.valgrind
def test_crash_behind_the_head(launch):
    gateway = launch(kitchen())
    with gateway.connect() as connection:
        connection.request("GET", "/die?late")
        with pytest.raises(Cut) as cut:
            connection.answer()
        assert b"half" in cut.value.body
    assert gateway.get("/").status == 200


def test_worker_killed_while_idle(launch):
    gateway = launch(kitchen())
    gateway.get("/")
    os.kill(gateway.one_worker(), signal.SIGKILL)
    gateway.no_worker()
    assert gateway.get("/").status == 200


def test_an_exception_is_500_and_the_worker_lives(launch):
    gateway = launch(kitchen())
    pid = gateway.get("/pid").text
    assert gateway.get("/raise").status == 500
    gateway.err.wait("ValueError: raised before the head")
    with gateway.connect() as connection:
        connection.request("GET", "/raise-late")
        with pytest.raises(Cut):
            connection.answer()
    gateway.err.wait("ValueError: raised behind the head")
    assert gateway.get("/pid").text == pid


@pytest.mark.valgrind
def test_request_timeout(launch):
    gateway = launch(kitchen(request_timeout="2s", stop_timeout="300ms"))
    pid = int(gateway.get("/pid").text)
    assert gateway.get("/hang").status == 504
    wait_until(lambda: not alive(pid), "the end of the worker that hangs")
    assert gateway.get("/").status == 200


@pytest.mark.valgrind
def test_what_an_app_leaves_behind_goes_with_its_worker(launch):
    gateway = launch(kitchen(idle_timeout="300ms"))
    child = int(gateway.get("/subprocess").text)
    gateway.no_worker()
    wait_until(lambda: not alive(child), "the subprocess of a worker that is gone")


def test_client_that_leaves_while_the_app_works(launch, tmp_path):
    """The worker is busy still and must not be believed free: the next request waits for it."""
    gateway = launch(kitchen())
    with gateway.connect() as connection:
        connection.request("GET", f"/wait?file={tmp_path}/go")
        wait_until((tmp_path / "go.here").exists, "the request")
    with gateway.connect() as connection:
        connection.request("GET", "/pid")
        time.sleep(0.2)
        (tmp_path / "go").touch()
        assert int(connection.answer().text) == gateway.one_worker()


# --- the end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_drain(launch, tmp_path, number):
    """What has begun is finished, then the exit status is 0."""
    gateway = launch(kitchen())
    with gateway.connect() as connection, gateway.connect() as idle:
        idle.get("/")
        connection.request("GET", f"/wait?file={tmp_path}/go")
        wait_until((tmp_path / "go.here").exists, "the request")
        gateway.send_signal(number)
        gateway.err.wait(r"^draining: 1 request left \(Ctrl-C again to stop now\)$")
        assert idle.ended()
        with pytest.raises(OSError):
            gateway.connect()
        (tmp_path / "go").touch()
        answer = connection.answer()
        assert answer.text == "waited" and answer.get("Connection") == "close"
        assert connection.ended()
    assert gateway.wait() == 0


def test_drain_serves_what_has_arrived(launch):
    """The gateway has not looked yet: a request on an open connection, and one on a connection that nobody accepted."""
    gateway = launch(kitchen())
    with gateway.connect() as old:
        assert old.get("/").status == 200
        gateway.send_signal(signal.SIGSTOP)
        wait_until(lambda: proc_state(gateway.pid) == "T", "the stop")
        old.request("GET", "/1")
        with gateway.connect() as new:
            new.request("GET", "/2")
            gateway.send_signal(signal.SIGTERM)
            gateway.send_signal(signal.SIGCONT)
            assert old.answer().status == 200
            assert new.answer().status == 200
    assert gateway.wait() == 0


def test_a_start_that_closes_its_socket_and_hangs(launch, tmp_path):
    (tmp_path / "hang.py").write_text("import os, time\nos.closerange(3, 64)\ntime.sleep(3600)\n")
    gateway = launch({"app:hang": {"module": "hang", "directory": tmp_path}})
    for _ in range(3):
        assert gateway.get("/").status == 502
    gateway.err.wait(r"^error: hang: worker \d+ closed its socket before it was ready and was killed$")
    gateway.no_worker()


def test_a_start_that_somebody_kills(launch, tmp_path):
    """Its socket closes then, too; the kernel does it to the largest process when memory is short."""
    (tmp_path / "large.py").write_text("import os\nheld = b'x' * 50_000_000\nos.kill(os.getpid(), 9)\n")
    gateway = launch({"app:large": {"module": "large", "directory": tmp_path}})
    assert gateway.get("/").status == 502
    for start in 0, gateway.err.wait(r"^error: .*\n").end():
        assert "was killed by signal 9 (Killed), maybe out of memory" in gateway.err.wait(r"^error: .*\n", start)[0]
    gateway.no_worker()


@pytest.mark.valgrind
def test_a_stream_ends_when_its_client_leaves(launch):
    gateway = launch({"app:stream": app("endless", request_timeout="60s")})
    with gateway.connect() as connection:
        connection.request("GET", "/")
        assert connection.head().status == 200
    wait_until(lambda: gateway.get("/quick").text == "closed 1", "the end of the stream")
    assert len(gateway.workers) == 1


@pytest.mark.valgrind
def test_drain_serves_what_waits_for_a_cold_start(launch):
    gateway = launch({"app:slow": app("slowstart", env="SECONDS=0.7")})
    with gateway.connect() as connection:
        connection.request("GET", "/")
        wait_until(lambda: gateway.workers, "the start")
        gateway.send_signal(signal.SIGTERM)
        assert connection.answer().text == "at last\n"
    assert gateway.wait() == 0


@pytest.mark.parametrize("first, second", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT)])
@pytest.mark.valgrind
def test_a_second_signal_stops_at_once(launch, first, second):
    gateway = launch(kitchen())
    with gateway.connect() as connection:
        connection.request("GET", "/hang")
        gateway.one_worker()
        gateway.send_signal(first)
        gateway.err.wait("^draining")
        began = time.monotonic()
        gateway.send_signal(second)
        assert gateway.wait() == 0
        assert time.monotonic() - began < 5
    gateway.check_end()


def test_drain_timeout(launch):
    gateway = launch({"timeouts": {"drain": "500ms"}} | kitchen())
    with gateway.connect() as connection:
        connection.request("GET", "/hang")
        gateway.one_worker()
        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait() == 0
    gateway.check_end()


def test_stubborn_worker_is_killed_in_the_end(launch):
    gateway = launch(kitchen(stop_timeout="300ms"))
    gateway.get("/stubborn")
    gateway.stop()


def test_no_worker_outlives_a_killed_gateway(tmp_path):
    gateway = Gateway(tmp_path, {"gateway": {"listen": "127.0.0.1:0"}} | kitchen()).start()
    try:
        gateway.get("/")
        assert gateway.workers
        gateway.send_signal(signal.SIGKILL)
        assert gateway.wait() == -signal.SIGKILL
        gateway.check_end()
    finally:
        gateway.kill()


def test_sigkill_while_starting(tmp_path):
    gateway = Gateway(tmp_path, {"gateway": {"listen": "127.0.0.1:0"}, "app:slow": app("slowstart", env="SECONDS=30")})
    try:
        gateway.start()
        with gateway.connect() as connection:
            connection.request("GET", "/")
            wait_until(lambda: gateway.workers, "the start")
            gateway.send_signal(signal.SIGKILL)
        assert gateway.wait() == -signal.SIGKILL
        gateway.check_end()
    finally:
        gateway.kill()


def test_who_finds_a_slot_does_not_count_as_waiting(launch):
    """Requests that come at the same moment: as many as there are slots, and then some."""
    gateway = launch(kitchen(concurrency=4, queue=1))
    with ExitStack() as stack:
        connections = [stack.enter_context(gateway.connect()) for _ in range(12)]
        for connection in connections:
            assert connection.get("/x").status == 200
        for count, least in (4, 4), (12, 5):
            gateway.send_signal(signal.SIGSTOP)
            wait_until(lambda: proc_state(gateway.pid) == "T", "a standstill")
            for connection in connections[:count]:
                connection.request("GET", "/x")
            gateway.send_signal(signal.SIGCONT)
            statuses = [connection.answer().status for connection in connections[:count]]
            assert statuses.count(200) >= least and set(statuses) <= {200, 503}


def test_who_waits_in_the_queue_keeps_the_worker(launch, tmp_path):
    """Each request takes longer than idle_timeout, and a worker that has one queued behind it is not idle.
    All come at once."""
    (tmp_path / "naps.py").write_text(
        "import os, time\n"
        "def app(environ, start_response):\n"
        "    time.sleep(0.25)\n"
        "    body = b'%d' % os.getpid()\n"
        "    start_response('200 OK', [('Content-Length', str(len(body)))])\n"
        "    return [body]\n")
    gateway = launch({"app:naps": {"module": "naps", "directory": tmp_path, "concurrency": 1, "idle_timeout": "100ms"}})
    with ExitStack() as stack:
        connections = [stack.enter_context(gateway.connect()) for _ in range(6)]
        gateway.send_signal(signal.SIGSTOP)
        wait_until(lambda: proc_state(gateway.pid) == "T", "a standstill")
        for connection in connections:
            connection.request("GET", "/")
        gateway.send_signal(signal.SIGCONT)
        answers = [connection.answer() for connection in connections]
    assert [answer.status for answer in answers] == [200] * 6 and len({answer.text for answer in answers}) == 1
    gateway.err.wait("^naps: stopped after 100ms idle")


def test_output_of_several_apps(launch):
    """Tagged, for else nobody knows whose it is; unless somebody asks for it as it is."""
    apps = kitchen() | {"app:other": app("hello", path="/other")}
    gateway = launch(apps)
    gateway.get("/print")
    gateway.out.wait(r"^kitchen\[\d+\]: a line on stdout$")
    gateway.err.wait(r"^kitchen\[\d+\]: a line on stderr$")
    gateway = launch(apps | {"log": {"worker": "raw"}})
    gateway.get("/print")
    gateway.out.wait("^a line on stdout$")
    gateway.err.wait("^a line on stderr$")
