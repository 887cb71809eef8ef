"""The figures of idle memory, wake-ups, a warm hello and a cold start, then the memory of leangate and others, each started
alone: before any request, warm, and idle again (`make bench-memory`).

Everything that is compared runs on the same machine in the same run: the reference beside it, or in turn with it.
The gateway is $LEANGATE_BIN or build/leangate, the interpreter the one that runs this file.
"""

import argparse
import contextlib
import http.client
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import peers
import record
import resident
from serving import BINARY, FAIR, ROOT, Failed, free_port, leave_out, load, server, tree
from verdict import WATCHED, falls_short

sys.path.insert(0, str(ROOT / "tests/support"))

from measure import memory, switches  # noqa: E402

HELLO = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello\\n"]
"""
# --- the gateway beside its promises

IDLE = 2048, 400, 200  # kB: RSS, PSS, private dirty
THOUSAND = 1536  # kB of private dirty more
WARM = 800  # kB of PSS more
COLD = 1.5  # × the import


@contextlib.contextmanager
def gateway(directory, apps, idle_timeout="60s"):
    """A gateway with that many hello apps at /app0, /app1, ...: (pid, port)."""
    lines = ["[gateway]", "listen = 127.0.0.1:0", "[log]", "access = off"]
    lines += ["[app]", "module = hello:app", f"python = {sys.executable}", f"idle_timeout = {idle_timeout}"]
    for n in range(apps):
        lines += [f"[app:app{n}]", f"path = /app{n}"]
    file = Path(directory, "gateway.ini")
    file.write_text("\n".join(lines) + "\n")
    process = subprocess.Popen([BINARY, "-c", str(file)], stderr=subprocess.PIPE, env=FAIR)
    try:
        port = None
        while port is None:
            line = process.stderr.readline().decode()
            if not line:
                raise SystemExit("the gateway did not start")
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            port = found and int(found[1])
        time.sleep(0.5)
        yield process.pid, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        process.stderr.close()


def get(port, path):
    """One request on a connection of its own; how long it took from connect to the last byte, in seconds."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    took = time.perf_counter() - began
    connection.close()
    if answer.status != 200 or body != b"hello\n":
        raise SystemExit(f"{path} was answered with {answer.status}")
    return took


