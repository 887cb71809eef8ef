"""--trace FILE: what the import of the app consists of, module by module, and which modules the requests ran. For `leangate
profile` (profile.py), which reads the file; a traced start is a slower one."""

import os
import sys
from time import perf_counter_ns

import _frozen_importlib as bootstrap

from pyworker.load import seen

PAGE = os.sysconf("SC_PAGESIZE")


class Trace:
    def __init__(self):
        self.statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self.imports = []  # [name, index of who imports it or -1, start, nanoseconds, bytes of private memory]
        self.inside = []  # indexes of the imports that are under way
        self.usual = bootstrap._find_and_load
        self.touched = set()

    def memory(self):
        """Bytes of resident memory that is no file's."""
        resident, shared = os.pread(self.statm, 128, 0).split()[1:3]
        return (int(resident) - int(shared)) * PAGE

    def find_and_load(self, name, import_):
        """Stands for importlib's function of that name, which is called for every module that is not there yet."""
        if name in sys.modules:
            return self.usual(name, import_)
        index = len(self.imports)
        memory = self.memory()
        entry = [name, self.inside[-1] if self.inside else -1, perf_counter_ns(), 0, 0]
        self.imports.append(entry)
        self.inside.append(index)
        try:
            return self.usual(name, import_)
        finally:
            entry[3], entry[4] = perf_counter_ns() - entry[2], self.memory() - memory
            self.inside.remove(index)

    def start(self):
        bootstrap._find_and_load = self.find_and_load

    def stop(self, scripts):
        """The app is imported: what is called from now on is what requests need. What scripts import is imported then."""
        if not scripts:
            bootstrap._find_and_load = self.usual
        sys.setprofile(self.touch)
        if "threading" in sys.modules:
            sys.modules["threading"].setprofile(self.touch)

    def touch(self, frame, event, argument):
        if event == "call":
            self.touched.add(frame.f_globals.get("__name__"))

    def save(self, file):
        sys.setprofile(None)
        bootstrap._find_and_load = self.usual
        import json

        missing = [name for name, module in list(sys.modules.items()) if self.has_no_bytecode(module)]
        with open(file, "w") as out:
            json.dump({"imports": self.imports, "touched": sorted(filter(None, self.touched)), "missing": missing}, out)

    @staticmethod
    def has_no_bytecode(module):
        cached = getattr(seen(module, "__spec__"), "cached", None)
        return isinstance(cached, str) and not os.path.exists(cached)
