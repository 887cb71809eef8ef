"""Idle apps against memory: N different Flask apps, none of them called, then ten of them awake (`make bench-density`).

leangate has all of them in one gateway; the others need a server each. Figures are sums over all processes. The servers take
turns; the others have at most --most apps.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import record
from peers import tool
from serving import BINARY, FAIR, ROOT, Failed, free_port, free_ports, get, leave_out, server, tree, wait_to_listen
from verdict import falls_short

sys.path.insert(0, str(ROOT / "tests/support"))

from measure import memory  # noqa: E402

APP = """from flask import Flask
app = Flask(__name__)
@app.route("/")
@app.route("/app{n}/")
def hello():
    return "hello from {n}\\n"
"""
AWAKE = 10


def write_apps(directory, count):
    for n in range(count):
        Path(directory, f"app{n}.py").write_text(APP.format(n=n))


def total(pids):
    """RSS, PSS, private dirty in kB."""
    sums = [0, 0, 0]
    for pid in pids:
        sums = [a + b for a, b in zip(sums, memory(*tree(pid)))]
    return sums


def gateway(directory, count, running):
    port = free_port()
    lines = ["[gateway]", f"listen = 127.0.0.1:{port}", "[log]", "access = off", "[limits]", "workers = 64", "[app]",
             f"python = {sys.executable}", f"directory = {directory}", "idle_timeout = 10m", "strip_path = off"]
    for n in range(count):
        lines += [f"[app:app{n}]", f"path = /app{n}", f"module = app{n}:app"]
    file = Path(directory, f"gateway-{count}.ini")
    file.write_text("\n".join(lines) + "\n")
    return port, running.enter_context(server([BINARY, "-c", str(file)], port, directory, listens_only=True))


def settle():
    time.sleep(1)


def leangate(directory, count):
    """{"idle": [...], "awake": [...]}: with none called, and with ten awake."""
    with contextlib.ExitStack() as running:
        port, pid = gateway(directory, count, running)
        settle()
        found = {"idle": total([pid])}
        for n in range(min(AWAKE, count)):
            if get(port, f"/app{n}/")[1] != b"hello from %d\n" % n:
                raise SystemExit(f"/app{n}/ does not answer")
        settle()
        return found | {"awake": total([pid])}


def one_each(command):
    def measure(directory, count):
        with contextlib.ExitStack() as running:
            pids = []
            for first in range(0, count, 8):  # a few at a time start side by side
                numbers = range(first, min(first + 8, count))
                processes = [(port, running.enter_context(server(command(port, f"app{n}:app"), None, directory)))
                             for port, n in zip(free_ports(len(numbers)), numbers)]
                for port, pid in processes:
                    wait_to_listen(port, 60)  # eight start at once
                    pids.append(pid)
            settle()
            return {"idle": total(pids)}
    return measure


def alone(directory):
    """One Flask process that serves nobody: [rss, pss, private dirty]."""
    code = "import app0, time; time.sleep(1e6)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=directory, env=FAIR) as process:
        time.sleep(2)
        try:
            return total([process.pid])
        finally:
            process.kill()


SERVERS = {
    "leangate": leangate,
    "uvicorn": one_each(lambda port, spec: [tool("uvicorn"), "--port", str(port), "--interface", "wsgi", spec]),
    "gunicorn": one_each(lambda port, spec: [tool("gunicorn"), "--bind", f"127.0.0.1:{port}", spec]),
    "waitress": one_each(lambda port, spec: [tool("waitress-serve"), "--host", "127.0.0.1", "--port", str(port), spec]),
}


def median(runs):
    """Of each column, in MB."""
    return [statistics.median(column) / 1024 for column in zip(*runs)]


def tell(samples, singles):
    print("one Flask process alone: RSS {:.1f}  PSS {:.1f}  private dirty {:.1f} MB".format(*median(singles)))
    for name, counts in samples.items():
        for count, runs in counts.items():
            for state in runs[0]:
                print(f"{count:>4} apps, {state:<5} {name:<10} " + "RSS {:>8.1f}  PSS {:>8.1f}  private dirty {:>8.1f} MB".format(
                    *median(run[state] for run in runs)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 10, 50, 100, 200])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--most", type=int, default=50, help="of the servers that need a process each")
    options = parser.parse_args()
    samples, singles, gone = {name: {} for name in SERVERS}, [], set()
    with tempfile.TemporaryDirectory() as directory:
        write_apps(directory, max(options.counts))
        for number in range(options.rounds):
            singles.append(alone(directory))
            for count in options.counts:
                for name, measure in list(SERVERS.items())[:: 1 if number % 2 else -1]:
                    if name in gone or name != "leangate" and count > options.most:
                        continue
                    try:
                        samples[name].setdefault(count, []).append(measure(directory, count))
                    except (Failed, OSError) as error:
                        leave_out(f"{name} at {count}", error)
                        gone.add(name)
            print(f"round {number + 1} of {options.rounds}", flush=True)
    samples = {name: {count: runs for count, runs in counts.items() if len(runs) == options.rounds} for name, counts in samples.items()}
    tell(samples, singles)
    data = {"unit": "kB", "columns": ["rss", "pss", "private_dirty"], "alone": singles, "samples": samples}
    return record.keep("density", data, falls_short({"density": data}, "density"))


if __name__ == "__main__":
    raise SystemExit(main())
