"""What the table of the issue asks for, row by row, from the JSON that the benches have kept: measured, and whether it holds.

Pure: the report and a test read the same rows. Ratios are medians over the rounds of one round's ratio. "As many or more" requests/s
holds on a noisy machine from 0.95 on; nothing else has a margin.
"""

import json
import re
import statistics
from collections import namedtuple
from pathlib import Path

NOISE = 0.95
PSS, DIRTY = 1, 2  # columns of the memory samples
CAUSES = Path(__file__).with_name("causes.md")

Row = namedtuple("Row", "key measure must judge")
# holds: None where it was not measured, or cannot be compared; as_two: what does not hold is no less than the peer itself has as two processes
Finding = namedtuple("Finding", "what figure holds as_two", defaults=[False])


# --- arithmetic


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def each(ours, theirs, value):
    """Ours by theirs, of each round."""
    return [value(one) / value(other) for one, other in zip(ours, theirs)]


def pairs(ours, theirs, value):
    """The median over the rounds of ours by theirs."""
    return statistics.median(each(ours, theirs, value))


def ratio(results, peer, column, ours="leangate"):
    """The same of one column, for two servers among the results."""
    return pairs(results[ours], results[peer], lambda run: run[column])


def p99(run):
    return percentile(run, 0.99)


def p99s(ours, theirs):
    """The same of the 99th percentile of each run."""
    return pairs(ours, theirs, p99)


def enough(rate, promised):
    """Whether requests/s are what is promised; only as many or more of them have a margin, not a share."""
    return rate >= (NOISE if promised == 1 else promised)


def times(ratio):
    """As text; a third digit where two would hide that it is above 1."""
    return f"{ratio:.3f}" if 1 < ratio < 1.005 else f"{ratio:.2f}"


def megabytes(runs, phase, column):
    return statistics.median(run[phase][column] for run in runs) / 1024


def working(sample):
    """MB of a container that could not be given back: anonymous memory and the kernel's own."""
    return (sample[1] + sample[2]) / 1e6


def unmeasured(what):
    return Finding(what, "not measured", None)


# --- beside a peer: what it keeps of its own figure when a second process is before it says what being two processes costs


def behind(peer):
    """The name of a peer behind bench/relay.c."""
    return f"{peer}+relay"


def relayed(name):
    """The peer's own name, or None where no relay is before it."""
    peer, plus, _ = name.partition("+relay")
    return peer if plus else None


def spread(ratios):
    """The median, and from where to where, as text."""
    return f"{times(statistics.median(ratios))} × ({times(min(ratios))} to {times(max(ratios))})"


def judged(what, runs, peer, value, promised, more):
    """The finding of a ratio beside a peer. `value`: of a run; `promised`: of the ratio, which is better the larger it is (`more`), or the smaller.
    What does not hold is shown with the same ratio of the peer itself, behind the relay by alone."""
    if peer not in runs or "leangate" not in runs:
        return unmeasured(what)
    ratios = each(runs["leangate"], runs[peer], value)
    ours = statistics.median(ratios)
    holds = enough(ours, promised) if more else ours <= promised
    if holds or behind(peer) not in runs:
        return Finding(what, spread(ratios), holds)
    split = pairs(runs[behind(peer)], runs[peer], value)
    return Finding(what, f"{spread(ratios)}, itself behind a relay {times(split)}", False, ours >= NOISE * split if more else ours <= split)


def starves(warm, app, name, connections):
    """Whether one of the server's clients had to wait for the end of the load: its requests failed."""
    return name in warm["starved"].get(app, {}).get(connections, ())


# --- one function a row: the findings, or nothing where nothing was measured

PYTHON_SERVERS = "waitress", "uWSGI", "gunicorn", "Granian", "uvicorn", "Hypercorn", "bare asyncio"


def idle(results):
    rows = (results["memory"] or {}).get("samples", {}).get("hello", {})
    if "leangate" not in rows:
        return []
    ours, found = rows["leangate"], []
    for phase in "before", "after":
        dirty, pss = megabytes(ours, phase, DIRTY), megabytes(ours, phase, PSS)
        found += [Finding(f"private dirty {phase}", f"{dirty:.2f} MB", dirty <= 0.2), Finding(f"PSS {phase}", f"{pss:.2f} MB", pss <= 0.4)]
        for name, least in (("Go net/http", 10), *((name, 25) for name in PYTHON_SERVERS), ("bjoern", 10)):
            less = pairs(rows[name], ours, lambda run: run[phase][PSS]) if name in rows else None
            found.append(Finding(f"{name} {phase}", f"{less:.0f} × less", less >= least) if less else unmeasured(f"{name} {phase}"))
        share = pairs(ours, rows["lighttpd alone"], lambda run: run[phase][PSS]) if "lighttpd alone" in rows else None
        found.append(Finding(f"lighttpd alone {phase}", f"{share:.2f} ×", share <= 0.4) if share else unmeasured(f"lighttpd alone {phase}"))
    return found


