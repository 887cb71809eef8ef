"""What is said of the benchmarks is what the committed raw results say: README's table, the first section of docs/BENCHMARKS.md."""

import importlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench"))  # last: it has a worker.py, as tests/support has

import readme  # noqa: E402
import record  # noqa: E402
import verdict  # noqa: E402

NAMES = "memory", "density", "cold", "warm", "pace", "containers"
MEMORY = [100, 100, 100], [1000, 4000, 3000], [100, 100, 100]  # kB before, warm, after


def runs(*phases):
    return [{"before": phases[0], "warm": phases[1], "after": phases[2]}] * 5


def made_up():
    """Results small enough to reckon by hand."""
    others = runs([9000, 8000, 7000], [9000, 8000, 7000], [9000, 8000, 7000])
    rates = {"leangate": [[1000, 10, 0]] * 5, "granian": [[1000, 10, 0]] * 5, "gunicorn": [[500, 20, 0]] * 5, "uwsgi": [[2000, 10, 0]] * 5,
             "uwsgi-64": [[1000, 10, 0]] * 5, "bjoern": [[1250, 10, 0]] * 5, "go": [[4000, 10, 0]] * 5, "uwsgi+relay": [[1600, 12, 0]] * 5,
             "bjoern+relay": [[750, 20, 0]] * 5}
    return {
        "memory": {"gateway": {"wakeups": 0, "seconds": 130}, "samples": {
            "hello": {"leangate": runs(*MEMORY), "uvicorn": others, "Go net/http": others}, "fastapi": {}}},
        "density": {"alone": [[0, 2048, 0]] * 5, "samples": {"leangate": {
            "1": [{"idle": [0, 1024, 0]}] * 5, "100": [{"idle": [0, 1126, 0], "awake": [0, 22528, 0]}] * 5}}},
        "cold": {"results": [{"app": "flask", "python": "3.11", "condition": "warm", "import": [0.2] * 5,
                              "took": {"default": [0.21] * 5, "off": [0.4] * 5}}]},
        "warm": {"samples": {"hello-wsgi": {count: rates for count in ("1", "16", "64")}}, "starved": {"hello-wsgi": {"16": ["uwsgi"]}}},
        "pace": None,
        "containers": {"after": 120, "images": {"uvicorn, FastAPI": 281e6, "leangate, FastAPI": 266e6}, "samples": {
            "uvicorn, FastAPI": [{"load": [50e6, 30e6, 5e6]}] * 5,
            "leangate, FastAPI": [{"load": [40e6, 25e6, 5e6], "after": [6e6, 1e6, 1e6]}] * 5}},
    }


def in_each(ratio):
    return f"{ratio} × ({ratio} to {ratio})"


def judged(key, results=None):
    row, = (row for row in verdict.ROWS if row.key == key)
    return {finding.what: (finding.figure, finding.holds) for finding in row.judge(results or made_up())}


def test_readme_has_the_table_that_the_committed_results_make():
    results = {name: record.read(name, record.COMMITTED) for name in NAMES}
    text = (ROOT / "README.md").read_text()
    assert readme.rewritten(text, results) == text, "make bench-report"


def test_the_report_has_the_verdict_that_the_committed_results_make():
    report = ROOT / "docs/BENCHMARKS.md"
    results = {name: record.read(name, record.COMMITTED) for name in NAMES}
    assert report.exists() == any(results.values())
    assert not report.exists() or verdict.markdown(results) in report.read_text(), "make bench-report"


def test_the_committed_results_are_small():
    assert sum(file.stat().st_size for file in record.COMMITTED.glob("*.json")) < 300_000


