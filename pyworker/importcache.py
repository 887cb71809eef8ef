"""import_cache = on: what the last start found out about its imports is used again by this one.

A record holds where each module was found, the code of regular expressions, and the code of texts that typing and
dataclasses compile. It saves the search along sys.path, and compilers that are written in Python. It is used while the app
is imported and not longer: then nothing of it is left, neither in sys.meta_path nor in a module.

Whatever does not fit exactly is left to the ordinary import:
- the record, if it is damaged, of another interpreter, of other flags or of another sys.path, or if a directory on the way
  holds other modules than before (a new file in front of a module would be found first);
- a module, if its source or its bytecode is not what it was, or the path that it is looked for on.

What a record holds is executed. It is read by pyworker.private alone: a file of this user in a directory of this user.
"""

import builtins
import marshal
import os
import sys

import _frozen_importlib_external as external
import _imp
import _sre
from _frozen_importlib import ModuleSpec

from pyworker import private

FORMAT = b"leangate imports 4\n"
TOO_FAST = FORMAT + b"fast\n"  # in place of a record: there is nothing to gain
WORTHWHILE = 40_000  # microseconds of an import; below, reading the record takes longer than what it saves
HEADER = 16  # bytes of a .pyc file before the code
REGEX = "re._compiler" if sys.version_info >= (3, 11) else "sre_compile"
NOT_RECORDED = 4 | 128  # re.LOCALE: depends on the locale; re.DEBUG: prints

SourceFileLoader = external.SourceFileLoader
ExtensionFileLoader = external.ExtensionFileLoader
PathFinder = external.PathFinder
CodeType = type(compile("0", "<string>", "eval"))
SUFFIXES = tuple(_imp.extension_suffixes() + external.SOURCE_SUFFIXES + external.BYTECODE_SUFFIXES)


def identity(path):
    """Whatever else an import depends on, as it is before the import of the app."""
    return (sys.version, sys.executable, sys.prefix, sys.base_prefix, sys.exec_prefix, tuple(sys.flags), repr(path),
            sys.dont_write_bytecode, sys.pycache_prefix, external.cache_from_source.__module__, external.MAGIC_NUMBER,
            _sre.MAGIC, _sre.CODESIZE, SUFFIXES, [getattr(hook, "__qualname__", "") for hook in sys.path_hooks])


def checksum(data):
    # three bytes: a C long holds them everywhere
    return _imp.source_hash(int.from_bytes(FORMAT[:3], "little"), data)


def names_in(directory):
    """A number that tells directories with different modules apart."""
    names = [name for name in os.listdir(directory) if name.endswith(SUFFIXES) or ("." not in name and name != "__pycache__")]
    return checksum("\n".join(sorted(names)).encode("utf-8", "surrogateescape"))


def state_of(directory):
    """(when it was changed, what modules it holds, which for an archive is not told); None if there is none. Not its mtime, which
    whoever unpacks or copies it may set."""
    try:
        changed = os.stat(directory).st_ctime_ns
        return changed, names_in(directory)
    except NotADirectoryError:
        return changed, None
    except OSError:
        return None


def is_unchanged(directory, state):
    """Whether it holds what it did. What else is written there (a log, a database) does not matter."""
    try:
        changed = os.stat(directory).st_ctime_ns
    except OSError:
        return state is None
    return state is not None and (changed == state[0] or names_in(directory) == state[1])


