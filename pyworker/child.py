"""The end of a process that the app has forked and that came back from it. Imported only there."""

import atexit
import os
import sys


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


def join_threads():
    try:
        sys.modules["threading"]._shutdown()
    except (KeyError, AssertionError):
        pass  # up to 3.12 it takes no thread for the main one that was not made by itself


def end(error):
    """As any Python program, but the interpreter is not taken apart: from 3.13 on that crashes where another thread than the main
    one has forked."""
    code = 1
    try:
        code = code_of(error)
        join_threads()
        atexit._run_exitfuncs()
        for stream in sys.stdout, sys.stderr:
            if stream is not None:
                stream.flush()
    finally:
        os._exit(code & 0xFF)
