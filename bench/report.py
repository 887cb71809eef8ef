"""Writes docs/BENCHMARKS.md and the plots in docs/bench/ from the JSON that the benches have kept (`make bench-report`).

Nothing here is typed by hand: a figure that no bench has measured is not in the report.
"""

import statistics

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

import record  # noqa: E402

DOCS = record.ROOT / "docs"
PLOTS = DOCS / "bench"
INK = "#767676"  # legible on a light page and on a dark one
OURS = "#d9480f"
OTHERS = ("#1c7ed6", "#2f9e44", "#9c36b5", "#e67700", "#0c8599", "#c2255c", "#5f3dc4", "#66a80f", "#868e96")

plt.rcParams.update({
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "grid.color": INK,
    "font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "leangate", "savefig.transparent": True, "legend.frameon": False,
})


def save(figure, name):
    PLOTS.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOTS / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
    return f"![{name}](bench/{name}.svg)"


def plain_numbers(*axes):
    """1, 10, 100 on a logarithmic axis, not powers."""
    for axis in axes:
        axis.set_major_formatter(lambda value, _: f"{value:g}")


def colour(name, number):
    return OURS if name.startswith("leangate") else OTHERS[number % len(OTHERS)]


def megabytes(kilobytes):
    return f"{kilobytes / 1024:.1f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


# --- memory over time ---

NAMED = ("leangate, Flask", "leangate, FastAPI", "uvicorn, FastAPI", "Granian, FastAPI", "gunicorn, Flask", "uWSGI, Flask",
         "bjoern, Flask", "Express", "Go net/http", "lighttpd alone")


def plot_curves(data):
    figure, axes = plt.subplots(figsize=(8, 5))
    for number, name in enumerate(name for name in NAMED if name in data["curves"]):
        points = data["curves"][name]
        axes.plot([point[0] for point in points], [point[3] / 1024 for point in points], label=name,
                  color=colour(name, number), linewidth=2.4 if name.startswith("leangate") else 1.2,
                  linestyle="--" if name == "leangate, FastAPI" else "-")
    load = [point[0] for point in next(iter(data["curves"].values())) if point[1] == "load"]
    axes.axvspan(load[0], load[-1], color=INK, alpha=0.12)
    axes.set_yscale("log")
    plain_numbers(axes.yaxis)
    axes.text(load[0], axes.get_ylim()[0] * 1.1, " 100 requests/s")
    axes.set_xlabel("seconds")
    axes.set_ylabel("PSS of all processes, MB (logarithmic)")
    axes.set_title("Memory of one endpoint: idle, under load, idle again")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)
    return save(figure, "memory")


def median_of(points, phase, column):
    return statistics.median(point[column] for point in points if point[1] == phase)


def curves(data):
    rows = []
    for name, points in data["curves"].items():
        last = [point for point in points if point[1] == "after"][-1]
        cells = [f"{megabytes(median_of(points, phase, 3))} / {megabytes(median_of(points, phase, 4))}"
                 for phase in ("before", "load")]
        rows.append([name, *cells, f"{megabytes(last[3])} / {megabytes(last[4])}"])
    return [
        "## Memory over time", plot_curves(data),
        f"PSS / private dirty of all processes in MB. Before any request, under about 100 requests/s, and two minutes after "
        f"the last one; leangate's `idle_timeout` is {data['idle']} here. All servers run at the same time.",
        table(["server", "before", "under load", "after"], rows)]


# --- density ---

