"""Functions that no file may call, and `exit`, which only those may call that own the end of a process."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

BANNED = re.compile(r"\b(sprintf|vsprintf|strcpy|strcat|strtok|atoi|gets|alloca|system|popen)\s*\(")
EXIT = re.compile(r"\b(_?exit|_Exit|quick_exit)\s*\(")
MAY_EXIT = {"gateway/main.c", "gateway/gateway.c", "gateway/log.c", "gateway/prefetch.c", "gateway/spawn.c"}

# Comments and texts may name what they like.
BLANKED = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def blank(match):
    return re.sub(r"[^\n]", " ", match.group())


def complaints():
    for folder in ("gateway", "fcgi", "config", "pyworker"):
        for path in sorted((ROOT / folder).glob("*.[ch]")):
            name = f"{folder}/{path.name}"
            for number, line in enumerate(BLANKED.sub(blank, path.read_text()).split("\n"), 1):
                for match in BANNED.finditer(line):
                    yield f"{name}:{number}: {match[1]} is banned"
                if folder != "pyworker" and name not in MAY_EXIT:
                    for match in EXIT.finditer(line):
                        yield f"{name}:{number}: {match[1]} belongs to {', '.join(sorted(MAY_EXIT))}"


if __name__ == "__main__":
    found = list(complaints())
    print("\n".join(found), end="\n" if found else "")
    sys.exit(bool(found))
