"""The servers of the memory benches: one row each, with the app that it serves and how it is prepared.

A row's function gets (port, directory) and returns the commands to start, the first of which is asked to be up; all of them
and what they start are counted. Left out is what cannot be prepared here, with its reason.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from peers import APPS, tool
from serving import BINARY, FAIR, ROOT, SEARCHED, find

PREPARED = ROOT / "build/bench-apps"
IDLE = "10s"  # leangate's and uWSGI's in the curve, so that 120 s show it


def leangate(spec):
    def command(port, directory):
        return [[BINARY, spec, "--bind", f"127.0.0.1:{port}", "--log-access", "off", "--python", sys.executable,
                 "--idle-timeout", IDLE]]
    return command


def python_tool(*words):
    """A server of the bench's virtual environment; PORT stands for the port."""
    def command(port, directory):
        return [[tool(words[0]), *(word.replace("PORT", str(port)) for word in words[1:])]]
    return command


def bjoern(port, directory):
    return [[sys.executable, "-c",
             f"import bjoern; from hello_flask import app; bjoern.run(app, '127.0.0.1', {port})"]]


def bare_asyncio(port, directory):
    return [[sys.executable, str(APPS / "bare_asyncio.py"), str(port)]]


def express(port, directory):
    home = PREPARED / "express"
    shutil.copytree(APPS / "express", home, dirs_exist_ok=True)
    if not (home / "node_modules/express").exists():
        subprocess.run([find("npm"), "install", "--silent", "--no-fund", "--no-audit", "express@5.3.0"], cwd=home, check=True)
    return [[find("node"), str(home / "server.js"), str(port)]]


def go(port, directory):
    binary, source = PREPARED / "hello-go", APPS / "go/main.go"
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        PREPARED.mkdir(parents=True, exist_ok=True)
        subprocess.run([find("go"), "build", "-o", str(binary), "main.go"], cwd=APPS / "go", check=True,
                       env=dict(os.environ, GO111MODULE="off"))
    return [[str(binary), str(port)]]


def carried(program):
    """The program; with what it needs, where tests/support/need-servers has unpacked it."""
    unpacked = ROOT / "build/servers"
    if not Path(program).is_relative_to(unpacked):
        return [program]
    libraries = ":".join(str(path) for part in ("usr/lib", "lib") for path in (unpacked / part).glob("*-linux-*"))
    return [find("env"), f"LD_LIBRARY_PATH={libraries}", program]


def php_fpm():
    """Debian has the version in its name."""
    return next((path for path in (shutil.which(f"php-fpm8.{minor}", path=SEARCHED) for minor in range(9)) if path), None)


def php(port, directory):
    """nginx before php-fpm with pm = ondemand, each as lean as its documentation says."""
    fpm = php_fpm()
    if fpm is None:
        raise FileNotFoundError("php-fpm")
    root = os.geteuid() == 0  # then all run as root: nobody cannot look into the directory
    user = "user = root\ngroup = root\n" if root else ""
    Path(directory, "fpm.conf").write_text(
        f"[global]\nerror_log = {directory}/fpm.log\ndaemonize = no\n[www]\n{user}listen = {directory}/fpm.sock\n"
        "pm = ondemand\npm.max_children = 4\npm.process_idle_timeout = 10s\n")
    temporary = " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    Path(directory, "nginx.conf").write_text(
        f"{'user root root;' if root else ''} daemon off; worker_processes 1; pid {directory}/nginx.pid; events {{}} http {{ access_log off; {temporary} "
        f"server {{ listen 127.0.0.1:{port}; location / {{ fastcgi_pass unix:{directory}/fpm.sock; "
        f"fastcgi_param SCRIPT_FILENAME {APPS}/hello.php; fastcgi_param REQUEST_METHOD $request_method; }} }} }}\n")
    return [[*carried(find("nginx")), "-c", f"{directory}/nginx.conf", "-e", f"{directory}/nginx.log"],
            [*carried(fpm), *(["-R"] if root else []), "-F", "-y", f"{directory}/fpm.conf"]]


