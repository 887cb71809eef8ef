"""A worker as the gateway starts it: listening socket on fd 0, control channel on fd 3, the package found by -c."""

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from fcgi_client import Connection

ROOT = Path(__file__).resolve().parents[2]
WORKER_DIR = str((ROOT / os.environ.get("LEANGATE_WORKER_DIR", "build")).resolve())
PYTHON = os.environ.get("LEANGATE_TEST_PYTHON", sys.executable)
# libasan in a sanitised run, which is slower; figures do not hold there.
PRELOAD = os.environ.get("LEANGATE_TEST_PRELOAD", "")
# Where ASan writes what it finds, a file for each process, for the standard error is the app's; GCC's UBSan knows nothing else.
REPORTS = Path(os.environ.get("LEANGATE_TEST_REPORTS", ROOT / "build/reports"))
PATIENCE = 20 if not PRELOAD else 60  # seconds
CRASHES = [-number for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)]

HELLO = """
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]
"""


def eventually(condition, patience=PATIENCE):
    """Wait until condition() is true; return what it gave."""
    end = time.monotonic() + patience
    while True:
        result = condition()
        if result or time.monotonic() > end:
            assert result, "it never came true"
            return result
        time.sleep(0.002)


def interpreters():
    """The interpreters of this machine: {version: path}. A version with "t" is free-threaded."""
    found = {"%d.%d" % sys.version_info[:2]: sys.executable}
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [*pyenv.glob("versions/*/bin/python"), *Path("/usr/bin").glob("python3.*"),
                  *Path("/usr/local/bin").glob("python3.*"), *Path("/usr/bin").glob("pypy3*")]
    for path in candidates:
        if re.fullmatch(r"python(3\.\d+t?)?|pypy3", path.name):
            script = "import sys; print('%s%d.%d%s' % ((sys.version_info[0] > 2 and sys.implementation.name != 'cpython' and " \
                     "'pypy') or '', sys.version_info[0], sys.version_info[1], 't' in getattr(sys, 'abiflags', '') and 't' or ''))"
            run = subprocess.run([path, "-c", script], capture_output=True, text=True)
            if run.returncode == 0:
                found.setdefault(run.stdout.strip(), str(path))
    return found


def number(version):
    return tuple(int(part) for part in re.findall(r"\d+", version))


def high(fd):
    """A copy of a descriptor that is in nobody's way."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20)


def hand_over(given):
    """In the child: give it these descriptors {number: descriptor}, 1, 2, and nothing else."""
    for number in signal.SIGINT, signal.SIGQUIT, signal.SIGHUP:  # a background job of a shell ignores them
        signal.signal(number, signal.SIG_DFL)
    for fd in os.listdir("/proc/self/fd"):
        try:
            if int(fd) > 2:
                os.set_inheritable(int(fd), False)
        except OSError:
            pass  # the one that listed them
    for number, fd in given.items():
        os.dup2(fd, number)


class Worker:
    """One worker process, its files and its end of the control channel."""

    def __init__(self, directory, source=HELLO, spec="main:app", options=(), **more):
        self.directory = Path(directory)
        self.notes = []
        self.directory.mkdir(exist_ok=True)
        if source is not None:
            (self.directory / "main.py").write_text(textwrap.dedent(source))
        self.address = str(self.directory / "s")
        self.spawn([*options, *([spec] if spec else [])], **more)

    def spawn(self, arguments, python=PYTHON, control=True, environ=None, command=None, listen=True, prefix=()):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.address)
        if listen:
            self.listener.listen(128)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(PATIENCE)
        given = {0: high(self.listener.fileno())}
        if control:
            given[3] = high(theirs.fileno())
        start = command or ["-c", "import sys; sys.path.insert(0, %r); import pyworker.__main__" % WORKER_DIR]
        with open(self.directory / "out", "wb") as out, open(self.directory / "err", "wb") as err:
            self.process = subprocess.Popen(
                [*prefix, python, *start, *arguments],
                cwd=self.directory,
                env=self.environ(environ or {}),
                stdout=out,
                stderr=err,
                close_fds=False,
                preexec_fn=lambda: hand_over(given),
            )
        for fd in given.values():
            os.close(fd)
        theirs.close()

    @staticmethod
    def environ(more):
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        if PRELOAD:
            # an interpreter does not free all of its memory at its end: no leak is looked for
            environ.update(LD_PRELOAD=PRELOAD, PYTHONMALLOC="malloc", UBSAN_OPTIONS="print_stacktrace=1",
                           ASAN_OPTIONS=f"detect_leaks=0:allocator_may_return_null=1:log_path={REPORTS}/sanitiser")
        environ.update(more)
        return environ

    # --- what it says ---

    def message(self):
        """The next control message as text; '' at the end of the channel."""
        try:
            return self.control.recv(65536).decode("utf-8", "replace")
        except ConnectionResetError:
            return ""

    def ready(self):
        """Itself, once it is; what it had to say before is in `notes`."""
        assert self.message() == "START"
        while (message := self.message()).startswith("NOTE "):
            self.notes.append(message)
        assert message.startswith("READY "), message + self.stderr
        return self

    def failed(self):
        """(summary, details) of a FAILED message; the worker must then end with code 1."""
        assert self.message() == "START"
        kind, summary, details = self.message().split("\n", 2)
        assert kind == "FAILED"
        assert self.wait() == 1, self.stderr
        return summary, details

    @property
    def stdout(self):
        return (self.directory / "out").read_text()

    @property
    def stderr(self):
        return (self.directory / "err").read_text()

    # --- what it is told ---

    def connect(self):
        return Connection(self.address, PATIENCE)

    def ask(self, *arguments, **named):
        """One request on a connection of its own."""
        with self.connect() as connection:
            return connection.ask(*arguments, **named)

    def say(self, text):
        self.control.send(text.encode())

    def wait(self):
        return self.process.wait(PATIENCE)

    def stop(self):
        self.say("STOP")
        return self.wait()

    def end(self):
        """Whatever state it is in, it is gone afterwards, and nothing of ours is open. It has not crashed before."""
        status = self.process.poll()
        if status is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.control.close()
        self.listener.close()
        assert status not in CRASHES, "it ended with %s:\n%s" % (status, self.stderr)

    # --- what the kernel says ---

    def memory(self):
        """Resident memory in bytes that is no file's: a page of the interpreter used for the first time is no leak."""
        status = Path("/proc/%d/status" % self.process.pid).read_text()
        return 1024 * int(status.partition("RssAnon:")[2].split()[0])

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def sleeps(self):
        """Whether it waits in the kernel (epoll_wait, or a read or write that blocks)."""
        return Path("/proc/%d/stat" % self.process.pid).read_text().rpartition(")")[2].split()[0] == "S"
