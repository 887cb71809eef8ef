"""Every bench, one after the other, and the report of them (`make bench`).

A part that fails does not stop the next. What each printed last stands at the end once more, with its time; the exit status is 0
only if every part ran and every promise holds.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from record import NOT_AS_PROMISED, duration

BENCH = Path(__file__).resolve().parent
PARTS = ("memory", "cold", "warm", "pace", "curves", "density", "lazy", "front", "slow", "life", "script", "worker", "containers", "report")
LIMIT = 30 * 60  # seconds; each is to take less than 20 minutes on two cores
WORDS = {0: "ok", NOT_AS_PROMISED: "ran; not all is as promised"}


def run(part, words, environ):
    """(exit status or what ended it, seconds)"""
    begun = time.monotonic()
    print(f"\n=== bench-{part}", flush=True)
    with subprocess.Popen([sys.executable, str(BENCH / f"{part}.py"), *words], env=environ) as process:
        try:
            status = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # it ends what it has started
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
            status = f"ended after {duration(LIMIT)}"
    return status, time.monotonic() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--skip", action="append", choices=PARTS, default=[])
    parser.add_argument("--quick", action="store_true", help="the smallest form of each part, into build/bench-quick: that it works, not what it measures")
    parser.add_argument("--cold-venvs", nargs="*", default=[], help="what bench-cold starts")
    options = parser.parse_args()
    found, environ = {}, dict(os.environ)
    if options.quick:
        environ["LEANGATE_BENCH_RESULTS"] = str(BENCH.parent / "build/bench-quick")
    for part in PARTS:
        if part in options.skip or options.only and part not in options.only:
            continue
        words = (QUICK[part].split() if options.quick else []) + (options.cold_venvs if part == "cold" else [])
        found[part] = run(part, words, environ)
    print()
    for part, (status, seconds) in found.items():
        words = status if isinstance(status, str) else WORDS.get(status, f"FAILED with exit status {status}")
        print(f"bench-{part:<12} {duration(seconds):>14}   {words}")
    return 0 if all(status == 0 for status, _ in found.values()) else 1


QUICK = {
    "memory": "--seconds 2 --runs 2 --rounds 1",
    "cold": "--rounds 2 --condition warm --app hello",
    "warm": "--rounds 1 --seconds 1",
    "pace": "--rounds 1 --seconds 1",
    "curves": "--before 3 --load 3 --after 3",
    "density": "--rounds 1 --counts 1 10",
    "lazy": "--requests 5",
    "front": "--rounds 1 --seconds 1",
    "slow": "--rounds 1 --seconds 2 --dribblers 50 --readers 5",
    "life": "--runs 2 --requests 2000 --starts 5 --reloads 2",
    "script": "--rounds 1 --seconds 1",
    "worker": "--rounds 20 --requests 0",
    "containers": "--rounds 1 --before 3 --load 3 --after 4 --keep-caches",
    "report": "--trial",
}

if __name__ == "__main__":
    os.chdir(BENCH.parent)
    raise SystemExit(main())
