"""Where results are kept: one JSON file a bench in build/bench/, with the machine, the versions and the commit."""

import importlib.metadata
import json
import os
import platform
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(os.environ.get("LEANGATE_BENCH_RESULTS") or ROOT / "build/bench")
PACKAGES = ("uvicorn", "uvloop", "httptools", "granian", "gunicorn", "bjoern", "waitress", "hypercorn", "uwsgi", "flask",
            "fastapi", "django")


def output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=20).stdout.strip()
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


def surroundings():
    """What a figure depends on beside the code."""
    return {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": output("git", "rev-parse", "--short=12", "HEAD") + ("+" if output("git", "status", "--porcelain", "-uno") else ""),
        "cores": os.cpu_count(), "processor": processor(), "kernel": platform.release(),
        "load": os.getloadavg()[0], "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES if version(name)},
    }


def keep(name, data):
    """Writes one bench's raw samples; says where."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"bench": name, **surroundings(), **data}, indent=1) + "\n")
    print(f"raw samples: {path}")


def read(name):
    """What keep() wrote, or None."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None
