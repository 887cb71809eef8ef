"""README's table, between its two marks, from the JSON in docs/bench/."""

import statistics

from verdict import PSS, megabytes, pairs, working

BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
# name: (row of bench-memory, app and row of bench-warm)
PEERS = {
    "uvicorn (ASGI)": ("uvicorn", "hello-asgi", "uvicorn"), "Granian": ("Granian", "hello-wsgi", "granian"),
    "gunicorn": ("gunicorn", "hello-wsgi", "gunicorn"), "uWSGI": ("uWSGI", "hello-wsgi", "uwsgi-64"),
    "Go net/http": ("Go net/http", "hello-wsgi", "go"),
}
MISSING = "not measured"
NAMES = "memory", "warm", "cold", "containers"  # the results it is made of


def memory(results, name, phase):
    rows = (results["memory"] or {}).get("samples", {}).get("hello", {})
    return f"{megabytes(rows[name], phase, PSS):.1f} MB" if rows.get(name) else MISSING


def rate(results, app, peer):
    """leangate's requests/s by the peer's at 1, 16 and 64 connections."""
    by_connections = (results["warm"] or {}).get("samples", {}).get(app, {})
    found = [f"{pairs(by_connections[str(count)]['leangate'], by_connections[str(count)][peer], lambda run: run[0]):.2f}"
             for count in (1, 16, 64) if peer in by_connections.get(str(count), {})]
    return " / ".join(found) if len(found) == 3 else MISSING


def cold(results, *apps):
    """The median over all rounds of these apps, on all Pythons."""
    ratios = [ours / plain for one in (results["cold"] or {}).get("results", [])
              if one["condition"] == "warm" and one["app"] in apps and "default" in one["took"]
              for ours, plain in zip(one["took"]["default"], one["import"])]
    return f"{statistics.median(ratios):.2f} × the import" if ratios else MISSING


QUOTED = 600  # MB: "my container takes 600 MB for one endpoint"


def containers(results):
    """What of the well-known 600 MB for one endpoint reproduces; nothing where no container ran."""
    data = results["containers"]
    if data is None or not {"uvicorn, FastAPI", "leangate, FastAPI"} <= data["samples"].keys():
        return ""

    def taken(name, phase):
        return f"{statistics.median(working(run[phase]) for run in data['samples'][name]):.0f} MB"

    four = "uvicorn, 4 workers, FastAPI"
    most, name = max((max(run["load"][0] for run in runs) / 1e6, name) for name, runs in data["samples"].items())
    images = [size / 1e6 for size in data["images"].values()]
    return (
        "\n\nOne FastAPI endpoint in a container of its own (memory without page cache, under about 100 requests/s): uvicorn "
        f"{taken('uvicorn, FastAPI', 'load')}" + (f", with four workers {taken(four, 'load')}" if four in data["samples"] else "") +
        f"; leangate {taken('leangate, FastAPI', 'load')}, and {taken('leangate, FastAPI', 'after')} {data['after']} s after the last request. "
        f"The often quoted {QUOTED} MB for one endpoint {'reproduces' if most >= QUOTED else 'does not reproduce'} as memory: the most that "
        f"any of {len(data['samples'])} set-ups was billed is {most:.0f} MB, page cache included ({name}). Images on Debian 12 take "
        f"{min(images):.0f} to {max(images):.0f} MB of disk.")


def region(results):
    """What stands between the marks."""
    if not any(results.get(name) for name in NAMES):
        return "Nothing is measured yet: `make bench`."
    lines = ["| hello, one worker | idle | warm | first request when idle | leangate's requests/s ÷ its, at 1 / 16 / 64 connections |",
             "| --- | --- | --- | --- | --- |",
             f"| leangate, WSGI | {memory(results, 'leangate', 'before')} | {memory(results, 'leangate', 'warm')} | {cold(results, 'hello')} | |",
             f"| leangate, ASGI | {memory(results, 'leangate, ASGI', 'before')} | {memory(results, 'leangate, ASGI', 'warm')} | | |"]
    for name, (row, app, peer) in PEERS.items():
        lines.append(f"| {name} | {memory(results, row, 'before')} | {memory(results, row, 'warm')} | warm: it stays | "
                     f"{rate(results, app, peer)} |")
    return "\n".join(lines) + (
        "\n\nMemory is the PSS of all processes; idle is before the first request. The import is `python -c 'import app, os; os._exit(0)'`; of Flask, FastAPI "
        f"and Django the first request takes {cold(results, 'flask', 'fastapi', 'django')}. More than 1 is more requests for leangate. gunicorn has "
        "4 threads and keeps connections (gthread). uvicorn has uvloop and httptools. Granian serves WSGI. uWSGI has 4 threads for the memory, and 64 for the "
        "speeds, since a thread keeps its connection. Go uses every core. Command lines: [bench/peers.py](bench/peers.py). Machine, versions, the spread of each "
        "figure, and where it falls short: [docs/BENCHMARKS.md](docs/BENCHMARKS.md).") + containers(results)


def rewritten(text, results):
    """README with its region as it must be."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"README.md has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{region(results)}\n{END}{after}"
