"""Writing the record that importcache.py reads, at the end of a worker that had none. What it says about modules is not what
was seen while they were imported, but what importlib finds now, where that is the same."""

import marshal
import os
import sys
import warnings
from _thread import get_ident

import _sre

from pyworker import private
from pyworker.importcache import (
    FORMAT, HEADER, NOT_RECORDED, REGEX, SUFFIXES, TOO_FAST, WORTHWHILE, ExtensionFileLoader, PathFinder, SourceFileLoader, checksum,
    external, state_of)
from pyworker.load import seen


def is_absolute(path):
    """Whether what it means does not depend on the current directory. Anything but a text in it means nothing to importlib."""
    return all(type(place) is str and os.path.isabs(place) for place in path)


def parent_path(name):
    """The path that a submodule is looked for on, as a list; None for a module at the top; False where it has no plain one."""
    parent = name.rpartition(".")[0]
    if not parent:
        return None
    path = seen(sys.modules.get(parent), "__path__")
    return list(path) if type(path) is list and is_absolute(path) else False


def is_same(spec, found):
    """Whether importlib finds what the module was made of."""
    return (found is not None and type(found.loader) is type(spec.loader) and found.origin == spec.origin
            and found.cached == spec.cached and found.submodule_search_locations == spec.submodule_search_locations)


def source_state(spec):
    """(size and time of the source, length and header of the bytecode) if these belong together; else None."""
    status = os.stat(spec.origin)
    with open(spec.cached, "rb") as file:
        data = file.read()
    times = external.MAGIC_NUMBER + bytes(4) + b"".join(
        (number & 0xFFFFFFFF).to_bytes(4, "little") for number in (int(status.st_mtime), status.st_size))
    return (status.st_size, status.st_mtime_ns, len(data), times) if data[:HEADER] == times else None


def may_be_hidden(name, origin, path):
    """Whether there is something of that name that is no module as yet, but would be found first if it became one: a directory, or
    a link that leads nowhere. That is not seen: the names around it stay what they are."""
    places = [os.path.join(directory, name.rpartition(".")[2]) for directory in path]
    return (any(os.path.lexists(place) and os.path.dirname(origin) != place for place in places)
            or any(os.path.lexists(place + suffix) and not os.path.isfile(place + suffix) for place in places for suffix in SUFFIXES))


def entry(name, paths):
    """(path that it is looked for on, origin, cached or None, locations, what its files are); None: it stays ordinary."""
    module = sys.modules.get(name)
    spec = seen(module, "__spec__")
    if spec is None or spec.name != name or type(spec.loader) not in (SourceFileLoader, ExtensionFileLoader):
        return None
    path = parent_path(name)
    if path is False:
        return None
    for one in [path] if path else paths:
        if not is_same(spec, PathFinder.find_spec(name, one)) or may_be_hidden(name, spec.origin, one):
            return None
    if type(spec.loader) is ExtensionFileLoader:
        status = os.stat(spec.origin)
        return path, spec.origin, None, spec.submodule_search_locations, status.st_size, status.st_mtime_ns
    state = source_state(spec)
    return state and (path, spec.origin, spec.cached, spec.submodule_search_locations, *state)


def all_entries(names, paths):
    found = {}
    for name in names:
        try:
            one = entry(name, paths)
        except (OSError, AttributeError, TypeError, ValueError, ImportError):
            continue
        if one is not None:
            found[name] = one
    return found


class Capture:
    """Stands for the module _sre while a pattern is compiled once more: keeps what _sre.compile is called with."""

    def __init__(self):
        self.arguments = None
        self.thread = get_ident()

    def __getattr__(self, name):
        return getattr(_sre, name)

    def compile(self, *arguments):
        if get_ident() == self.thread:  # the app may have left others
            self.arguments = arguments
        return _sre.compile(*arguments)


def regex_arguments(compiler, pattern, flags):
    """What _sre.compile gets for a pattern, its code as bytes; None if it must not be kept."""
    capture = compiler._sre = Capture()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compiler.compile(pattern, flags)
        _, flags, code, groups, groupindex, indexgroup = capture.arguments
    except Exception:
        return None  # it warns, and has to do that every time
    finally:
        compiler._sre = _sre
    if int(flags) & NOT_RECORDED:
        return None
    return int(flags), b"".join(word.to_bytes(4, sys.byteorder) for word in map(int, code)), groups, dict(groupindex), indexgroup


def all_regexes(patterns):
    """The same dictionary of patterns with what is known of each."""
    compiler = sys.modules.get(REGEX)
    if compiler is None or _sre.CODESIZE != 4:
        return {}
    found = {key: None if key[1] & NOT_RECORDED else regex_arguments(compiler, *key) for key in patterns}
    return {key: arguments for key, arguments in found.items() if arguments is not None}


def all_texts(texts, mode):
    """The same dictionary without those that warn, and have to do that every time."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for text, code in texts.items():
            try:
                compile(text, "<string>", mode)
            except Exception:
                continue
            found[text] = code
    return found


def make(cache):
    """The record of a start as bytes."""
    sys.path_importer_cache.clear()  # what has come meanwhile is in the way of the next start
    paths = list(filter(is_absolute, [cache.path] if sys.path == cache.path else [cache.path, list(sys.path)]))
    modules = all_entries(cache.loaded, paths)
    directories = {directory for path in paths for directory in path}
    directories.update(directory for one in modules.values() for directory in [*(one[0] or ()), *(one[3] or ())])
    data = marshal.dumps((cache.identity, paths, {directory: state_of(directory) for directory in directories}, modules,
                          [name for name in cache.loaded if name not in modules], tuple(map(all_regexes, cache.regexes)),
                          tuple(map(all_texts, cache.texts, ("eval", "exec")))))
    return FORMAT + checksum(data) + data


def keep(cache, file, took):
    """See to it that the next start finds what fits it. `cache`: of this start; None: it was found to be too fast for one.
    `took`: microseconds of the import."""
    if cache is not None and cache.recording:
        private.write(file, TOO_FAST if took < WORTHWHILE else make(cache))
    elif cache.outdated if cache is not None else took > 2 * WORTHWHILE:
        try:
            os.unlink(file)
        except FileNotFoundError:
            pass  # another worker has done it
