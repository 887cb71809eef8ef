"""The price of being lazy: the share of requests that find no worker, against the mean gap between requests, for several
idle_timeouts (`make bench-lazy`).

Requests come at random times (a Poisson stream, the seed is fixed). Time is scaled down: an idle_timeout of 200 ms with gaps of
400 ms stands for 60 s with gaps of 2 min, since only their ratio decides. Cold and warm are the gateway's own words in its log;
beside them stands what theory says: exp(-idle_timeout / gap).
"""

import argparse
import http.client
import json
import math
import random
import sys
import tempfile
import time
from pathlib import Path

import record
from peers import APPS
from serving import BINARY, free_port, server

IDLE = 0.1, 0.2, 0.4  # seconds
RATIOS = 0.25, 0.5, 1.0, 2.0, 4.0  # gap / idle_timeout


def run(idle, gap, requests, directory):
    """(share of cold requests, seconds that each took, which of them were cold)"""
    port, log = free_port(), Path(directory, f"access-{idle}-{gap}.log")
    command = [BINARY, "hello_wsgi:app", "--bind", f"127.0.0.1:{port}", "--log-access", str(log), "--log-format", "json",
               "--python", sys.executable, "--idle-timeout", f"{round(idle * 1000)}ms"]
    dice = random.Random(f"{idle} {gap}")
    took = []
    with server(command, port, APPS, log=directory, listens_only=True):
        for _ in range(requests):
            time.sleep(dice.expovariate(1 / gap))
            began = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", "/")
            if connection.getresponse().read() != b"hello\n":
                raise SystemExit("a request failed")
            connection.close()
            took.append(time.perf_counter() - began)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    cold = [line["start"] == "cold" for line in lines]
    if len(cold) != requests:
        raise SystemExit(f"{len(cold)} access lines for {requests} requests")
    return sum(cold) / requests, took, cold


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--requests", type=int, default=100, help="of each point")
    options = parser.parse_args()
    samples = []
    with tempfile.TemporaryDirectory() as directory:
        print("idle_timeout   gap / idle_timeout   cold   exp(-idle/gap)")
        for idle in IDLE:
            for ratio in RATIOS:
                share, took, cold = run(idle, idle * ratio, options.requests, directory)
                samples.append({"idle": idle, "ratio": ratio, "cold_share": share, "theory": math.exp(-1 / ratio),
                                "took": [round(seconds, 6) for seconds in took], "cold": cold})
                print(f"{idle * 1000:>9.0f} ms   {ratio:>18}   {share:>4.0%}   {math.exp(-1 / ratio):>14.0%}", flush=True)
    return record.keep("lazy", {"samples": samples})


if __name__ == "__main__":
    raise SystemExit(main())