def file_state(path):
    """(size, time) of a file; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def fast_code(cache, loader, cached, size, changed, length, header):
    """A get_code() for one loader, once: its source and its bytecode have to be what they were. Then it is an ordinary one."""

    def get_code(fullname):
        del loader.get_code
        try:
            status = os.stat(loader.path)
            if status.st_size == size and status.st_mtime_ns == changed:
                fd = os.open(cached, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    data = os.read(fd, length + 1)
                finally:
                    os.close(fd)
                if len(data) == length and data.startswith(header):
                    code = marshal.loads(memoryview(data)[HEADER:])
                    if type(code) is CodeType:
                        _imp._fix_co_filename(code, loader.path)
                        return code
        except Exception:
            pass  # importlib says what is wrong
        cache.outdated = True
        return loader.get_code(fullname)

    return get_code


class Cache:
    """Both sides of a record: it is used if it is good, and else made anew. `path`: sys.path before the import."""

    def __init__(self, path):
        self.path = list(path)
        self.identity = identity(path)
        self.hooks = list(sys.path_hooks)
        self.paths = [self.path]  # values of sys.path for which the record holds
        self.modules = {}  # name: see entry()
        self.regexes = {}, {}  # of strings, of bytes: (pattern, flags): arguments of _sre.compile
        self.texts = {}, {}  # for eval, for exec: source: code
        self.recording = True
        self.hooked = {}  # (name, module): (what stands there, what stood there or None)
        self.known = set()  # names of modules that the record was made of
        self.unknown = []  # others that were looked for
        self.outdated = False  # it does not describe this start any more
        self.loaded = ()

    # --- reading ---

    def read(self, data):
        """Take a record over; False: it is not good, and this start makes another."""
        try:
            head = len(FORMAT) + 8
            if not data.startswith(FORMAT) or data[len(FORMAT) : head] != checksum(data[head:]):
                return False
            known, paths, directories, modules, ordinary, regexes, texts = marshal.loads(memoryview(data)[head:])
            if known != self.identity or not all(is_unchanged(*item) for item in directories.items()):
                return False
            self.known = {*modules, *ordinary}
        except Exception:  # whatever it is made of
            return False
        self.paths, self.modules, self.regexes, self.texts = paths, modules, regexes, texts
        self.recording = False
        return True

    # --- the finder ---

    def find_spec(self, name, path=None, target=None):
        spec = None
        entry = self.modules.pop(name, None)
        if entry is None:
            self.unknown.append(name)
        if not self.stands_for_path_finder():
            return None
        if entry is not None and path == entry[0] and (path is not None or sys.path in self.paths):
            spec = self.make_spec(name, *entry[1:])
        if name in HOOKS:
            spec = spec or PathFinder.find_spec(name, path, target)
            if spec is not None and type(spec.loader) is SourceFileLoader:
                self.hook_after(spec.loader, name)
        return spec

    def stands_for_path_finder(self):
        """Whether the next finder would still be that one, with its usual hooks: an app may bring its own while it is imported."""
        return (self, PathFinder) in zip(sys.meta_path, sys.meta_path[1:]) and sys.path_hooks == self.hooks

    def make_spec(self, name, origin, cached, locations, *state):
        if file_state(origin) != state[:2]:  # of a link that leads nowhere, too, which is no module
            self.outdated = True
            return None
        loader = (SourceFileLoader if cached else ExtensionFileLoader)(name, origin)
        if cached:
            loader.get_code = fast_code(self, loader, cached, *state)
        spec = ModuleSpec(name, loader, origin=origin)
        spec._set_fileattr = True
        spec.cached = cached
        if locations is not None:
            spec.submodule_search_locations = list(locations)
        return spec

    def invalidate_caches(self):
        """The app has made modules while it was imported."""
        self.modules.clear()

    # --- the hooks ---

    def hook_after(self, loader, name):
        """Let a module be hooked as soon as it has run."""

        def exec_module(module):
            del loader.exec_module
            loader.exec_module(module)
            HOOKS[name](self, module)

        loader.exec_module = exec_module

    def hook_regex(self, compiler):
        usual = compiler.compile

        def compile(p, flags=0):
            if type(flags) is int and type(p) in (str, bytes):
                known = self.regexes[type(p) is bytes]
                found = known.pop((p, flags), None)
                if found is not None:
                    return _sre.compile(p, found[0], memoryview(found[1]).cast("I").tolist(), *found[2:])
                pattern = usual(p, flags)
                if self.recording:
                    known[p, flags] = None  # until it is written
                return pattern
            return usual(p, flags)

        # Warnings about a pattern count frames up to who has it compiled, and pass over those of importlib.
        compile.__code__ = compile.__code__.replace(co_filename="<frozen importlib._bootstrap>")
        compiler.compile = compile
        self.hooked["compile", REGEX] = compile, usual

    def compile_text(self, source, mode):
        known = self.texts[mode == "exec"]
        code = known.get(source)
        if code is None:
            code = compile(source, "<string>", mode)
            if self.recording:
                known[source] = code
        return code

    def hook_typing(self, module):
        def compile(source, filename, mode, *more, **named):
            if type(source) is str and filename == "<string>" and mode == "eval" and not more and not named:
                return self.compile_text(source, "eval")
            return builtins.compile(source, filename, mode, *more, **named)

        self.shadow(module, "compile", compile)

    def hook_dataclasses(self, module):
        def exec(source, globals, locals):
            builtins.exec(self.compile_text(source, "exec") if type(source) is str else source, globals, locals)

        self.shadow(module, "exec", exec)

    def shadow(self, module, name, function):
        """Let a module find `function` where it would have found a builtin."""
        if name not in vars(module):
            setattr(module, name, function)
            self.hooked[name, module.__name__] = function, None

    # --- the import of the app lies between these ---

    def install(self):
        position = sys.meta_path.index(PathFinder)  # finders in front of it keep their turn
        sys.meta_path.insert(position, self)
        for name, hook in HOOKS.items():
            if name in sys.modules:
                hook(self, sys.modules[name])

    def remove(self):
        """Leave nothing behind: what is imported from now on is none of ours."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for (name, module), (ours, usual) in self.hooked.items():
            module = sys.modules.get(module)
            if getattr(module, name, None) is ours:
                setattr(module, name, usual) if usual else delattr(module, name)
        self.hooked.clear()
        if self.recording:
            self.loaded = list(sys.modules)
        else:
            self.outdated = self.outdated or not self.known.issuperset(filter(sys.modules.__contains__, self.unknown))
            self.modules, self.regexes, self.texts = {}, ({}, {}), ({}, {})
        self.unknown.clear()


HOOKS = {REGEX: Cache.hook_regex, "typing": Cache.hook_typing, "dataclasses": Cache.hook_dataclasses}


def open_cache(file):
    """What a start is to use, installed; None: nothing is to be gained."""
    data = private.read(file)
    if data == TOO_FAST or sys.version_info < (3, 9) or PathFinder not in sys.meta_path:
        return None
    cache = Cache(sys.path)
    if data is not None:
        cache.read(data)
    cache.install()
    return cache
