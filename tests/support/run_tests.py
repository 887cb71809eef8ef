"""Runs the test runners that are named, one after the other, and adds up what they say.

Every runner leaves JUnit files in build/reports/RUNNER/; a runner that ends badly without a failed test in its reports
(it crashed, or found nothing to run) counts as one failed test. A pattern that matches nothing is an error, too. The last line is
the total: `N passed, N failed`.
"""

import argparse
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Of the caller's environment, what would change how a gateway, a worker or a test behaves.
MEDDLING = ("PYTHON", "LEANGATE_", "LISTEN_", "NOTIFY_", "WATCHDOG_", "PYTEST_", "VIRTUAL_ENV", "PORT",
            "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "RUNTIME_DIRECTORY", "CACHE_DIRECTORY", "DJANGO_")
# Switches for the tests themselves.
MEANT = ("LEANGATE_LONG", "LEANGATE_NEED_PYTHONS")

VALGRIND = ("valgrind -q --vgdb=no --leak-check=full --errors-for-leak-kinds=definite --error-exitcode=99 "
            "--child-silent-after-fork=yes --")


def clean_environ():
    return {name: value for name, value in os.environ.items()
            if name in MEANT or not name.startswith(MEDDLING)}


def run_unit(options, reports):
    """All cmocka programs; true when all of them ended well."""
    well = True
    for name in options.unit.split():
        report = reports / f"{name}-%g.xml"
        result = subprocess.run([options.build / "unit" / f"test_{name}"], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, errors="replace",
                                env=clean_environ() | {"CMOCKA_MESSAGE_OUTPUT": "xml", "CMOCKA_XML_FILE": str(report)})
        if result.returncode != 0:
            well = False
            print(f"unit: test_{name} failed ({result.returncode})\n{result.stdout}{failure_texts(reports, name)}")
            if not list(reports.glob(f"{name}-*.xml")):
                crash = ElementTree.Element("testsuite", tests="1", failures="1")
                ElementTree.ElementTree(crash).write(reports / f"{name}-crashed.xml")
    return well


def run_corpus(options, reports):
    """Every fuzz target over the files of its corpus; a target without one fails."""
    well = True
    for name in options.fuzz.split():
        files = sorted((ROOT / "tests/fuzz/corpus" / name).glob("*"))
        result = subprocess.run([options.build / "replay" / f"fuzz_{name}", *files], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, errors="replace", env=clean_environ())
        tried = result.stdout.splitlines()
        failed = result.returncode != 0
        if failed:
            well = False
            print(f"corpus: fuzz_{name} failed ({result.returncode}) at {tried[-1] if tried else 'its start'}\n"
                  f"{result.stderr}")
        suite = ElementTree.Element("testsuite", tests=str(max(len(tried), 1)), failures=str(int(failed)))
        ElementTree.ElementTree(suite).write(reports / f"{name}.xml")
    return well


def failure_texts(reports, name):
    """What cmocka wrote about its failed tests; it goes to the report instead of the terminal."""
    texts = []
    for report in reports.glob(f"{name}-*.xml"):
        for case in parse(report).iter("testcase"):
            texts += [f"{case.get('name')}: {failure.text}" for failure in case.iter("failure")]
    return "\n".join(texts)


def run_pytest(options, reports, folder, environ, marker=""):
    """The tests of a folder: those that the caller's pattern matches, without one those with the marker, else all."""
    command = [options.build / "venv/bin/python", "-m", "pytest", ROOT / "tests" / folder,
               f"--junit-xml={reports}/pytest.xml"]
    if options.match:
        command += ["-k", options.match]
    elif marker:
        command += ["-m", marker]
    environ = clean_environ() | environ | {"HYPOTHESIS_STORAGE_DIRECTORY": str(options.build / "hypothesis")}
    status = subprocess.run(command, env=environ, cwd=ROOT).returncode
    return status == 0 or (status == 5 and bool(options.match))  # 5: the pattern matches none of this folder


def integration(binary, wrapper="", marker=""):
    def run(options, reports):
        environ = {"LEANGATE_BIN": str(options.build / binary), "LEANGATE_WRAPPER": wrapper}
        return run_pytest(options, reports, "integration", environ, marker)
    return run


def run_worker_sanitised(options, reports):
    """The worker's C with ASan and UBSan, in an interpreter that has neither: so ASan is loaded before it."""
    return run_pytest(options, reports, "worker", {
        "LEANGATE_WORKER_DIR": str(options.build / "pysan"), "LEANGATE_TEST_PRELOAD": options.asan, "LEANGATE_TEST_REPORTS": str(reports)})


RUNNERS = {
    "unit": run_unit,
    "corpus": run_corpus,
    "worker": lambda options, reports: run_pytest(options, reports, "worker", {}),
    "worker-sanitised": run_worker_sanitised,
    "integration": integration("leangate"),
    "integration-sanitised": integration("san/leangate"),
    "integration-valgrind": integration("leangate", VALGRIND, "valgrind"),
}
WHOLE = ("unit", "corpus")  # those that take no pattern


def parse(report):
    """The report's root; cmocka closes the document after every group but may leave it open when it dies."""
    try:
        return ElementTree.parse(report).getroot()
    except ElementTree.ParseError:
        return ElementTree.Element("testsuite", tests="1", failures="1")


def count(reports):
    passed = failed = 0
    for report in reports.glob("*.xml"):
        root = parse(report)
        for suite in [root] if root.tag == "testsuite" else root.findall("testsuite"):
            number = {key: int(suite.get(key) or 0) for key in ("tests", "failures", "errors", "skipped")}
            bad = number["failures"] + number["errors"]
            failed += bad
            passed += number["tests"] - bad - number["skipped"]
    return passed, failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--unit", default="", help="names of the unit tests")
    parser.add_argument("--fuzz", default="", help="names of the fuzz targets")
    parser.add_argument("--asan", default="", help="the compiler's libasan.so, for worker-sanitised")
    parser.add_argument("--match", default="", help="pytest's -k")
    parser.add_argument("runners", nargs="+", choices=RUNNERS)
    options = parser.parse_args()
    options.build = options.build.resolve()
    results = {}
    for runner in options.runners:
        reports = options.build / "reports" / runner
        shutil.rmtree(reports, ignore_errors=True)
        reports.mkdir(parents=True)
        well = RUNNERS[runner](options, reports)
        passed, failed = count(reports)
        if not well and not failed:
            failed = 1
        results[runner] = passed, failed
        print(f"{runner}: {passed} passed, {failed} failed", flush=True)
    if len(results) > 1:
        for runner, (passed, failed) in results.items():
            print(f"  {runner}: {passed} passed, {failed} failed")
    passed, failed = (sum(column) for column in zip(*results.values()))
    ran = any(sum(counts) for runner, counts in results.items() if not options.match or runner not in WHOLE)
    if not ran:
        print(f"no test was run by the pattern {options.match!r}")
    print(f"{passed} passed, {failed} failed")
    return 0 if ran and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
