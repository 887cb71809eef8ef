"""Latency at the traffic this is for: 100 requests/s on one kept connection, quiet and with a slow upload (1 KB/s) for each of
the worker's slots (`make bench-pace`). As in warm.py, peers run a second time behind bench/relay.c.

All servers of one app run for the whole time and are asked in turn.
"""

import argparse
import contextlib
import re
import socket
import statistics
import tempfile
import threading
import time

import peers
import record
import warm
from verdict import falls_short, p99s, percentile, relayed

RATE = 100  # requests/s
TIMEOUT = 5.0  # seconds
SLOTS = 4
SLOW_BODY = 60 * 1024  # bytes, at 1 KB/s: longer than a run
REACHED = "granian", "uvicorn"  # those whose 99th percentile is to be reached: it is of twice as many requests
BESIDES = "uwsgi-64", "bjoern"  # what else is shown
BESIDE_SLOW = ("reads_wsgi:app", {name: peers.WSGI[name] for name in ("leangate", "gunicorn", "uwsgi")})


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def answer(connection):
    """The head of the answer to a request, once all of it is there, or None if it is no 200; with as little of Python as may be: its time is in
    each figure."""
    connection.sendall(REQUEST)
    got = b""
    while True:
        head, end, body = got.partition(b"\r\n\r\n")
        if end:
            length = re.search(rb"^content-length: *(\d+)", head, re.M | re.I)
            if len(body) >= int(length[1]) if length else body.endswith(b"0\r\n\r\n"):
                return head if re.match(rb"HTTP/1\.[01] 200 ", head) else None
        more = connection.recv(65536)
        if not more:
            return None
        got += more


def paced(port, seconds):
    """Latencies in seconds, each from when its request was due, so that what one holds up counts for those behind it, too. A request that
    fails counts as TIMEOUT, however soon it did, and so does one that has no answer by then."""
    connection, took, begin = None, [], time.perf_counter()
    for number in range(int(seconds * RATE)):
        due = begin + number / RATE
        wait = due - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
            due = time.perf_counter()  # a client that wakes up late is not the server's
        elif wait < -seconds:
            break  # hopelessly behind: what was measured says so
        head = None
        with contextlib.suppress(OSError):
            connection = connection or connect(port)
            head = answer(connection)
        took.append(time.perf_counter() - due if head else max(TIMEOUT, time.perf_counter() - due))
        if connection and (head is None or re.search(rb"^connection: *close", head, re.M | re.I)):
            connection.close()
            connection = None
    if connection:
        connection.close()
    return took


def failures(samples):
    """Those of each run, as text: a request that fails breaks the bench, but that of a peer that slow clients have stopped."""
    counts = {(app, name): sum(seconds >= TIMEOUT for run in runs for seconds in run) for app, results in samples.items()
              for name, runs in results.items() if app != "slow" or name == "leangate"}
    return [f"{app}, {name}: {count} requests failed" for (app, name), count in counts.items() if count]


@contextlib.contextmanager
def slow_uploads(port, count, gone):
    """So many clients, each of which sends a body at 1 KB/s; `gone` gets what became of each that the server closed or answered meanwhile."""
    stop, clients = threading.Event(), []
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % SLOW_BODY)
        clients.append(client)

    def dribble():
        while not stop.wait(0.1):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(b"x" * 102)

    thread = threading.Thread(target=dribble)
    thread.start()
    try:
        time.sleep(0.5)
        yield
    finally:
        stop.set()
        thread.join()
        for client in clients:
            try:
                gone.append(client.recv(100, socket.MSG_DONTWAIT))
            except BlockingIOError:
                pass
            except OSError as error:
                gone.append(error)
            client.close()


def start_all(spec, servers, directory, running):
    return {name: port for name, (port, _) in warm.start_all(spec, servers, directory, running).items()}


def tell(words, results):
    for name, runs in results.items():
        p50, p99 = (statistics.median(percentile(run, share) for run in runs) for share in (0.5, 0.99))
        line = f"  {words:<28} {name:<15} p50 {p50 * 1e3:>8.2f} ms  p99 {p99 * 1e3:>8.2f} ms"
        if name != "leangate":
            line += f"   leangate's p99: {p99s(results['leangate'], runs):.2f} x"
        if relayed(name) in results:
            line += f"   its own: {p99s(runs, results[relayed(name)]):.2f} x without relay"
        print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of each run, or half of it")
    parser.add_argument("--app", action="append", choices=peers.COMPARED)
    options = parser.parse_args()
    samples = {}
    with tempfile.TemporaryDirectory() as directory:
        for app in options.app or peers.COMPARED:
            with contextlib.ExitStack() as running:
                spec, servers, relayed_too = peers.COMPARED[app]
                shown = {name: command for name, command in servers.items() if name in ("leangate", *REACHED, *BESIDES)}
                ports = start_all(spec, peers.with_relays(shown, set(REACHED) & set(relayed_too), directory), directory, running)
                samples[app] = {name: [] for name in ports}
                for number in range(options.rounds):
                    for name, port in list(ports.items())[:: 1 if number % 2 else -1]:
                        samples[app][name].append(paced(port, options.seconds * (1 if name in BESIDES else 2)))
            tell(f"{app}, {RATE} requests/s", samples[app])
        with contextlib.ExitStack() as running:
            ports = start_all(*BESIDE_SLOW, directory, running)
            quiet, slow = ({name: [] for name in ports} for _ in range(2))
            gone = {name: [] for name in ports}
            for _ in range(options.rounds):
                for name, port in ports.items():
                    quiet[name].append(paced(port, options.seconds))
                    with slow_uploads(port, SLOTS, gone[name]):
                        slow[name].append(paced(port, options.seconds))
            samples["quiet"], samples["slow"] = quiet, slow
            tell("no slow client", quiet)
            tell(f"{SLOTS} uploads at 1 KB/s", slow)
            for name in ports:
                print(f"  p99 beside slow clients: {name} {p99s(slow[name], quiet[name]):.1f} x its own quiet one")
    samples = {app: {name: [[round(seconds, 6) for seconds in run] for run in runs] for name, runs in results.items()}
               for app, results in samples.items()}
    data = {"rate": RATE, "samples": samples}
    ended = [f"slow, leangate: an upload was ended: {what!r}" for what in gone["leangate"]]
    return record.keep("pace", data, ended + failures(samples) + falls_short({"pace": data}, "slow", "pace"))


if __name__ == "__main__":
    raise SystemExit(main())
