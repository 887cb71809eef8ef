"""Memory over time: every server idle, under a light load, and idle again (`make bench-curves`).

All servers run at the same time and are asked by turns, so that one plot can show them all: 60 s without a request, 30 s at
about 100 requests/s for each, 120 s without. PSS shares what processes share; with many Python servers side by side each is
billed a smaller part of the interpreter than it would be alone, which flatters them and not the gateway.
"""

import argparse
import contextlib
import http.client
import sys
import tempfile
import threading
import time
from pathlib import Path

import peers
import record
import resident
from serving import Failed, ROOT, free_port, leave_out, server, tree

sys.path.insert(0, str(ROOT / "tests/support"))

from measure import memory  # noqa: E402

GAP = 0.01  # seconds between two requests to one server


def sample(pids):
    """RSS, PSS, private dirty of all processes below these, in kB; what ends meanwhile is left out."""
    total = [0, 0, 0]
    for pid in pids:
        for one in tree(pid):
            with contextlib.suppress(OSError):
                total = [a + b for a, b in zip(total, memory(one))]
    return total


def begin(connection):
    """The answer to a GET, once its head is there; the connection is closed where there is none, so that the next one makes it anew."""
    try:
        connection.request("GET", "/")
        return connection.getresponse()
    except ConnectionError:
        connection.close()
        raise


def ask(port, until, failures, rates):
    """One client that keeps its connection and asks at an even pace, or at once when it is late; rates[port] are the answers a second
    that it got."""
    first, asked, answered = time.monotonic(), 0, 0
    connection, kept = http.client.HTTPConnection("127.0.0.1", port, timeout=60), False
    while time.monotonic() < until:
        asked += 1
        try:
            try:
                answer = begin(connection)
            except ConnectionError:
                if not kept:
                    raise
                answer = begin(connection)  # some servers close a kept connection after so many requests
            if answer.read() == b"" or answer.status != 200:
                failures.append(port)
            else:
                answered += 1
            kept = not answer.will_close
        except (OSError, http.client.HTTPException):
            connection.close()
            failures.append(port)
            kept = False
        time.sleep(max(0, first + asked * GAP - time.monotonic()))
    connection.close()
    rates[port] = round(answered / (time.monotonic() - first), 1)


def start_all(names, directory, running):
    """{name: (port, [pids])}"""
    started = {}
    for number, name in enumerate(names):
        port, home = free_port(), Path(directory, str(number))
        home.mkdir()
        commands = resident.prepare(name, port, home)
        if commands is None:
            continue
        try:
            with contextlib.ExitStack() as own:
                pids = [own.enter_context(server(command, None, peers.APPS, log=home)) for command in commands[1:]]
                pids.insert(0, own.enter_context(server(commands[0], port, peers.APPS, log=home, listens_only=True)))
                running.enter_context(own.pop_all())
            started[name] = port, pids
        except (Failed, OSError) as error:
            leave_out(name, error)
    return started


def watch(started, seconds, phase, curves, zero):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        for name, (_, pids) in started.items():
            curves[name].append([round(time.monotonic() - zero, 2), phase, *sample(pids)])
        time.sleep(max(0, 1 - (time.monotonic() - began)))


def middle(points, phase, column):
    values = sorted(point[column] for point in points if point[1] == phase)
    return values[len(values) // 2] if values else 0


def tell(curves):
    print(f"{'PSS / private dirty in MB':<34}{'before':>16}{'under load':>16}{'two minutes after':>20}")
    for name, points in curves.items():
        last = [point for point in points if point[1] == "after"][-1]
        cells = [f"{middle(points, phase, 3) / 1024:.1f} / {middle(points, phase, 4) / 1024:.1f}" for phase in ("before", "load")]
        print(f"{name:<34}{cells[0]:>16}{cells[1]:>16}{f'{last[3] / 1024:.1f} / {last[4] / 1024:.1f}':>20}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--before", type=int, default=60)
    parser.add_argument("--load", type=int, default=30)
    parser.add_argument("--after", type=int, default=120)
    parser.add_argument("--only", action="append", choices=resident.ROWS)
    options = parser.parse_args()
    with contextlib.ExitStack() as running:
        directory = running.enter_context(tempfile.TemporaryDirectory())
        started = start_all(options.only or resident.ROWS, directory, running)
        curves, failures, rates, zero = {name: [] for name in started}, [], {}, time.monotonic()
        watch(started, options.before, "before", curves, zero)
        until = time.monotonic() + options.load
        clients = [threading.Thread(target=ask, args=(port, until, failures, rates)) for port, _ in started.values()]
        for client in clients:
            client.start()
        watch(started, options.load, "load", curves, zero)
        for client in clients:
            client.join()
        watch(started, options.after, "after", curves, zero)
    tell(curves)
    print(f"asked at {min(rates.values())} to {max(rates.values())} requests/s")
    names = {port: name for name, (port, _) in started.items()}
    broken = [f"{names[port]}: {failures.count(port)} requests failed" for port in sorted(set(failures))]
    return record.keep("curves", {"unit": "kB", "columns": ["s", "phase", "rss", "pss", "private_dirty"], "idle": resident.IDLE,
                                  "rates": {names[port]: rate for port, rate in rates.items()}, "curves": curves}, broken)


if __name__ == "__main__":
    raise SystemExit(main())