def density(results):
    samples = (results["density"] or {}).get("samples", {}).get("leangate", {})
    if "1" not in samples or "100" not in samples:
        return []
    more = statistics.median(many["idle"][PSS] - one["idle"][PSS] for many, one in zip(samples["100"], samples["1"])) / 1024
    awake = statistics.median(run["awake"][PSS] / alone[PSS] for run, alone in zip(samples["100"], results["density"]["alone"]))
    return [Finding("100 apps, none active", f"{more:+.2f} MB beside one", more <= 0.3),
            Finding("10 of them active", f"{awake:.1f} × one Flask process", awake <= 10)]


def warm_memory(group, names):
    def judge(results):
        rows = (results["memory"] or {}).get("samples", {}).get(group, {})
        if "leangate" not in rows:
            return []
        ratios = {name: pairs(rows["leangate"], rows[name], lambda run: run["warm"][PSS]) if name in rows else None for name in names}
        return [Finding(name, f"{ratio:.2f} ×", ratio <= 1) if ratio else unmeasured(name) for name, ratio in ratios.items()]
    return judge


def cold(results):
    found = []
    for one in (results["cold"] or {}).get("results", []):
        if one["condition"] == "warm" and "default" in one["took"]:
            ratio = statistics.median(ours / plain for ours, plain in zip(one["took"]["default"], one["import"]))
            most = 1.5 if one["app"] == "hello" else 1.1
            found.append(Finding(f"{one['app']} on {one['python']}", f"{ratio:.2f} ×", ratio <= most))
    return found


WATCHED = 5  # seconds that the gateway is watched for wake-ups after each round of traffic


def wakeups(results):
    if not results["memory"]:
        return []
    gateway = results["memory"]["gateway"]
    after = [run["wakeups"] for run in results["memory"]["samples"].get("hello", {}).get("leangate", []) if "wakeups" in run]
    return [Finding("before traffic", f"{gateway['wakeups']} in {gateway['seconds']} s", gateway["wakeups"] == 0),
            Finding("after it", f"{sum(after)} in {len(after)} × {WATCHED} s", sum(after) == 0) if after else unmeasured("after it")]


CONNECTIONS = "1", "16", "64"


def against(app, peer, least, cpu_too=False):
    """The findings of one app and one peer."""
    def judge(warm):
        found = []
        for connections in CONNECTIONS if app in warm["samples"] else ():
            what, runs = f"{app}, {peer} at {connections}", warm["samples"][app].get(connections, {})
            if starves(warm, app, peer, connections):
                found.append(Finding(what, f"not counted ({ratio(runs, peer, 0):.2f} ×): leaves clients without an answer", None))
                continue
            found.append(judged(what, runs, peer, lambda run: run[0], least, True))
            if cpu_too and connections != "1" and peer in runs:
                found.append(judged(f"{what}, CPU", runs, peer, lambda run: run[1], 1, False))
        return found
    return judge


def serves_all(warm):
    """That leangate answers each of its clients."""
    return [Finding(f"{app}, leangate at {connections}", "leaves clients without an answer", False) for app, by_connections in warm["starved"].items()
            for connections in by_connections if starves(warm, app, "leangate", connections)]


def warm(*judges):
    def judge(results):
        return [finding for one in judges for finding in one(results["warm"])] if results["warm"] else []
    return judge


SLOWER = 2  # × its own quiet p99: what leangate may become beside slow clients, and what is no collapse yet


def slow(results):
    samples = (results["pace"] or {}).get("samples", {})
    if "leangate" not in samples.get("slow", {}):
        return []
    ratios = {name: p99s(runs, samples["quiet"][name]) for name, runs in samples["slow"].items()}
    return [Finding(name, f"{ratio:.1f} × its own quiet p99", (ratio <= SLOWER) == (name == "leangate")) for name, ratio in ratios.items()]


PACED = {"hello-wsgi": ("granian",), "flask": ("granian", "uvicorn"), "hello-asgi": ("granian", "uvicorn"), "fastapi": ("granian", "uvicorn")}


def even_pace(results):
    found, samples = [], (results["pace"] or {}).get("samples", {})
    for app, peers in PACED.items():
        for peer in peers if app in samples else ():
            found.append(judged(f"{app}, {peer}", samples[app], peer, p99, 1, False))
    return found


