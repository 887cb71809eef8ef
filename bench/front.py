"""Requests/s of the front alone: one static file of 1 KB over kept connections, leangate beside lighttpd with one
worker (`make bench-front`).

Both run for the whole time; wrk asks them in turn, so that what else the machine does falls on both alike. Each writes
an access line per request to a file of its own (--no-log: neither writes any). The gateway is $LEANGATE_BIN or
build/leangate.
"""

import argparse
import contextlib
import statistics
import tempfile
from pathlib import Path

import record
from serving import BINARY, cpu, find, free_port, leave_out, load, server

PATH = "/static/1k.txt"
PROMISE = 0.8


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


def measure(servers, rounds, connections, seconds):
    """name: [(requests/s, CPU µs a request), ...], in turn; the order changes from round to round."""
    results = {name: [] for name in servers}
    for number in range(rounds + 1):
        order = list(servers.items())[::1 if number % 2 else -1]
        for name, (port, pid) in order:
            before = cpu(pid)
            count, rate, _ = load(port, connections, 1 if number == 0 else seconds, PATH)
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
    of_medians = medians["leangate"] / medians["lighttpd"]
    pairs = statistics.median(a[0] / b[0] for a, b in zip(results["leangate"], results["lighttpd"]))
    print(f"  ratio of the medians {of_medians:.2f}, median of the ratios {pairs:.2f}; promised {PROMISE}")
    return pairs


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
            try:
                command = make(directory, port, not options.no_log)
            except SystemExit as error:  # lighttpd is missing, and with it what this compares
                leave_out(make.__name__, error)
                return 0
            servers[make.__name__] = port, running.enter_context(server(command, port, directory, PATH, content))
        results = measure(servers, options.rounds, options.connections, options.seconds)
    ratio = tell(results, options)
    return record.keep("front", {"columns": ["requests/s", "CPU us a request"], "connections": options.connections,
                                 "log": not options.no_log, "promised": PROMISE, "samples": results},
                       [f"{ratio:.2f} x lighttpd, promised {PROMISE}"] if ratio < PROMISE else [])


if __name__ == "__main__":
    raise SystemExit(main())
