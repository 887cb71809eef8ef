"""Warm requests beside other servers, one worker each: requests/s, latency and CPU per request at 1, 16 and 64 kept
connections (`make bench-warm`).

All servers of one app run for the whole time; wrk asks them in turn, in an order that changes from round to round, so that
what else the machine does falls on all alike. The ratio is the median over the rounds of one round's ratio. "As
many or more" holds on a noisy machine from 0.95 on. A server that leaves one of its clients without an answer for as long as
the others are served is shown, and held to nothing: a request that fails fails the run.

Beside hello-wsgi runs bench/floor.c: `direct` answers by itself, `relay` through a second process, and neither does anything
else. What `relay` takes longer is what a worker behind a socket adds to a request.
"""

import argparse
import contextlib
import functools
import statistics
import subprocess
import tempfile

import peers
import record
import resident
from serving import ROOT, Failed, cpu, free_port, leave_out, load, server, starves
from verdict import enough, ratio

CONNECTIONS = 1, 16, 64
FLOOR = "direct", "relay"
FLAGS = ("-O2", "-std=gnu11", "-D_GNU_SOURCE=", "-Wall", "-Wextra", "-Werror")


@functools.cache
def floor():
    """The program, built."""
    source, program = ROOT / "bench/floor.c", ROOT / "build/bench/floor"
    program.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", *FLAGS, "-o", str(program), str(source)], check=True)
    return program


def floor_command(mode):
    return lambda spec, port: [str(floor()), mode, str(port)]


def commands(app):
    """{name: what gives the command for a spec and a port} of all that serve it."""
    found = peers.COMPARED[app][1]
    if app == "hello-wsgi":
        found = found | {mode: floor_command(mode) for mode in FLOOR} | {"go": lambda spec, port: resident.go(port, None)[0]}
    return found


def start_all(spec, servers, directory, running):
    """{name: (port, pid)} of those that could be started; `servers`: as commands() has them."""
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
    servers = {name: command for name, command in commands(app).items() if not names or name in names}
    return start_all(peers.COMPARED[app][0], servers, directory, running)


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


def tell(results, promises, connections, left):
    """Prints the table; the promises that do not hold, as text. `left`: those that starve clients."""
    broken = []
    for name, runs in results.items():
        rate, us, latency = (statistics.median(column) for column in zip(*runs))
        rates = [run[0] for run in runs]
        line = f"  {connections:>3}  {name:<10} {rate:>8.0f} requests/s ({min(rates):.0f} to {max(rates):.0f})  {us:>6.1f} us CPU  p50 {latency * 1e6:>6.0f} us"
        if name == "relay" and "direct" in results:
            line += f"   floor: {ratio(results, 'direct', 0, 'relay'):.2f} x requests/s of direct"
        elif name not in ("leangate", *FLOOR) and "leangate" in results:
            of_rate = ratio(results, name, 0)
            promised = promises.get(name)
            line += f"   leangate: {of_rate:.2f} x requests/s, {ratio(results, name, 1):.2f} x CPU"
            if name in left:
                line += "   leaves clients without an answer"
            elif promised is not None and not enough(of_rate, promised):
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
    broken, samples, starved = [], {}, {}
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
                broken += [f"{app}: {text}" for text in tell(results, peers.COMPARED[app][2], connections, left)]
    return record.keep("warm", {"columns": ["requests/s", "CPU us a request", "p50 s"], "samples": samples, "starved": starved}, broken)


if __name__ == "__main__":
    raise SystemExit(main())
