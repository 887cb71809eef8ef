"""The manual pages say what the program does: every key with its default, no key that is none. And what bash
completes."""

import re
import subprocess

from gateway import BINARY, ROOT, run

# A row of config/table.c: its section and key, its default.
ROW = re.compile(r'\{(?:(GATEWAY|LIMITS|TIMEOUT|APP)\((\w+)\)|TABLE_(\w+), "(\w+)"),\s*TABLE_\w+,[^"]*?"([^"]*)"')
SECTIONS = {"TIMEOUT": "timeouts"}


def table():
    """[(section, key, default)] in the order of the table."""
    text = (ROOT / "config/table.c").read_text()
    return [(SECTIONS.get(section := row[1] or row[3], section.lower()), row[2] or row[4], row[5])
            for row in ROW.finditer(text)]


def manual():
    found, section = [], None
    for line in (ROOT / "docs/gateway.ini.5").read_text().splitlines():
        if heading := re.match(r"\.Ss \[(\w+)\]$", line):
            section = heading[1]
        elif item := re.match(r"\.It Cm (\w+) No = ?(?:\\&)?(.*)$", line):
            found.append((section, item[1], item[2]))
    return found


def test_the_table_is_read_whole(tmp_path):
    """The rows that the tests here find are those that the program has."""
    flags = re.findall(r"^  (--[a-z-]+)", run(tmp_path, "--help").stdout.partition("[gateway]")[2], re.M)
    names = ["--" + ("" if section in ("gateway", "app") else section + "-") + key for section, key, _ in table()]
    assert [name.replace("_", "-") for name in names] == flags and len(flags) > 60


def test_every_key_with_its_default():
    assert manual() == table()


def test_every_item_says_something():
    lines = (ROOT / "docs/gateway.ini.5").read_text().splitlines()
    for line, following in zip(lines, lines[1:]):
        assert not line.startswith(".It Cm") or not following.startswith("."), line
        assert len(line) <= 80 and not line.endswith(" "), line


def test_options_of_the_program(tmp_path):
    """What --help lists before the keys stands in leangate(1)."""
    page = (ROOT / "docs/leangate.1").read_text()
    usage = run(tmp_path, "--help").stdout.partition("[gateway]")[0]
    options = re.findall(r"^  (-\w)(?:, --([a-z-]+))?", usage, re.M)
    assert len(options) > 5
    for short, name in options:
        assert f".It Fl {short[1]}" in page, short
        assert not name or f"Fl -{name}" in page, name


def complete(directory, *words):
    """What bash offers for the last of the words behind `leangate`."""
    script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _leangate; '
              "printf '%s\\n' \"${COMPREPLY[@]}\"")
    result = subprocess.run(["bash", "-c", script, "bash", ROOT / "completions/leangate.bash", BINARY, *words],
                            cwd=directory, capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_completion(tmp_path):
    for name in ("gateway.ini", "main.py", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "shop").mkdir()
    assert complete(tmp_path, "--idle") == {"--idle-timeout"} and complete(tmp_path, "--timeouts-i") == {"--timeouts-idle-exit"}
    assert {"-c", "--config", "-t", "--log-format", "--body-size"} <= complete(tmp_path, "-")
    assert complete(tmp_path, "-c", "") == {"gateway.ini", "shop"}
    assert complete(tmp_path, "") == {"main.py", "shop"} and complete(tmp_path, "--directory", "") == {"shop"}
