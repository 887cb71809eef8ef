"""The list of files that a start has read: the gateway reads them ahead of the next one, if they are not in memory then.

A line is `r` and a path (to be read), or `s` and a path (only asked for its size and time, as a source with bytecode is), in the
order in which they are needed."""

import os
import sys

from pyworker import private

LINES = 20000


def mapped():
    """The files that are mapped into this process: the interpreter, its libraries, extension modules."""
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            path = line.rstrip(b"\n").partition(b"/")
            if path[1] and not path[2].endswith(b" (deleted)"):
                yield b"r/" + path[2]


def imported():
    """The bytecode of all modules, and their sources."""
    for module in list(sys.modules.values()):
        cached = getattr(getattr(module, "__spec__", None), "cached", None)
        if isinstance(cached, str) and os.path.isabs(cached) and os.path.exists(cached):
            yield b"s" + os.fsencode(module.__spec__.origin)
            yield b"r" + os.fsencode(cached)


def save(file):
    """Write the list, if it is another one than before."""
    lines = [line for line in dict.fromkeys([*mapped(), *imported()]) if b"\n" not in line]
    text = b"".join(line + b"\n" for line in lines[:LINES])
    if text != private.read(file):
        private.write(file, text)
