"""The life of workers in figures (`make bench-life`): a first request to a cold app beside the interpreter's own start, two
hundred that wait together, a thousand apps in one file, and what stays of the gateway after many requests, starts and reloads.

What is compared runs in turn in the same run. The gateway is $LEANGATE_BIN or build/leangate, the interpreter the one that runs
this file.
"""

import argparse
import contextlib
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import record
from verdict import NOISE
from serving import BINARY, FAIR, ROOT, free_port, get, load, server

sys.path.insert(0, str(ROOT / "tests/support"))

from measure import memory  # noqa: E402

APPS = Path(__file__).parent / "apps"
COLD = (("FastAPI", "hello_fastapi"), ("Flask", "hello_flask"), ("hello", "hello_wsgi"))


def row(what, figure, promise=""):
    print(f"{what:<66} {figure:>20}   {promise}", flush=True)


def figure(what, value, most, **samples):
    return {"what": what, "value": value, "most": most, "samples": samples}


def configuration(file, port, apps):
    """apps: name -> keys."""
    lines = ["[gateway]", f"listen = 127.0.0.1:{port}", "[log]", "access = off", "[app]", f"directory = {APPS}",
             f"python = {sys.executable}"]
    for name, keys in apps.items():
        lines += [f"[app:{name}]"] + [f"{key} = {value}" for key, value in keys.items()]
    file.write_text("\n".join(lines) + "\n")


@contextlib.contextmanager
def gateway(directory, apps):
    """(pid, port, its log, its configuration)"""
    port, file, tmp = free_port(), Path(directory, "gateway.ini"), Path(directory, "tmp")
    tmp.mkdir(exist_ok=True)
    configuration(file, port, apps)
    FAIR["TMPDIR"] = str(tmp)
    with server([BINARY, "-c", str(file)], port, directory, listens_only=True) as pid:
        yield pid, port, Path(directory, f"{Path(BINARY).name}-{port}.log"), file


def workers(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def asleep(pid, patience=60):
    deadline = time.monotonic() + patience
    while workers(pid):
        if time.monotonic() > deadline:
            raise SystemExit("a worker does not go")
        time.sleep(0.005)


def request(port, path="/"):
    status, _ = get(port, path)
    if status != 200:
        raise SystemExit(f"{path} was answered with {status}")


def first_byte_to_last(port):
    began = time.perf_counter()
    request(port)
    return time.perf_counter() - began


def bench_cold(directory, name, module, runs):
    """A first request after a sleep against the interpreter that imports the same app, in turn."""
    plain = [sys.executable, "-c", f"import {module}, os; os._exit(0)"]
    ours, reference = [], []
    with gateway(directory, {name: {"module": f"{module}:app", "idle_timeout": "10ms"}}) as (pid, port, _, _):
        first_byte_to_last(port)
        for _ in range(runs):
            asleep(pid)
            time.sleep(0.02)
            ours.append(first_byte_to_last(port))
            began = time.perf_counter()
            subprocess.run(plain, cwd=APPS, env=FAIR, check=True, close_fds=False)
            reference.append(time.perf_counter() - began)
    ratio = statistics.median(a / b for a, b in zip(ours, reference))
    most = 1.5 if name == "hello" else 1.1
    row(f"first request to a cold {name}", f"{statistics.median(ours) * 1e3:.1f} ms")
    row(f"python -c 'import {module}, os; os._exit(0)'", f"{statistics.median(reference) * 1e3:.1f} ms")
    row(f"  ratio, median of {runs} pairs", f"{ratio:.2f}", f"{most:.2f}")
    return figure(f"first request to a cold {name} / import", ratio, most, ours=ours, reference=reference)


def together(port, count):
    """Seconds until `count` requests that are sent at once, each on its connection, are all answered."""
    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)]
        began = time.perf_counter()
        for one in sockets:
            one.sendall(request)
        for one in sockets:
            answer = b""
            while data := one.recv(65536):
                answer += data
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise SystemExit(f"a request failed: {answer[:100]!r}")
        return time.perf_counter() - began


def bench_rush(directory, runs):
    """The 200 that wait for a cold start, against a cold start and 200 warm requests in the same run."""
    cold, warm, rush = [], [], []
    with gateway(directory, {"flask": {"module": "hello_flask:app", "idle_timeout": "250ms"}}) as (pid, port, _, _):
        first_byte_to_last(port)
        for _ in range(runs):
            asleep(pid)
            cold.append(first_byte_to_last(port))
            warm.append(together(port, 200))
            asleep(pid)
            rush.append(together(port, 200))
    ratio = statistics.median(r / (c + w) for r, c, w in zip(rush, cold, warm))
    row("200 at once to a cold Flask", f"{statistics.median(rush) * 1e3:.0f} ms")
    row("a cold start, and 200 at once to it warm", f"{statistics.median(cold) * 1e3:.0f} + {statistics.median(warm) * 1e3:.0f} ms")
    row(f"  ratio, median of {runs}", f"{ratio:.2f}", "1.00")
    return figure("200 at once to a cold Flask / a cold start and 200 warm", ratio, 1.0, rush=rush, cold=cold, warm=warm)


