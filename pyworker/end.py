"""The end of a process, one for all: a worker, a copy of one, a child that the app or a script has forked and that came back from
it. Imported when it comes; in mode fork, and where there are scripts, before.

What a program sees of its end is done as the interpreter does it, in its order: threads, exit functions, files. It is not taken
apart: that takes time, and from 3.13 on crashes where another thread than the main one has forked."""

import _io
import _thread
import atexit
import gc
import os
import sys

PATIENCE_S = 1  # with files that another thread may hold, as CPython has it at its end
TRIES = 4  # open() makes two for each that is held; a worker has 10 s for its end

shared = []  # files that copies have of the process that made them


def attempt(step, *arguments):
    try:
        step(*arguments)
    except BaseException:
        sys.excepthook(*sys.exc_info())


def join_threads():
    try:
        sys.modules["threading"]._shutdown()
    except (KeyError, AssertionError, AttributeError):
        pass  # there are none; or, up to 3.12, it takes no thread for the main one that was not made by itself


def run_exit_functions(join=True):
    if join:
        attempt(join_threads)
    try:
        atexit._run_exitfuncs()
    except BaseException:
        pass  # in 3.9, which has told it


def forget(names):
    """Let go of what the globals of a program name, which lets __del__() and what is in `finally` of generators run; unless a thread
    may still use it. The last comes first: it may need what was there when it was made."""
    if len(sys._current_frames()) == 1:
        for name in reversed(list(names)):
            if name != "__builtins__":
                names[name] = None


def flush(stream):
    try:
        stream.flush()
    except Exception:
        pass  # there is none, nobody reads it any more, it was closed or detached, or is something of the app's own


def flush_all(files):
    """Flush each, whatever a signal handler raises meanwhile. A thread that is not waited for may hold one for ever, in a write that
    does not end: where there are others a thread does it, and another one what that does not come to."""
    rest = iter(files)

    def work(ended=None):
        for one in rest:
            attempt(flush, one)
        if ended is not None:
            ended.release()

    if len(sys._current_frames()) == 1:
        return work()
    for _ in range(TRIES):
        ended = _thread.allocate_lock()
        ended.acquire()
        _thread.start_new_thread(work, (ended,))
        if ended.acquire(True, PATIENCE_S):
            break


def flush_files(objects):
    """Write what files among them hold that nobody has closed; returns those."""
    found = []
    for one in objects:
        kind = type(one)
        if kind is _io.TextIOWrapper or kind is _io.BufferedWriter or kind is _io.BufferedRandom:  # not `in`: a metaclass may have __eq__
            found.append(one)
    flush_all(found)
    return found


def share_files():
    """Before copies are made: what files hold now is written once, and not by each copy. Later a copy writes what is its own."""
    shared[:] = flush_files(gc.get_objects())


def leave_files(whole):
    """Do with the files that are still open what the end of the interpreter would: those of NamedTemporaryFile are removed. `whole`:
    this is no copy of another process. A copy leaves what is frozen alone, for that is the other's."""
    closer = getattr(sys.modules.get("tempfile"), "_TemporaryFileCloser", None)
    if whole:
        gc.unfreeze()
    found = gc.get_objects()
    flush_files(shared + found)
    for one in found:
        if type(one) is closer:
            attempt(one.__del__)


def finish(code, join=True, whole=None):
    """End the process. `join`: its threads are waited for. `whole`: as for leave_files(); None: it is a child, whose files are its
    parent's."""
    try:
        run_exit_functions(join)
        if whole is not None:
            attempt(leave_files, whole)
        flush_all((sys.stdout, sys.stderr))
    finally:
        os._exit(code & 0xFF)


def code_of(error):
    """What a program that ended by this exception, or by none, would exit with; it is told as there."""
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr)
    return 1


def end_child(error):
    """End a child that the app has forked and that came back from it by this exception, or by none: as any Python program."""
    code = 1
    try:
        code = code_of(error)
    finally:
        finish(code)
