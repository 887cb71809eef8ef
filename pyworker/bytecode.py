"""Bytecode that is always there: where __pycache__ has none and takes none (a venv that belongs to somebody else, a read-only
image, PYTHONDONTWRITEBYTECODE), .pyc files go into a private directory, laid out as PYTHONPYCACHEPREFIX does it.

sys.pycache_prefix would move all of them, those of the standard library and of installed packages, too, which mostly are
there. So the one function that importlib asks for the place of a .pyc file is replaced: it says the usual place if a
file there fits its source or can be written, else the private one. Nothing of that is in the environment of the app.
"""

import os
import sys

import _frozen_importlib_external as external
import _imp

from pyworker.load import seen
from pyworker.private import trouble

HEADER = 16  # bytes: magic number, flags, time and size of the source

usual_place = external.cache_from_source
usual_code = external._compile_bytecode
root = ""
why_not = ""  # the place that was meant cannot be used
writes = True  # into __pycache__, where it takes files
caches = {}  # a __pycache__: (what stands for it, the files that it has); None: it takes files
fresh = {}  # a source whose bytecode was not in the private directory: the file that it goes into
damaged = set()  # files of the private directory that hold none
last = None, None  # the source that was asked for last, and its place: importlib asks twice for each module


def look_at(cache):
    """What there is to know of a __pycache__, asked once."""
    above = os.path.dirname(cache)
    place = cache if os.path.isdir(cache) else above
    if writes and os.access(place, os.W_OK | os.X_OK):
        return None
    try:
        return root + os.path.abspath(above) + os.sep, frozenset(os.listdir(cache))
    except OSError:
        return root + os.path.abspath(above) + os.sep, frozenset()


def fits(cached, source):
    """Whether importlib would use a .pyc file for a source as it is now."""
    try:
        fd = os.open(cached, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        header = os.read(fd, HEADER)
        if header[:4] != external.MAGIC_NUMBER or len(header) < HEADER:
            return False
        if header[4:8] != bytes(4):
            return is_of_source(header, source)
        status = os.stat(source)
    except OSError:
        return False
    finally:
        os.close(fd)
    known = int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF
    return header[8:] == b"".join(number.to_bytes(4, "little") for number in known)


def is_of_source(header, source):
    """The same for one that has a hash of its source, which may not have to be looked at."""
    usual = _imp.check_hash_based_pycs
    if usual == "never" or (usual == "default" and not header[4] & 2):
        return True
    with open(source, "rb") as file:
        return header[8:] == _imp.source_hash(int.from_bytes(external.MAGIC_NUMBER, "little"), file.read())


def place(path, debug_override=None, *, optimization=None):
    """Stands for importlib's cache_from_source()."""
    global last
    if debug_override is not None or optimization is not None:
        return find_place(path, usual_place(path, debug_override, optimization=optimization))
    known, found = last
    if path == known:
        last = None, None  # when the module is loaded anew it may be another one
    else:
        found = find_place(path, usual_place(path))
        last = path, found
    return found


def find_place(path, usual):
    """Where the bytecode of a source is, or goes."""
    cache, _, name = usual.rpartition(os.sep)
    if cache not in caches:
        caches[cache] = look_at(cache)
    if caches[cache] is None:
        return usual
    instead, there = caches[cache]
    if name in there and fits(usual, path):
        return usual
    private = instead + name
    if private in damaged:
        return usual
    if not os.path.exists(private):
        fresh[path] = private
    return private


def code_in(data, name=None, bytecode_path=None, source_path=None):
    """Stands for importlib's _compile_bytecode(), which lets an import fail for ever when a full disk or a power cut has left half
    of a file. Beside a source that is somebody's to mend; what is damaged here nobody would find."""
    global last
    try:
        return usual_code(data, name, bytecode_path, source_path)
    except (EOFError, ValueError, TypeError, ImportError):
        if bytecode_path is None or bytecode_path in damaged or not bytecode_path.startswith(root + os.sep):
            raise
        last = None, None
        try:
            os.unlink(bytecode_path)
        except OSError:
            damaged.add(bytecode_path)
        return sys._getframe(1).f_locals["self"].get_code(name)  # of the loader that has just asked


def redirect(directory):
    """From now on bytecode that has no other place is kept below `directory`, if that can be used."""
    global root, writes, why_not
    why_not = trouble(os.path.dirname(directory))
    if why_not:
        return
    root = os.path.abspath(directory)
    writes = not sys.dont_write_bytecode
    external.cache_from_source = place
    external._compile_bytecode = code_in
    sys.dont_write_bytecode = False  # for place() alone decides


def tell(core):
    """A line for the log if this start was a slow one."""
    for source in [source for source in fresh if not os.path.exists(source)]:
        del fresh[source]  # in a zip file: its loader asks for the place, and writes nothing
    if root and fresh and not any(map(os.path.exists, fresh.values())):
        core.send(b"NOTE bytecode cannot be written, which makes every start slow (%s is full or read-only); run python -m compileall, or "
                  b"set [gateway] cache_dir" % os.fsencode(root))
    elif root and fresh:
        core.send(b"NOTE bytecode of %d module%s cannot be written beside %s source (%s%s); it is in %s now, and the next start is faster"
                  % (len(fresh), b"" if len(fresh) == 1 else b"s", b"its" if len(fresh) == 1 else b"their",
                     b"" if writes else b"PYTHONDONTWRITEBYTECODE is set; ",
                     os.fsencode(min(map(os.path.dirname, fresh))), os.fsencode(root)))
    elif not root and any(is_missing(module) for module in list(sys.modules.values())):
        core.send(b"NOTE bytecode cannot be written, which makes every start slow (%s); run python -m compileall, or set [gateway] cache_dir"
                  % os.fsencode(why_not))
    fresh.clear()


def is_missing(module):
    cached, source = seen(module, "__cached__"), seen(module, "__file__")
    return isinstance(cached, str) and not os.path.exists(cached) and isinstance(source, str) and os.path.exists(source)
