"""What the gateway hands on to its workers of what it was started with, and how it stands as a process itself."""

import json
import os
import re
import shlex
import signal
import subprocess

import pytest

from gateway import BINARY, WRAPPER, app, children, proc_file, wait_until

pytestmark = pytest.mark.skipif(bool(WRAPPER), reason="valgrind would run the scripts, and has an environment of its own")

KITCHEN = {"app:kitchen": app("kitchen")}
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.fixture
def entry(tmp_path, monkeypatch):
    """entry(words): from now on the program is started by a shell, behind these words."""
    def write(words):
        script = tmp_path / "entry"
        script.write_text(f'#!/bin/sh\n{words} "{BINARY}" "$@"\n')
        script.chmod(0o755)
        monkeypatch.setattr("gateway.BINARY", script)
    return write


def status(pid):
    """/proc/PID/status as a dict."""
    return dict(line.split(":\t", 1) for line in proc_file(pid, "status").splitlines() if ":\t" in line)


def test_what_clear_env_keeps(launch):
    given = {"HOME": "/", "LANG": "C.UTF-8", "LC_TIME": "C", "TZ": "UTC", "SECRET": "1", "LEANGATE_LOG_LEVEL": "info", "NOTIFY_SOCKET": ""}
    gateway = launch({"app:kitchen": app("kitchen", clear_env="on", env="A=1")}, environ=given)
    environ = json.loads(gateway.get("/process-environ").text)
    assert set(environ) == {"PATH", "HOME", "LANG", "LC_TIME", "TZ", "TMPDIR", "SERVER_SOFTWARE", "A"}
    assert {name: environ[name] for name in ("HOME", "LANG", "LC_TIME", "TZ")}.items() <= given.items()


def test_the_limit_of_descriptors(launch, entry):
    """The gateway takes all that it may have; select() of an app bears no more than is usual."""
    entry("ulimit -Sn 700 && exec")
    gateway = launch(KITCHEN)
    gateway.get("/x")

    def soft(pid):
        return int(re.search(r"^Max open files +(\d+)", proc_file(pid, "limits"), re.M)[1])

    assert soft(gateway.one_worker()) == 700 < soft(gateway.pid)


def test_signals_are_as_usual_in_a_worker(launch, entry):
    """Whatever the gateway, or who has started it, ignores or blocks."""
    entry('trap "" USR2 WINCH && exec')
    gateway = launch(KITCHEN)
    gateway.get("/x")
    ours = 1 << signal.SIGUSR2 - 1 | 1 << signal.SIGWINCH - 1
    assert int(status(gateway.pid)["SigIgn"], 16) & ours == ours
    worker = status(gateway.one_worker())
    assert int(worker["SigIgn"], 16) & ours == 0 == int(worker["SigBlk"], 16)


def test_the_place_of_a_workers_socket(launch, tmp_path):
    """The first of the usual ones that takes it."""
    run, user = tmp_path / "run", tmp_path / "user"
    for place in run, user:
        place.mkdir()
    for first, second, found in [(run, user, run), (tmp_path / "none", user, user), ("relative", "", None)]:
        gateway = launch(KITCHEN, environ={"RUNTIME_DIRECTORY": str(first), "XDG_RUNTIME_DIR": str(second)})
        assert gateway.get("/x").status == 200
        place, = {target.rpartition("/leangate-")[0] for target in gateway.descriptors().values() if "/leangate-" in target}
        assert place == str(found or gateway.tmp)
    assert not list(run.iterdir()) and not list(user.iterdir())


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, who becomes nobody")
def test_its_workers_cannot_trace_it(launch, entry, tmp_path):
    """What may not be traced belongs to root in /proc. As a user from the start: who becomes one later cannot be traced anyway."""
    for directory in [tmp_path, *tmp_path.parents]:
        directory.chmod(directory.stat().st_mode | 0o001)
    if subprocess.run([*NOBODY, BINARY, "--version"], capture_output=True).returncode != 0:
        pytest.skip("nobody can run it here")
    entry(f"exec {shlex.join(NOBODY)}")
    gateway = launch(KITCHEN, environ={"TMPDIR": "/tmp"})
    assert status(gateway.pid)["Uid"].split() == ["65534"] * 4
    assert os.stat(f"/proc/{gateway.pid}/status").st_uid == 0
    with subprocess.Popen([*NOBODY, "sleep", "60"]) as other:
        try:
            wait_until(lambda: os.stat(f"/proc/{other.pid}/status").st_uid == 65534, "one that can be traced")
        finally:
            other.kill()


def test_process_1_reaps_what_is_left_to_it(launch, entry, tmp_path):
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode != 0:
        pytest.skip("needs the right to make a namespace")
    (tmp_path / "orphan.py").write_text("import os\n"
                                        "def application(environ, start_response):\n"
                                        "    if os.fork() == 0:\n"
                                        "        if os.fork() == 0:\n"
                                        "            os.execlp('sleep', 'sleep', '0.1')\n"
                                        "        os._exit(0)\n"
                                        "    os.wait()\n"
                                        "    start_response('200 OK', [])\n"
                                        "    return []\n")
    entry(f"exec {shlex.join(unshare)}")
    outside = launch({"app:orphan": app("orphan", directory=tmp_path)})
    (pid, _), = children(outside.pid)
    assert outside.get("/").status == 200
    wait_until(lambda: [state for _, state in children(pid)] == ["S"], "the worker alone")
    os.kill(pid, signal.SIGTERM)
    assert outside.wait() == 0
