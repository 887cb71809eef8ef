"""Prints the figures of idle memory, wake-ups, a warm hello and a cold start (`make bench-memory`).

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

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/support"))

from measure import memory, switches  # noqa: E402

BINARY = os.environ.get("LEANGATE_BIN") or str(ROOT / "build/leangate")
HELLO = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello\\n"]
"""
FAIR = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


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
    return "RSS {} PSS {} PD {} kB".format(*figures)


def bench_idle(directory, seconds):
    with gateway(directory, 3) as (pid, _):
        few = memory(pid)
        row("idle gateway, three apps", kilobytes(few), "RSS 2048, PSS 400, PD 200")
        before = switches(pid)
        time.sleep(seconds)
        row(f"wake-ups of the idle gateway in {seconds} s", switches(pid) - before, "0")
    with gateway(directory, 1000) as (pid, _):
        many = memory(pid)
        row("1,000 apps, none running", kilobytes(many))
        row("  more than three apps", f"{many[2] - few[2]} kB", "1536 kB")


def bench_warm(directory):
    with gateway(directory, 1) as (pid, port):
        for _ in range(100):
            get(port, "/app0")
        alone = [sys.executable, "-c", "import hello, time; time.sleep(1e6)"]
        with subprocess.Popen(alone, cwd=directory, env=FAIR) as python:
            time.sleep(0.5)
            worker = workers(pid)[0]
            ours, reference = memory(pid, worker), memory(python.pid)
            row("warm hello: gateway", kilobytes(memory(pid)))
            row("warm hello: gateway + worker", kilobytes(ours))
            row("python -c 'import hello' asleep", kilobytes(reference))
            row("  PSS more than that", f"{ours[1] - reference[1]} kB", "800 kB")
            python.kill()


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
    row(f"  ratio, median of {runs} pairs", f"{ratio:.2f}", "1.50")


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--seconds", type=int, default=130, help="how long the idle gateway is watched")
    options.add_argument("--runs", type=int, default=31, help="pairs of cold starts")
    chosen = options.parse_args()
    os.sync()  # pages of files just written count as dirty until then
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "hello.py").write_text(HELLO)
        row("", "measured", "promised")
        bench_idle(directory, chosen.seconds)
        bench_warm(directory)
        bench_cold(directory, chosen.runs)


if __name__ == "__main__":
    main()
