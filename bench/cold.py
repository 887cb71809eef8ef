"""The first request to an app that sleeps: from connect to the last byte of the answer, the gateway, a new Python and the import
included, against B, the time of `python -c 'import app, os; os._exit(0)'` (`make bench-cold`).

Every round measures B and each variant once, in an order that changes; what is printed is the median of the ratios within a
round. The conditions:

    warm   all files are in memory, bytecode is there
    cold   the page cache is dropped before every measurement, B included (root only; it slows the whole machine down)
    bare   a venv without any bytecode, and PYTHONDONTWRITEBYTECODE, from the second start on; B has its bytecode
    owned  the same venv, whose directories nobody may write to, and no such variable: as it is with a venv of somebody else

The variants: `off` (nothing is kept from one start to the next), `default`, `imports` (import_cache = on), `fork` (mode fork: a
copy of the process that has imported answers). The gateway itself says of what each start consisted (status.json).
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import record
from serving import BINARY, FAIR, ROOT, free_port, get

sys.path.insert(0, str(ROOT / "tests/support"))

from measure import rollup  # noqa: E402

APPS = Path(__file__).resolve().parent / "apps"
SPECS = {"hello": "hello_wsgi", "flask": "hello_flask", "fastapi": "hello_fastapi", "django": "hello_django"}
VARIANTS = {
    "off": ["--cache-dir", "off"],
    "default": [],
    "imports": ["--import-cache"],
    "fork": ["--mode", "fork"],
}
WARM_ONLY = "off", "fork"
KEPT = "off", "default", "imports"  # nothing, then more and more
CONDITIONS = "warm", "bare", "owned", "cold"
STACK = "queue", "spawn", "interpreter", "import", "answer"
# (condition, variant): what is promised, for all but hello
PROMISED = {("warm", "default"): 1.0, ("warm", "imports"): 0.85, ("cold", "default"): 0.85, ("cold", "imports"): 0.70,
            ("bare", "default"): 1.05, ("owned", "default"): 1.05}
HELLO = 1.5
GROWTH = 0.8  # MB that a warm worker may have more for what is kept from one start to the next
PATIENCE = 60


# Root without the right to write where the permissions say no; what it owns and may write to stays its own.
ORDINARY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []


def bare_copy(venv):
    """The venv without bytecode."""
    bare = venv.with_name(venv.name + "-bare")
    if not bare.exists():
        shutil.copytree(venv, bare, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "pip*"))
    return bare


@contextlib.contextmanager
def closed(venv):
    """Nothing can be written into any directory of the venv."""
    directories = [directory for directory, _, _ in os.walk(venv)]
    try:
        for directory in directories:
            os.chmod(directory, 0o555)
        yield
    finally:
        for directory in directories:
            os.chmod(directory, 0o755)


def drop_caches():
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def wait(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.005)


def private(pid):
    """MB of memory that are the process's own; pages of files are not, though nobody else may map them at the moment."""
    return rollup(pid)["Private_Dirty"] / 1024


class Chain:
    """A gateway with one app."""

    def __init__(self, running, name, venv, condition, variant, directory):
        self.directory = Path(directory, f"{name}-{condition}-{variant}-{venv.name}")
        self.directory.mkdir()
        self.port, self.status = free_port(), free_port()
        python = bare_copy(venv) if condition in ("bare", "owned") else venv
        environ = FAIR | {"XDG_CACHE_HOME": str(self.directory)}
        if condition == "bare":
            environ["PYTHONDONTWRITEBYTECODE"] = "1"
        self.log = open(self.directory / "log", "wb")
        self.process = running.enter_context(subprocess.Popen(
            [*(ORDINARY if condition == "owned" else []), BINARY, f"{SPECS[name]}:app", "--bind", f"127.0.0.1:{self.port}", "--log-access", "off",
             "--python", str(python), "--directory", str(APPS), "--idle-timeout", "10ms", "--status-listen", f"127.0.0.1:{self.status}",
             *VARIANTS[variant]], env=environ, stdout=self.log, stderr=self.log))
        running.callback(self.process.terminate)
        wait(lambda: b"leangate " in (self.directory / "log").read_bytes() or self.process.poll() is not None, "the gateway")

    def sleeps(self):
        return not children(self.process.pid)

    def stack(self):
        """Seconds of each part of the last start; nothing where the gateway does not know one."""
        app, = json.loads(get(self.status, "/status.json")[1])["apps"]
        parts = [app["cold_starts"]["last"][part] for part in STACK]
        return [[round(part, 6) for part in parts]] if None not in parts else []

    def ask(self):
        """Seconds from connect to the last byte; the worker is gone afterwards."""
        begun = time.perf_counter()
        status, _ = get(self.port)
        took = time.perf_counter() - begun
        if status != 200:
            raise SystemExit(f"{status}:\n{(self.directory / 'log').read_text()[-3000:]}")
        wait(self.sleeps, "the end of the worker")
        return took


def plain(name, venv):
    """B, once."""
    code = f"import {SPECS[name]}, os; os._exit(0)"
    python = str(venv / "bin/python")
    here = os.getcwd()
    os.chdir(APPS)
    begun = time.perf_counter()
    pid = os.posix_spawn(python, [python, "-c", code], FAIR)
    status = os.waitpid(pid, 0)[1]
    took = time.perf_counter() - begun
    os.chdir(here)
    if status != 0:
        raise SystemExit(f"cannot import {SPECS[name]}")
    return took