def test_ratios_and_verdicts_are_those_of_the_samples():
    assert judged("idle")["uvicorn after"] == ("80 × less", True)
    assert judged("idle")["PSS before"] == ("0.10 MB", True)
    assert judged("idle")["waitress before"] == ("not measured", None)
    assert judged("density") == {"100 apps, none active": ("+0.10 MB beside one", True),
                                 "10 of them active": ("11.0 × one Flask process", False)}
    assert judged("warm-hello-memory")["uvicorn"] == ("0.50 ×", True)
    assert judged("cold") == {"flask on 3.11": ("1.05 ×", True)}
    warm = judged("warm-hello")
    assert warm["hello-wsgi, granian at 16"] == (in_each("1.00"), True)
    assert warm["hello-wsgi, uwsgi at 1"] == (f"{in_each('0.50')}, itself behind a relay 0.80", False)
    assert warm["hello-wsgi, uwsgi at 16"] == ("not counted (0.50 ×): leaves clients without an answer", None)
    assert "hello-wsgi, uwsgi at 16, CPU" not in warm and "hello-wsgi, uwsgi-64 at 16, CPU" in warm
    assert warm["hello-wsgi, gunicorn at 64, CPU"] == (in_each("0.50"), True)
    assert warm["hello-wsgi, bjoern at 16"] == (in_each("0.80"), True)


def test_only_as_many_requests_have_a_margin():
    rates = {"leangate": [[960, 10.3, 0]] * 5, "granian": [[1000, 10, 0]] * 5, "bjoern": [[1500, 10, 0]] * 5}
    found = judged("warm-hello", {"warm": {"samples": {"hello-wsgi": {"16": rates}}, "starved": {}}})
    assert found["hello-wsgi, granian at 16"] == (in_each("0.96"), True)
    assert found["hello-wsgi, granian at 16, CPU"] == (in_each("1.03"), False)
    assert found["hello-wsgi, bjoern at 16"] == (in_each("0.64"), False)
    assert found["hello-wsgi, granian at 64"] == ("not measured", None)
    runs = {"leangate": [[0.001004] * 100] * 5, "uvicorn": [[0.001] * 100] * 5}
    assert judged("pace", {"pace": {"samples": {"fastapi": runs}}})["fastapi, uvicorn"] == (in_each("1.004"), False)


def test_less_by_being_two_processes_is_what_the_peer_itself_does_not_exceed_behind_a_relay():
    def verdict_of(relay, ours=600, cpu=10, starved=()):
        rates = {"leangate": [[ours, cpu, 0]] * 5, "bjoern": [[1000, 10, 0]] * 5, "bjoern+relay": [[relay, 12, 0]] * 5,
                 "granian": [[600, 10, 0]] * 5, "granian+relay": [[600, 10, 0]] * 5}
        results = {"warm": {"samples": {"hello-wsgi": {"16": rates}}, "starved": {"hello-wsgi": {"16": starved}}}}
        row, = (row for row in verdict.ROWS if row.key == "warm-hello")
        return verdict.cells(row.judge(results))[1], verdict.falls_short(results, "warm-hello")

    counted = {"warm": {"samples": {"hello-wsgi": {16: {"leangate": [[1, 1, 0]], "granian": [[2, 1, 0]]}}}, "starved": {}}}  # by int, as measured
    assert verdict.falls_short(counted, "warm-hello") == [f"hello-wsgi, granian at 16: {in_each('0.50')}"]
    bold = "hello-wsgi, bjoern at 16: 0.60 × (0.60 to 0.60), itself behind a relay"
    assert verdict_of(700) == ("**falls short**", [f"{bold} 0.70"])
    assert verdict_of(630) == ("**less, by being two processes**", [f"{bold} 0.63"])  # 0.95 × 0.63
    assert verdict_of(640) == ("**falls short**", [f"{bold} 0.64"])
    assert verdict_of(500) == ("**less, by being two processes**", [f"{bold} 0.50"])
    assert verdict_of(640, ours=650) == ("holds, but not all is measured", [])
    assert verdict_of(640, ours=650, starved=["leangate"]) == ("**falls short**", ["hello-wsgi, leangate at 16: leaves clients without an answer"])
    assert verdict_of(640, ours=650, cpu=10.1) == (
        "**falls short**", ["hello-wsgi, granian at 16, CPU: 1.01 × (1.01 to 1.01), itself behind a relay 1.00"])
    runs = {"leangate": [[0.0011] * 100] * 5, "uvicorn": [[0.001] * 100] * 5, "uvicorn+relay": [[0.0012] * 100] * 5}
    row, = (row for row in verdict.ROWS if row.key == "pace")
    assert [(one.figure, one.as_two) for one in row.judge({"pace": {"samples": {"hello-asgi": runs}}}) if one.holds is False] == [
        ("1.10 × (1.10 to 1.10), itself behind a relay 1.20", True)]