ROWS = (
    Row("idle", "idle, before traffic and again after it",
        "gateway private dirty ≤ 0.2 MB, PSS ≤ 0.4 MB; (by PSS) ≥ 10 × less than the Go hello, ≥ 25 × less than any Python server "
        "(bjoern: 10 ×), ≤ 0.4 × lighttpd alone", idle),
    Row("density", "100 different Flask apps configured, none active",
        "total within 0.3 MB of one; 10 of them active: ≤ 10 × one Flask process", density),
    Row("warm-hello-memory", "warm hello WSGI", "total PSS below waitress, uWSGI, gunicorn, uvicorn, Granian and the bare asyncio server",
        warm_memory("hello", ("waitress", "uWSGI", "gunicorn", "uvicorn", "Granian", "bare asyncio"))),
    Row("warm-fastapi-memory", "warm FastAPI", "total PSS ≤ uvicorn's", warm_memory("fastapi", ("uvicorn",))),
    Row("cold", "cold first request", "hello ≤ 1.5 ×, Flask, Django, FastAPI ≤ 1.10 × `python -c 'import app, os; os._exit(0)'`", cold),
    Row("wake-ups", "wake-ups per second, idle", "0", wakeups),
    Row("warm-hello", "warm, hello WSGI, 1 / 16 / 64 connections",
        "requests/s ≥ Granian, gunicorn and uWSGI over HTTP keep-alive; CPU per request ≤ theirs at 16 and 64; requests/s ≥ 0.65 × bjoern",
        warm(serves_all, against("hello-wsgi", "granian", 1, cpu_too=True), against("hello-wsgi", "gunicorn", 1, cpu_too=True),
             against("hello-wsgi", "uwsgi", 1, cpu_too=True), against("hello-wsgi", "uwsgi-64", 1, cpu_too=True), against("hello-wsgi", "bjoern", 0.65))),
    Row("warm-frameworks", "warm, hello ASGI; FastAPI; Flask", "requests/s ≥ uvicorn and Granian at each of the three",
        warm(*(against(app, peer, 1) for app in ("hello-asgi", "fastapi", "flask")
               for peer in ("uvicorn", "granian")))),
    Row("slow", "a slow client (1 KB/s) on every slot", "others' p99 stays within 2 × where gunicorn's and uWSGI's collapse", slow),
    Row("pace", "p99 at 100 requests/s (the traffic this is for), warm", "≤ that of uvicorn and Granian", even_pace),
)


# --- as text


def causes():
    """{key of a row: why it falls short}, as written by hand in causes.md."""
    parts = re.split(r"^## (\S+)\n", CAUSES.read_text(), flags=re.M)[1:]
    return {key: text.strip() for key, text in zip(parts[::2], parts[1::2])}


def cause(key, figures):
    """What stands below a table of figures: why one is above what it may be, where that is known, or nothing."""
    return [causes()[key]] if key in causes() and any(one["value"] > one["most"] for one in figures) else []


def cells(findings):
    """(measured, verdict)"""
    if all(finding.holds is None for finding in findings):
        return "not measured", "not measured"
    text = "; ".join(f"{one.what}: {f'**{one.figure}**' if one.holds is False else one.figure}" for one in findings)
    short = [finding for finding in findings if finding.holds is False]
    if not short:
        return text, "holds, but not all is measured" if any(finding.figure == "not measured" for finding in findings) else "holds"
    return text, "**less, by being two processes**" if all(finding.as_two for finding in short) else "**falls short**"


def falls_short(results, *keys):
    """What does not hold in these rows, as text."""
    results = json.loads(json.dumps(results))  # as it is kept: keys are text
    return [f"{finding.what}: {finding.figure}" for row in ROWS if row.key in keys for finding in row.judge(results) if finding.holds is False]


def markdown(results):
    """The section of the report."""
    lines, short, known = ["| measure | must be | measured | |", "| --- | --- | --- | --- |"], [], causes()
    for row in ROWS:
        findings = row.judge(results)
        lines.append(f"| {row.measure} | {row.must} | {' | '.join(cells(findings))} |")
        if any(finding.holds is False for finding in findings):
            short.append(f"**{row.measure}**: {known.get(row.key, 'No cause is named yet.')}")
    parts = ["## What the table must show", "\n".join(lines),
             "× is leangate's figure by the other's, the median over the rounds of one round's ratio, with the least and the most of them where the "
             "figure is a speed; `less` is the other way round. Memory is the PSS of all processes: what processes share is divided among them. "
             f"Requests/s that must be as many hold from {NOISE} on, and nothing else has a margin. What is less than it must be is bold.",
             "A gateway that can let go of its worker has to be a second process before it. What that alone costs is measured in the same run: "
             "`itself behind a relay` is the same ratio of the peer itself with bench/relay.c before it, a process that does nothing but hand on the bytes to "
             "the peer's unix socket, by the peer alone. It is no strict bound: the relay does less than a gateway must, but what is behind "
             "it still reads HTTP. `less, by being two processes` says that each bold figure of the row is at least what the peer itself has "
             f"behind the relay (requests/s from {NOISE} × of it on); where one is not, the row falls short, and the rest is named below."]
    return "\n\n".join(parts + short)
