"""The servers that are compared, as a user would start each for one worker: one row a server and interface.

Access lines are off for all of them, as they are by default in most. The apps in bench/apps/ are the same files for every
server.
"""

import sys
from pathlib import Path

from serving import BINARY

APPS = Path(__file__).resolve().parent / "apps"


def tool(name):
    """A program of the virtual environment that runs this."""
    return str(Path(sys.executable).parent / name)


def leangate(spec, port):
    return [BINARY, spec, "--bind", f"127.0.0.1:{port}", "--log-access", "off", "--python", sys.executable,
            "--idle-timeout", "off"]


def granian_wsgi(spec, port):
    return [tool("granian"), "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), spec]


def granian_asgi(spec, port):
    return [tool("granian"), "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port), spec]


def gunicorn(spec, port):
    return [tool("gunicorn"), "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", "4", "--keep-alive", "75", spec]


def uvicorn(spec, port):
    return [tool("uvicorn"), "--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop", "--http", "httptools",
            "--no-access-log", spec]


def uwsgi(spec, port, threads=4):
    """A thread keeps a connection until its client closes it."""
    return [tool("uwsgi"), "--http11-socket", f"127.0.0.1:{port}", "--master", "--module", spec, "--disable-logging",
            "--enable-threads", "--threads", str(threads)]


def uwsgi_64(spec, port):
    return uwsgi(spec, port, 64)


def waitress(spec, port):
    return [tool("waitress-serve"), "--host", "127.0.0.1", "--port", str(port), spec]


def bjoern(spec, port):
    module, _, attribute = spec.partition(":")
    return [sys.executable, "-c", f"import bjoern; from {module} import {attribute} as app; bjoern.run(app, '127.0.0.1', {port})"]


WSGI = {"leangate": leangate, "granian": granian_wsgi, "gunicorn": gunicorn, "uwsgi": uwsgi, "uwsgi-64": uwsgi_64, "bjoern": bjoern}
ASGI = {"leangate": leangate, "granian": granian_asgi, "uvicorn": uvicorn}

# app: (what is served, who serves it, {peer: the least ratio of requests/s that is promised})
COMPARED = {
    "hello-wsgi": ("hello_wsgi:app", WSGI, {"granian": 1.0, "gunicorn": 1.0, "uwsgi": 1.0, "uwsgi-64": 1.0, "bjoern": 0.65}),
    "flask": ("hello_flask:app", WSGI, {"granian": 1.0, "gunicorn": 1.0}),
    "hello-asgi": ("hello_asgi:app", ASGI, {"granian": 1.0, "uvicorn": 1.0}),
    "fastapi": ("hello_fastapi:app", ASGI, {"granian": 1.0, "uvicorn": 1.0}),
}
