"""The gateway under test: started in a private directory with a configuration made for the test, looked at from
outside, stopped, and searched for what it may have left behind."""

import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

import rawhttp

ROOT = Path(__file__).resolve().parents[2]
APPS = ROOT / "tests/support/apps"
BINARY = Path(os.environ.get("LEANGATE_BIN") or ROOT / "build/leangate").resolve()
WRAPPER = shlex.split(os.environ.get("LEANGATE_WRAPPER", ""))
SANITISED = BINARY.parent.name == "san"
SLOW = bool(WRAPPER) or SANITISED
PATIENCE = 60.0 if SLOW else 20.0

BANNER = re.compile(r"^leangate \S+ on (.*?)  \(", re.M)
# What is said of a worker of ours when it or the gateway has a mistake; else it is a fake one, or its app forges something.
MISTAKE = re.compile(r"^error: .*worker \d+ (told nonsense|does not speak FastCGI)", re.M)
COMPLAINT = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|==\d+==")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


def wait_until(condition, what, patience=PATIENCE):
    """The first true value of condition(); the one place where tests wait by looking."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:.0f} s in vain: {what}")
        time.sleep(0.01)
    return value


class Output:
    """What a pipe has brought so far, read by a thread."""

    def __init__(self, pipe):
        self.text = ""
        self.news = threading.Condition()
        self.thread = threading.Thread(target=self.read, args=(pipe,), daemon=True)
        self.thread.start()

    def read(self, pipe):
        with pipe:
            while data := os.read(pipe.fileno(), 65536):
                with self.news:
                    self.text += data.decode(errors="backslashreplace")
                    self.news.notify_all()

    def wait(self, pattern, start=0, patience=PATIENCE):
        """The match of a pattern behind `start`, as soon as there is one."""
        deadline = time.monotonic() + patience
        with self.news:
            while not (match := re.compile(pattern, re.M).search(self.text, start)):
                if not self.news.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    raise AssertionError(f"waited in vain for {pattern!r} in:\n{self.text}")
            return match


def ini(sections):
    """{"gateway": {...}, "app:hello": {...}} as text; a list becomes indented lines."""
    lines = []
    for section, keys in sections.items():
        lines.append(f"[{section}]")
        for key, value in keys.items():
            if isinstance(value, (list, tuple)):
                lines.append(f"{key} =")
                lines += [f"    {item}" for item in value]
            else:
                lines.append(f"{key} = {value}")
    return "\n".join(lines) + "\n"


def clean_environ(**more):
    """A small environment: nothing of the caller's can change what is tested."""
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    if SANITISED:
        environ["ASAN_OPTIONS"] = "exitcode=99:detect_stack_use_after_return=1"
        environ["UBSAN_OPTIONS"] = "print_stacktrace=1"
    return environ | more


