"""The list of files that a start has read: the gateway reads them ahead of the next one, if they are not in memory then.

A line is `r`, how many bytes of it are worth reading if not all are, and a path; or `s` and a path, of which only size and time
are asked for, as of a source with bytecode. They stand in the order in which they are needed."""

import os
import sys

from pyworker import private
from pyworker.load import seen

LINES = 20000
OWN = b"ld-", b"libc.", b"libm.", b"libpython"  # what an interpreter is linked with


def mapped():
    """{file: bytes} of those that are mapped into this process; of debugging symbols nothing is."""
    found = {}
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            fields = line.split(None, 5)
            if len(fields) == 6 and fields[5].startswith(b"/") and not fields[5].endswith(b" (deleted)\n"):
                start, end = (int(address, 16) for address in fields[0].split(b"-"))
                path = fields[5].rstrip(b"\n")
                found[path] = max(found.get(path, 0), int(fields[2], 16) + end - start)
    return found


def imported(extensions):
    """The bytecode of all modules and their sources, and the extensions among these."""
    for module in list(sys.modules.values()):
        spec = seen(module, "__spec__")
        cached = getattr(spec, "cached", None)
        if isinstance(cached, str) and os.path.isabs(cached) and os.path.exists(cached):
            yield b"s" + os.fsencode(spec.origin)
            yield b"r" + os.fsencode(cached)
        elif isinstance(getattr(spec, "origin", None), str) and os.fsencode(spec.origin) in extensions:
            yield b"r" + os.fsencode(spec.origin)


def lines(record):
    """What the interpreter itself needs, the record of imports, the modules, what their extensions are linked with."""
    files = mapped()
    program = os.fsencode(os.path.realpath("/proc/self/exe"))
    modules = list(dict.fromkeys(imported(files)))
    extensions = {line[1:] for line in modules if line.startswith(b"r")}
    libraries = [path for path in files if path not in extensions]
    own = [path for path in libraries if path == program or os.path.basename(path).startswith(OWN)]
    sized = [b"r%d%s" % (files[path], path) for path in own + [path for path in libraries if path not in own]]
    records = [b"r" + os.fsencode(record)] if record else []
    return sized[: len(own)] + records + modules + sized[len(own) :]


def save(file, record):
    """Write the list, if it is another one than before. `record`: a file that importcache.py reads, or ""."""
    text = b"".join(line + b"\n" for line in lines(record)[:LINES] if b"\n" not in line)
    if text != private.read(file):
        private.write(file, text)
