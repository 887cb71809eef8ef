"""--reload: whether the sources of what the app has imported are still what was imported.

The files of all modules count, those imported later included, but not the interpreter's own library and not what was
installed (site-packages). reload.c asks, at most once a second; nothing is looked at in between.
"""

import os
import sys
import time

from pyworker.load import seen

INSTALLED = ("%ssite-packages%s" % (os.sep, os.sep), "%sdist-packages%s" % (os.sep, os.sep))
ITSELF = (os.path.join(os.path.dirname(os.path.abspath(__file__)), ""), os.path.join(os.path.dirname(os.__file__), ""))


def was_compiled_from(spec, status):
    """Whether the bytecode that an import has left is of this very source; True where there is none to tell."""
    try:
        with open(spec.cached, "rb") as file:
            head = file.read(16)
    except (AttributeError, OSError, TypeError):
        return True
    fields = [int.from_bytes(head[at : at + 4], "little") for at in (4, 8, 12)]
    return fields[0] != 0 or fields[1:] == [int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF]


class Sources:
    def __init__(self):
        """To be made before the import of the app."""
        self.known = {}  # file: (mtime, size)
        self.since = time.time_ns()  # a file that was changed after this may have been changed after its import
        self.stale = False
        self.started = False  # the look after the import of the app is done

    def counts(self, name):
        return name.endswith(".py") and not name.startswith(ITSELF) and not any(part in name for part in INSTALLED)

    def is_stale(self, module, name):
        """Whether the module's file is another one than at its import."""
        try:
            status = os.stat(name)
        except OSError:
            return name in self.known  # gone; what never was there (in a zip file) does not matter
        state = status.st_mtime_ns, status.st_size
        if name in self.known:
            return self.known[name] != state
        self.known[name] = state
        if status.st_mtime_ns < self.since:
            return False
        # Later on the bytecode is no witness: another worker that has the new source may have written it.
        return self.started or not was_compiled_from(seen(module, "__spec__"), status)

    def look(self):
        """Whether a file of any module has changed."""
        for module in list(sys.modules.values()):
            name = seen(module, "__file__")
            if isinstance(name, str) and self.counts(os.path.abspath(name)) and self.is_stale(module, name):
                return True
        return False

    def changed(self):
        """Look again; True for ever once something has changed."""
        begun = time.time_ns()
        self.stale = self.stale or self.look()
        self.since = begun
        self.started = True
        return self.stale