def test_beside_slow_clients_others_collapse_and_leangate_does_not():
    quiet = {name: [[0.001] * 100] * 5 for name in ("leangate", "gunicorn", "uwsgi")}
    slow = {"leangate": [[0.0021] * 100] * 5, "gunicorn": [[5.0] * 2] * 5, "uwsgi": [[0.001] * 100] * 5}
    assert judged("slow", {"pace": {"samples": {"quiet": quiet, "slow": slow}}}) == {
        "leangate": ("2.1 × its own quiet p99", False), "gunicorn": ("5000.0 × its own quiet p99", True),
        "uwsgi": ("1.0 × its own quiet p99", False)}


def test_what_falls_short_has_its_cause_below_and_what_is_missing_says_so():
    text = verdict.markdown(made_up())
    assert "| **falls short** |" in text and verdict.causes()["warm-hello"] in text
    assert verdict.causes()["warm-frameworks"] not in text
    assert "| ≤ that of uvicorn and Granian | not measured | not measured |" in text
    assert set(verdict.causes()) <= {"worker", *(row.key for row in verdict.ROWS)}


def test_figures_that_fall_short_have_their_cause_below():
    assert verdict.cause("worker", [{"value": 3.0, "most": 3.0}]) == []
    assert verdict.cause("worker", [{"value": 1.0, "most": 3.0}, {"value": 3.1, "most": 3.0}]) == [verdict.causes()["worker"]]
    assert verdict.cause("life", [{"value": 3.1, "most": 3.0}]) == []


def test_readme_shows_the_same_figures():
    text = readme.rewritten(f"# x\n{readme.BEGIN}\nold\n{readme.END}\nrest\n", made_up())
    assert "| leangate, WSGI | 0.1 MB | 3.9 MB | not measured | |" in text and "the first request takes 1.05 × the import" in text
    assert "| leangate, ASGI | not measured | not measured | | |" in text
    assert "| uWSGI | not measured | not measured | warm: it stays | 1.00 / 1.00 / 1.00 |" in text
    assert "| Go net/http | 7.8 MB | 7.8 MB | warm: it stays | 0.25 / 0.25 / 0.25 |" in text
    assert "uvicorn 35 MB; leangate 30 MB, and 2 MB 120 s after the last request" in text
    assert "does not reproduce as memory: the most that any of 2 set-ups was billed is 50 MB" in text and "266 to 281 MB" in text
    assert "old" not in text and text.endswith("\nrest\n")


def test_thinning_keeps_each_percentile(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    values = [((number * 7919) % 503) / 1000 for number in range(500)]
    data = {"samples": {"flask": {"leangate": [values]}}}
    (tmp_path / "pace.json").write_text(json.dumps(data))
    record.commit(["pace", "warm"], tmp_path / "docs")
    thin = record.read("pace", tmp_path / "docs")["samples"]["flask"]["leangate"][0]
    assert len(thin) == 100 and not (tmp_path / "docs/warm.json").exists()
    assert [verdict.percentile(thin, share) for share in (0.5, 0.99)] == [verdict.percentile(values, share) for share in (0.5, 0.99)]


def test_a_part_that_fails_stops_no_other_and_is_told_at_the_end(tmp_path, monkeypatch, capfd):
    bench = importlib.import_module("all")
    for part, text in {"memory": "print('measured')", "cold": "raise OSError('no disk')", "front": "raise SystemExit(3)",
                       "report": "print('reported')"}.items():
        (tmp_path / f"{part}.py").write_text(text + "\n")
    monkeypatch.setattr(bench, "BENCH", tmp_path)

    def run(*parts):
        monkeypatch.setattr(sys, "argv", ["all.py", *(word for part in parts for word in ("--only", part))])
        status = bench.main()
        return status, capfd.readouterr().out

    status, out = run("memory", "cold", "front", "report")
    assert status == 1 and "measured\n" in out and "reported\n" in out
    assert [line.split("   ")[-1] for line in out.splitlines()[-4:]] == [
        "ok", "FAILED with exit status 1", "ran; not all is as promised", "ok"]
    assert run("memory", "report")[0] == 0
