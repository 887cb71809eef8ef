"""Keeps the raw samples of build/bench/ in docs/bench/, thinned, and writes docs/BENCHMARKS.md, its plots and README's table from
what is there then (`make bench-report`).

Figures come from there alone; what causes.md says of them is written by hand.
"""

import argparse
import shutil
import statistics
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

import readme  # noqa: E402
import record  # noqa: E402
import verdict  # noqa: E402
from verdict import percentile  # noqa: E402

PLOTS = []  # the directory that they go to
INK = "#767676"  # legible on a light page and on a dark one
OURS = "#d9480f"
OTHERS = ("#1c7ed6", "#2f9e44", "#ae3ec9", "#c49000", "#0c8599", "#d6336c", "#7950f2", "#66a80f", "#868e96", "#a9714b", "#f06595",
          "#4dabf7")
FAMILIES = ("granian", "gunicorn", "uwsgi", "bjoern", "uvicorn", "waitress", "go", "express", "lighttpd", "hypercorn", "bare", "nginx")  # the same colour in each plot

plt.rcParams.update({
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.facecolor": "none", "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "grid.color": INK,
    "font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "leangate", "savefig.transparent": True, "legend.frameon": False,
})


def save(figure, name):
    figure.savefig(PLOTS[0] / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
    return f"![{name}](bench/{name}.svg)"


def plain_numbers(*axes):
    """1, 10, 100 on a logarithmic axis, not powers."""
    for axis in axes:
        axis.set_major_formatter(lambda value, _: f"{value:g}")


def beside(axes, value, place):
    """The value, at the end of its bar."""
    axes.annotate(f"{value:.1f}", (value, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)


def colour(name, number):
    family = name.lower().replace(",", " ").split()[0]
    return OURS if family == "leangate" else OTHERS[(FAMILIES.index(family) if family in FAMILIES else number) % len(OTHERS)]


def megabytes(kilobytes):
    return f"{kilobytes / 1024:.1f}"


def spread(values, digits=1):
    """The median, and from where to where."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


# --- memory over time ---

DASHES = "-", "--", ":"  # those that have the same colour


def plot_curves(data):
    figure, axes = plt.subplots(figsize=(8, 5.5))
    drawn = []
    for number, (name, points) in enumerate(data["curves"].items()):
        ink = colour(name, number)
        axes.plot([point[0] for point in points], [point[3] / 1024 for point in points], label=name, color=ink,
                  linewidth=2.4 if ink == OURS else 1.3, linestyle=DASHES[drawn.count(ink) % len(DASHES)])
        drawn.append(ink)
    load = [point[0] for point in next(iter(data["curves"].values())) if point[1] == "load"]
    axes.axvspan(load[0], load[-1], color=INK, alpha=0.12)
    axes.set_yscale("log")
    plain_numbers(axes.yaxis)
    axes.annotate("100 requests/s", (load[0], axes.get_ylim()[0]), xytext=(3, 4), textcoords="offset points")
    axes.set_xlabel("seconds")
    axes.set_ylabel("PSS of all processes, MB (logarithmic)")
    axes.set_title("Memory of one endpoint: idle, under load, idle again")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9, handlelength=2.6)
    return save(figure, "memory")


def median_of(points, phase, column):
    return statistics.median(point[column] for point in points if point[1] == phase)


def asked(rates):
    """At what pace there were answers."""
    low, high = (f"{end(rates):.0f}" if rates else "" for end in (min, max))
    return "about 100 requests/s" + (f" (answered: {low}{'' if low == high else f' to {high}'})" if rates else "")


def curves(data):
    rows = []
    for name, points in data["curves"].items():
        last = [point for point in points if point[1] == "after"][-1]
        cells = [f"{megabytes(median_of(points, phase, 3))} / {megabytes(median_of(points, phase, 4))}"
                 for phase in ("before", "load")]
        rows.append([name, *cells, f"{megabytes(last[3])} / {megabytes(last[4])}"])
    return [
        "## Memory over time", plot_curves(data),
        f"PSS / private dirty of all processes in MB. Before any request, under {asked(data.get('rates', {}).values())}, and two minutes "
        f"after the last one; leangate's `idle_timeout` is {data['idle']} here. All servers run at the same time.",
        table(["server", "before", "under load", "after"], rows)]


# --- density ---

def plot_density(data):
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for number, (name, samples) in enumerate(data["samples"].items()):
        counts = sorted(samples, key=int)
        axes.plot([int(count) for count in counts], [verdict.megabytes(samples[count], "idle", 1) for count in counts], marker="o",
                  label=f"{name}, none active", color=colour(name, number))
        awake = [count for count in counts if "awake" in samples[count][0]]
        if awake:
            axes.plot([int(count) for count in awake], [verdict.megabytes(samples[count], "awake", 1) for count in awake], marker="o",
                      linestyle="--", label=f"{name}, up to ten active", color=colour(name, number))
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain_numbers(axes.xaxis, axes.yaxis)
    axes.set_xlabel("Flask apps configured (logarithmic)")
    axes.set_ylabel("PSS of all processes, MB (logarithmic)")
    axes.set_title("Many small apps on one machine")
    axes.legend(fontsize=9)
    return save(figure, "density")


def density(data):
    rows = []
    for name, samples in data["samples"].items():
        for count in sorted(samples, key=int):
            states = [[run[state][1] / 1024 for run in samples[count]] for state in ("idle", "awake") if state in samples[count][0]]
            rows.append([name, count, *(spread(values) for values in states), *[""] * (2 - len(states))])
    return ["## Density", plot_density(data),
            f"Sum of PSS in MB, median (least to most). One Flask process alone, serving nobody: "
            f"{spread([alone[1] / 1024 for alone in data['alone']])} MB.",
            table(["server", "apps", "none active", "ten active"], rows)]


# --- warm requests ---

def plot_warm(app, by_connections, data):
    figure, (axes, lower) = plt.subplots(2, figsize=(8, 6), sharex=True)
    names = [name for name in next(iter(by_connections.values())) if not verdict.relayed(name)]
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        places = [place + number * width for place in range(len(by_connections))]
        rates = [[run[0] for run in results[name]] for results in by_connections.values()]
        middle = [statistics.median(runs) for runs in rates]
        spread = [[value - min(runs) for value, runs in zip(middle, rates)], [max(runs) - value for value, runs in zip(middle, rates)]]
        bars = axes.bar(places, middle, width * 0.92, yerr=spread, label=name, color=colour(name, number),
                        error_kw={"ecolor": INK, "elinewidth": 1.4, "capsize": 2})
        for bar, connections in zip(bars, by_connections):
            if verdict.starves(data, app, name, connections):
                bar.set(facecolor="none", edgecolor=colour(name, number), hatch="///")
        lower.plot(places, [statistics.median(run[2] for run in results[name]) * 1e3 for results in by_connections.values()], "o",
                   color=colour(name, number))
    lower.set_yscale("log")
    plain_numbers(lower.yaxis)
    lower.set_ylabel("p50, ms (logarithmic)")
    lower.set_xticks([place + 0.4 - width / 2 for place in range(len(by_connections))],
                    [f"{count} connection{'' if str(count) == '1' else 's'}" for count in by_connections])
    axes.set_ylabel("requests/s")
    axes.set_title(f"Warm, one worker: {app}")
    axes.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return save(figure, f"warm-{app}")


def warm(data):
    parts = ["## Warm requests",
             "One worker each, kept connections, access lines off for all. Medians, with the least and the most; the ratio is the "
             "median over the rounds of leangate's figure by the peer's in the same round. More than 1.00 in requests/s and less "
             "than 1.00 in CPU is better for leangate. A server leaves clients without an answer where the last of them had to "
             "wait until the others had gone (hatched); wrk does not count such requests. gunicorn is gthread with four threads and kept "
             "connections, uvicorn has uvloop and httptools; command lines: bench/peers.py. uwsgi has four threads, uwsgi-64 has 64: each keeps "
             "one connection until its client closes it. Go uses every core. `+relay` is the same server with bench/relay.c before it, a second "
             "process that only hands on the bytes; what it keeps of its own figure is in the last two columns."]
    for app, by_connections in data["samples"].items():
        rows = []
        for connections, results in by_connections.items():
            for name, runs in results.items():
                rates = [run[0] for run in runs]
                left = ", leaves clients without an answer" if verdict.starves(data, app, name, connections) else ""
                cells = [connections, name, f"{statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f}){left}",
                         f"{statistics.median(run[1] for run in runs):.1f}", f"{statistics.median(run[2] for run in runs) * 1e6:.0f}"]
                peer = verdict.relayed(name)
                beside = [("leangate", name) if name != "leangate" else None, (name, peer) if peer in results else None]
                rows.append(cells + [spread(verdict.each(results[pair[0]], results[pair[1]], lambda run: run[column]), 2) if pair else ""
                                     for pair in beside for column in (0, 1)])
        parts += [f"### {app}", plot_warm(app, by_connections, data),
                  table(["connections", "server", "requests/s", "CPU, us a request", "p50, us", "leangate's requests/s by its", "CPU",
                         "behind the relay by alone: requests/s", "CPU"], rows)]
    return parts


# --- latency at an even pace ---

def plot_pace(quiet, slow):
    figure, axes = plt.subplots(figsize=(8, 3.6))
    for number, name in enumerate(quiet):
        for results, offset, hatch in ((quiet, 0, None), (slow, 0.4, "//")):
            value = statistics.median(percentile(run, 0.99) for run in results[name]) * 1e3
            axes.bar(number + offset, value, 0.36, facecolor="none" if hatch else colour(name, number), hatch=hatch,
                     edgecolor=colour(name, number))
            axes.text(number + offset, value, f"{value:.1f} ms", ha="center", va="bottom", fontsize=9)
    axes.set_yscale("log")
    plain_numbers(axes.yaxis)
    axes.margins(y=0.15)
    axes.set_xticks([number + 0.2 for number in range(len(quiet))], list(quiet))
    axes.set_ylabel("p99, ms (logarithmic)")
    axes.set_title("100 requests/s, quiet (plain) and beside four uploads at 1 KB/s (hatched)")
    return save(figure, "slow")


def pace(data):
    rows = []
    for app, results in data["samples"].items():
        words = {"quiet": "reads its body, quiet", "slow": "the same beside four uploads at 1 KB/s"}.get(app, app)
        for name, runs in results.items():
            cells = [f"{statistics.median(percentile(run, share) for run in runs) * 1e3:.2f}" for share in (0.5, 0.99)]
            peer = verdict.relayed(name)
            rows.append([words, name, *cells, "" if name == "leangate" else spread(verdict.each(results["leangate"], runs, verdict.p99), 2),
                         f"{verdict.p99s(runs, results[peer]):.2f}" if peer in results else ""])
    return [f"## Latency at {data['rate']} requests/s", plot_pace(data["samples"]["quiet"], data["samples"]["slow"]),
            "One kept connection; a request counts from when it was due; the ratio is the median over the rounds (least to most). A request that fails, or has no answer in five seconds, counts as five or more. `+relay` as above.",
            table(["app", "server", "p50, ms", "p99, ms", "leangate's p99 by its", "behind the relay by alone"], rows)]


# --- the price of being lazy ---

def lazy(data):
    figure, axes = plt.subplots(figsize=(8, 4))
    for number, idle in enumerate(sorted({sample["idle"] for sample in data["samples"]})):
        chosen = [sample for sample in data["samples"] if sample["idle"] == idle]
        axes.plot([sample["ratio"] for sample in chosen], [100 * sample["cold_share"] for sample in chosen], marker="o",
                  linestyle="none", label=f"measured, idle_timeout {idle * 1000:.0f} ms", color=OTHERS[number])
    chosen = sorted({(sample["ratio"], sample["theory"]) for sample in data["samples"]})
    requests = len(data["samples"][0]["took"])
    axes.plot([ratio for ratio, _ in chosen], [100 * theory for _, theory in chosen], color=INK, label="exp(-idle_timeout / gap)")
    axes.fill_between([ratio for ratio, _ in chosen], *([100 * (theory + sign * 2 * (theory * (1 - theory) / requests) ** 0.5)
                                                         for _, theory in chosen] for sign in (-1, 1)), color=INK, alpha=0.15, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.set_xticks([ratio for ratio, _ in chosen], [f"{ratio:g} x" for ratio, _ in chosen])
    axes.set_xlabel("mean gap between requests / idle_timeout")
    axes.set_ylabel("requests that wait for a start, %")
    axes.set_title("The price of being lazy")
    axes.legend(fontsize=9)
    rows = []
    for sample in data["samples"]:
        cold = [took for took, was in zip(sample["took"], sample["cold"]) if was]
        rest = [took for took, was in zip(sample["took"], sample["cold"]) if not was]
        rows.append([f"{sample['idle'] * 1000:.0f} ms", f"{sample['ratio']:g}", f"{sample['cold_share']:.0%}", f"{sample['theory']:.0%}",
                     *(f"{statistics.median(group) * 1e3:.1f}" if group else "" for group in (cold, rest))])
    return ["## The price of being lazy", save(figure, "lazy"),
            f"Random arrivals, {requests} a point; the band is what chance alone does to so many (two standard deviations). Time is scaled "
            "down; only the ratio of gap and `idle_timeout` decides. With `idle_timeout = 60s` and one request in four minutes, read 4.",
            table(["idle_timeout", "gap / idle_timeout", "cold", "expected", "median ms cold", "median ms warm"], rows)]


# --- the first request of an app that sleeps

WORDS = {"off": "nothing kept", "default": "default", "imports": "import_cache", "fork": "mode fork"}


def plot_cold(results, condition, version):
    """Every round of every app and mode, beside the import."""
    figure, axes = plt.subplots(figsize=(8, 4.2))
    modes = [mode for mode in WORDS if any(mode in one["took"] for one in results)]
    for number, mode in enumerate(modes):
        for place, one in enumerate(results):
            if mode not in one["took"]:
                continue
            ratios = [ours / plain for ours, plain in zip(one["took"][mode], one["import"])]
            at = place + (number + 0.5) / len(modes) * 0.8 - 0.4
            ink = OURS if mode == "default" else OTHERS[list(WORDS).index(mode)]
            axes.plot([at] * len(ratios), ratios, "o", color=ink, alpha=0.6, markersize=4, markeredgewidth=0,
                      label=WORDS[mode] if place == 0 else None)
            axes.hlines(statistics.median(ratios), at - 0.07, at + 0.07, color=ink, linewidth=2.5)
    axes.axhline(1, color=INK, linewidth=1, linestyle="--")
    axes.set_ylim(bottom=0)
    axes.set_xticks(range(len(results)), [one["app"] for one in results])
    axes.set_ylabel("first request / import of the app")
    axes.set_title(f"Cold start, Python {version}, {CONDITIONS[condition]}; the bar is the median")
    axes.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return save(figure, f"cold-{condition}-{version}")


CONDITIONS = {"warm": "files in memory", "cold": "page cache empty", "bare": "a venv without bytecode",
              "owned": "a venv that may not be written to"}


def plot_stack(results, parts, version):
    """Of what the median start consists."""
    figure, axes = plt.subplots(figsize=(8, 3.2))
    left = [0.0] * len(results)
    for number, part in enumerate(parts):
        widths = [statistics.median(stack[number] for stack in one["stacks"]["default"]) * 1e3 for one in results]
        axes.barh(range(len(results)), widths, left=left, color=(*OTHERS[:3], OURS, OTHERS[3])[number], label=part, height=0.6)
        left = [start + width for start, width in zip(left, widths)]
    for place, one in enumerate(results):
        plain = statistics.median(one["import"]) * 1e3
        axes.vlines(plain, place - 0.4, place + 0.4, color=INK, linewidth=2,
                    label="python -c 'import app, os; os._exit(0)'" if place == 0 else None)
    axes.set_yticks(range(len(results)), [one["app"] for one in results])
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds")
    axes.set_title(f"Of what a first request consists, Python {version}")
    axes.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return save(figure, f"stack-{version}")


def cold(data):
    found = ["## Cold start", "From connect to the last byte of the answer of an app that sleeps, by the time of `python -c 'import app, os; "
             "os._exit(0)'` in the same round: median (least to most). The parts are what the gateway itself tells in `/status.json`."]
    kinds = {(one["python"], one["condition"]): None for one in data["results"]}
    for version, condition in kinds:
        results = [one for one in data["results"] if (one["python"], one["condition"]) == (version, condition)]
        rows = [[one["app"], WORDS[mode], spread([ours / plain for ours, plain in zip(took, one["import"])], 2),
                 f"{statistics.median(took) * 1e3:.0f}", f"{statistics.median(one['import']) * 1e3:.0f}"]
                for one in results for mode, took in one["took"].items()]
        found += [f"### Python {version}, {CONDITIONS[condition]}", plot_cold(results, condition, version),
                  table(["app", "mode", "ratio", "first request, ms", "import, ms"], rows)]
        if condition == "warm":
            stacks = [[one["app"], *(f"{statistics.median(stack[number] for stack in one['stacks']['default']) * 1e3:.1f}"
                                     for number in range(len(data["stack"])))] for one in results]
            found += [plot_stack(results, data["stack"], version), table(["app, ms", *data["stack"]], stacks)]
    rows = [[one["python"], one["app"], *(f"{one['private'][kept]:.2f}" for kept in ("off", "default", "imports"))] for one in data.get("memory", [])]
    return found + (["### What that costs a warm worker", "Private dirty of a worker that has answered once, in MB; at most 0.8 more than where nothing is kept "
                     "is promised.", table(["Python", "app", *(WORDS[kept] for kept in ("off", "default", "imports"))], rows)] if rows else [])


# --- memory, each server alone


def plot_memory(rows):
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.5 * len(rows)))
    for place, (name, runs) in enumerate(rows.items()):
        for offset, phase in ((-0.18, "warm"), (0.18, "after")):
            value = verdict.megabytes(runs, phase, 1)
            ink = colour(name, place)
            axes.barh(place + offset, value, 0.32, facecolor=ink if phase == "warm" else "none", edgecolor=ink,
                      hatch=None if phase == "warm" else "////")
            beside(axes, value, place + offset)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set_xlabel("PSS of all processes, MB")
    axes.set_title("Hello: warm (full), and idle after it (hatched)")
    return save(figure, "memory-alone")


def memory(data):
    gateway, found = data["gateway"], ["## Memory, each server alone"]
    if "hello" in data["samples"]:
        found.append(plot_memory(data["samples"]["hello"]))
    rows = [[group, name, *(f"{spread([run[phase][1] / 1024 for run in runs])}; {verdict.megabytes(runs, phase, 2):.1f}; {verdict.megabytes(runs, phase, 0):.1f}"
                            for phase in ("before", "warm", "after"))] for group, servers in data["samples"].items()
            for name, runs in servers.items()]
    more, beside = (gateway["thousand"][2] - gateway["idle"][2]) / 1024, gateway["warm"][1] - gateway["python"][1]
    return found + [
        "PSS (least to most); private dirty; RSS, of all processes in MB, medians: before any request, warm, and some seconds after the last one "
        "(leangate's worker is gone then).", table(["app", "server", "before", "warm", "after"], rows),
        f"The gateway alone with three apps: PSS {gateway['idle'][1]} kB, private dirty {gateway['idle'][2]} kB, {gateway['wakeups']} wake-ups in "
        f"{gateway['seconds']} s; with 1,000 apps {more:.2f} MB more. A warm hello has {abs(beside)} kB {'more' if beside > 0 else 'less'} "
        f"PSS than `python -c 'import hello'` asleep."]


# --- one endpoint per container


def plot_containers(data):
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.55 * len(data["samples"])))
    for place, (name, runs) in enumerate(data["samples"].items()):
        ink = colour(name, place)
        for offset, phase, style in ((-0.2, "load", {"facecolor": ink}), (0.2, "after", {"facecolor": "none", "hatch": "////"})):
            value = statistics.median(verdict.working(run[phase]) for run in runs)
            axes.barh(place + offset, value, 0.36, edgecolor=ink, **style)
            beside(axes, value, place + offset)
    axes.set_yticks(range(len(data["samples"])), list(data["samples"]))
    axes.invert_yaxis()
    axes.set_xlabel("memory of the container's cgroup without page cache, MB")
    axes.set_title(f"A container each: 100 requests/s (full), and {data['after']} s after it (hatched)")
    return save(figure, "containers")


def containers(data):
    rows = [[name, f"{data['images'][name] / 1e6:.0f}", *(f"{spread([verdict.working(run[phase]) for run in runs])}; "
                                                         f"{statistics.median(run[phase][0] for run in runs) / 1e6:.1f}"
                                                         for phase in ("before", "load", "after"))]
            for name, runs in data["samples"].items()]
    rates = [run["rate"] for runs in data["samples"].values() for run in runs if "rate" in run]
    return ["## One endpoint per container", plot_containers(data),
            f"MB (1,000,000 bytes). The image is one layer on a plain Debian 12, Debian included. Then the container's cgroup: anonymous "
            f"memory and the kernel's own, without page cache (least to most); all that is billed, page cache included. Before any "
            f"request, under {asked(rates)}, and {data['after']} s after the last one. {data['engine']}.",
            table(["container", "image", "before", "under load", "after"], rows)]


# --- the rest: a figure and its promise


def figures(title, key):
    def make(data):
        rows = [[one["what"], f"{one['value']:.2f}", f"{one['most']:.2f}", "holds" if one["value"] <= one["most"] else "**falls short**"]
                for one in data["figures"]]
        return [f"## {title}", table(["what", "measured", "at most", ""], rows), *verdict.cause(key, data["figures"])]
    return make


def front(data):
    rows = [[name, spread([run[0] for run in runs], 0), f"{statistics.median(run[1] for run in runs):.1f}"]
            for name, runs in data["samples"].items()]
    ratio = verdict.ratio(data["samples"], "lighttpd", 0)
    short = "" if ratio >= data["promised"] else " **It falls short.**"
    return ["## A static file", f"1 KB over {data['connections']} kept connections, access log {'to a file' if data['log'] else 'off'}: "
            f"{ratio:.2f} × lighttpd's requests/s (promised {data['promised']}).{short}", table(["server", "requests/s", "CPU, us a request"], rows)]


def script(data):
    rows = [[f"{connections} connection{'' if connections == '1' else 's'}", name, spread([run[0] for run in runs], 0),
             f"{statistics.median(run[1] for run in runs) / 1e3:.1f}", spread([run[2] * 1e3 for run in runs])]
            for connections, results in data["samples"].items() for name, runs in results.items()]
    rows += [[f"{data['rate']} requests/s", name, "", "", f"{statistics.median(percentile(run, 0.5) for run in runs) * 1e3:.1f}"]
             for name, runs in data["paced"].items()]
    return ["## A plain script", "bench/apps/hello_script.py, as it is: `leangate hello_script.py` (mode fork, a process for each request), and lighttpd's mod_cgi, "
            "which starts the interpreter for each.", table(["", "server", "requests/s", "CPU, ms a request", "p50, ms"], rows)]


def slow(data):
    def row(name, which):
        runs = [phases[which] for phases in data["rounds"]]
        return [name, *(spread([percentile(run, share) * 1e6 for run in runs], 0) for share in (0.5, 0.99))]
    ratio = statistics.median(statistics.median(loaded) / statistics.median(quiet) for quiet, loaded in data["rounds"])
    short = "" if ratio <= data["promised"] else " **It falls short.**"
    moved = f" Those moved {data['moved'][0]:,} bytes of heads and {data['moved'][1]:,} of answers." if "moved" in data else ""
    return ["## Beside slow clients", f"An ordinary client of leangate beside {data['dribblers']} that dribble the head of a request and "
            f"{data['readers']} that read a large answer at 1 KB/s: its median is {ratio:.2f} × the quiet one (promised {data['promised']}).{short}{moved}",
            table(["", "p50, us", "p99, us"], [row("quiet", 0), row("beside them", 1)])]


PARTS = {"memory": memory, "curves": curves, "density": density, "cold": cold, "warm": warm, "pace": pace, "lazy": lazy, "front": front,
         "slow": slow, "life": figures("The life of workers", "life"), "script": script, "worker": figures("A worker alone", "worker"), "containers": containers}


def source(data):
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    return (f"{data['when']}, commit {data['commit']}, Python {data['python']}, {data['cores']} cores of {data['processor']}, "
            f"Linux {data['kernel']}, load {data['load']:.1f} before it. {versions}.")


HEAD = ("# Benchmarks", "Made by `make bench-report` from docs/bench/*.json, which the benches have kept, and, for why something is less than it must be, from "
        "bench/causes.md; not edited by hand. Machines are noisy: the ratios are the result, absolute times only inform.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--trial", action="store_true", help="write into build/bench-trial/ instead: nothing in the repository changes")
    root = record.ROOT / "build/bench-trial" if parser.parse_args().trial else record.ROOT
    kept = root / "docs/bench"
    record.commit(PARTS, kept)
    PLOTS.append(kept)
    if root != record.ROOT:
        shutil.copy(record.ROOT / "README.md", root)
    results = {name: record.read(name, kept) for name in PARTS}
    parts = [*HEAD, verdict.markdown(results)]
    for name, make in PARTS.items():
        if results[name] is None:
            print(f"no results of {name}: left out")
        else:
            parts += make(results[name]) + [f"<sub>{source(results[name])}</sub>"]
    Path(root, "docs/BENCHMARKS.md").write_text("\n\n".join(parts) + "\n")
    page = root / "README.md"
    page.write_text(readme.rewritten(page.read_text(), results))
    print(f"wrote {root}: README.md, docs/BENCHMARKS.md and {len(list(kept.glob('*.svg')))} plots")


if __name__ == "__main__":
    main()
