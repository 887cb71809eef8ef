"""Warm requests beside other servers, one worker each: requests/s, latency and CPU per request at 1, 16 and 64 kept
connections (`make bench-warm`).

All servers of one app run for the whole time; wrk asks them in turn, in an order that changes from round to round, so that
what else the machine does falls on all alike. The ratio is the median over the rounds of one round's ratio. "As
many or more" holds on a noisy machine from 0.95 on. A server that leaves one of its clients without an answer for as long as
the others are served is shown, and held to nothing: a request that fails fails the run.

A peer that does all in one process, and may be ahead by that, runs a second time behind bench/relay.c, which only hands on bytes:
what it keeps of its requests/s there says what it costs to be two processes.
"""

import argparse
import contextlib
import statistics
import subprocess
import tempfile

import peers
import record
import resident
from serving import Failed, cpu, free_port, leave_out, load, server, starves
from verdict import falls_short, ratio, relayed

CONNECTIONS = 1, 16, 64


def start_all(spec, servers, directory, running):
    """{name: (port, pid)} of those that could be started; `servers`: {name: what gives the command for a spec and a port}."""
    started = {}
    for name, command in servers.items():
        port = free_port()
        try:
            words = command(spec, port)
            started[name] = port, running.enter_context(server(words, port, peers.APPS, log=directory))
        except (Failed, OSError, subprocess.CalledProcessError, SystemExit) as error:  # the last: a program is missing
            leave_out(name, error)
    return started


def start(app, names, directory, running):
    """The same for the servers of an app: those that are named, or all."""
    spec, servers, relayed_too = peers.COMPARED[app]
    if app == "hello-wsgi":
        servers = servers | {"go": lambda spec, port: resident.go(port, None)[0]}
    servers = {name: command for name, command in servers.items() if not names or name in names}
    return start_all(spec, peers.with_relays(servers, relayed_too, directory), directory, running)


def measure(servers, rounds, connections, seconds):
    """{name: [(requests/s, CPU microseconds a request, median latency), ...]}"""
    results = {name: [] for name in servers}
    for number in range(rounds):
        for name, (port, pid) in list(servers.items())[:: -1 if number % 2 else 1]:
            before = cpu(pid)
            count, rate, latency = load(port, connections, seconds)
            results[name].append((rate, (cpu(pid) - before) / max(count, 1) * 1e6, latency))
    return results


def starving(servers, connections):
    """The names of those that let one of so many clients wait for the end of the load. Warms them up as well."""
    if connections > 1:
        return [name for name, (port, _) in servers.items() if starves(port, connections)]
    for port, _ in servers.values():
        load(port, connections, 1)
    return []


def tell(results, connections, left):
    """Prints the table. `left`: those that starve clients."""
    for name, runs in results.items():
        rate, us, latency = (statistics.median(column) for column in zip(*runs))
        rates = [run[0] for run in runs]
        line = f"  {connections:>3}  {name:<15} {rate:>8.0f} requests/s ({min(rates):.0f} to {max(rates):.0f})  {us:>6.1f} us CPU  p50 {latency * 1e6:>6.0f} us"
        if name != "leangate" and "leangate" in results:
            line += f"   leangate: {ratio(results, name, 0):.2f} x requests/s, {ratio(results, name, 1):.2f} x CPU"
        if relayed(name) in results:
            line += f"   {ratio(results, relayed(name), 0, name):.2f} x without relay"
        if name in left:
            line += "   leaves clients without an answer"
        print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each run")
    parser.add_argument("--app", action="append", choices=peers.COMPARED, help="only this one")
    parser.add_argument("--peer", action="append", default=[], help="only these beside leangate")
    parser.add_argument("--connections", type=int, action="append")
    options = parser.parse_args()
    samples, starved = {}, {}
    for app in options.app or peers.COMPARED:
        print(f"{app}: {options.rounds} rounds of {options.seconds} s in turn")
        with contextlib.ExitStack() as running:
            directory = running.enter_context(tempfile.TemporaryDirectory())
            servers = start(app, options.peer and ["leangate", *options.peer], directory, running)
            for connections in options.connections or CONNECTIONS:
                left = starving(servers, connections)
                starved.setdefault(app, {})[connections] = left
                results = measure(servers, options.rounds, connections, options.seconds)
                samples.setdefault(app, {})[connections] = results
                tell(results, connections, left)
    data = {"columns": ["requests/s", "CPU us a request", "p50 s"], "samples": samples, "starved": starved}
    return record.keep("warm", data, falls_short({"warm": data}, "warm-hello", "warm-frameworks"))


if __name__ == "__main__":
    raise SystemExit(main())