def workers(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def row(what, figure, promise=""):
    print(f"{what:<58} {figure:>24}   {promise}")


def kilobytes(figures):
    return "RSS {:.0f} PSS {:.0f} PD {:.0f} kB".format(*figures)


def bench_wakeups(directory, seconds):
    with gateway(directory, 3) as (pid, _):
        before = switches(pid)
        time.sleep(seconds)
        woken = switches(pid) - before
    row(f"wake-ups of the idle gateway in {seconds} s", woken, "0")
    return {"seconds": seconds, "wakeups": woken}


def idle_and_warm(directory):
    """RSS, PSS and private dirty in kB of the gateway with three apps and with a thousand, of one with a warm worker, and of Python alone."""
    found = {}
    for name, apps in ("idle", 3), ("thousand", 1000):
        with gateway(directory, apps) as (pid, _):
            found[name] = memory(pid)
    with gateway(directory, 1) as (pid, port):
        for _ in range(100):
            get(port, "/app0")
        alone = [sys.executable, "-c", "import hello, time; time.sleep(1e6)"]
        with subprocess.Popen(alone, cwd=directory, env=FAIR) as python:
            time.sleep(0.5)
            found |= {"warm": memory(pid, *map(int, workers(pid))), "python": memory(python.pid)}
            python.kill()
    return found


def bench_alone(directory, rounds):
    """The medians of each, and the samples."""
    runs = [idle_and_warm(directory) for _ in range(rounds)]
    middle = {name: [statistics.median(column) for column in zip(*(run[name] for run in runs))] for name in runs[0]}
    row("idle gateway, three apps", kilobytes(middle["idle"]), kilobytes(IDLE))
    row("1,000 apps, none running", kilobytes(middle["thousand"]))
    row("  more than three apps", f"{middle['thousand'][2] - middle['idle'][2]} kB", f"{THOUSAND} kB")
    row("warm hello: gateway + worker", kilobytes(middle["warm"]))
    row("python -c 'import hello' asleep", kilobytes(middle["python"]))
    row("  PSS more than that", f"{middle['warm'][1] - middle['python'][1]} kB", f"{WARM} kB")
    return middle | {"runs": runs}


def bench_cold(directory, runs):
    """A first request after a sleep against the interpreter's own start, in turn."""
    plain = [sys.executable, "-c", "import hello, os; os._exit(0)"]
    ours, reference = [], []
    with gateway(directory, 1, idle_timeout="10ms") as (pid, port):
        get(port, "/app0")
        for _ in range(runs):
            while workers(pid):
                time.sleep(0.01)
            time.sleep(0.02)
            ours.append(get(port, "/app0"))
            began = time.perf_counter()
            subprocess.run(plain, cwd=directory, env=FAIR, check=True, close_fds=False)
            reference.append(time.perf_counter() - began)
    ratio = statistics.median(a / b for a, b in zip(ours, reference))
    row("first request to a cold hello, median", f"{statistics.median(ours) * 1e3:.1f} ms")
    row("python -c 'import hello, os; os._exit(0)', median", f"{statistics.median(reference) * 1e3:.1f} ms")
    row(f"  ratio, median of {runs} pairs", f"{ratio:.2f}", f"{COLD:.2f}")
    return {"cold": ours, "python_import": reference}


def beyond(gateway):
    """What is more than promised, as text."""
    idle, thousand, warm, python = (gateway[name] for name in ("idle", "thousand", "warm", "python"))
    ratio = statistics.median(ours / plain for ours, plain in zip(gateway["cold"], gateway["python_import"]))
    checked = {
        f"idle gateway: {kilobytes(idle)}, promised {kilobytes(IDLE)}": all(ours <= most for ours, most in zip(idle, IDLE)),
        f"1,000 apps: {thousand[2] - idle[2]} kB more, promised {THOUSAND}": thousand[2] - idle[2] <= THOUSAND,
        f"warm hello: {warm[1] - python[1]} kB more than Python, promised {WARM}": warm[1] - python[1] <= WARM,
        f"cold hello: {ratio:.2f} x the import, promised {COLD}": ratio <= COLD,
    }
    return [text for text, holds in checked.items() if not holds]


# --- beside others


GOES = 2  # seconds without a request
HELLO_WSGI, HELLO_ASGI, FASTAPI = "hello_wsgi:app", "hello_asgi:app", "hello_fastapi:app"


# Each makes a function that gives the command for a port and a directory of its own.

def serving(command, spec):
    return lambda port, home: command(spec, port)


def resident_row(name):
    return lambda port, home: resident.ROWS[name](port, home)[0]


def leangate(spec):
    """The idle_timeout is short, so that the third column need not wait for a minute."""
    return lambda port, home: peers.leangate(spec, port)[:-1] + [f"{GOES}s"]


def hypercorn(port, home):
    return [peers.tool("hypercorn"), "--bind", f"127.0.0.1:{port}", HELLO_ASGI]


BESIDE = {
    "hello": {
        "leangate": leangate(HELLO_WSGI), "leangate, ASGI": leangate(HELLO_ASGI), "waitress": serving(peers.waitress, HELLO_WSGI), "uWSGI": serving(peers.uwsgi, HELLO_WSGI),
        "gunicorn": serving(peers.gunicorn, HELLO_WSGI), "Granian": serving(peers.granian_wsgi, HELLO_WSGI),
        "bjoern": serving(peers.bjoern, HELLO_WSGI), "uvicorn": serving(peers.uvicorn, HELLO_ASGI), "Hypercorn": hypercorn,
        "bare asyncio": resident_row("bare asyncio"), "Express": resident_row("Express"), "Go net/http": resident_row("Go net/http"),
        "lighttpd alone": resident_row("lighttpd alone")},
    "fastapi": {"leangate": leangate(FASTAPI), "uvicorn": serving(peers.uvicorn, FASTAPI), "Granian": serving(peers.granian_asgi, FASTAPI)},
}


def whole(pid):
    return memory(*tree(pid))


def woken(pid):
    """How often the gateway is woken while nobody asks."""
    before = switches(pid)
    time.sleep(WATCHED)
    return switches(pid) - before


def alone(command, port, directory):
    """{"before", "warm", "after"}: RSS, PSS and private dirty of the whole process tree in kB."""
    with server(command, port, peers.APPS, log=directory, listens_only=True) as pid:
        time.sleep(1.5)  # some import their app after they listen
        found = {"before": whole(pid)}
        load(port, 4, 1)
        found["warm"] = whole(pid)
        time.sleep(GOES + 1.5)
        return found | {"after": whole(pid)} | ({"wakeups": woken(pid)} if command[0] == BINARY else {})


def bench_beside(directory, rounds):
    """{group: {name: [a round, ...]}}, in an order that changes from round to round."""
    samples = {group: {name: [] for name in rows} for group, rows in BESIDE.items()}
    gone = set()
    for number in range(rounds):
        for group, name in [(group, name) for group, rows in BESIDE.items() for name in rows][:: 1 if number % 2 else -1]:
            if (group, name) in gone:
                continue
            port, home = free_port(), Path(tempfile.mkdtemp(prefix="row-", dir=directory))
            home.chmod(0o755)  # some servers look into it as another user
            try:
                command = BESIDE[group][name](port, home)
            except (OSError, subprocess.CalledProcessError, SystemExit) as error:  # the last: a program is missing
                leave_out(name, error)
                gone.add((group, name))
                continue
            try:
                samples[group][name].append(alone(command, port, directory))
            except (Failed, OSError) as error:
                leave_out(f"{name}, {group}", error)
                gone.add((group, name))
    return {group: {name: runs for name, runs in rows.items() if (group, name) not in gone} for group, rows in samples.items()}


def tell(samples, rounds):
    print(f"\nPSS / private dirty in MB, each alone, median of {rounds}")
    for group, rows in samples.items():
        for name, runs in rows.items():
            cells = [" / ".join(f"{statistics.median(run[phase][column] for run in runs) / 1024:.2f}" for column in (1, 2))
                     for phase in ("before", "warm", "after")]
            print(f"  {group:<8} {name:<16} before {cells[0]:>15}   warm {cells[1]:>15}   after {cells[2]:>15}")


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("--seconds", type=int, default=130, help="how long the idle gateway is watched")
    options.add_argument("--runs", type=int, default=31, help="pairs of cold starts")
    options.add_argument("--rounds", type=int, default=5, help="of each figure of memory; 0: leave out the other servers")
    chosen = options.parse_args()
    os.sync()  # pages of files just written count as dirty until then
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "hello.py").write_text(HELLO)
        row("", "measured", "promised")
        gateway_alone = bench_wakeups(directory, chosen.seconds) | bench_alone(directory, max(1, chosen.rounds)) | bench_cold(directory, chosen.runs)
        samples = bench_beside(directory, chosen.rounds) if chosen.rounds else {}
        tell(samples, chosen.rounds)
    data = {"unit": "kB", "columns": ["rss", "pss", "private_dirty"], "gateway": gateway_alone, "samples": samples}
    return record.keep("memory", data, beyond(gateway_alone) + falls_short({"memory": data}, "idle", "warm-hello-memory", "warm-fastapi-memory", "wake-ups"))


if __name__ == "__main__":
    raise SystemExit(main())