def lighttpd_alone(port, directory):
    Path(directory, "public").mkdir(exist_ok=True)
    Path(directory, "public/index.html").write_text("hello\n")
    Path(directory, "lighttpd.conf").write_text(
        f'server.document-root = "{directory}/public"\nserver.bind = "127.0.0.1"\nserver.port = {port}\n'
        'index-file.names = ("index.html")\n')
    return [[find("lighttpd"), "-D", "-f", f"{directory}/lighttpd.conf"]]


def lighttpd_fastcgi(port, directory):
    """What comes nearest: lighttpd starts the same worker on demand and stops it when idle."""
    start = Path(directory, "start")
    start.write_text(f"#!/bin/sh\ncd {APPS} && PYTHONPATH={ROOT}/build exec {sys.executable} -m pyworker --kind wsgi hello_flask:app\n")
    start.chmod(0o755)
    Path(directory, "lighttpd.conf").write_text(
        f'server.document-root = "{directory}"\nserver.bind = "127.0.0.1"\nserver.port = {port}\nserver.modules = ("mod_fastcgi")\n'
        f'fastcgi.server = ("/" => (("socket" => "{directory}/s", "bin-path" => "{start}", "min-procs" => 0, "max-procs" => 1, '
        '"idle-timeout" => 10, "check-local" => "disable", "fix-root-scriptname" => "enable")))\n')
    return [[find("lighttpd"), "-D", "-f", f"{directory}/lighttpd.conf"]]


ROWS = {
    "leangate, Flask": leangate("hello_flask:app"),
    "leangate, FastAPI": leangate("hello_fastapi:app"),
    "uvicorn, FastAPI": python_tool("uvicorn", "--port", "PORT", "--no-access-log", "hello_fastapi:app"),
    "uvicorn, 4 workers, FastAPI": python_tool("uvicorn", "--port", "PORT", "--no-access-log", "--workers", "4", "hello_fastapi:app"),
    "Granian, FastAPI": python_tool("granian", "--interface", "asgi", "--port", "PORT", "hello_fastapi:app"),
    "Granian, Flask": python_tool("granian", "--interface", "wsgi", "--port", "PORT", "hello_flask:app"),
    "Hypercorn, FastAPI": python_tool("hypercorn", "--bind", "127.0.0.1:PORT", "hello_fastapi:app"),
    "gunicorn, Flask": python_tool("gunicorn", "--bind", "127.0.0.1:PORT", "hello_flask:app"),
    "uWSGI, Flask": python_tool("uwsgi", "--http11-socket", "127.0.0.1:PORT", "--master", "--module", "hello_flask:app",
                                "--disable-logging"),
    "uWSGI cheap + idle, Flask": python_tool("uwsgi", "--http11-socket", "127.0.0.1:PORT", "--master", "--module",
                                             "hello_flask:app", "--disable-logging", "--lazy-apps", "--cheap", "--idle", "10"),
    "waitress, Flask": python_tool("waitress-serve", "--host", "127.0.0.1", "--port", "PORT", "hello_flask:app"),
    "bjoern, Flask": bjoern,
    "bare asyncio": bare_asyncio,
    "Express": express,
    "Go net/http": go,
    "nginx + php-fpm ondemand": php,
    "lighttpd alone": lighttpd_alone,
    "lighttpd + worker, min-procs 0": lighttpd_fastcgi,
}


def prepare(name, port, directory):
    """The commands of a row, or None with the reason printed."""
    try:
        return ROWS[name](port, directory)
    except (OSError, subprocess.CalledProcessError, SystemExit) as error:
        print(f"  left out: {name}: {error}")
        return None


__all__ = ["FAIR", "IDLE", "ROWS", "prepare"]
