"""Where results are kept: one JSON file a bench, with the machine, the versions and the commit. build/bench/ has what was
measured last, docs/bench/ the thinned copy that belongs to the repository.
"""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path

import resident
from serving import SEARCHED

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(os.environ.get("LEANGATE_BENCH_RESULTS") or ROOT / "build/bench")
COMMITTED = ROOT / "docs/bench"
SERVERS = {"go": "version", "node": "--version", "lighttpd": "-v", "nginx": "-v", "php-fpm": "-v", "wrk": "-v"}  # and what tells their version
PACKAGES = ("uvicorn", "uvloop", "httptools", "granian", "gunicorn", "bjoern", "waitress", "hypercorn", "uwsgi", "flask",
            "fastapi", "django")
NOT_AS_PROMISED = 3  # exit status of a bench that ran well and found a promise broken
BEGAN = time.monotonic()
LONGEST = 20 * 60  # seconds that a bench may take


def output(*command, **options):
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, timeout=20,
                              **{"stderr": subprocess.DEVNULL, **options}).stdout.strip()
    except OSError:
        return ""


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions():
    """{name: version} of all that is measured and measures, as far as it is here."""
    found = {name: version(name) for name in PACKAGES}
    for name, option in SERVERS.items():
        program = resident.php_fpm() if name == "php-fpm" else shutil.which(name, path=SEARCHED)
        said = re.search(r"\d+(\.\d+)+", output(*resident.carried(program), option, stderr=subprocess.STDOUT)) if program else None
        found[name] = said and said[0]
    return {name: one for name, one in found.items() if one}


def commit_now():
    """The commit that is measured; with a + where the files are not its."""
    return output("git", "rev-parse", "--short=12", "HEAD") + ("+" if output("git", "status", "--porcelain", "-uno") else "")


COMMIT, LOAD = commit_now(), os.getloadavg()[0]  # as they are before the bench


def surroundings():
    """What a figure depends on beside the code."""
    return {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": COMMIT, "cores": os.cpu_count(), "processor": processor(), "kernel": platform.release(),
        "load": LOAD, "python": platform.python_version(),
        "versions": versions(),
    }


def duration(seconds):
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def keep(name, data, broken=()):
    """Writes one bench's raw samples, says where and how long it took, and names the promises that do not hold: the exit status."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    seconds = time.monotonic() - BEGAN
    path.write_text(json.dumps({"bench": name, **surroundings(), "seconds": round(seconds), **data}, indent=1) + "\n")
    broken = [*broken, *([f"took {duration(seconds)}, promised {duration(LONGEST)}"] if seconds > LONGEST else [])]
    for text in broken:
        print("not as promised:", text)
    print(f"{name} took {duration(seconds)}; raw samples: {path}")
    return NOT_AS_PROMISED if broken else 0


def keep_figures(name, figures):
    """The same for figures that each have a `value`, and the `most` that is promised."""
    return keep(name, {"figures": figures}, [f"{one['what']}: {one['value']:.2f}, promised {one['most']:.2f}"
                                             for one in figures if one["value"] > one["most"]])


def read(name, directory=None):
    """What keep() wrote, or None."""
    path = (directory or RESULTS) / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


# --- what is committed ---


def grid(values, points=100):
    """So many of the sorted values that each hundredth, and so each percentile, is what it was."""
    ordered = sorted(values)
    return [ordered[len(ordered) * number // points] for number in range(points)] if len(ordered) > points else ordered


def sparse(samples, seconds=2):
    """Samples that begin with a time, at least so far apart; the last one stays."""
    kept = []
    for sample in samples:
        if not kept or sample is samples[-1] or sample[1] != kept[-1][1] or sample[0] - kept[-1][0] >= seconds - 0.5:
            kept.append(sample)
    return kept


def rounded(data):
    """The same with five digits of each fraction: no figure here is better than that."""
    if isinstance(data, float):
        return float(f"{data:.5g}")
    if isinstance(data, dict):
        return {key: rounded(value) for key, value in data.items()}
    return [rounded(value) for value in data] if isinstance(data, list) else data


def sparse_figure(figure):
    """A figure of bench-worker whose lists of samples are grids."""
    samples = {name: grid(values) if isinstance(values, list) else values for name, values in figure.get("samples", {}).items()}
    return figure | {"samples": samples}


def shown_stacks(result):
    """A result of bench-cold with the stacks that the report draws."""
    return result | {"stacks": {kept: stacks for kept, stacks in result["stacks"].items() if (result["condition"], kept) == ("warm", "default")}}


THINNED = {
    "cold": lambda data: data | {"results": [shown_stacks(result) for result in data["results"]]},
    "curves": lambda data: data | {"curves": {name: sparse(samples) for name, samples in data["curves"].items()}},
    "pace": lambda data: data | {"samples": {app: {name: [grid(run) for run in runs] for name, runs in results.items()}
                                             for app, results in data["samples"].items()}},
    "script": lambda data: data | {"paced": {name: [grid(run) for run in runs] for name, runs in data["paced"].items()}},
    "worker": lambda data: data | {"figures": [sparse_figure(figure) for figure in data["figures"]]},
    "slow": lambda data: data | {"rounds": [[grid(phase) for phase in phases] for phases in data["rounds"]]},
}


def commit(names, directory):
    """Copies what was measured here into `directory`, thinned; what was not measured here stays as it is."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        data = read(name)
        if data is not None:
            thin = THINNED.get(name, lambda same: same)(data)
            (directory / f"{name}.json").write_text(json.dumps(rounded(thin), separators=(",", ":")) + "\n")
