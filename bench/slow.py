"""What slow clients cost the others (`make bench-slow`): the latency of an ordinary client alone, and beside 1,000 clients
that dribble the head of a request, a byte a second, and 100 that read a large answer at 1 KB/s.

One hello app with one worker and the default configuration. Quiet and loaded phases alternate, so that what else the
machine does falls on both alike. The slow clients live in a process of their own; who is refused for being slow (408
after 10 s) comes again, as somebody would who means harm.
"""

import argparse
import contextlib
import multiprocessing
import signal
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

import record
from serving import BINARY, PATIENCE, Failed, free_port, server

PROMISE = 2.0
LARGE = 2_000_000
APP = f"""\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"x" * {LARGE} if environ["PATH_INFO"] == "/large" else b"hello\\n"]
"""
DRIBBLED = b"GET / HTTP/1.1\r\nHost: slow\r\nX-Slow: " + b"x" * 4000
ASKED = b"GET /large HTTP/1.1\r\nHost: slow\r\n\r\n"
QUICK = b"GET / HTTP/1.1\r\nHost: quick\r\n\r\n"
PAUSE = 0.005  # of the ordinary client between two requests


# --- the slow clients


class Slow:
    """Moves a piece when it is its turn, and comes again when its connection has ended."""

    def __init__(self, port):
        self.port = port
        self.socket = None
        self.come()

    def come(self):
        if self.socket is not None:
            self.socket.close()
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", self.port))
        self.socket.setblocking(False)

    def move(self):
        """How many bytes went on their way; -1: it had to come again."""
        try:
            return self.step()
        except OSError:
            self.come()
            return -1


class Dribbler(Slow):
    def come(self):
        super().come()
        self.sent = 0

    def step(self):
        with contextlib.suppress(BlockingIOError):
            self.socket.recv(4096)
            raise ConnectionError("refused")
        self.sent += self.socket.send(DRIBBLED[self.sent:self.sent + 1])
        return 1


class Reader(Slow):
    def come(self):
        super().come()
        self.socket.send(ASKED)

    def step(self):
        try:
            got = len(self.socket.recv(1024))
        except BlockingIOError:
            return 0
        if got == 0:
            raise ConnectionError("all of it was read")
        return got


def be_slow(port, dribblers, readers, ready, counts):
    """A process: every client moves once a second, each at its own moment of it. counts: bytes of heads, bytes of answers,
    clients that came again."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    clients = [Dribbler(port) for _ in range(dribblers)] + [Reader(port) for _ in range(readers)]
    ready.set()
    began, moved = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began) * len(clients))
        for number in range(moved, due):
            client = clients[number % len(clients)]
            got = client.move()
            counts[2 if got < 0 else 0 if isinstance(client, Dribbler) else 1] += abs(got)
        moved = due
        time.sleep(0.002)


@contextlib.contextmanager
def slow_clients(port, options):
    ready = multiprocessing.Event()
    counts = multiprocessing.Array("l", 3, lock=False)
    process = multiprocessing.Process(target=be_slow, args=(port, options.dribblers, options.readers, ready, counts))
    process.start()
    try:
        if not ready.wait(PATIENCE):
            raise Failed("the slow clients do not come in")
        time.sleep(2)  # all have moved
        yield counts
        if not process.is_alive():
            raise Failed("the slow clients have ended")
    finally:
        process.terminate()
        process.join()


# --- the ordinary client


def latencies(port, seconds):
    """Of each request of so many seconds, one after the other over a kept connection."""
    taken = []
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.perf_counter()
            client.sendall(QUICK)
            answer = b""
            while not answer.endswith(b"hello\n") and not answer.endswith(b"\r\n0\r\n\r\n"):
                answer += client.recv(65536) or sys.exit("the ordinary client was cut")
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise SystemExit(f"the ordinary client got {answer[:100]}")
            taken.append(time.perf_counter() - began)
            time.sleep(PAUSE)
    return taken


def measure(port, options):
    """(quiet, loaded) latencies of each round, and what the slow ones did in all."""
    rounds, done = [], [0, 0, 0]
    for _ in range(options.rounds):
        quiet = latencies(port, options.seconds)
        with slow_clients(port, options) as counts:
            loaded = latencies(port, options.seconds)
            done = [a + b for a, b in zip(done, counts)]
        rounds.append((quiet, loaded))
        time.sleep(1)
    return rounds, done


def tell(rounds, done, options):
    def line(name, samples):
        ordered = sorted(samples)
        print(f"  {name:<7} median {statistics.median(samples) * 1e6:>7.0f} us, 99 % {ordered[len(ordered) * 99 // 100] * 1e6:>7.0f} us "
              f"({len(samples)} requests)")

    print(f"an ordinary client beside {options.dribblers} clients that dribble a head and {options.readers} that read "
          f"{LARGE // 1_000_000} MB at 1 KB/s,\n{options.rounds} rounds of {options.seconds} s quiet and {options.seconds} s loaded; "
          f"the slow ones moved {done[0]} bytes of heads and {done[1]} of answers, and came again {done[2]} times")
    line("quiet", [taken for quiet, _ in rounds for taken in quiet])
    line("loaded", [taken for _, loaded in rounds for taken in loaded])
    ratio = statistics.median(statistics.median(loaded) / statistics.median(quiet) for quiet, loaded in rounds)
    print(f"  ratio of the medians, median of the rounds: {ratio:.2f}; promised {PROMISE}")
    return ratio


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=12, help="of each phase")
    parser.add_argument("--dribblers", type=int, default=1000)
    parser.add_argument("--readers", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "slow.py").write_text(APP)
        port = free_port()
        command = [BINARY, "slow:app", "--bind", f"127.0.0.1:{port}", "--python", sys.executable]
        try:
            with server(command, port, directory, expected=b"hello\n"):
                rounds, done = measure(port, options)
        except Failed as problem:
            raise SystemExit(str(problem)) from None
    ratio = tell(rounds, done, options)
    loaded = options.rounds * options.seconds
    due = loaded * options.dribblers, loaded * options.readers * 1024  # a byte, and 1 KB a second
    idle = [f"the slow clients moved {moved} bytes of {what}, due: {at_least}" for what, moved, at_least in zip(("heads", "answers"), done, due)
            if moved < at_least / 2]
    return record.keep("slow", {"unit": "s", "columns": ["quiet", "loaded"], "dribblers": options.dribblers,
                                "readers": options.readers, "promised": PROMISE, "moved": done,
                                "rounds": [[[round(taken, 6) for taken in phase] for phase in phases] for phases in rounds]},
                       idle + ([f"{ratio:.2f} x the quiet median, promised {PROMISE}"] if ratio > PROMISE else []))


if __name__ == "__main__":
    raise SystemExit(main())
