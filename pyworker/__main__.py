"""The start of a worker, and what follows: options, descriptors, the import of the app, serving it, records of the start.

Run by people and other web servers as `python -m pyworker [options] APP`, and by the gateway as
`python -c 'import sys; sys.path.insert(0, DIR); import pyworker.__main__' [options] APP`, which spares the import of runpy.

An interpreter that is too old must still be able to parse this file and fail.py, to say so; and every import here is
paid for by every cold start.
"""

import os
import sys

SWITCHES = ("--factory", "--debug", "--reload")
REPEATED = "--preload"
VALUES = {"--kind": "auto", "--mode": "auto", "--concurrency": "", "--lifespan": "auto", "--listen": "",
          "--bytecode": "", "--files": "", "--imports": "", "--trace": ""}
CHOICES = {
    "--kind": ("auto", "wsgi", "asgi", "cgi", "files"),
    "--mode": ("auto", "persistent", "fork"),
    "--lifespan": ("auto", "on", "off"),
}
COPIES = 4  # mode fork, any kind
REQUESTS = {"wsgi": 4, "asgi": 256, "cgi": 1, "files": 1}  # mode persistent
STACKS = 63  # SIGRTMAX - 1
INTERRUPTED = 130  # the exit code of a shell's own commands after Ctrl-C
ROOM = 15500  # slots of a frame: with what the interpreter adds more than 128 KB, for which it maps 256
IMPORTING = 100000, 50, 1000  # thresholds of the collector: an import makes much and drops little


class Usage(Exception):
    """The command line, or what it names, is of no use."""


def parse(arguments):
    """Split the command line into (options, APP, the arguments of the app itself)."""
    options = dict.fromkeys(SWITCHES, False)
    options.update(VALUES)
    options[REPEATED] = []
    rest = list(arguments)
    while rest and rest[0].startswith("--"):
        name, equals, value = rest.pop(0).partition("=")
        if name in SWITCHES and not equals:
            options[name] = True
        elif name not in VALUES and name != REPEATED:
            raise Usage("unknown option %s" % name)
        elif not equals and not rest:
            raise Usage("%s needs a value" % name)
        else:
            value = value if equals else rest.pop(0)
            options[name] = options[name] + [value] if name == REPEATED else value
    for name, choices in CHOICES.items():
        if options[name] not in choices:
            raise Usage("%s %s is not known: %s" % (name, options[name], ", ".join(choices)))
    if options["--concurrency"] and not (options["--concurrency"].isdigit() and 0 < int(options["--concurrency"]) <= 1000):
        raise Usage("--concurrency %s is not a number from 1 to 1000" % options["--concurrency"])
    if not rest:
        raise Usage("no app given: python -m pyworker --listen HOST:PORT|unix:PATH module:app")
    return options, rest[0], rest[1:]


def listen(core, where):
    """Give the core its listening socket: fd 0, or one of our own."""
    listener = -1
    if where:
        from pyworker.listen import open_listener

        try:
            listener = open_listener(where)
        except (OSError, ValueError) as error:
            raise Usage("--listen %s: %s" % (where, getattr(error, "strerror", None) or error))
    try:
        core.listen(listener)
    except OSError as error:
        raise Usage("%s; give --listen HOST:PORT or --listen unix:PATH" % error.strerror)


def set_path():
    """Put the app's directory (the current one) first on sys.path, in place of the one that this package came from."""
    directory = os.getcwd()
    if sys.path and sys.path[0] == os.path.dirname(os.path.dirname(os.path.abspath(__file__))):
        del sys.path[0]
    if sys.path and sys.path[0] in ("", directory):
        del sys.path[0]
    sys.path.insert(0, directory)


def load_app(options, spec, arguments):
    """Import the app, or get ready for scripts; return (app, kind, whether to fork)."""
    from pyworker.load import guess_kind, load

    kind = options["--kind"] if options["--kind"] != "auto" else guess_kind(spec)
    scripts = kind in ("cgi", "files")
    fork = options["--mode"] == "fork" or (options["--mode"] == "auto" and scripts)
    app = None
    if not scripts:
        app, kind = load(spec, arguments, options["--factory"], kind)
    if fork and options[REPEATED]:  # behind the app: Django's modules want its settings; scripts get the sys.path that it leaves
        from pyworker.zygote import preload

        preload(options[REPEATED])
    if scripts:
        from pyworker.scripts import open_scripts

        app = open_scripts(kind, spec, arguments)
    return app, kind, fork


def lacks_bytecode():
    """Whether bytecode may have to go where it usually does not: a directory on sys.path takes none. That it holds some does not
    say that it holds all, nor that it is this interpreter's."""
    if sys.pycache_prefix is not None:
        return False  # the user has chosen a place
    return sys.dont_write_bytecode or any(
        not os.access(path, os.W_OK) and os.path.isdir(path)
        for path in sys.path
        if os.path.basename(path) != "lib-dynload"  # which has no sources
    )


def is_fast(record):
    """Whether a record says no more than that none is worth its while."""
    try:
        return os.stat(record).st_size < 64
    except OSError:
        return False