def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def proc_file(pid, name):
    """A file of /proc, or nothing when the process is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def proc_state(pid):
    """The letter of its state, or nothing when the process is gone."""
    return proc_file(pid, "stat").rpartition(")")[2].strip()[:1]


def alive(pid):
    """Not so is also one that has ended, and that nobody has waited for."""
    return bool(proc_file(pid, "cmdline"))


def children(pid):
    """(pid, state) of the direct children."""
    found = []
    for child in processes():
        stat = proc_file(child, "stat")
        if stat:
            state, parent = stat.rpartition(")")[2].split()[:2]
            if int(parent) == pid:
                found.append((child, state))
    return found


class Gateway:
    def __init__(self, directory, sections=None, args=(), environ=None, text=None, name="gateway.ini"):
        """sections (or text) become the configuration file; with neither there is none, the arguments say all."""
        self.directory = directory
        self.tmp = directory / "tmp"
        self.tmp.mkdir(exist_ok=True)
        self.args = list(args)
        self.mark = uuid.uuid4().hex  # in the environment of everything that comes from this gateway
        self.environ = clean_environ(**{"TMPDIR": str(self.tmp), "XDG_CACHE_HOME": str(directory / "cache"), "TEST_MARK": self.mark} | (environ or {}))
        self.config = directory / name
        self.binary = BINARY
        if text is not None or sections is not None:
            self.config.write_text(text if text is not None else ini(sections))
        self.process = self.out = self.err = None
        self.awaited = False  # its end
        self.forged = self.config.exists() and "fakeworker" in self.config.read_text()
        self.urls = []

    # -- life

    def start(self, wait=True):
        self.process = subprocess.Popen([*WRAPPER, self.binary, *self.args], cwd=self.directory, env=self.environ,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        bufsize=0)
        self.out, self.err = Output(self.process.stdout), Output(self.process.stderr)
        if wait:
            self.wait_banner()
        return self

    def wait_banner(self):
        wait_until(lambda: "\n" in self.err.text and BANNER.search(self.err.text) or self.process.poll() is not None,
                   "the banner")
        banner = BANNER.search(self.err.text)
        assert banner, f"it ended with {self.process.poll()} instead of a banner:\n{self.err.text}"
        self.urls = banner[1].split(" and ")

    def send_signal(self, number):
        self.process.send_signal(number)

    def wait(self, patience=PATIENCE):
        """Its exit status; all that it printed is there then."""
        self.awaited = True
        status = self.process.wait(patience)
        # A worker that outlives the gateway would hold the pipes: that is for leftovers() to say.
        self.out.thread.join(2)
        self.err.thread.join(2)
        return status

    def stop(self, number=signal.SIGTERM):
        """Stops it and holds it to a clean end."""
        if self.process.poll() is None:
            assert not self.zombies(), "zombies while it runs"
            self.send_signal(number)
        status = self.wait()
        assert status == 0, f"exit status {status}:\n{self.err.text}"
        self.check_end()

    def finish(self):
        """At the end of a test that passed: stopped, or gone because the test wanted it so."""
        if self.process.poll() is None:
            self.stop()
        else:
            assert self.awaited, f"it ended by itself with {self.process.returncode}:\n{self.err.text}"
            self.check_end()

    def check_end(self):
        """No sanitiser's word, no mistake between gateway and worker, no process and no file left; after any kind of end."""
        assert not COMPLAINT.search(self.err.text), self.err.text
        assert self.forged or not MISTAKE.search(self.err.text), self.err.text
        wait_until(lambda: not self.leftovers(), f"the end of {self.leftovers()}", 5)
        assert not list(self.tmp.iterdir()), f"files left: {list(self.tmp.iterdir())}"

    def kill(self):
        """For the end of a test that failed: nothing may stay."""
        self.awaited = True
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in self.leftovers():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    # -- what it is like from outside

    @property
    def pid(self):
        return self.process.pid

    @property
    def workers(self):
        """Pids of the children that live."""
        return [pid for pid, state in children(self.pid) if state not in "ZX"]

    def zombies(self):
        """Children that it does not reap, a moment given."""
        def dead():
            return {pid for pid, state in children(self.pid) if state == "Z"}
        found = dead()
        deadline = time.monotonic() + 5
        while found and time.monotonic() < deadline:  # on a busy machine it may be a while until it looks
            time.sleep(0.02)
            found &= dead()
        return found

    def leftovers(self):
        """Everything alive that carries the mark, but for the gateway while it runs."""
        mine = {self.process.pid} if self.process and self.process.poll() is None else set()
        return [pid for pid in processes()
                if pid not in mine and f"TEST_MARK={self.mark}" in proc_file(pid, "environ")]

    def descriptors(self):
        """What its file descriptors are, by number."""
        found = {}
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                found[int(entry.name)] = os.readlink(entry)
            except OSError:
                pass
        return found

    def no_worker(self, patience=PATIENCE):
        wait_until(lambda: not self.workers, "no worker", patience)

    def one_worker(self):
        """The pid of the one worker there is."""
        def leads(pid):  # each worker has its own group; what reads ahead of its start is in that, and our child
            try:
                return os.getpgid(pid) == pid
            except ProcessLookupError:
                return False

        pids = wait_until(lambda: [pid for pid in self.workers if leads(pid)], "a worker")
        assert len(pids) == 1, pids
        return pids[0]

    def files(self):
        """The regular files that it holds open under its TMPDIR, unlinked ones, too; those of valgrind are not its own."""
        def is_regular(number):
            try:
                return stat.S_ISREG(os.stat(f"/proc/{self.pid}/fd/{number}").st_mode)
            except FileNotFoundError:
                return False  # closed meanwhile

        return [target for number, target in self.descriptors().items()
                if target.startswith(str(self.tmp)) and "/valgrind_proc_" not in target and is_regular(number)]

    # -- talking to it

    def address(self, index=0):
        """(host, port) or the path of the n-th listener."""
        url = self.urls[index]
        if "unix:" in url:
            return url.partition("unix:")[2]
        host, _, port = url.removeprefix("http://").rstrip("/").rpartition(":")
        return host.strip("[]"), int(port)

    def connect(self, index=0, timeout=PATIENCE, source=None):
        return rawhttp.Connection(self.address(index), timeout, source)

    def get(self, target="/", **more):
        """One request on a connection of its own."""
        with self.connect() as connection:
            return connection.get(target, **more)

    def post(self, target, body, **more):
        with self.connect() as connection:
            return connection.post(target, body, **more)


def run(directory, *args, environ=None, patience=PATIENCE):
    """Runs the program to its end: a subprocess.CompletedProcess with text."""
    result = subprocess.run([*WRAPPER, BINARY, *args], cwd=directory, env=clean_environ(**{"XDG_CACHE_HOME": str(Path(directory) / "cache")} | (environ or {})),
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=patience)
    assert not COMPLAINT.search(result.stderr), result.stderr
    return result


def app(module, **keys):
    """The keys of an app section for one of the tiny apps, run by this very interpreter."""
    return {"module": module, "directory": APPS, "python": sys.executable} | keys


def kitchen(**keys):
    """The sections of a gateway with one app, which does whatever a test wants (apps/kitchen.py)."""
    return {"app:kitchen": app("kitchen", **keys)}
