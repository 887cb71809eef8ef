"""Holds the levels of gateway/ and the walls between the folders: who may include whom.

A file of gateway/ includes only lower levels and, within its level, rows below its own; level 0 is acyclic. The
libraries know nothing of the program: fcgi/ and config/ include themselves, pyworker/ shares no C with the rest.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Reading order. Within a level from the upper row to the lower one.
LEVELS = {
    10: ["main"],
    9: ["profile", "warm", "gateway", "gateway_loop", "gateway_end", "gateway_apps", "gateway_state", "reload", "banner", "privileges"],
    8: ["listener"],
    7: ["conn", "conn_proxy", "conn_head", "conn_body", "conn_answer", "conn_state", "conn_pool"],
    6: ["router"],
    5: ["status", "status_json", "status_metrics", "status_page", "status_view"],
    4: ["app", "app_outcome", "app_supply", "app_state", "succession", "fleet", "tell", "roster"],
    3: ["ignored", "remote", "queue", "worker_slots", "worker", "upstream", "upstream_answer", "upstream_state", "file", "file_find", "redirect", "script", "access"],
    2: ["client", "encode", "cgi_reply", "cgi", "cgi_rows", "cgi_request", "request", "file_rules", "launch", "command", "cache", "spawn", "prefetch"],
    1: ["backoff", "forwarded", "forwarded_hop", "proxy_protocol", "http_chunked", "http_head", "http_path", "http_reply", "http_date", "file_open", "file_type", "body", "control", "output", "reaper", "worker_fsm"],
    0: ["buf", "task", "timeq", "log", "memory", "epoll", "net", "inherit", "notify", "stats", "json", "proc", "tail", "library", "list", "slice", "http_parse", "ascii", "version"],
}
FOLDERS = {
    "gateway": ["gateway", "fcgi", "config"],
    "fcgi": ["fcgi"],
    "config": ["config"],
    "pyworker": ["pyworker"],
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)

RANK = {name: (level, -row) for level, names in LEVELS.items() for row, name in enumerate(names)}


def headers_of(path):
    return INCLUDE.findall(path.read_text())


def complaints():
    level0 = {}
    for folder, allowed in FOLDERS.items():
        for path in sorted((ROOT / folder).glob("*.[ch]")):
            if folder == "gateway" and path.stem not in RANK:
                yield f"{folder}/{path.name}: stands on no level: add it to LEVELS"
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