def plot_density(data):
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for number, (name, samples) in enumerate(data["samples"].items()):
        counts = sorted(samples, key=int)
        axes.plot([int(count) for count in counts], [samples[count]["idle"][1] / 1024 for count in counts], marker="o",
                  label=f"{name}, none active", color=colour(name, number))
        awake = [count for count in counts if "awake" in samples[count]]
        if awake:
            axes.plot([int(count) for count in awake], [samples[count]["awake"][1] / 1024 for count in awake], marker="o",
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
            awake = samples[count].get("awake")
            rows.append([name, count, megabytes(samples[count]["idle"][1]), megabytes(awake[1]) if awake else ""])
    return ["## Density", plot_density(data),
            f"Sum of PSS in MB. One Flask process alone, serving nobody: {megabytes(data['alone'][1])} MB.",
            table(["server", "apps", "none active", "ten active"], rows)]


# --- warm requests ---

def ratios(results, peer, column):
    return statistics.median(ours[column] / theirs[column] for ours, theirs in zip(results["leangate"], results[peer]))


def plot_warm(app, by_connections):
    figure, axes = plt.subplots(figsize=(8, 3.6))
    names = list(next(iter(by_connections.values())))
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        places = [place + number * width for place in range(len(by_connections))]
        rates = [[run[0] for run in results[name]] for results in by_connections.values()]
        middle = [statistics.median(runs) for runs in rates]
        spread = [[value - min(runs) for value, runs in zip(middle, rates)], [max(runs) - value for value, runs in zip(middle, rates)]]
        axes.bar(places, middle, width * 0.92, yerr=spread, label=name, color=colour(name, number),
                 error_kw={"ecolor": INK, "elinewidth": 1})
    axes.set_xticks([place + 0.4 - width / 2 for place in range(len(by_connections))],
                    [f"{count} connection{'' if str(count) == '1' else 's'}" for count in by_connections])
    axes.set_ylabel("requests/s")
    axes.set_title(f"Warm, one worker: {app}")
    axes.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return save(figure, f"warm-{app}")


def warm(data):
    parts = ["## Warm requests",
             "One worker each, kept connections, access lines off for all. Medians, with the least and the most; the ratio is the "
             "median over the rounds of leangate's figure by the peer's in the same round. More than 1.00 in requests/s and less "
             "than 1.00 in CPU is better for leangate."]
    for app, by_connections in data["samples"].items():
        rows = []
        for connections, results in by_connections.items():
            for name, runs in results.items():
                rates = [run[0] for run in runs]
                cells = [connections, name, f"{statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})",
                         f"{statistics.median(run[1] for run in runs):.1f}", f"{statistics.median(run[2] for run in runs) * 1e6:.0f}"]
                rows.append(cells + (["", ""] if name == "leangate" else [f"{ratios(results, name, 0):.2f}",
                                                                         f"{ratios(results, name, 1):.2f}"]))
        parts += [f"### {app}", plot_warm(app, by_connections),
                  table(["connections", "server", "requests/s", "CPU, us a request", "p50, us", "ratio of requests/s", "ratio of CPU"], rows)]
    return parts


# --- latency at an even pace ---

def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def plot_pace(quiet, slow):
    figure, axes = plt.subplots(figsize=(8, 3.6))
    for number, name in enumerate(quiet):
        for results, offset, hatch in ((quiet, 0, None), (slow, 0.4, "//")):
            value = statistics.median(percentile(run, 0.99) for run in results[name]) * 1e3
            axes.bar(number + offset, value, 0.36, color=colour(name, number), hatch=hatch, edgecolor="white")
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
            ratio = statistics.median(percentile(a, 0.99) / percentile(b, 0.99) for a, b in zip(results["leangate"], runs))
            rows.append([words, name, *cells, "" if name == "leangate" else f"{ratio:.2f}"])
    return [f"## Latency at {data['rate']} requests/s", plot_pace(data["samples"]["quiet"], data["samples"]["slow"]),
            "One kept connection. A request without an answer in five seconds counts as five.",
            table(["app", "server", "p50, ms", "p99, ms", "ratio of p99"], rows)]


# --- the price of being lazy ---

def lazy(data):
    figure, axes = plt.subplots(figsize=(8, 4))
    for number, idle in enumerate(sorted({sample["idle"] for sample in data["samples"]})):
        chosen = [sample for sample in data["samples"] if sample["idle"] == idle]
        axes.plot([sample["ratio"] for sample in chosen], [100 * sample["cold_share"] for sample in chosen], marker="o",
                  linestyle="none", label=f"measured, idle_timeout {idle * 1000:.0f} ms", color=OTHERS[number])
    chosen = sorted({(sample["ratio"], sample["theory"]) for sample in data["samples"]})
    axes.plot([ratio for ratio, _ in chosen], [100 * theory for _, theory in chosen], color=INK, label="exp(-idle_timeout / gap)")
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
            "Random arrivals. Time is scaled down; only the ratio of gap and `idle_timeout` decides. With `idle_timeout = 60s` and one "
            "request in four minutes, read 4.",
            table(["idle_timeout", "gap / idle_timeout", "cold", "expected", "median ms cold", "median ms warm"], rows)]


PARTS = {"curves": curves, "density": density, "warm": warm, "pace": pace, "lazy": lazy}


def source(data):
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    return (f"{data['when']}, commit {data['commit']}, Python {data['python']}, {data['cores']} cores of {data['processor']}, "
            f"Linux {data['kernel']}, load {data['load']:.1f} at the end. {versions}.")


def main():
    parts = ["# Benchmarks", "Made by `make bench-report` from what the benches have kept; not edited by hand. Machines are noisy: the "
             "ratios are the result, absolute times only inform."]
    for name, make in PARTS.items():
        data = record.read(name)
        if data is None:
            print(f"no results of {name}: left out")
            continue
        parts += make(data) + [f"<sub>{source(data)}</sub>"]
    (DOCS / "BENCHMARKS.md").write_text("\n\n".join(parts) + "\n")
    print(f"wrote {DOCS / 'BENCHMARKS.md'} and {len(list(PLOTS.glob('*.svg')))} plots")


if __name__ == "__main__":
    main()
