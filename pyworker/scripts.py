"""Kinds cgi and files: which file a request means, and running one as `python script.py` would.

script.c calls find(), then run() and end() if it is a script; descriptors 0 and 1 are the request's meanwhile. What is
imported here is in every interpreter already (from 3.14 on `io` is not): a script pays for nothing that it does not import itself.
"""

import _io
import _warnings
import _weakref
import builtins
import os
import sys
import time

from _frozen_importlib import module_from_spec
from _frozen_importlib_external import SourceFileLoader, spec_from_file_location

from pyworker.load import find, is_asgi, takes_too_few, LoadError, DEFAULTS

SCRIPT, WSGI, NOTHING, BROKEN = range(4)  # as in script.c
FRESH_NS = 2_000_000_000  # bytecode files know whole seconds: what was changed a moment ago is compiled anew
NOT_THERE = 2, 20, 36, 40  # ENOENT, ENOTDIR, ENAMETOOLONG, ELOOP of Linux: the module errno would be one more
FILES_MAX = 1000  # that are remembered
THREADED = "This process (pid=%d) is multi-threaded, use of %s() may lead to deadlocks in the child."
HTTPOXY = "HTTP_PROXY"  # a client's header `Proxy`, which programs take for the setting of that name


def compile_file(path, status):
    """The code of a file, through the ordinary bytecode cache, in which a.cgi and a have the place of a.py."""
    loader = SourceFileLoader("__main__", path)
    if time.time_ns() - status.st_mtime_ns < FRESH_NS or not path.endswith(".py"):
        return loader.source_to_code(loader.get_data(path), path)
    return loader.get_code("__main__")


def binds_app(code):
    """Whether the code of a module binds one of the names of an app at its top, and is no script that runs the app itself."""
    wanted = [number for number, name in enumerate(code.co_names) if name in DEFAULTS]
    if not wanted:
        return False  # the usual script, which so pays for nothing below
    if "CGIHandler" in code.co_names and "run" in code.co_names and "__main__" not in code.co_consts:
        return False  # wsgiref's, at the top and not below `if __name__ == "__main__"`: to import it would be to run it
    from opcode import EXTENDED_ARG, opmap

    argument = 0
    for operation, low in zip(code.co_code[::2], code.co_code[1::2]):
        argument |= low
        if operation == opmap["STORE_NAME"] and argument in wanted:
            return True
        argument = argument << 8 if operation == EXTENDED_ARG else 0
    return False


def is_script(path):
    """Whether a file is a script, not a module with an app in it. It is not run; SyntaxError and OSError."""
    return not binds_app(compile_file(path, os.stat(path)))


def as_wsgi(app):
    """The app, or what serves an ASGI app as a WSGI app."""
    if not is_asgi(app):
        return app
    from pyworker import asgi_file

    return asgi_file.as_wsgi(app)


def regular_file(path):
    """What os.stat() says of it; None if it is no regular file, or not there."""
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno in NOT_THERE:
            return None
        raise
    return status if status.st_mode & 0o170000 == 0o100000 else None


def own_frames_away(error):
    """The exception, its traceback without the frames of this package and of importlib at its beginning."""
    try:
        from pyworker.fail import first_of_app
    except Exception:
        return error  # descriptors are used up, say: it is told with all of them

    error.__traceback__ = first_of_app(error.__traceback__)
    return error


def import_app(path, code):
    """Import a file that binds an app, under its own name if that is free; return the app."""
    name = stem = os.path.basename(path).rpartition(".")[0]
    number = 1
    while name in sys.modules:
        number += 1
        name = "%s_%d" % (stem, number)
    loader = SourceFileLoader(name, path)
    module = module_from_spec(spec_from_file_location(name, path, loader=loader))
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
        attribute, app = find(module, "")
        few = callable(app) and takes_too_few(app)
        if few or not callable(app):
            raise LoadError("%s: %s is no app: it %s; rename it if the file is a script"
                            % (path, attribute, "takes " + few if few else "is " + type(app).__name__))
    except BaseException:
        del sys.modules[name]
        raise
    return name, app


