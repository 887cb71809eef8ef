"""A plain script, whose process lives for one request: leangate, which makes it as a copy of a Python that runs, beside CGI, which
starts the interpreter for each (`make bench-script`).

Both run for the whole time and are asked in turn: as fast as wrk can at 1 and 16 connections, then at 100 requests/s.
"""

import argparse
import contextlib
import tempfile

import pace
import peers
import record
import warm

CONNECTIONS = 1, 16  # more of them would only wait for a processor


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each run")
    options = parser.parse_args()
    with contextlib.ExitStack() as running:
        servers = warm.start_all(*peers.SCRIPT, running.enter_context(tempfile.TemporaryDirectory()), running)
        samples = {count: warm.measure(servers, options.rounds, count, options.seconds) for count in CONNECTIONS}
        for count, results in samples.items():
            warm.tell(results, count, [])
        paced = {name: [] for name in servers}
        for number in range(options.rounds):
            for name, (port, _) in list(servers.items())[:: -1 if number % 2 else 1]:
                paced[name].append(pace.paced(port, options.seconds))
        pace.tell(f"{pace.RATE} requests/s", paced)
    return record.keep("script", {"columns": ["requests/s", "CPU us a request", "p50 s"], "samples": samples, "rate": pace.RATE, "paced": paced},
                       pace.failures({"script": paced}))


if __name__ == "__main__":
    raise SystemExit(main())
