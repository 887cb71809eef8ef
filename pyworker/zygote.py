"""Mode fork, the Python side: what is done once before the copies, and once in each of them.

What a copy needs is imported before the first copy is made: in a copy even a built-in module costs as much as its request.
"""

import atexit
import gc
import os
import sys

from pyworker.end import flush, share_files
from pyworker.load import LoadError, describe


# What libraries import only when they are first used, which every copy would do anew: 80 ms for a FastAPI app.
FIRST_USE = {"anyio": "anyio._backends._asyncio", "fastapi": "fastapi.telemetry._runtime"}

# What libraries do at the end of each process that has used them, though they ask for it when they are imported. The last one first.
AT_EXIT = ("logging", "shutdown"), ("multiprocessing.util", "_exit_function"), ("sentry_sdk", "flush")


def import_first_use():
    for library, name in FIRST_USE.items():
        if library in sys.modules:
            try:
                __import__(name)
            except Exception:
                pass  # another release of it; the app may never need it


def preload(modules):
    """Import what the command line asks to be there in every copy."""
    for name in modules:
        try:
            __import__(name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise LoadError("--preload %s: %s" % (name, describe(error))) from error


def refuse_threads():
    """Only the thread that forks lives on in a copy: an app with others would find their locks held for ever."""
    import _thread

    count = _thread._count()
    if count:
        names = "threads"
        if "threading" in sys.modules:
            threading = sys.modules["threading"]
            found = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
            names = "thread%s%s" % ("s" if count > 1 else "", " (%s)" % ", ".join(found[:8]) if found else "")
        raise LoadError("mode fork: the import of the app has started %d %s, which would be missing in its copies; "
                        "start them in a request, or use mode persistent" % (count, names))


def foreign_threads():
    """How many threads there are that Python knows nothing of, such as those of a BLAS library."""
    try:
        return len(os.listdir("/proc/self/task")) - 1
    except OSError:
        return 0


def connections(core):
    """How many the import has made, as to a database: of copies that use one at once, each reads the other's answers."""
    try:
        return sum(core.connected(fd) for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2)
    except OSError:
        return 0


def flush_handlers():
    """What the import has logged is written once, and not by each copy; what is to be forgotten at the end is not written."""
    for reference in list(getattr(sys.modules.get("logging"), "_handlerList", ()))[::-1]:
        handler = reference()
        if getattr(handler, "flushOnClose", True):
            flush(handler)


def prepare(core, kind):
    """Make the process ready to be copied: no garbage, nothing that the collector would touch in a copy, and little that a copy
    would write to. Returns the event loop of the copies and its descriptors, as loop_for_copies()."""
    import_first_use()
    refuse_threads()
    foreign = foreign_threads()
    if foreign > 0:
        core.send(b"NOTE mode fork: %d thread%s of a library will be missing in the copies"
                  % (foreign, b"s" if foreign > 1 else b""))
    shared = connections(core)
    if shared > 0:
        core.send(b"NOTE mode fork: the import of the app has made %d connection%s, which all copies share; "
                  b"connect in a request" % (shared, b"s" if shared > 1 else b""))
    loop = None, ()
    if kind == "asgi":
        from pyworker.asgi import loop_for_copies
        from pyworker.rehearse import rehearse

        rehearse()
        loop = loop_for_copies()
    gc.collect()
    flush_handlers()
    share_files()
    core.fill_holes()
    gc.freeze()
    return loop


def make_copies(core, kind, ready, limit):
    """Fork as long as the worker serves: returns True and an event loop, or None, in each copy, False and None at the end;
    SystemExit where a copy could not start."""
    loop, descriptors = prepare(core, kind)
    is_copy = False
    try:
        is_copy = core.fork(ready, limit, kind == "asgi")  # whose startup can fail
    finally:
        if not is_copy and loop is not None:
            loop.close()
    if is_copy is None:
        from pyworker.fail import EXIT_FAILED

        raise SystemExit(EXIT_FAILED)  # why was told
    if not is_copy:
        return False, None
    if loop is not None:
        core.asgi_renew(*descriptors)
    become_copy()
    return True, loop


def become_copy():
    """In a copy: its random numbers are its own, and what is to be done at the end of the process it was copied from is
    not done at the end of the copy, unless it is about what the copy has done itself."""
    numpy = sys.modules.get("numpy.random")  # `random`, `ssl` and `uuid` see to it themselves
    if numpy is not None:
        numpy.seed()
    atexit._clear()
    for library, name in AT_EXIT:
        function = getattr(sys.modules.get(library), name, None)
        if function is not None:
            atexit.register(function)
    processes = getattr(sys.modules.get("multiprocessing.process"), "_children", None)
    if processes:
        processes.clear()  # which are the zygote's to end
    finalize = getattr(sys.modules.get("weakref"), "finalize", None)
    if finalize is not None and finalize._registered_with_atexit:  # as atexit: it would remove the zygote's temporary files
        finalize._registry.clear()
        finalize._registered_with_atexit = False