def current_directory():
    """The current directory; the one that is always there if somebody has removed it meanwhile."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return os.sep


def open_scripts(kind, spec, arguments):
    """The Scripts that the command line names."""
    path = os.path.realpath(spec)
    if kind == "files" and not os.path.isdir(path):
        raise LoadError("%s is no directory (in %s): kind files needs one" % (spec, os.getcwd()))
    if kind == "cgi" and regular_file(path) is None:
        raise LoadError("%s is no file (in %s): kind cgi needs a script" % (spec, os.getcwd()))
    sys.argv[:] = [path] + arguments
    named = os.path.join(current_directory(), spec)  # not abspath(): links on the way may move, and `..` behind one leads elsewhere
    return Scripts(named if kind == "cgi" else None, named if kind == "files" else None, arguments)


def leads_out(stream):
    """Whether what is written to a stream is part of the answer."""
    try:
        return stream.fileno() == 1
    except Exception:
        return False  # there is none, it was closed, or it has no descriptor


def holds_back(buffer):
    """Whether it does not get rid of what it has."""
    try:
        buffer.flush()
    except OSError:
        return True
    except Exception:
        pass  # there is none any more, or it was closed
    return False


class Scripts:
    """The scripts of one worker: `script` alone, or those below the directory `root`."""

    def __init__(self, script, root, arguments):
        from pyworker import end  # now: a script may leave no descriptor to read it

        self.ending = end
        self.script = script
        self.root = root
        self.arguments = arguments
        self.alone = False  # this process serves one request only, and then ends
        self.files = {}  # path: (what the file was, (kind, code or app), name of the module, its sys.path)
        self.buffers = []  # of sys.stdout, of all scripts, as long as somebody keeps them
        self.path = list(sys.path)
        self.text = {"encoding": getattr(sys.stdout, "encoding", None), "errors": getattr(sys.stdout, "errors", None), "newline": "\n"}
        self.unbuffered = getattr(sys.stdout, "write_through", False)  # PYTHONUNBUFFERED

    # --- finding ---

    def allowed(self, name):
        """The path that a request's SCRIPT_FILENAME means; None if it is none of ours."""
        if self.script:
            return os.path.realpath(self.script)
        if not name:
            raise LoadError("the web server sent no SCRIPT_FILENAME: kind files needs it")
        for _ in range(2):  # a link on the way of both may be moved between the one and the other
            path = os.path.realpath(name)
            if path.startswith(os.path.join(os.path.realpath(self.root), "")):
                return path
        return None

    def find(self, name):
        """What a request means: (SCRIPT, (path, code)), (WSGI, app), (NOTHING, None) or (BROKEN, exception)."""
        try:
            path = self.allowed(name)
            status = regular_file(path) if path else None
            return self.load(path, status) if status else (NOTHING, None)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, too: the file is imported
            return BROKEN, own_frames_away(error)

    def load(self, path, status):
        """The file as it is now: from memory if it has not changed."""
        seen = status.st_mtime_ns, status.st_size, status.st_ino
        known = self.files.get(path)
        if known is not None and known[0] == seen:
            sys.path = known[3] or sys.path  # what it has not imported yet is beside it, too
            return known[1]
        if known is not None:
            sys.modules.pop(known[2], None)
        code = compile_file(path, status)
        found, name, places = (SCRIPT, (path, code)), None, None
        if self.root and not path.endswith(".cgi") and binds_app(code):  # the name says that it runs its app itself
            self.enter_directory(path)
            name, app = import_app(path, code)
            found, places = (WSGI, as_wsgi(app)), sys.path
        if len(self.files) >= FILES_MAX:
            self.files.clear()
        self.files[path] = seen, found, name, places
        return found

    def enter_directory(self, path):
        sys.path = [os.path.dirname(path)] + self.path[1:]

    # --- running ---

    def run(self, script, variables):
        """Run it; return the exception that ended it, or None."""
        path, code = script
        self.remember()
        self.allow_fork()
        variables.pop(HTTPOXY, None)
        variables.setdefault("SCRIPT_FILENAME", path)
        os.environ.update(variables)
        error = None
        try:
            self.open_streams()
            self.enter_directory(path)
            os.chdir(sys.path[0])
            sys.argv = [path] + self.arguments
            main = sys.modules["__main__"] = type(sys)("__main__")
            self.globals = main.__dict__
            self.globals.update(__builtins__=builtins, __file__=path, __cached__=None,
                                __loader__=SourceFileLoader("__main__", path))
            exec(code, self.globals)
        except BaseException as ended:
            error = own_frames_away(ended)
        if os.getpid() != self.process:
            self.ending.end_child(error)  # or it would serve requests, too
        if self.is_exit(error):
            return None
        self.shown = self.show(error)
        return error

    def open_streams(self):
        """sys.stdin and sys.stdout on descriptors 0 and 1, as the interpreter opens them; and sys.stderr on 2, where others are to
        find theirs as it was."""
        sys.stdin = sys.__stdin__ = _io.open(0, "r", closefd=False, **self.text)
        binary = _io.open(1, "wb", 0 if self.unbuffered else -1, closefd=False)
        self.output = sys.stdout = sys.__stdout__ = _io.TextIOWrapper(binary, write_through=self.unbuffered, **self.text)
        self.output.mode = "w"
        self.buffers = [buffer for buffer in self.buffers if buffer() is not None] + [_weakref.ref(binary)]
        if not self.alone and sys.stderr is not None:
            sys.stderr = sys.__stderr__ = _io.open(2, "w", 1, self.text["encoding"], "backslashreplace", closefd=False)
        self.errors = sys.stderr

    def allow_fork(self):
        """From 3.12 on fork() warns of any thread, so of pump.c's, which holds nothing that the child needs."""
        if sys.version_info < (3, 12):
            return
        for name in "fork", "forkpty":
            silence = "ignore", THREADED % (self.process, name), DeprecationWarning, None, 0
            if silence not in _warnings.filters:
                _warnings.filters.insert(0, silence)

    def is_exit(self, error):
        """Whether it is a sys.exit(), an ordinary end; what that wants to say goes where the interpreter puts it."""
        if isinstance(error, SystemExit) and error.code is not None and not isinstance(error.code, int):
            try:
                print(error.code, file=sys.stderr)
            except Exception:
                pass  # there is none, or it was closed
        return isinstance(error, SystemExit)

    def show(self, error):
        """Put the traceback into the answer if the script wants it there: `sys.stderr = sys.stdout`, as the manual of the module cgi
        has it. Whether that was done; the log has it all the same, for what has no header block is no answer."""
        if error is None or isinstance(error, KeyboardInterrupt) or not leads_out(getattr(sys, "stderr", None)):
            return False
        try:
            sys.excepthook(type(error), error, error.__traceback__)
            return True
        except SystemExit:
            return True  # the interpreter takes that for an end of the hook, too
        except Exception:
            return False
        finally:
            sys.stderr, sys.excepthook = self.errors, self.hook

    def end(self, failed):
        """After a script: what it has printed is on its way; or dropped, if it failed, did not show() that and did not set a
        sys.excepthook of its own (cgitb), which answers. Returns whether it failed so."""
        failed = failed and not self.shown and sys.excepthook is self.hook
        try:
            if self.alone:
                if not failed:  # what is printed is on its way before threads are waited for, as with the interpreter
                    self.ending.flush(getattr(sys, "stdout", None))
                self.ending.run_exit_functions()
            if failed:
                self.drop_output()
            for stream in getattr(sys, "stdout", None), self.output, getattr(sys, "stderr", None):
                self.ending.flush(stream)
            if self.alone:
                self.ending.forget(self.globals)
                self.ending.leave_files(False)
            else:
                self.ending.flush_files(list(self.globals.values()))
                self.drop_rest()
        finally:
            if self.alone:
                sys.stderr = self.errors  # what is said about its answer is for the log
            else:
                self.restore()  # also where descriptors are short: it has what the client sent in it
        return failed

    def drop_output(self):
        """What is flushed from now on goes nowhere."""
        null = os.open("/dev/null", os.O_WRONLY)
        if null != 1:
            os.dup2(null, 1)
            os.close(null)

    def drop_rest(self):
        """What a client that has left did not take is not for the next one: a module may have kept the stream, or another one on
        its buffer, of this script or of one long before."""
        kept = [buffer() for buffer in self.buffers]
        if any(holds_back(buffer) for buffer in kept):
            self.drop_output()
            for buffer in kept:
                self.ending.flush(buffer)

    def remember(self):
        self.process = os.getpid()
        self.hook, self.errors, self.shown = sys.excepthook, sys.stderr, False
        self.output, self.globals = None, {}
        environ, directory = dict(os.environ), current_directory()
        self.before = (os.environ, environ, directory, sys.stdin, sys.stdout, sys.stderr, sys.argv, sys.modules["__main__"],
                       sys.path)

    def restore(self):
        """Make the process what it was, for the next script of a worker that serves many."""
        (os.environ, environ, directory, sys.stdin, sys.stdout, sys.stderr, sys.argv, sys.modules["__main__"],
         sys.path) = self.before
        sys.__stdin__, sys.__stdout__, sys.__stderr__, sys.excepthook = sys.stdin, sys.stdout, sys.stderr, self.hook
        for name in set(os.environ).difference(environ):
            del os.environ[name]
        os.environ.update(environ)
        try:
            os.chdir(directory)
        except FileNotFoundError:
            os.chdir(os.sep)  # as current_directory()
        self.before = self.output = self.errors = self.globals = None
