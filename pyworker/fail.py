"""What is said when a worker cannot start. Imported only then; parsed by old interpreters too."""

import os
import sys

MESSAGE_MAX = 16384  # bytes of a control message
SUMMARY_MAX = 1000  # characters of its first line
CONTROL_FD = 3
EXIT_FAILED = 1
EXIT_USAGE = 2


def encode(summary, details):
    """A FAILED message. If it is too long the middle of the details goes: their end says most."""
    head = ("FAILED\n" + " ".join(summary.split())[:SUMMARY_MAX] + "\n").encode("utf-8", "backslashreplace")
    body = details.encode("utf-8", "backslashreplace")
    room = MESSAGE_MAX - len(head)
    if len(body) > room:
        mark = b"\n  [...]\n"
        first = room // 4
        body = body[:first] + mark + body[len(body) - (room - first - len(mark)) :]
    return head + body


def own_frame(frame):
    """Whether a frame is ours or importlib's, so of no interest to the app's author."""
    name = frame.f_code.co_filename
    return os.path.dirname(name) == os.path.dirname(os.path.abspath(__file__)) or name.startswith("<frozen importlib")


def first_of_app(trace):
    """A traceback from the app's first frame on."""
    while trace is not None and own_frame(trace.tb_frame):
        trace = trace.tb_next
    return trace


def describe(error):
    """The traceback of an exception as text, from the app's first frame on."""
    import traceback

    return "".join(traceback.format_exception(type(error), error, first_of_app(error.__traceback__)))


def report(core, error):
    """Tell the gateway, or else a person; return the exit code."""
    kind = type(error).__name__
    details = ""
    code = EXIT_FAILED
    if kind == "Usage":
        code = EXIT_USAGE
    elif kind != "LoadError":
        if isinstance(error, SystemExit) and isinstance(error.code or 0, int):
            return error.code or 0  # a signal handler of the app ended the worker
        details = describe(error)
    elif error.__cause__ is not None:
        details = describe(error.__cause__)
    else:
        details = getattr(error, "details", "")
    summary = str(error) if kind in ("Usage", "LoadError") else "%s: %s" % (kind, error)
    if not core.send(encode(summary, details)):
        if details and not details.endswith("\n"):
            details += "\n"  # an app's own words, as of a startup that failed
        sys.stderr.write(details + "pyworker: " + summary + "\n")
    return code


def may_be_meant(name, value, module):
    """Whether an attribute is callable and the module's own. A proxy, as Flask's request, raises when it is looked at."""
    try:
        made_here = getattr(value, "__module__", None) == module.__name__ or not (
            isinstance(value, type) or hasattr(value, "__code__") or hasattr(value, "__self__")
        )
        return made_here and callable(value) and not name.startswith("_")
    except Exception:
        return False


def missing(module, wanted):
    """The sentence for an attribute that is not there, with those that might be meant."""
    here = [name for name, value in sorted(vars(module).items()) if may_be_meant(name, value, module)]
    text = 'module "%s" has no attribute "%s"' % (module.__name__, wanted.replace(" or ", '" or "'))
    if not here:
        return text + ", and nothing else that can be called"
    import difflib

    close = difflib.get_close_matches(wanted, here, 1, 0.4)
    return text + "; callable there: " + ", ".join(here[:8]) + (' (did you mean "%s"?)' % close[0] if close else "")


def interpreter():
    """What runs us, as a user would call it: PyPy 3.10 at /usr/bin/pypy3."""
    import platform

    return "%s %d.%d at %s" % (platform.python_implementation(), sys.version_info[0], sys.version_info[1], sys.executable)


def unsuitable(error):
    """End an interpreter that cannot load the extension, with one sentence on the control channel and on stderr."""
    name = getattr(getattr(sys, "implementation", None), "name", "cpython")
    if name != "cpython" or sys.version_info < (3, 8):
        text = "pyworker needs CPython 3.9 or newer; this is " + interpreter()
    elif "t" in getattr(sys, "abiflags", ""):
        text = "pyworker needs CPython with its lock (GIL); this is the free-threaded " + interpreter()
    else:
        text = "pyworker cannot load its extension: %s; this is %s" % (error, interpreter())
    import socket

    try:
        channel = socket.fromfd(CONTROL_FD, socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if channel.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_SEQPACKET:
            channel.send(encode(text, ""))
    except (OSError, socket.error):
        pass  # fd 3 is no socket: there is no gateway
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
    os._exit(EXIT_FAILED)
