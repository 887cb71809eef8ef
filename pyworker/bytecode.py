"""Bytecode that is always there: where __pycache__ has none and takes none (a venv that belongs to somebody else, a read-only
image, PYTHONDONTWRITEBYTECODE), .pyc files go into a private directory, laid out as PYTHONPYCACHEPREFIX does it.

sys.pycache_prefix would move all of them, those of the standard library and of installed packages, too, which mostly are
there. So the one function that importlib asks for the place of a .pyc file is replaced: it says the usual place if a
file there fits its source or can be written, else the private one. Nothing of that is in the environment of the app.
"""

import os
import sys

import _frozen_importlib_external as external

from pyworker.private import open_directory

HEADER = 16  # bytes: magic number, flags, time and size of the source

usual_place = external.cache_from_source
root = ""
writes = True  # into __pycache__, where it takes files
takes = {}  # a __pycache__: whether it does
fresh = set()  # sources whose bytecode is not in the private directory yet


def can_take(cache):
    """Whether files can be written into a __pycache__, or it can be made."""
    if cache not in takes:
        place = cache if os.path.isdir(cache) else os.path.dirname(cache)
        takes[cache] = writes and os.access(place, os.W_OK | os.X_OK)
    return takes[cache]


def fits(cached, source):
    """Whether a .pyc file belongs to a source as it is now. One that is checked by a hash is importlib's to judge."""
    try:
        fd = os.open(cached, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        header = os.read(fd, HEADER)
        status = os.stat(source)
    except OSError:
        return False
    finally:
        os.close(fd)
    if header[:4] != external.MAGIC_NUMBER or len(header) < HEADER:
        return False
    known = int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF
    return header[4:8] != bytes(4) or header[8:] == b"".join(number.to_bytes(4, "little") for number in known)


def place(path, debug_override=None, *, optimization=None):
    """Stands for importlib's cache_from_source()."""
    usual = usual_place(path, debug_override, optimization=optimization)
    cache, name = os.path.split(usual)
    if can_take(cache) or fits(usual, path):
        return usual
    private = root + os.path.abspath(os.path.dirname(path)) + os.sep + name
    if not os.path.exists(private):
        fresh.add(path)
    return private


def redirect(directory):
    """From now on bytecode that has no other place is kept below `directory`. False: that one cannot be used."""
    global root, writes
    if not open_directory(os.path.dirname(directory)):
        return False
    root = directory
    writes = not sys.dont_write_bytecode
    external.cache_from_source = place
    sys.dont_write_bytecode = False  # for place() alone decides
    return True


def tell(core):
    """A line for the log if this start was a slow one."""
    if root and fresh:
        core.send(b"NOTE bytecode of %d module%s cannot be written beside %s source (%s%s); it is in %s now, and the next start is faster"
                  % (len(fresh), b"" if len(fresh) == 1 else b"s", b"its" if len(fresh) == 1 else b"their",
                     b"" if writes else b"PYTHONDONTWRITEBYTECODE is set; ",
                     os.fsencode(min(map(os.path.dirname, fresh))), os.fsencode(root)))
    elif not root and any(is_missing(module) for module in list(sys.modules.values())):
        core.send(b"NOTE bytecode cannot be written, which makes every start slow; run python -m compileall, or set [gateway] cache_dir")
    fresh.clear()


def is_missing(module):
    cached = getattr(module, "__cached__", None)
    return isinstance(cached, str) and not os.path.exists(cached)
