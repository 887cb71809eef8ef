"""Requests/s of the front alone: one static file of 1 KB over kept connections, leangate beside lighttpd with one
worker (`make bench-front`).

Both run for the whole time; wrk asks them in turn, so that what else the machine does falls on both alike. Each writes
an access line per request to a file of its own (--no-log: neither writes any). The gateway is $LEANGATE_BIN or
build/leangate.
"""

import argparse
import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BINARY = os.environ.get("LEANGATE_BIN") or str(ROOT / "build/leangate")
PROMISE = 0.8
PATIENCE = 10


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def leangate(directory, port, log):
    file = Path(directory, "gateway.ini")
    file.write_text(f"[gateway]\nlisten = 127.0.0.1:{port}\n[log]\naccess = {'leangate.log' if log else 'off'}\n"
                    "[app:front]\nmodule = none\nstatic = /static/ public\n")
    return [BINARY, "-c", str(file)]


def lighttpd(directory, port, log):
    file = Path(directory, "lighttpd.conf")
    lines = [f'server.document-root = "{directory}/public"', 'server.bind = "127.0.0.1"', f"server.port = {port}",
             "server.max-keep-alive-requests = 1000000000", "server.max-keep-alive-idle = 75",
             'mimetype.assign = (".txt" => "text/plain; charset=utf-8")',
             f'server.errorlog = "{directory}/lighttpd.err"', "server.feature-flags = ()",
             'server.modules = ("mod_alias"' + (', "mod_accesslog")' if log else ")"),
             f'alias.url = ("/static/" => "{directory}/public/")']
    if log:
        lines.append(f'accesslog.filename = "{directory}/lighttpd.log"')
    file.write_text("\n".join(lines) + "\n")
    return [find("lighttpd"), "-D", "-f", str(file)]


def find(program):
    """Debian keeps lighttpd where only root's PATH leads."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        raise SystemExit(f"{program} is missing: tests/support/need-packages bench")
    return path


def get(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", "/static/1k.txt")
        answer = connection.getresponse()
        return answer.status, answer.read()


@contextlib.contextmanager
def server(command, port, content):
    """The server, once it answers with the right bytes."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{command[0]} does not serve")
                with contextlib.suppress(ConnectionError):
                    if get(port) == (200, content):
                        break
                time.sleep(0.02)
            yield process.pid
        finally:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            if process.poll() is None:
                process.kill()


def cpu(pid):
    """Seconds that a process has spent so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(port, connections, seconds):
    """What wrk counts in so many seconds: requests, requests/s."""
    command = [find("wrk"), "-t", "1", "-c", str(connections), "-d", f"{seconds}s", f"http://127.0.0.1:{port}/static/1k.txt"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    if re.search(r"Non-2xx|Socket errors", text):
        raise SystemExit(f"wrk saw errors:\n{text}")
    return int(re.search(r"(\d+) requests in", text)[1]), float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])


def measure(servers, rounds, connections, seconds):
    """name: [(requests/s, CPU µs a request), ...], in turn; the order changes from round to round."""
    results = {name: [] for name in servers}
    for number in range(rounds + 1):
        order = list(servers.items())[::1 if number % 2 else -1]
        for name, (port, pid) in order:
            before = cpu(pid)
            count, rate = load(port, connections, 1 if number == 0 else seconds)
            if number > 0:  # the first round only warms up
                results[name].append((rate, (cpu(pid) - before) / count * 1e6))
    return results


def tell(results, options):
    medians = {name: statistics.median(rate for rate, _ in runs) for name, runs in results.items()}
    print(f"1 KB static file, keep-alive, {options.connections} connections, {options.rounds} rounds of "
          f"{options.seconds} s in turn, access log {'off' if options.no_log else 'to a file'}")
    for name, runs in results.items():
        rates = [rate for rate, _ in runs]
        print(f"  {name:<10} {medians[name]:>9.0f} requests/s (median; {min(rates):.0f} to {max(rates):.0f}), "
              f"{statistics.median(us for _, us in runs):.1f} us of CPU each")
    ratio = medians["leangate"] / medians["lighttpd"]
    pairs = statistics.median(a[0] / b[0] for a, b in zip(results["leangate"], results["lighttpd"]))
    print(f"  ratio of the medians {ratio:.2f}, median of the ratios {pairs:.2f}; promised {PROMISE}")
    return ratio


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each run")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--no-log", action="store_true", help="neither writes access lines")
    options = parser.parse_args()
    content = (b"0123456789abcdef" * 64)[:1023] + b"\n"
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as running:
        Path(directory, "public").mkdir()
        Path(directory, "public/1k.txt").write_bytes(content)
        servers = {}
        for make in (leangate, lighttpd):
            port = free_port()
            command = make(directory, port, not options.no_log)
            servers[make.__name__] = port, running.enter_context(server(command, port, content))
        results = measure(servers, options.rounds, options.connections, options.seconds)
    return 0 if tell(results, options) >= PROMISE else 1


if __name__ == "__main__":
    raise SystemExit(main())
