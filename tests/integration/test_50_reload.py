"""SIGHUP: another configuration for a gateway that runs. A bad one changes nothing, a good one holds at once, and no
request is lost by it."""

import os
import pwd
import re
import signal
import socket
import stat
import subprocess
import shutil
import time

import pytest

from fakeworker import install, journal
from gateway import app, ini, kitchen, proc_state, run, wait_until
from inside import Inside
from load import Load


def rewrite(gateway, sections, listen="127.0.0.1:0"):
    """Another file, and the signal; waits until it holds."""
    gateway.config.write_text(ini({"gateway": {"listen": listen}} | sections))
    hup(gateway)


def hup(gateway, words="^configuration loaded anew: "):
    start = len(gateway.err.text)
    gateway.send_signal(signal.SIGHUP)
    gateway.err.wait(words, start)


def code(directory, version):
    """An app that says its version; Python must not take the bytecode of another one written in the same second, and a
    start must not read half of it."""
    fresh = directory / "versioned.new"
    fresh.write_text(
        "import os, time\n"
        f"VERSION = {version!r}\n"
        "def application(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/wait':\n"
        "        open(os.environ['FILE'] + '.here', 'w').close()\n"
        "        while not os.path.exists(os.environ['FILE']):\n"
        "            time.sleep(0.005)\n"
        "    start_response('200 OK', [('Content-Length', str(len(VERSION)))])\n"
        "    return [VERSION.encode()]\n")
    fresh.rename(directory / "versioned.py")
    shutil.rmtree(directory / "__pycache__", ignore_errors=True)


