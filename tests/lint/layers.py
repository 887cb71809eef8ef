"""Holds the levels of gateway/ and the walls between the folders: who may include whom.

A file of gateway/ includes only lower levels and, within its level, what stands below it in the table of docs/ARCHITECTURE.md;
level 0 is acyclic. The libraries know nothing of the program: fcgi/ and config/ include themselves, pyworker/ shares no C with
the rest.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FOLDERS = {
    "gateway": ["gateway", "fcgi", "config"],
    "fcgi": ["fcgi"],
    "config": ["config"],
    "pyworker": ["pyworker"],
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
ROW = re.compile(r"^\| (\d+) \| ([\w, ]+) \|", re.M)

# [(level, name)], in reading order.
TABLE = [(int(level), name) for level, names in ROW.findall((ROOT / "docs/ARCHITECTURE.md").read_text())
         for name in names.split(", ")]
RANK = {name: (level, -row) for row, (level, name) in enumerate(TABLE)}


def headers_of(path):
    return INCLUDE.findall(path.read_text())


def complaints():
    level0 = {}
    for _, name in TABLE:
        if not list((ROOT / "gateway").glob(f"{name}.[ch]")):
            yield f"docs/ARCHITECTURE.md: {name} is no file of gateway/"
    for folder, allowed in FOLDERS.items():
        for path in sorted((ROOT / folder).glob("*.[ch]")):
            if folder == "gateway" and path.stem not in RANK:
                yield f"{folder}/{path.name}: stands on no level: add it to the table of docs/ARCHITECTURE.md"
                continue
            for header in headers_of(path):
                target = Path(header).stem
                home = next((name for name in allowed if (ROOT / name / header).exists()), None)
                if home is None:
                    yield f"{folder}/{path.name}: includes {header}, which is not of {', '.join(allowed)}"
                elif folder == home == "gateway" and target != path.stem:
                    yield from compare(path, header, target, level0)
    yield from cycles(level0)


def compare(path, header, target, level0):
    mine, other = RANK[path.stem], RANK.get(target)
    if other is None:
        return
    if mine[0] == other[0] == 0:
        level0.setdefault(path.stem, set()).add(target)
    elif other > mine:
        yield f"gateway/{path.name} (level {mine[0]}): includes {header} (level {other[0]}), which stands above it"


def cycles(graph):
    for start in graph:
        seen, todo = set(), list(graph[start])
        while todo:
            name = todo.pop()
            if name == start:
                yield f"gateway/{start}: level 0 has a cycle through it"
                break
            if name not in seen:
                seen.add(name)
                todo += graph.get(name, ())


if __name__ == "__main__":
    found = list(complaints())
    print("\n".join(found), end="\n" if found else "")
    sys.exit(bool(found))
