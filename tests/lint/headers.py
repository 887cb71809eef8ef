"""Every header compiles alone, twice included, and carries its own guard."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE=", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
         "-Igateway", "-Ifcgi", "-Iconfig", "-x", "c", "-"]


def complaints():
    compiler = os.environ.get("CC") or "cc"
    for folder in ("gateway", "fcgi", "config"):
        for path in sorted((ROOT / folder).glob("*.h")):
            name = f"{folder}/{path.name}"
            if f"#ifndef LEANGATE_{path.stem.upper()}_H" not in path.read_text():
                yield f"{name}: its guard is not LEANGATE_{path.stem.upper()}_H"
            result = subprocess.run([compiler, *FLAGS], input=f'#include "{path.name}"\n' * 2, cwd=ROOT,
                                    capture_output=True, text=True)
            if result.returncode != 0:
                yield f"{name}: does not stand alone\n{result.stderr}"


if __name__ == "__main__":
    found = list(complaints())
    print("\n".join(found), end="\n" if found else "")
    sys.exit(bool(found))