def versioned(tmp_path, **keys):
    return {"app:k": {"module": "versioned", "directory": tmp_path, "bytecode": "off",
                      "env": [f"FILE={tmp_path}/go", "PYTHONDONTWRITEBYTECODE=1"]} | keys}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_takes_a_start_and_the_log_says_so(launch):
    gateway = launch(kitchen())
    gateway.config.write_text(ini({"gateway": {"listen": "127.0.0.1:0", "user": "nobody"}} | kitchen()))
    hup(gateway, r"(?s)^warning: user and group are as they were: .*^configuration loaded anew: ")
    told = gateway.err.text.count("as they were")
    hup(gateway)
    assert gateway.err.text.count("as they were") == told == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_logs_that_root_has_made_are_opened_again_by_the_user(launch, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    nobody = pwd.getpwnam("nobody")
    os.chown(logs, nobody.pw_uid, nobody.pw_gid)
    (tmp_path / "here").symlink_to(".")  # a link of root's, which is followed
    for directory in logs.parents:
        directory.chmod(os.stat(directory).st_mode | stat.S_IXOTH)
    gateway = launch({"gateway": {"user": "nobody"}, "log": {"access": tmp_path / "here/logs/access.log"}} | kitchen(path="/k"))
    assert gateway.get("/one").status == 404
    assert (logs / "access.log").stat().st_uid == nobody.pw_uid
    (logs / "access.log").rename(logs / "old.log")
    (logs / "access.log").touch(0o640)  # as logrotate would, root's
    gateway.send_signal(signal.SIGUSR1)
    gateway.err.wait("cannot open the log .*access.log again: Permission denied")
    (logs / "access.log").unlink()
    gateway.send_signal(signal.SIGUSR1)
    wait_until((logs / "access.log").exists, "the new file")
    gateway.get("/two")
    wait_until(lambda: "/two" in (logs / "access.log").read_text(), "the line")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_log_that_a_start_has_made_which_failed_is_of_the_user_too(tmp_path):
    """The next start finds it there, and leaves it as it is."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        (tmp_path / "gateway.ini").write_text(ini({"gateway": {"user": "nobody", "listen": "127.0.0.1:%d" % other.getsockname()[1]},
                                                   "log": {"access": tmp_path / "access.log"}} | kitchen()))
        assert run(tmp_path).returncode == 3
    assert (tmp_path / "access.log").stat().st_uid == pwd.getpwnam("nobody").pw_uid


# --- nothing changes


@pytest.mark.parametrize("text, words", [
    ("[app:k]\nmodule = kitchen\nworkers = many\n", r"gateway\.ini:3: \[app:k\] workers: "),
    ("nonsense\n", r"gateway\.ini:1: "),
    ("[gateway]\nlisten = 127.0.0.1:1\n[app:k]\nmodule = kitchen\n", r"gateway\.ini:2: \[gateway\] listen: cannot listen on 127.0.0.1:1: "),
])
def test_a_bad_file_changes_nothing(launch, text, words):
    gateway = launch(kitchen())
    if "listen" in text and os.geteuid() == 0:
        blocked = launch(kitchen())  # a port that somebody else has
        text = text.replace("127.0.0.1:1\n", "%s:%d\n" % blocked.address())
        words = r"gateway\.ini:2: \[gateway\] listen: cannot listen on "
    pid = gateway.get("/pid").text
    gateway.config.write_text(text)
    hup(gateway, f"^error: the old configuration goes on: {words}")
    assert gateway.get("/pid").text == pid


def test_a_missing_file_changes_nothing(launch):
    gateway = launch(kitchen())
    gateway.config.unlink()
    hup(gateway, "^error: the old configuration goes on: ")
    assert gateway.get("/").status == 200


# --- what holds at once


def test_routes_and_apps(launch):
    gateway = launch({"app:a": app("kitchen", path="/a"), "app:b": app("kitchen", path="/b")})
    assert gateway.get("/a/x").text == "GET /x" and gateway.get("/b/x").text == "GET /x"
    rewrite(gateway, {"app:b": app("kitchen", path="/two"), "app:c": app("kitchen", path="/c")})
    assert gateway.get("/a/x").status == gateway.get("/b/x").status == 404
    assert gateway.get("/two/y").text == "GET /y" and gateway.get("/c/z").text == "GET /z"
    wait_until(lambda: len(gateway.workers) == 2, "the end of the worker of an app that is gone")


def test_limits(launch):
    gateway = launch(kitchen(body_size=10))
    assert gateway.post("/echo", b"x" * 20).status == 413
    with gateway.connect() as connection:
        assert connection.get("/").status == 200
        rewrite(gateway, kitchen(body_size=100))
        assert connection.post("/echo", b"x" * 20).text == "x" * 20


def test_an_answer_of_an_old_worker_is_held_to_the_limits_of_its_request(launch, tmp_path):
    """Which is the younger one. Its head has no room then, and that is said."""
    gateway = launch({"limits": {"response_headers": "64k"}} | scripted(tmp_path, "tight-head", "never-ready", idle_timeout="off"))
    assert gateway.get("/").status == 200
    rewrite(gateway, {"limits": {"response_headers": "4k", "response_memory": "4k"}}
            | scripted(tmp_path, "tight-head", "never-ready", idle_timeout="off", stop_timeout="100ms"))
    assert gateway.get("/").status == 502
    gateway.err.wait("its head is larger than response_memory")


def test_environment_of_workers(launch):
    gateway = launch(kitchen(env="A=old"))
    assert '"A": "old"' in gateway.get("/process-environ").text
    rewrite(gateway, kitchen(env="A=new"))
    assert '"A": "new"' in gateway.get("/process-environ").text


def test_listeners(launch, tmp_path):
    first, second = tmp_path / "one.sock", tmp_path / "two.sock"
    gateway = launch({"gateway": {"listen": [f"unix:{first}", "127.0.0.1:0"]}} | kitchen())
    tcp = gateway.address(1)
    with gateway.connect(0) as old, gateway.connect(1) as kept:
        assert old.get("/").status == kept.get("/").status == 200
        rewrite(gateway, kitchen(), listen=["127.0.0.1:0", f"unix:{second}"])
        gateway.err.wait(r"^no longer on .*one\.sock")
        gateway.err.wait(r"^now on .*two\.sock")
        assert not first.exists()
        assert old.get("/environ").status == kept.get("/").status == 200  # connections outlive their listener
        gateway.urls = [f"http://unix:{second}", f"http://{tcp[0]}:{tcp[1]}"]
        for index in range(2):
            with gateway.connect(index) as again:
                assert again.get("/").status == 200


def held(gateway, path):
    """How many connections the kernel holds for it while it accepts none."""
    gateway.send_signal(signal.SIGSTOP)
    wait_until(lambda: proc_state(gateway.pid) == "T", "the stop")
    clients = []
    try:
        while True:
            clients.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            clients[-1].connect(path)
    except BlockingIOError:
        return len(clients) - 1
    finally:
        for client in clients:
            client.close()
        gateway.send_signal(signal.SIGCONT)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(path)  # returns when there is room again
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(1) == b"H"  # those before it have been accepted, too


def test_backlog_and_mode_of_a_socket_that_stays(launch, tmp_path):
    path = tmp_path / "one.sock"
    gateway = launch({"gateway": {"listen": f"unix:{path}", "backlog": 3, "listen_mode": "0600"}} | kitchen())
    before = path.stat()
    assert held(gateway, str(path)) == 4 and stat.S_IMODE(before.st_mode) == 0o600
    gateway.config.write_text(ini({"gateway": {"listen": f"unix:{path}", "backlog": 7, "listen_mode": "0666"}} | kitchen()))
    hup(gateway)
    assert held(gateway, str(path)) == 8 and stat.S_IMODE(path.stat().st_mode) == 0o666
    assert path.stat().st_ino == before.st_ino and gateway.get("/").status == 200


def test_the_mode_of_what_has_taken_the_name_of_a_socket_stays(launch, tmp_path):
    path, other = tmp_path / "one.sock", tmp_path / "other"
    gateway = launch({"gateway": {"listen": ["127.0.0.1:0", f"unix:{path}"]}} | kitchen())
    other.touch(0o600)
    path.unlink()
    path.symlink_to(other)
    gateway.config.write_text(ini({"gateway": {"listen": ["127.0.0.1:0", f"unix:{path}"], "listen_mode": "0666"}} | kitchen()))
    hup(gateway)
    assert stat.S_IMODE(other.stat().st_mode) == 0o600 and gateway.get("/").status == 200


def test_log_level_and_files(launch, tmp_path):
    gateway = launch({"log": {"access": tmp_path / "one.log"}} | kitchen())
    gateway.get("/first")
    wait_until(lambda: "/first" in (tmp_path / "one.log").read_text(), "the line")
    rewrite(gateway, {"log": {"access": tmp_path / "two.log", "level": "debug"}} | kitchen())
    gateway.get("/second")
    wait_until(lambda: "/second" in (tmp_path / "two.log").read_text(), "the line")
    assert "/second" not in (tmp_path / "one.log").read_text()
    rewrite(gateway, {"log": {"access": "stdout", "level": "debug"}} | kitchen())
    gateway.get("/third")
    gateway.out.wait("/third")
    gateway.err.wait("^debug: ")


# --- workers


def test_logs_whose_directory_is_gone(launch, tmp_path):
    """The last file that is open has no name: only stderr is left to say it on."""
    logs = tmp_path / "logs"
    logs.mkdir()
    gateway = launch({"log": {"access": str(logs / "access"), "error": str(logs / "error")}} | kitchen(), wait=False)
    wait_until(lambda: (logs / "error").exists() and "on http" in (logs / "error").read_text(), "the banner")
    (logs / "access").unlink()
    (logs / "error").unlink()
    logs.rmdir()
    gateway.send_signal(signal.SIGUSR1)
    gateway.err.wait(rf"^error: cannot open the log {logs}/error again: No such file or directory$")
    logs.mkdir()
    gateway.send_signal(signal.SIGUSR1)
    wait_until(lambda: (logs / "error").exists(), "the log")


def test_an_idle_worker_is_stopped(launch, tmp_path):
    code(tmp_path, "one")
    gateway = launch(versioned(tmp_path))
    assert gateway.get("/").text == "one"
    code(tmp_path, "two")
    hup(gateway)
    gateway.no_worker()
    assert gateway.get("/").text == "two"


def test_with_idle_timeout_off_an_idle_worker_has_a_successor(launch, tmp_path):
    """It may have threads that work while nobody asks."""
    code(tmp_path, "one")
    gateway = launch(versioned(tmp_path, idle_timeout="off"))
    assert gateway.get("/").text == "one"
    (tmp_path / "versioned.py").write_text("raise RuntimeError('half a deployment')\n")
    old = gateway.workers
    hup(gateway)
    gateway.err.wait("RuntimeError: half a deployment")
    wait_until(lambda: gateway.workers == old, "the end of the successor")
    code(tmp_path, "two")
    hup(gateway)
    gateway.err.wait(rf"^k: worker {old[0]} is replaced after 1 requests \(reload\)$")
    wait_until(lambda: len(now := gateway.workers) == 1 and now != old, "the end of the old worker")
    assert gateway.get("/").text == "two"
    gateway.out.wait(r" k warm")


def test_eager_apps_that_run_are_not_to_be_started(launch):
    """There is no place for more of them, and none is needed."""
    gateway = launch({"limits": {"workers": 2}} | {f"app:{n}": app("hello", path=f"/{n}", start="eager") for n in "ab"})
    for n in "ab":
        gateway.err.wait(f"^{n}: ready")
    for _ in range(2):
        hup(gateway)
    assert "not started" not in gateway.err.text


def test_a_busy_app_gets_a_successor_with_the_new_code(launch, tmp_path):
    """The request under way is finished by the old worker, which goes when the new one is ready."""
    code(tmp_path, "one")
    gateway = launch(versioned(tmp_path, concurrency=1))
    with gateway.connect() as connection:
        connection.request("GET", "/wait")
        wait_until((tmp_path / "go.here").exists, "the request")
        code(tmp_path, "two")
        hup(gateway)
        gateway.err.wait(r"^k: worker \d+ is replaced after 0 requests \(reload\)$")
        assert gateway.get("/").text == "two"
        (tmp_path / "go").touch()
        assert connection.answer().text == "one"
    wait_until(lambda: len(gateway.workers) == 1, "the end of the old worker")


def test_a_successor_that_fails_leaves_the_old_worker(launch, tmp_path):
    code(tmp_path, "one")
    gateway = launch(versioned(tmp_path, concurrency=4))
    with gateway.connect() as connection:
        connection.request("GET", "/wait")
        wait_until((tmp_path / "go.here").exists, "the request")
        old = gateway.workers
        load = Load(gateway, "/", clients=2, pause=0.002)
        (tmp_path / "versioned.py").write_text("raise RuntimeError('half a deployment')\n")
        hup(gateway)
        gateway.err.wait("RuntimeError: half a deployment")
        time.sleep(0.3)
        assert old[0] in gateway.workers
        code(tmp_path, "two")  # mended: it is tried again after the back-off
        gateway.err.wait(r"^k: worker \d+ is replaced after \d+ requests \(reload\)$")
        (tmp_path / "go").touch()
        assert connection.answer().text == "one"
        assert gateway.get("/").text == "two"
        load.stop().all_good()
    assert set(load.texts) <= {"one", "two"}


def test_the_old_worker_stands_in_also_when_it_is_idle_at_times(launch, tmp_path):
    """One request after the other: while the successor starts, and after it has failed, the old worker serves."""
    code(tmp_path, "one")
    gateway = launch(versioned(tmp_path))
    with gateway.connect() as connection:
        connection.request("GET", "/wait")
        wait_until((tmp_path / "go.here").exists, "the request")
        (tmp_path / "versioned.py").write_text("import os, time\n"
                                               "while not os.path.exists(os.environ['FILE'] + '.fails'):\n"
                                               "    time.sleep(0.005)\n"
                                               "raise RuntimeError('half a deployment')\n")
        hup(gateway)
        wait_until(lambda: len(gateway.workers) == 2, "the successor")
        (tmp_path / "go").touch()
        assert connection.answer().text == "one"
        load = Load(gateway, "/", clients=1, pause=0.01)
        wait_until(lambda: load.texts["one"] > 10, "what it serves meanwhile")
        (tmp_path / "go.fails").touch()
        gateway.err.wait("RuntimeError: half a deployment")
        time.sleep(0.3)
        load.stop().all_good()
        assert set(load.texts) == {"one"}
        code(tmp_path, "two")
        hup(gateway)
        wait_until(lambda: connection.get("/").text == "two", "the new code")


def test_a_body_that_is_on_its_way(launch):
    """Its app is gone when it is whole: it was asked for before."""
    gateway = launch({"app:a": app("kitchen", path="/a"), "app:b": app("kitchen", path="/b")})
    with gateway.connect() as connection:
        connection.send(b"POST /a/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        gateway.get("/b/")
        rewrite(gateway, {"app:b": app("kitchen", path="/b")})
        connection.send(b"cd")
        assert connection.answer().text == "abcd"
        assert connection.get("/a/").status == 404
    wait_until(lambda: len(gateway.workers) <= 1, "the end of the worker")


def test_what_waits_in_the_queue_is_served(launch, tmp_path):
    python = install(tmp_path, "slow")
    gateway = launch({"app:k": {"module": "m", "directory": tmp_path, "python": python}})
    connections = [gateway.connect() for _ in range(5)]
    for connection in connections:
        connection.request("GET", "/")
    wait_until(lambda: journal(tmp_path, "request"), "the first request")
    hup(gateway)
    for connection in connections:
        assert connection.answer().text == "good"
        connection.close()
    wait_until(lambda: len(journal(tmp_path, "start")) >= 2, "the successor")


def scripted(tmp_path, *scripts, **keys):
    """An app whose starts are these scripts, one after the other."""
    return {"app:k": {"module": "m", "directory": tmp_path, "python": install(tmp_path, *scripts)} | keys}


def test_a_start_with_the_old_file_holds_nobody_up(launch, tmp_path):
    """Who comes after the reload does not wait for it, and who has come before is served when it has ended."""
    gateway = launch(scripted(tmp_path, "never-ready", "good", stop_timeout="5s"))
    with gateway.connect() as before:
        before.request("POST", "/", body=b"x")
        wait_until(lambda: journal(tmp_path, "start"), "the start")
        old = gateway.one_worker()
        hup(gateway)
        assert gateway.get("/").text == "good 0"
        assert old in gateway.workers
        assert before.answer().text == "good 1"
    wait_until(lambda: len(now := gateway.workers) == 1 and old not in now, "the end of the old start")


def test_an_eager_start_begins_anew(launch, tmp_path):
    gateway = launch(scripted(tmp_path, "never-ready", "good", start="eager", idle_timeout="off", stop_timeout="300ms"))
    wait_until(lambda: journal(tmp_path, "start"), "the start")
    hup(gateway)
    gateway.err.wait("^k: ready")


def test_an_eager_app_is_started_whatever_became_of_its_last_start(launch, tmp_path):
    """The one that the first reload ends hangs, the one that it begins fails."""
    gateway = launch(scripted(tmp_path, "never-ready", "fails", "good", start="eager", idle_timeout="off", stop_timeout="10s"))
    wait_until(lambda: journal(tmp_path, "start"), "the start")
    hup(gateway)
    wait_until(lambda: len(journal(tmp_path, "start")) == 2 and len(gateway.workers) == 1, "the end of the second start")
    hup(gateway)
    gateway.err.wait("^k: ready")


def test_an_eager_app_runs_after_each_reload(launch):
    gateway = launch({"app:k": app("hello", start="eager")})
    gateway.err.wait("^k: ready")
    for _ in range(3):
        old, start = gateway.one_worker(), len(gateway.err.text)
        hup(gateway)
        gateway.err.wait("^k: ready", start)
        wait_until(lambda: old not in gateway.workers, "the end of the old one")


def test_an_eager_app_whose_worker_answers_an_ignored_path_runs_after_a_reload(launch, tmp_path):
    """Which keeps that one from being stopped, but not awake: nobody else starts another one."""
    gateway = launch({"app:k": app("kitchen", start="eager", ignore_idle="/wait")})
    gateway.err.wait("^k: ready")
    old, start = gateway.one_worker(), len(gateway.err.text)
    with gateway.connect() as ping:
        ping.request("GET", f"/wait?file={tmp_path}/go")
        wait_until((tmp_path / "go.here").exists, "the request")
        hup(gateway)
        gateway.err.wait("^k: ready", start)
        (tmp_path / "go").touch()
        assert ping.answer().text == "waited"
    wait_until(lambda: len(now := gateway.workers) == 1 and old not in now, "the end of the old one")


def test_reloads_while_an_import_hangs_add_one_process(launch, tmp_path):
    gateway = launch(scripted(tmp_path, *["never-ready"] * 5, "good", stop_timeout="60s"))
    with gateway.connect() as connection:
        connection.request("GET", "/")
        for n in range(1, 7):
            wait_until(lambda: len(journal(tmp_path, "start")) == n, f"start {n}")
            hup(gateway)
            wait_until(lambda: len(gateway.workers) <= 2, "the end of the one before")
        assert connection.answer().text.startswith("good")
    assert "error" not in gateway.err.text


def test_a_start_whose_ready_has_crossed_the_stop_finishes_what_it_has_begun(launch, tmp_path):
    """The next reload kills what hangs in its start, and this one does not."""
    gateway = launch(scripted(tmp_path, "crosses-stop", "good", stop_timeout="60s"))
    with gateway.connect() as connection:
        connection.request("POST", "/", body=b"x")
        wait_until(lambda: journal(tmp_path, "start"), "the start")
        hup(gateway)
        (tmp_path / "cue").touch()
        wait_until(lambda: journal(tmp_path, "request"), "the request")
        hup(gateway)
        (tmp_path / "go").touch()
        assert connection.answer().text == "finished"


def test_a_start_that_a_reload_ends_is_no_death(launch, tmp_path):
    """One that GET may meet it has met already."""
    gateway = launch(scripted(tmp_path, "death-before", "never-ready", "good", stop_timeout="300ms"))
    with gateway.connect() as connection:
        connection.request("GET", "/")
        wait_until(lambda: len(journal(tmp_path, "start")) == 2, "the second start")
        hup(gateway)
        assert connection.answer().text == "good 0"


def test_a_failure_with_the_old_file_is_not_told_by_the_new_one(launch, tmp_path):
    """It comes in the same turn as the signal."""
    gateway = launch(scripted(tmp_path, "fails-on-cue", "good"))
    with gateway.connect() as connection:
        connection.request("GET", "/")
        wait_until(lambda: journal(tmp_path, "waits"), "the start")
        for _ in range(2):  # what it has told is read, and the turn is over
            assert gateway.get("/-/health").status == 200
        old = gateway.one_worker()
        gateway.send_signal(signal.SIGSTOP)
        wait_until(lambda: proc_state(gateway.pid) == "T", "the standstill")
        (tmp_path / "cue").touch()
        wait_until(lambda: proc_state(old) == "Z", "the end of the start")
        gateway.send_signal(signal.SIGHUP)
        gateway.send_signal(signal.SIGCONT)
        assert connection.answer().text == "good 0"


def test_an_app_that_may_not_grow_any_more_lets_others_go_first(launch, tmp_path):
    """It starves for a second worker when another file allows it one only; the next in turn must not wait for it."""
    def sections(workers):
        return {"limits": {"workers": 2}} | {f"app:{n}": app("kitchen", path=f"/{n}", workers=w, concurrency=1)
                                             for n, w in (("a", workers), ("b", 1), ("c", 1))}
    gateway = launch(sections(2))
    targets = [("c", "c1"), ("a", "a1"), ("a", "a2"), ("a", "a3")]
    connections = {name: gateway.connect() for _, name in targets}
    for path, name in targets:
        connections[name].request("GET", f"/{path}/wait?file={tmp_path}/{name}")
        if name in ("c1", "a1"):
            wait_until((tmp_path / f"{name}.here").exists, name)
    gateway.get("/-/health")  # all have arrived
    rewrite(gateway, sections(1))
    wait_until(lambda: any((tmp_path / f"{name}.here").exists() for name in ("a2", "a3")), "the successor")
    with gateway.connect() as last:
        last.request("GET", "/b/pid")
        for name in ("c1", "a1"):
            (tmp_path / name).touch()
            assert connections[name].answer().text == "waited"
        assert last.answer().status == 200
    for name in ("a2", "a3"):
        (tmp_path / name).touch()
    for name in ("a2", "a3"):
        assert connections[name].answer().text == "waited"


# --- many times


def test_fifty_reloads_lose_nothing(launch, tmp_path):
    """Exact counts, kept connections and new ones, a body with each."""
    code(tmp_path, "v0")
    gateway = launch(versioned(tmp_path) | {"app:hello": app("hello", path="/hello")})
    loads = [Load(gateway, "/", clients=3), Load(gateway, "/hello", clients=2)]
    gateway.err.wait("^k: ready")
    for n in range(1, 51):
        code(tmp_path, f"v{n}")
        hup(gateway)
    wait_until(lambda: gateway.get("/").text == "v50", "the last version")
    for load in loads:
        assert load.stop().all_good() == load.sent
    wait_until(lambda: len(gateway.workers) <= 2, "the end of all old workers")


def test_fifty_reloads_under_wrk(launch):
    gateway = launch({"app:hello": app("hello")})
    gateway.get("/")
    url = f"http://127.0.0.1:{gateway.address()[1]}/"
    command = ["wrk", "-t1", "-c8", "-d65s", "--timeout", "5s", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as wrk:
        try:
            for _ in range(50):
                hup(gateway)
                time.sleep(0.1)
            time.sleep(5)  # what is answered only then is an error
            assert wrk.poll() is None, "reloads that nobody has loaded"
        finally:
            wrk.send_signal(signal.SIGINT)  # it reports, and ends
        report = wrk.communicate()[0]
    assert "Socket errors" not in report and "Non-2xx" not in report, report
    assert int(re.search(r"(\d+) requests in", report)[1]) > 100, report


@pytest.mark.parametrize("mode", ["persistent", "fork"])
def test_edited_sources_lose_nothing(launch, tmp_path, mode):
    """reload = on: a worker refuses what it would serve with old code, and goes; no method is too good to be sent again. Its end
    is nothing to complain of, whatever of it is heard first."""
    code(tmp_path, "v0")
    gateway = launch(versioned(tmp_path, reload="on", mode=mode))
    loads = [Load(gateway, "/", clients=3), Load(gateway, "/", clients=3, body=b"x" * 2000)]
    for n in range(6):
        wait_until(lambda: all(load.texts[f"v{n}"] for load in loads), f"version {n}, for both")
        code(tmp_path, f"v{n + 1}")
    wait_until(lambda: all(load.texts["v6"] for load in loads), "the last version")
    for load in loads:
        assert load.stop().all_good() == load.sent
        assert set(load.texts) == {f"v{n}" for n in range(7)}
    assert "error: " not in gateway.err.text


def test_the_status_listener(launch, tmp_path):
    """It moves with the file, and tells of the new apps."""
    first, second = tmp_path / "one.sock", tmp_path / "two.sock"
    gateway = launch({"status": {"listen": f"unix:{first}"}} | kitchen())
    rewrite(gateway, {"status": {"listen": f"unix:{second}"}} | kitchen() | {"app:other": app("kitchen", path="/o")})
    assert not first.exists()
    with Inside(gateway, str(second)) as inside:
        assert inside.app("other")["state"] == "asleep"
    rewrite(gateway, kitchen())
    assert not second.exists()


def test_the_name_of_an_app_that_starves_outlives_its_file(launch, tmp_path):
    """It is told to the log when an idle worker makes room, here in the very turn in which the file of the name is gone: two
    reloads after the request that waits, one after it was last tried. That worker has a successor, and is not stopped before."""
    busy = {"module": "x:y", "directory": tmp_path, "python": install(tmp_path, "slow", "never-ready"), "path": "/busy",
            "idle_timeout": "off", "stop_timeout": "300ms"}
    gateway = launch({"limits": {"workers": 1}, "app:busy": busy, "app:starving": app("hello")})
    first, starving = gateway.connect(), gateway.connect()
    first.send(b"GET /busy HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: journal(tmp_path, "request"), "the first request")
    starving.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    hup(gateway)
    gateway.send_signal(signal.SIGSTOP)
    time.sleep(0.5)  # the first worker answers meanwhile
    gateway.send_signal(signal.SIGHUP)
    gateway.send_signal(signal.SIGCONT)
    gateway.err.wait(r"makes room for starving")
    assert first.answer().status == 200
    assert starving.answer().status == 200
