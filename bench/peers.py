"""The servers that are compared, as a user would start each for one worker: one row a server and interface.

Access lines are off for all of them, as they are by default in most. The apps in bench/apps/ are the same files for every
server.
"""

import functools
import subprocess
import sys
from pathlib import Path

from serving import BINARY, ROOT, find
from verdict import behind

APPS = Path(__file__).resolve().parent / "apps"


def tool(name):
    """A program of the virtual environment that runs this."""
    return str(Path(sys.executable).parent / name)


def leangate(spec, port):
    """The idle_timeout is one that others' turns do not reach."""
    return [BINARY, spec, "--bind", f"127.0.0.1:{port}", "--log-access", "off", "--python", sys.executable,
            "--idle-timeout", "10m"]


# `where`: a port, or the path of a unix socket.

def host_and_port(where):
    return ["--uds", where] if isinstance(where, str) else ["--host", "127.0.0.1", "--port", str(where)]


def granian_wsgi(spec, where):
    return [tool("granian"), "--interface", "wsgi", *host_and_port(where), spec]


def granian_asgi(spec, where):
    return [tool("granian"), "--interface", "asgi", *host_and_port(where), spec]


def gunicorn(spec, port):
    return [tool("gunicorn"), "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", "4", "--keep-alive", "75", spec]


def uvicorn(spec, where):
    return [tool("uvicorn"), *host_and_port(where), "--loop", "uvloop", "--http", "httptools", "--no-access-log", spec]


def uvicorn_wsgi(spec, where):
    return [*uvicorn(spec, where), "--interface", "wsgi"]


def uwsgi(spec, where, threads=4):
    """A thread keeps a connection until its client closes it."""
    address = where if isinstance(where, str) else f"127.0.0.1:{where}"
    return [tool("uwsgi"), "--http11-socket", address, "--master", "--module", spec, "--disable-logging",
            "--enable-threads", "--threads", str(threads)]


def uwsgi_64(spec, where):
    return uwsgi(spec, where, 64)


def waitress(spec, port):
    return [tool("waitress-serve"), "--host", "127.0.0.1", "--port", str(port), spec]


def bjoern(spec, where):
    module, _, attribute = spec.partition(":")
    address = f"'unix:{where}'" if isinstance(where, str) else f"'127.0.0.1', {where}"
    return [sys.executable, "-c", f"import bjoern; from {module} import {attribute} as app; bjoern.run(app, {address})"]


def lighttpd_cgi(spec, port):
    """The interpreter once for each request, as CGI has it."""
    file = ROOT / f"build/bench/lighttpd-{port}.conf"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'server.document-root = "{APPS}"\nserver.bind = "127.0.0.1"\nserver.port = {port}\nserver.modules = ("mod_cgi")\n'
                    f'index-file.names = ("{spec}")\ncgi.assign = (".py" => "{sys.executable}")\n')
    return [find("lighttpd"), "-D", "-f", str(file)]


WSGI = {"leangate": leangate, "granian": granian_wsgi, "gunicorn": gunicorn, "uwsgi": uwsgi, "uwsgi-64": uwsgi_64, "bjoern": bjoern}
FLASK = {"leangate": leangate, "granian": granian_wsgi, "uvicorn": uvicorn_wsgi, "gunicorn": gunicorn, "uwsgi-64": uwsgi_64, "bjoern": bjoern}
ASGI = {"leangate": leangate, "granian": granian_asgi, "uvicorn": uvicorn}
SCRIPT = "hello_script.py", {"leangate": leangate, "lighttpd, mod_cgi": lighttpd_cgi}
# app: (what is served, who serves it, which of them a second time behind the relay: those that do all in one process and may be ahead)
COMPARED = {
    "hello-wsgi": ("hello_wsgi:app", WSGI, ("granian", "uwsgi", "uwsgi-64", "bjoern")), "flask": ("hello_flask:app", FLASK, ()),
    "hello-asgi": ("hello_asgi:app", ASGI, ("granian", "uvicorn")), "fastapi": ("hello_fastapi:app", ASGI, ("granian", "uvicorn")),
}


@functools.cache
def relay():
    """bench/relay.c, built."""
    program = ROOT / "build/bench/relay"
    program.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", "-O2", "-std=gnu11", "-D_GNU_SOURCE=", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(ROOT / "bench/relay.c")], check=True)
    return str(program)


def behind_relay(peer, directory):
    """The same server on a unix socket in `directory`, and the relay before it."""
    def command(spec, port):
        socket = f"{directory}/{port}.sock"
        return [relay(), str(port), socket, *peer(spec, socket)]
    return command


def with_relays(servers, names, directory):
    """The servers, and those of the names a second time, behind the relay."""
    return servers | {behind(name): behind_relay(peer, directory) for name, peer in servers.items() if name in names}