def measure(name, venv, condition, variants, rounds):
    """{variant: [seconds of a round, ...]}, None being B; {variant: [the parts of a start, ...]}"""
    took, stacks = {which: [] for which in (None, *variants)}, {variant: [] for variant in variants}
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as running:
        if condition == "owned":
            running.enter_context(closed(bare_copy(venv)))
        chains = {variant: Chain(running, name, venv, condition, variant, directory) for variant in variants}
        plain(name, venv)
        for chain in chains.values():  # what these leave is what the measured ones find
            chain.ask()
            chain.ask()
        actions = {None: lambda: plain(name, venv), **{variant: chain.ask for variant, chain in chains.items()}}
        for number in range(rounds):
            for which, action in list(actions.items())[:: 1 if number % 2 else -1]:
                if condition == "cold":
                    drop_caches()
                took[which].append(round(action(), 6))
                if which is not None:
                    stacks[which] += chains[which].stack()
    if condition in ("bare", "owned") and list(bare_copy(venv).rglob("*.pyc")):
        raise SystemExit(f"there is bytecode in {bare_copy(venv)}")
    return took, stacks


def memory(name, venv):
    """{variant: MB private to a worker that has answered once}."""
    found = {}
    for variant in KEPT:
        with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as running:
            chain = Chain(running, name, venv, "warm", variant, directory)
            chain.ask()
            chain.ask()
            options = ["--idle-timeout", "off"]
            chain.process.terminate()
            chain.process.wait()
            chain.port = free_port()
            process = running.enter_context(subprocess.Popen(
                [BINARY, f"{SPECS[name]}:app", "--bind", f"127.0.0.1:{chain.port}", "--log-access", "off", "--python", str(venv),
                 "--directory", str(APPS), *options, *VARIANTS[variant]], env=FAIR | {"XDG_CACHE_HOME": str(chain.directory)},
                stdout=chain.log, stderr=chain.log))
            running.callback(process.terminate)

            def answers():
                with contextlib.suppress(OSError):
                    return get(chain.port)[0] == 200

            wait(answers, "an answer")
            worker, = children(process.pid)
            found[variant] = round(private(worker), 3)
    return found


def tell(name, version, condition, took, stacks):
    """Prints one line for each variant; the promises that do not hold."""
    broken, base = [], statistics.median(took[None])
    for variant in stacks:
        values = [ours / plain for ours, plain in zip(took[variant], took[None])]
        ratio = statistics.median(values)
        promised = HELLO if name == "hello" and condition == "warm" and variant != "fork" else PROMISED.get((condition, variant)) if name != "hello" else None
        spread = sorted(values)
        print(f"  {name:<8} {version}  {condition:<5} {variant:<8} {ratio:.2f} x B  (middle half {spread[len(spread) // 4]:.2f} to "
              f"{spread[3 * len(spread) // 4]:.2f}; B {base * 1e3:.0f} ms)" + (f"  promised {promised:.2f}" if promised else ""), flush=True)
        if promised and ratio > promised:
            broken.append(f"{name} {version} {condition} {variant}: {ratio:.2f}, promised {promised:.2f}")
    return broken


def tell_memory(name, version, found):
    """Prints one line; the promises that do not hold."""
    print(f"  {name:<8} {version}  a warm worker: " + ", ".join(f"{variant} {size:.2f} MB" for variant, size in found.items())
          + f"  promised: no more than {GROWTH} MB apart", flush=True)
    return [f"{name} {version} {variant}: {size - found['off']:+.2f} MB in a warm worker, promised {GROWTH}"
            for variant, size in found.items() if size - found["off"] > GROWTH]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--app", action="append", choices=SPECS, help="only this one")
    parser.add_argument("--condition", action="append", choices=CONDITIONS, help="default: all; cold only as root")
    parser.add_argument("venvs", nargs="+", type=Path, help="one for each interpreter, with bench/requirements-cold.txt in it")
    options = parser.parse_args()
    conditions = options.condition or [one for one in CONDITIONS if one != "cold" or os.geteuid() == 0]
    broken, results, memories = [], [], []
    for venv in map(Path.absolute, options.venvs):
        version = subprocess.run([venv / "bin/python", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                                 capture_output=True, text=True, check=True).stdout.strip()
        for condition in conditions:
            for name in options.app or SPECS:
                variants = [variant for variant in VARIANTS if condition == "warm" or variant not in WARM_ONLY]
                took, stacks = measure(name, venv, condition, variants, options.rounds)
                broken += tell(name, version, condition, took, stacks)
                results.append({"python": version, "condition": condition, "app": name, "import": took.pop(None), "took": took,
                                "stacks": stacks})
        for name in options.app or SPECS:
            found = memory(name, venv)
            broken += tell_memory(name, version, found)
            memories.append({"python": version, "app": name, "private": found})
    return record.keep("cold", {"unit": "s", "stack": STACK, "results": results, "memory": memories}, broken)


if __name__ == "__main__":
    sys.exit(main())