def import_app(core, options, spec, arguments):
    """load_app() with the collector out of its way: it would look for garbage a hundred times, and there is next to none. What
    an app sets of its own stays. The same app's next start finds bytecode, wherever that can be written."""
    import gc

    bytecode = cache = None
    if options["--bytecode"] and lacks_bytecode():
        from pyworker import bytecode

        bytecode.redirect(options["--bytecode"])
    if options["--imports"] and not is_fast(options["--imports"]):
        from pyworker.importcache import open_cache

        cache = open_cache(options["--imports"])
    trace = None
    if options["--trace"]:
        from pyworker.trace import Trace

        trace = Trace()
        trace.start()
    usual = gc.get_threshold()
    gc.set_threshold(*IMPORTING)
    raised = gc.get_threshold()  # with an incremental collector (3.14.0 to 3.14.4) the last one is always 0
    try:
        app, kind, fork = load_app(options, spec, arguments)
        if kind == "asgi":
            import pyworker.asgi  # here, so that copies have asyncio already
    finally:
        if cache is not None:
            cache.remove()
        if gc.get_threshold() == raised:
            gc.set_threshold(*usual)
    if not fork:  # else it is done when the copies are prepared
        gc.freeze()
    if bytecode is not None:
        bytecode.tell(core)
    if trace is not None:
        trace.stop(kind in ("cgi", "files"))
    return app, kind, fork, (cache, trace)


def keep_records(core, options, found, took):
    """Leave for the next start of the app what this one has found out."""
    cache, trace = found
    try:
        if trace is not None:
            trace.save(options["--trace"])
        if options["--files"]:
            from pyworker.files import save

            save(options["--files"], options["--imports"])
        if options["--imports"]:
            from pyworker.importrecord import keep
            from pyworker.private import trouble

            reason = trouble(os.path.dirname(options["--imports"]))
            if reason:
                raise OSError(reason)
            keep(cache, options["--imports"], took)
    except Exception as error:
        core.send(b"NOTE the start could not be recorded: %s" % os.fsencode(str(error) if type(error) is OSError else ascii(error)))


def serve(core, app, kind, fork, options, took):
    """Tell the gateway READY, and serve; in mode fork from copies of this process."""
    scripts = kind in ("cgi", "files")
    concurrency = int(options["--concurrency"] or (COPIES if fork else REQUESTS[kind]))
    if scripts and not fork:
        concurrency = 1  # they share one environment, one standard output
    ready = b"READY %s %s %d %d" % (kind.encode(), b"fork" if fork else b"persistent", concurrency, took)
    if kind == "asgi":
        from pyworker.asgi import serve as serve_asgi
    loop = None
    if fork:
        from pyworker.zygote import make_copies

        is_copy, loop = make_copies(core, kind, ready, concurrency)
        if not is_copy:
            return
        concurrency = 1
        if scripts:
            app.alone = True
    if kind == "asgi":
        serve_asgi(core, app, options["--lifespan"], ready, options["--debug"], concurrency, loop)
    else:
        core.serve(app, ready, options["--debug"], concurrency, scripts)


def answer_stacks():
    """Write the stacks of all threads to descriptor 2 whenever the gateway asks for them by a signal, also while a C call
    holds the GIL."""
    import faulthandler

    faulthandler.register(STACKS, file=2, all_threads=True)


def with_room(function):
    """The function with a frame so large that CPython (from 3.11 on) maps a piece of memory for it that holds all that it calls,
    too. Else the frames lie in pieces of 16 KB, of which one is mapped, touched and unmapped at every call that crosses an end:
    thousands of times where a loop of an import happens to stand there. What is not used of it is never touched."""
    if sys.version_info >= (3, 11):
        function.__code__ = function.__code__.replace(co_stacksize=ROOM)
    return function


@with_room
def work(core):
    """Serve until told to stop."""
    answer_stacks()
    core.start()
    options, spec, arguments = parse(sys.argv[1:])
    listen(core, options["--listen"])
    if sys.stdout is not None:
        sys.stdout.reconfigure(line_buffering=True)  # a pipe would keep what is printed for minutes
    set_path()
    import time

    sources = None
    if options["--reload"]:
        from pyworker.reload import Sources

        sources = Sources()
    begin = time.monotonic_ns()
    app, kind, fork, found = import_app(core, options, spec, arguments)
    took = (time.monotonic_ns() - begin) // 1000  # floats would map a part of libm
    if sources is not None:
        sources.changed()  # what is there now was imported
        core.watch(sources)
    process = os.getpid()
    serve(core, app, kind, fork, options, took)
    if os.getpid() == process:
        keep_records(core, options, found, took)


def import_core():
    """The extension, or an end with one sentence that says why not."""
    error = None
    # A free-threaded build would load it, but its objects are laid out otherwise.
    if sys.version_info >= (3, 8) and "t" not in getattr(sys, "abiflags", ""):
        try:
            from pyworker import _pyworker

            return _pyworker
        except ImportError as reason:  # PyPy does not look for an .abi3.so
            error = reason
    from pyworker.fail import unsuitable

    return unsuitable(error)


def main():
    """Run a worker from its first act to its last."""
    core = import_core()
    process = os.getpid()
    code = 0
    try:
        work(core)
        if "threading" in sys.modules and len(sys._current_frames()) > 1 and os.getpid() == process:
            from pyworker.live import tell

            tell(core)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BaseException as error:
        from pyworker.fail import report

        code = report(core, error)
    from pyworker.end import finish

    finish(code, code == 0, os.getpid() == process)


main()
