"""What the benches share: servers that run beside each other, load from wrk, and what a process tree has spent."""

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BINARY = os.environ.get("LEANGATE_BIN") or str(ROOT / "build/leangate")
PATIENCE = 20
# Bytecode is cached as everywhere, and no variable of the caller steers a server.
STEERING = "PYTHON", "LEANGATE_", "UVICORN_", "GRANIAN_", "GUNICORN_", "WEB_CONCURRENCY", "UWSGI_", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GODEBUG", "NODE_"
FAIR = {name: value for name, value in os.environ.items() if not name.startswith(STEERING)}


# Debian keeps some servers where only root's PATH leads; the last is what tests/support/need-servers unpacks.
SEARCHED = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:{ROOT}/build/servers/usr/sbin"


def find(program):
    path = shutil.which(program, path=SEARCHED)
    if path is None:
        raise SystemExit(f"{program} is missing: tests/support/need-packages bench bench-peers")
    return path


def free_ports(count):
    """All different, which one after the other need not be."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def free_port():
    return free_ports(1)[0]


def get(port, path="/"):
    """(status, body) of one GET on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def tree(pid):
    """The process and all below it."""
    pids = [pid]
    for parent in pids:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
    return pids


def cpu(pid):
    """Seconds that a process and all below it have spent so far, those that have ended included."""
    ticks = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])  # its own, and of children that it has waited for
    return ticks / os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A server that does not serve."""


def leave_out(name, error):
    """Names a peer that is not measured, and why; without leangate there is nothing to measure."""
    if name.startswith("leangate"):
        raise SystemExit(f"{name} cannot be measured: {error}")
    print(f"  left out: {name}: {(str(error).splitlines() or [repr(error)])[0]}", flush=True)


def answers(port, path, expected):
    status, body = get(port, path)
    return status == 200 and expected in (None, body)


def sockets(state):
    """(own port, the peer's port) of each TCP socket of this machine in a state, as the kernel numbers them."""
    for table in "/proc/net/tcp", "/proc/net/tcp6":
        with contextlib.suppress(FileNotFoundError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == state:
                    yield tuple(int(address.rpartition(":")[2], 16) for address in fields[1:3])


def listens(port):
    """Whether anybody listens there: looked up, since a connection would be the first traffic, and wakes some."""
    return any(own == port for own, _ in sockets("0A"))


def clients(port):
    """How many are connected to it."""
    return sum(peer == port for _, peer in sockets("01"))


def wait_to_listen(port, patience=PATIENCE):
    """Returns when somebody listens there; Failed when nobody does in so many seconds."""
    deadline = time.monotonic() + patience
    while not listens(port):
        if time.monotonic() > deadline:
            raise Failed(f"nothing listens on {port}")
        time.sleep(0.05)


@contextlib.contextmanager
def server(command, port, directory, path="/", expected=None, log=None, listens_only=False):
    """The pid of a server in `directory`, once it answers 200 (with these bytes), or only listens, so that nothing is woken;
    port None: at once. It is gone afterwards with all its children. Its output goes to a file in `log`."""
    log = Path(log or directory, f"{Path(command[0]).name}-{port}.log")
    with open(log, "wb") as out, subprocess.Popen(command, cwd=directory, env=FAIR, stdout=out, stderr=out,
                                                  start_new_session=True) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while port is not None:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise Failed(f"{' '.join(map(str, command))} does not serve:\n{log.read_text()[-2000:]}")
                with contextlib.suppress(OSError):
                    if listens(port) if listens_only else answers(port, path, expected):
                        break
                time.sleep(0.02)
            yield process.pid
        finally:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wrk(port, connections, seconds, path="/"):
    """The command."""
    return [find("wrk"), "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--latency", f"http://127.0.0.1:{port}{path}"]


def load(port, connections, seconds, path="/"):
    """What wrk counts in so many seconds: (requests, requests/s, median latency in seconds)."""
    text = subprocess.run(wrk(port, connections, seconds, path), capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    if re.search(r"Non-2xx|Socket errors", text):
        raise SystemExit(f"wrk saw errors:\n{text}")
    number, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)", text).groups()
    latency = float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1}[unit]
    return int(re.search(r"(\d+) requests in", text)[1]), float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), latency


LATE = 0.5  # seconds


def was_late(port, connections):
    """Whether the last of so many clients has no answer for as long as wrk keeps the others busy, or these cannot all connect."""
    with subprocess.Popen(wrk(port, connections - 1, 2), stdout=subprocess.DEVNULL) as others:
        while clients(port) < connections - 1 and others.poll() is None:
            time.sleep(0.01)
        over = others.poll() is not None
        begun = time.monotonic()
        status = get(port)[0]
        took = time.monotonic() - begun
        others.send_signal(signal.SIGINT)
    if status != 200 or others.returncode not in (0, -signal.SIGINT):
        raise SystemExit(f"a request failed beside {connections - 1} clients of wrk: {status}, wrk: {others.returncode}")
    return over or took > LATE


def starves(port, connections):
    """Whether that is so three times in a row: wrk does not count a request that was not answered before the end."""
    return all(was_late(port, connections) for _ in range(3))
