"""Finding the app that the command line names: module:attr, module, file.py:attr or file.py."""

import os
import sys

DEFAULTS = ("application", "app")
CO_VARARGS, CO_COROUTINE = 0x04, 0x80  # flags of code objects; inspect has the names, and 20 more modules


def seen(module, name):
    """What somebody sees of a module who does not use it; None: nothing. One that is loaded at its first use stays as it is, and
    what else an app has put into sys.modules may answer with any exception."""
    try:
        return (object.__getattribute__ if issubclass(type(module), type(sys)) else getattr)(module, name)
    except Exception:
        return None


class LoadError(Exception):
    """The app cannot be had; its text is for the user. __cause__ is the app's own exception, if there was one."""


def split(spec):
    """Split into (module name, its file or None, attribute or '')."""
    target, _, attribute = spec.rpartition(":") if ":" in spec else (spec, "", "")
    if not target.endswith(".py") and os.sep not in target:
        return target, None, attribute
    path = os.path.abspath(target)
    name = os.path.basename(path)
    name = name[:-3] if name.endswith(".py") else name
    if not os.path.isfile(path):
        raise LoadError('cannot import "%s": there is no such file (in %s)' % (target, os.getcwd()))
    if "." in name:
        raise LoadError('cannot import "%s": a dot in the name of a module; rename the file' % target)
    return name, path, attribute


def import_module(name, path):
    """Import by name, so that the ordinary bytecode cache is used for a file too."""
    if path and os.path.dirname(path) != sys.path[0]:
        sys.path.insert(0, os.path.dirname(path))
    try:
        __import__(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise LoadError('cannot import "%s": %s' % (path or name, describe(error))) from error
    module = sys.modules[name]
    found = getattr(module, "__file__", None)
    if path and (found is None or not os.path.samefile(path, found)):
        raise LoadError(
            'cannot import "%s": Python has a module of that name already (%s); rename the file' % (path, found or "built in")
        )
    return module


def describe(error):
    """One line about an exception, with the interpreter, since a wrong one is the usual cause."""
    try:
        text = str(error)
    except Exception:
        text = ""
    if not isinstance(error, ModuleNotFoundError):
        text = type(error).__name__ + (": " + text if text else "")
    return "%s (python: %s)" % (" ".join(text.split()), sys.executable)


def find(module, attribute):
    """The object that `attribute` (dotted, or '' for the usual names) names in the module."""
    for name in (attribute,) if attribute else DEFAULTS:
        found = module
        try:
            for part in name.split("."):
                found = getattr(found, part)
        except AttributeError:
            continue
        return name, found
    from pyworker.fail import missing

    raise LoadError(missing(module, attribute or " or ".join(DEFAULTS)))


def called(app):
    """What calling it may run. It is asked for __call__, not its class: that may have a slot of this name, as Sentry's wrapper."""
    return (app,) if isinstance(app, type) else (app, getattr(app, "__call__", None))


def is_asgi(app):
    """Whether calling it would make a coroutine, or an object of a class that is awaited like one."""
    functools = sys.modules.get("functools")  # which is there if there is a partial()
    while functools is not None and isinstance(app, functools.partial):
        app = app.func
    for function in (*called(app), getattr(app.__class__, "__call__", None)):  # which is the wrapped one's of wrapt's objects
        if getattr(getattr(function, "__code__", None), "co_flags", 0) & CO_COROUTINE:
            return True
    return isinstance(app, type) and hasattr(app, "__await__")


def takes_too_few(app):
    """How many arguments it takes, in words, where no app takes so few: a factory, or what another server runs. Else None."""
    for function in called(app):
        plain = getattr(function, "__func__", function)
        if type(plain) is type(load):
            count = plain.__code__.co_argcount - (plain is not function)
            few = count < 2 and not plain.__code__.co_flags & CO_VARARGS
            return ("one argument" if count == 1 else "no arguments") if few else None
    return None


def guess_kind(spec):
    """What kind auto means for APP: files, cgi, or auto still where the import will tell."""
    if os.path.isdir(spec) and not os.path.isfile(os.path.join(spec, "__init__.py")):
        return "files"
    if not spec.endswith(".py") or not os.path.isfile(spec):
        return "auto"
    from pyworker.scripts import is_script

    try:
        return "cgi" if is_script(os.path.abspath(spec)) else "auto"
    except Exception:
        return "auto"  # its import says what is wrong


def load(spec, arguments, factory, kind):
    """Import the app; return it with its kind, wsgi or asgi. sys.argv becomes what the app would see if it were run."""
    name, path, attribute = split(spec)
    sys.argv[:] = [path or name] + arguments
    module = import_module(name, path)
    attribute, app = find(module, attribute)
    label = "%s:%s" % (name, attribute)
    if factory and callable(app):
        try:
            app = app()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise LoadError("%s() failed: %s" % (label, describe(error))) from error
        label += "()"
    if not callable(app):
        raise LoadError("%s is not callable: it is %s" % (label, type(app).__name__))
    few = takes_too_few(app)
    if few:
        hint = ": did you mean --factory?" if hasattr(app, "__code__") and not factory else ""
        raise LoadError("%s takes %s, a WSGI app takes two, an ASGI app three%s" % (label, few, hint))
    if kind == "wsgi" and is_asgi(app):
        raise LoadError("%s is an ASGI app, and kind is wsgi" % label)
    return app, "asgi" if kind == "asgi" or is_asgi(app) else "wsgi"
