"""Warm requests beside other servers, one worker each: requests/s, latency and CPU per request at 1, 16 and 64 kept
connections (`make bench-warm`).

All servers of one app run for the whole time; wrk asks them in turn, in an order that changes from round to round, so that
what else the machine does falls on all alike. The ratio is the median over the rounds of one round's ratio. A promise holds
on a noisy machine when it is at least 0.95 of what is promised.
"""

import argparse
import contextlib
import statistics
import tempfile

import peers
import record
from serving import Failed, cpu, free_port, load, server

NOISE = 0.95
CONNECTIONS = 1, 16, 64


def start(app, names, directory, running):
    """{name: (port, pid)} of those that could be started."""
    spec, servers, _ = peers.COMPARED[app]
    started = {}
    for name in names or servers:
        if name not in servers:
            continue
        port = free_port()
        try:
            started[name] = port, running.enter_context(server(servers[name](spec, port), port, peers.APPS, log=directory))
        except (Failed, OSError) as error:
            print(f"  left out: {name}: {str(error).splitlines()[0]}")
    return started


def measure(servers, rounds, connections, seconds):
    """{name: [(requests/s, CPU microseconds a request, median latency), ...]}"""
    results = {name: [] for name in servers}
    for number in range(rounds + 1):
        for name, (port, pid) in list(servers.items())[:: 1 if number % 2 else -1]:
            before = cpu(pid)
            count, rate, latency = load(port, connections, 1 if number == 0 else seconds)
            if number > 0:  # the first round only warms up
                results[name].append((rate, (cpu(pid) - before) / max(count, 1) * 1e6, latency))
    return results


def ratio(results, peer, column):
    return statistics.median(ours[column] / theirs[column] for ours, theirs in zip(results["leangate"], results[peer]))


def tell(results, promises, connections):
    """Prints the table; the promises that do not hold, as text."""
    broken = []
    for name, runs in results.items():
        rate, us, latency = (statistics.median(column) for column in zip(*runs))
        rates = [run[0] for run in runs]
        line = f"  {connections:>3}  {name:<10} {rate:>8.0f} requests/s ({min(rates):.0f} to {max(rates):.0f})  {us:>6.1f} us CPU  p50 {latency * 1e6:>6.0f} us"
        if name != "leangate":
            of_rate = ratio(results, name, 0)
            promised = promises.get(name)
            line += f"   leangate: {of_rate:.2f} x requests/s, {ratio(results, name, 1):.2f} x CPU"
            if promised is not None and of_rate < promised * NOISE:
                broken.append(f"{name} at {connections}: {of_rate:.2f}, promised {promised}")
        print(line, flush=True)
    return broken


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each run")
    parser.add_argument("--app", action="append", choices=peers.COMPARED, help="only this one")
    parser.add_argument("--peer", action="append", default=[], help="only these beside leangate")
    parser.add_argument("--connections", type=int, action="append")
    options = parser.parse_args()
    broken, samples = [], {}
    for app in options.app or peers.COMPARED:
        print(f"{app}: {options.rounds} rounds of {options.seconds} s in turn")
        with contextlib.ExitStack() as running:
            directory = running.enter_context(tempfile.TemporaryDirectory())
            servers = start(app, options.peer and ["leangate", *options.peer], directory, running)
            for connections in options.connections or CONNECTIONS:
                results = measure(servers, options.rounds, connections, options.seconds)
                samples.setdefault(app, {})[connections] = results
                broken += [f"{app}: {text}" for text in tell(results, peers.COMPARED[app][2], connections)]
    record.keep("warm", {"columns": ["requests/s", "CPU us a request", "p50 s"], "samples": samples})
    for text in broken:
        print("not as promised:", text)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