def bench_thousand(directory, runs):
    """From exec to the answer of a request that no app is woken for, with a thousand apps in the file."""
    took = []
    for _ in range(runs):
        port, file = free_port(), Path(directory, "thousand.ini")
        configuration(file, port, {f"a{n}": {"path": f"/a{n}", "module": "hello_wsgi:app"} for n in range(1000)})
        began = time.perf_counter()
        with server([BINARY, "-c", str(file)], None, directory):
            while True:
                with contextlib.suppress(OSError):
                    if get(port, "/-/ready")[0] == 200:
                        break
            took.append(time.perf_counter() - began)
    row("1,000 apps: from exec to the first answer", f"{statistics.median(took) * 1e3:.1f} ms", "100")
    return figure("1,000 apps: exec to the first answer, ms", statistics.median(took) * 1e3, 100, took=took)


def bench_ten_awake(directory):
    """What ten apps cost while they are awake, alone and as ten of a thousand: gateway and workers."""
    figures = []
    for count in 10, 1000:
        apps = {f"a{n}": {"path": f"/a{n}", "module": "hello_wsgi:app"} for n in range(count)}
        with gateway(directory, apps) as (pid, port, _, _):
            before = memory(pid)[2]
            for n in range(10):
                request(port, f"/a{n * count // 10}/")
            time.sleep(0.5)
            ours = memory(pid)[2] - before
            figures.append((ours, sum(memory(int(worker))[2] for worker in workers(pid))))
    for count, (ours, others) in zip((10, 1000), figures):
        row(f"ten awake of {count:,} apps: the gateway's growth, the ten workers", f"{ours} kB, {others} kB")
    ratio = figures[1][1] / figures[0][1]
    row("  workers, ratio", f"{ratio:.2f}", "1.00")
    return figure("ten awake of 1,000 apps / of ten: their workers' private dirty", ratio, 1.0 / NOISE, kilobytes=figures)


# --- what stays


def live(pid, port, log, file, requests, starts, reloads):
    """One round of life."""
    done = 0
    while done < requests:
        done += load(port, 16, 1, "/hello")[0]
    for _ in range(starts):
        request(port, "/once")
    for _ in range(reloads):
        before = log.read_text().count("configuration loaded anew")
        os.utime(file)
        os.kill(pid, signal.SIGHUP)
        while log.read_text().count("configuration loaded anew") == before:
            time.sleep(0.002)
        request(port, "/hello")
    asleep(pid)
    time.sleep(0.5)


def state(pid, directory):
    """(private dirty in kB, descriptors, zombies, files)"""
    zombies = sum(re.search(r"^State:\s+Z", Path(f"/proc/{child}/status").read_text(), re.M) is not None
                  for child in workers(pid))
    return memory(pid)[2], len(os.listdir(f"/proc/{pid}/fd")), zombies, len(list(Path(directory, "tmp").iterdir()))


def bench_stays(directory, requests, starts, reloads):
    apps = {"hello": {"path": "/hello", "module": "hello_wsgi:app", "idle_timeout": "500ms"},
            "once": {"path": "/once", "module": "hello_wsgi:app", "max_requests": 1, "idle_timeout": "500ms"}}
    with gateway(directory, apps) as (pid, port, log, file):
        live(pid, port, log, file, requests // 20, starts // 20, max(reloads // 20, 2))
        first = state(pid, directory)
        live(pid, port, log, file, requests, starts, reloads)
        last = state(pid, directory)
    row("gateway's private dirty after the first round", f"{first[0]} kB")
    row(f"after {requests:,} requests, {starts:,} starts, {reloads} reloads", f"{last[0]} kB")
    row("  ratio", f"{last[0] / first[0]:.2f}", "1.10")
    row("descriptors, zombies, files: then and now", f"{first[1:]} {last[1:]}", "the same, 0, 0")
    leaked = sum(last[1:]) - first[1]
    return [figure(f"private dirty after {requests:,} requests, {starts:,} starts, {reloads} reloads / before", last[0] / first[0], 1.1,
                   kilobytes=[first[0], last[0]]),
            figure("descriptors, zombies and files that stay", leaked, 0, then=first[1:], now=last[1:])]


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("--runs", type=int, default=15, help="of each pair")
    options.add_argument("--requests", type=int, default=100_000)
    options.add_argument("--starts", type=int, default=1000)
    options.add_argument("--reloads", type=int, default=50)
    options.add_argument("--only", choices=["cold", "rush", "thousand", "stays"])
    chosen = options.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as directory:
        row("", "measured", "promised")
        if chosen.only in (None, "cold"):
            for name, module in COLD:
                found.append(bench_cold(directory, name, module, chosen.runs))
        if chosen.only in (None, "rush"):
            found.append(bench_rush(directory, chosen.runs))
        if chosen.only in (None, "thousand"):
            found.append(bench_thousand(directory, chosen.runs))
            found.append(bench_ten_awake(directory))
        if chosen.only in (None, "stays"):
            found += bench_stays(directory, chosen.requests, chosen.starts, chosen.reloads)
    return record.keep_figures("life", found)


if __name__ == "__main__":
    raise SystemExit(main())
