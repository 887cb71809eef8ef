"""From the first instruction to READY or FAILED: options, descriptors, the import of the app, and what is said when it
cannot be had."""

import json
import os
import socket
import subprocess
import textwrap

import pytest

from fcgi_client import request
from worker import PRELOAD, PYTHON, WORKER_DIR, Worker, eventually

TELL = """
    import json, os, sys

    def app(environ, start_response):
        start_response("200 OK", [])
        return [json.dumps({what}).encode()]
"""


def told(worker):
    return json.loads(worker.ask().body)


# --- the order of things ---


def test_messages(spawn):
    worker = spawn()
    assert worker.message() == "START"
    kind, app, mode, concurrency, took = worker.message().split(" ")
    assert (kind, app, mode, concurrency) == ("READY", "wsgi", "persistent", "4")
    assert 0 < int(took) < 20_000_000
    assert worker.stop() == 0
    assert worker.message() == ""


def test_import_time_is_told(spawn):
    worker = spawn("import time; time.sleep(0.3); app = print")
    assert worker.message() == "START"
    assert int(worker.message().split()[4]) >= 300_000


def test_a_request_that_waits_for_the_import_is_served(spawn):
    worker = spawn("""
        import os, time
        while not os.path.exists("go"):
            time.sleep(0.001)
        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"at last"]
    """)
    with worker.connect() as connection:
        connection.send(request({"REQUEST_METHOD": "GET"}))
        (worker.directory / "go").touch()
        assert connection.read_answer().body == b"at last"
    worker.ready()


@pytest.mark.parametrize("options", [
    ["--kind", "wsgi"], ["--kind=auto"], ["--concurrency", "1"], ["--concurrency=64"], ["--debug"],
    ["--kind", "auto", "--concurrency", "4", "--debug"],
])
def test_options(spawn, options):
    worker = spawn(options=options)
    assert worker.message() == "START"
    assert worker.message().startswith("READY wsgi persistent ")
    assert worker.ask().body == b"hello"


@pytest.mark.parametrize("options, spec, text", [
    (["--kind", "perl"], "main:app", "--kind perl is not known: auto, wsgi, asgi, cgi, files"),
    (["--lifespan", "maybe"], "main:app", "--lifespan maybe is not known: auto, on, off"),
    (["--mode", "prefork"], "main:app", "--mode prefork is not known: auto, persistent, fork"),
    (["--kind"], None, "--kind needs a value"),
    (["--concurrency", "0"], "main:app", "--concurrency 0 is not a number from 1 to 1000"),
    (["--concurrency=many"], "main:app", "--concurrency many is not a number from 1 to 1000"),
    (["--frobnicate"], "main:app", "unknown option --frobnicate"),
    (["--debug=1"], "main:app", "unknown option --debug"),
    ([], None, "no app given: python -m pyworker"),
    (["--listen", "nonsense"], "main:app", "--listen nonsense: neither HOST:PORT nor unix:PATH"),
    (["--listen", "127.0.0.1:99999"], "main:app", "--listen 127.0.0.1:99999: neither"),
    (["--listen", "9000"], "main:app", "--listen 9000: neither HOST:PORT nor unix:PATH"),
    (["--listen", ":9000"], "main:app", "--listen :9000: neither HOST:PORT nor unix:PATH"),
    (["--listen", "unix:/nowhere/at/all"], "main:app", "--listen unix:/nowhere/at/all: No such file or directory"),
])
def test_usage(spawn, options, spec, text):
    worker = spawn(options=options, spec=spec)
    assert worker.message() == "START"
    kind, summary, details = worker.message().split("\n")
    assert kind == "FAILED" and summary.startswith(text) and details == ""
    assert worker.wait() == 2


def test_usage_without_a_gateway_goes_to_stderr(spawn):
    worker = spawn(options=["--what"], control=False)
    assert worker.wait() == 2
    assert worker.stderr == "pyworker: unknown option --what\n"


def test_descriptor_0_must_listen(spawn):
    worker = spawn(listen=False)
    assert worker.message() == "START"
    assert worker.message().startswith("FAILED\nfile descriptor 0 is not a listening socket")
    assert worker.wait() == 2


# --- the world of the app ---


def test_sys_path_and_argv(serve):
    worker = serve(TELL.format(what="[sys.path, sys.argv, os.getcwd(), __name__, 'pyworker' in sys.modules]"),
                   options=["--debug", "--kind", "wsgi"])
    path, argv, cwd, name, _ = told(worker)
    assert path[0] == cwd == str(worker.directory.resolve())
    assert path.count(cwd) == 1 and "" not in path and WORKER_DIR not in path
    assert argv == ["main"] and name == "main"


def test_arguments_after_the_app_are_its_own(spawn):
    worker = spawn(TELL.format(what="sys.argv"), spec=None, options=["main:app", "--debug", "x"]).ready()
    assert told(worker) == ["main", "--debug", "x"]


def test_argv_during_the_import(serve):
    worker = serve("import sys; seen = list(sys.argv)" + TELL.replace("\n    ", "\n").format(what="seen"))
    assert told(worker) == ["main"]


def test_modules_of_the_app_come_first(spawn, tmp_path):
    directory = tmp_path / "w0"
    directory.mkdir()
    for name in ("load", "fail", "listen", "_pyworker"):
        (directory / (name + ".py")).write_text("raise RuntimeError('not ours')")
    (directory / "wsgiref.py").write_text("mine = True")
    worker = spawn(TELL.format(what="__import__('wsgiref').mine")).ready()
    assert told(worker) is True


def test_descriptors_of_the_app_and_its_subprocesses(serve):
    worker = serve("""
        import json, os, subprocess, sys

        LIST = ("import os, json; fds = [f for f in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + f)];"
                "print(json.dumps([[int(f), os.readlink('/proc/self/fd/' + f)] for f in fds]))")

        def app(environ, start_response):
            start_response("200 OK", [])
            closing = subprocess.run([sys.executable, "-c", LIST], stdout=subprocess.PIPE).stdout
            keeping = subprocess.run([sys.executable, "-c", LIST], stdout=subprocess.PIPE, close_fds=False).stdout
            return [json.dumps([json.loads(closing), json.loads(keeping), os.readlink("/proc/self/fd/0")]).encode()]
    """)
    closing, keeping, stdin = told(worker)
    for found in (dict(closing), dict(keeping)):
        assert sorted(found) == [0, 1, 2]
        assert found[0] == "/dev/null"
    assert stdin == "/dev/null"


def test_what_fork_leaves_open_does_not_disturb(serve):
    """A child of which nobody was told holds every descriptor, also of connections that are closed here."""
    worker = serve("""
        import ctypes, os, signal
        children = []
        fork = getattr(ctypes.PyDLL(None), "_Fork", os.fork)

        def app(environ, start_response):
            start_response("200 OK", [])
            if environ["PATH_INFO"] == "/fork":
                child = fork()
                if child == 0:
                    signal.pause()
                    os._exit(0)
                children.append(child)
            if environ["PATH_INFO"] == "/end":
                for child in children:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
            return [b"ok"]
    """)
    connections = [worker.connect() for _ in range(5)]
    for connection in connections:
        assert connection.ask().body == b"ok"
    assert connections[0].ask(path="/fork").body == b"ok"
    for connection in connections[1:]:
        connection.close()
    for _ in range(5):
        with worker.connect() as again:
            assert again.ask(flags=0).body == b"ok"
    assert connections[0].ask(path="/end").body == b"ok"


def test_print_is_seen_at_once(serve):
    worker = serve("""
        print("importing")

        def app(environ, start_response):
            print("called")
            start_response("200 OK", [])
            return [b"ok"]
    """)
    assert worker.stdout == "importing\n"
    worker.ask()
    assert worker.stdout == "importing\ncalled\n"


def test_signals_are_as_python_has_them(serve):
    """libfcgi would take SIGPIPE, SIGUSR1 and SIGTERM; SIGTERM is ours only once the app is imported."""
    worker = serve("""
        import json, signal

        def names():
            return [signal.getsignal(s).name for s in (signal.SIGPIPE, signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP)]

        at_import = names()

        def app(environ, start_response):
            start_response("200 OK", [])
            return [json.dumps([at_import, names()]).encode()]
    """)
    assert told(worker) == [["SIG_IGN", "SIG_DFL", "SIG_DFL", "SIG_DFL"]] * 2


def test_modules_of_a_hello_worker(serve):
    worker = serve(TELL.replace("json, ", "").replace("json.dumps({what})", "{what}").format(what="repr(sorted(sys.modules))"))
    modules = eval(worker.ask().body)
    base = subprocess.run([PYTHON, "-c", "import sys; print(sorted(sys.modules))"], capture_output=True,
                          env=Worker.environ({})).stdout
    ours = set(modules) - set(eval(base))  # a .pth file may load more in any interpreter
    assert ours <= {"faulthandler", "gc", "main", "pyworker", "pyworker.__main__", "pyworker.load", "pyworker._pyworker",
                    "time"}


# --- finding the app ---


@pytest.mark.parametrize("spec, files", [
    ("main:app", {"main.py": "app"}),
    ("main", {"main.py": "app"}),
    ("main", {"main.py": "application"}),
    ("main:x.y", {"main.py": "class x: y"}),
    ("main.py", {"main.py": "app"}),
    ("main.py:other", {"main.py": "other"}),
    ("./main.py:other", {"main.py": "other"}),
    ("package:app", {"package/__init__.py": "app"}),
    ("package.module:app", {"package/__init__.py": "", "package/module.py": "app"}),
    ("sub/main.py", {"sub/main.py": "app", "sub/beside.py": ""}),
    ("sub/my-app.py:app", {"sub/my-app.py": "app"}),
])
def test_specs(spawn, tmp_path, spec, files):
    directory = tmp_path / "w0"
    for path, name in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        if name.startswith("class"):
            text = "class x:\n    @staticmethod\n    def y"
        else:
            text = "import beside\n" if "sub/beside.py" in files else ""
            text += "def " + (name or "nothing")
        indent = "        " if name.startswith("class") else "    "
        text += "(environ, start_response):\n%sstart_response('200 OK', [])\n%sreturn [__file__.encode()]\n" % (indent, indent)
        (directory / path).write_text(text)
    worker = spawn(None, spec=spec).ready()
    assert worker.ask().body.decode() in [str(directory / path) for path in files]


def test_application_before_app(spawn):
    worker = spawn("""
        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"app"]
        def application(environ, start_response):
            start_response("200 OK", [])
            return [b"application"]
    """, spec="main").ready()
    assert worker.ask().body == b"application"


def test_a_file_leaves_bytecode_like_any_module(spawn):
    worker = spawn(spec="main.py").ready()
    assert list(worker.directory.glob("__pycache__/main.*.pyc"))


def test_file_in_a_folder_has_folder_and_cwd_on_the_path(spawn, tmp_path):
    (tmp_path / "w0" / "sub").mkdir(parents=True)
    (tmp_path / "w0" / "sub" / "site_app.py").write_text(
        "import sys\ndef app(e, s):\n    s('200 OK', [])\n    return [repr([sys.path[:2], sys.argv]).encode()]\n")
    worker = spawn(None, spec="sub/site_app.py").ready()
    here = str(worker.directory)
    assert eval(worker.ask().body) == [[here + "/sub", here], [here + "/sub/site_app.py"]]


def test_factory(spawn):
    worker = spawn("""
        def create():
            def app(environ, start_response):
                start_response("200 OK", [])
                return [b"made"]
            return app
    """, spec="main:create", options=["--factory"]).ready()
    assert worker.ask().body == b"made"


# --- what cannot be had ---


@pytest.mark.parametrize("source, spec, summary", [
    ("import flask_is_not_here", "main:app", "cannot import \"main\": No module named 'flask_is_not_here' (python: {python})"),
    ("app = 1", "other:app", "cannot import \"other\": No module named 'other' (python: {python})"),
    ("app = 1", "main.sub:app", "cannot import \"main.sub\": No module named 'main.sub'; 'main' is not a package (python: {python})"),
    ("1 / 0", "main:app", 'cannot import "main": ZeroDivisionError: division by zero (python: {python})'),
    ("import sys; sys.exit('no')", "main:app", 'cannot import "main": SystemExit: no (python: {python})'),
    ("raise KeyError", "main:app", 'cannot import "main": KeyError (python: {python})'),
    ("raise ValueError('two\\nlines')", "main:app", 'cannot import "main": ValueError: two lines (python: {python})'),
    ("from json import nothing", "main:app", "cannot import \"main\": ImportError: cannot import name 'nothing' from 'json'"),
    ("app = 5", "main:app", "main:app is not callable: it is int"),
    ("app = 5", "main", "main:app is not callable: it is int"),
    ("x = 5", "main:app", 'module "main" has no attribute "app", and nothing else that can be called'),
    ("x = 5", "main", 'module "main" has no attribute "application" or "app", and nothing else that can be called'),
    ("def aplication(): pass\ndef _hidden(): pass", "main",
     'module "main" has no attribute "application" or "app"; callable there: aplication (did you mean "aplication"?)'),
    ("from json import dumps, JSONEncoder\nclass C:\n  def __call__(self): pass\ndef create_app(): pass\nsite = C()", "main:app",
     'module "main" has no attribute "app"; callable there: C, create_app, site (did you mean "create_app"?)'),
    ("class x: pass", "main:x.y", 'module "main" has no attribute "x.y"; callable there: x'),
    ("class Q:\n    @property\n    def __module__(self): raise RuntimeError('proxy')\n    def __call__(self): pass\n"
     "proxy = Q()\ndef site(e, s): pass",
     "main:app", 'module "main" has no attribute "app"; callable there: site'),
    ("def create_app(): return print", "main:create_app",
     "main:create_app takes no arguments, a WSGI app takes two, an ASGI app three: did you mean --factory?"),
    ("def create_app(config=None): return print", "main:create_app",
     "main:create_app takes one argument, a WSGI app takes two, an ASGI app three: did you mean --factory?"),
    ("class Site:\n  def create_app(self): return print\nsite = Site()", "main:site.create_app",
     "main:site.create_app takes no arguments, a WSGI app takes two, an ASGI app three: did you mean --factory?"),
    ("class Application:\n  def __call__(self, request): pass\napp = Application()", "main:app",
     "main:app takes one argument, a WSGI app takes two, an ASGI app three"),
    ("app = print", "nowhere/main.py", 'cannot import "nowhere/main.py": there is no such file (in {cwd})'),
    ("app = print", "missing.py:app", 'cannot import "missing.py": there is no such file (in {cwd})'),
])
def test_failures(spawn, source, spec, summary):
    worker = spawn(source, spec=spec)
    told, _ = worker.failed()
    assert told.startswith(summary.format(python=PYTHON, cwd=worker.directory)), told
    assert worker.stdout == worker.stderr == ""


@pytest.mark.parametrize("source, spec, text", [
    ("def create(): return 5", "main:create", "main:create() is not callable: it is int"),
    ("def create(): raise ValueError('oops')", "main:create", "main:create() failed: ValueError: oops (python: {python})"),
    ("def create(x): pass", "main:create", "main:create() failed: TypeError: create() missing 1 required"),
    ("def create(): raise SystemExit(3)", "main:create", "main:create() failed: SystemExit: 3"),
])
def test_factory_failures(spawn, source, spec, text):
    assert spawn(source, spec=spec, options=["--factory"]).failed()[0].startswith(text.format(python=PYTHON))


def test_traceback_begins_with_the_app(spawn):
    worker = spawn("""
        def inner():
            raise LookupError("deep \\u20ac")
        inner()
    """)
    summary, details = worker.failed()
    assert summary.startswith('cannot import "main": LookupError: deep \u20ac')
    lines = details.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith('main.py", line 4, in <module>')
    assert lines[-1] == "LookupError: deep \u20ac"
    assert "pyworker" not in details and "importlib" not in details


def test_syntax_error(spawn):
    summary, details = spawn("app = (\n  1,\n  2 3)\n").failed()
    assert summary.startswith('cannot import "main": SyntaxError: ')
    assert 'main.py", line 3' in details and details.rstrip().splitlines()[-1].startswith("SyntaxError: ")


def test_file_whose_name_is_taken(spawn, tmp_path):
    (tmp_path / "w0").mkdir()
    (tmp_path / "w0" / "time.py").write_text("app = print")
    summary, _ = spawn(None, spec="time.py").failed()
    assert "Python has a module of that name already (built in); rename the file" in summary


def test_file_with_a_dot_in_its_name(spawn, tmp_path):
    (tmp_path / "w0").mkdir()
    (tmp_path / "w0" / "my.app.py").write_text("app = print")
    assert "a dot in the name of a module" in spawn(None, spec="my.app.py").failed()[0]


@pytest.mark.parametrize("source", [
    "raise ValueError('x' * 100_000)",
    "raise ValueError('\\u20ac' * 100_000)",
    "raise ValueError('\\udc80' * 20_000)",
    "import sys; sys.setrecursionlimit(900)\nf = lambda x: 1 if x else f2(x)\ndef f2(x): f(x)\nf(0)",
    "class E(Exception):\n  def __str__(self): return 'x' * 50_000 + 'tail'\nraise E",
])
def test_long_failures_fit_into_a_message(spawn, source):
    worker = spawn(source)
    assert worker.message() == "START"
    data = worker.control.recv(100_000)
    assert len(data) <= 16384 and data.startswith(b'FAILED\ncannot import "main": ')
    assert data.split(b"\n", 2)[2].startswith(b"Traceback")
    assert worker.wait() == 1


def test_exception_that_cannot_be_printed(spawn):
    worker = spawn("class E(Exception):\n  def __str__(self): raise E\nraise E('x')")
    summary, _ = worker.failed()
    assert summary.startswith('cannot import "main": E (python: ')


def test_failure_without_a_gateway(spawn):
    worker = spawn("1 / 0", control=False)
    assert worker.wait() == 1
    assert worker.stderr.startswith("Traceback (most recent call last):\n")
    assert 'pyworker: cannot import "main": ZeroDivisionError: division by zero' in worker.stderr.splitlines()[-1]


def test_exit_functions_run_after_a_failure(spawn):
    worker = spawn("import atexit; atexit.register(print, 'bye'); print('hi'); 1 / 0")
    worker.failed()
    assert worker.stdout == "hi\nbye\n"


# --- by hand ---


def test_python_m_with_a_socket_of_its_own(spawn):
    worker = spawn(TELL.format(what="[sys.path[0], sys.argv, 'pyworker.__main__' in sys.modules]"), control=False,
                   options=["--listen", "unix:own"], command=["-m", "pyworker"], environ={"PYTHONPATH": WORKER_DIR})
    worker.address = str(worker.directory / "own")
    eventually(lambda: os.path.exists(worker.address) and socket.socket(socket.AF_UNIX).connect_ex(worker.address) == 0)
    assert told(worker)[:2] == [str(worker.directory), ["main"]]
    worker.process.terminate()
    assert worker.wait() == 0


def test_python_m_behind_a_web_server(spawn):
    worker = spawn(control=False, command=["-m", "pyworker"], environ={"PYTHONPATH": WORKER_DIR})
    assert worker.ask().body == b"hello"
    worker.process.terminate()
    assert worker.wait() == 0
    assert worker.stdout == worker.stderr == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_listen_on_tcp(spawn, host):
    with socket.socket(socket.AF_INET6 if host == "[::1]" else socket.AF_INET) as probe:
        try:
            probe.bind((host.strip("[]"), 0))
        except OSError:
            pytest.skip("no IPv6 here")
        port = probe.getsockname()[1]
    worker = spawn(options=["--listen", "%s:%d" % (host, port)])
    worker.ready()
    if host != "[::1]":
        worker.address = ("127.0.0.1", port)
        assert worker.ask().body == b"hello"
    assert worker.stop() == 0


def test_stale_socket_is_replaced_and_nothing_else(spawn, tmp_path):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "stale"))
    (tmp_path / "file").write_text("precious")
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(tmp_path / "live"))
        live.listen()
        assert spawn(options=["--listen", "unix:%s/stale" % tmp_path]).ready().stop() == 0
        for name in ("file", "live"):
            worker = spawn(options=["--listen", "unix:%s/%s" % (tmp_path, name)])
            assert worker.wait() == 2
    assert (tmp_path / "file").read_text() == "precious"


def test_fd_3_that_is_no_channel_is_left_alone(spawn, tmp_path):
    (tmp_path / "three").write_text("mine")
    worker = spawn("""
        import os

        def app(environ, start_response):
            start_response("200 OK", [])
            return [os.pread(3, 10, 0)]
    """, control=False, prefix=["sh", "-c", 'exec "$@" 3<%s' % (tmp_path / "three"), "sh"])
    assert worker.ask().body == b"mine"


LAZY = {
    "module": """
        import importlib.util, sys, time
        open("lazy.py", "w").write("open('loaded', 'w')\\nraise ImportError('not here')")
        importlib.invalidate_caches()
        spec = importlib.util.find_spec("lazy")
        spec.loader = importlib.util.LazyLoader(spec.loader)
        sys.modules["lazy"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["lazy"])
    """,
    "object": """
        import sys, time
        class Proxy:
            def __getattr__(self, name):
                open("loaded", "w")
                raise RuntimeError(name)
        sys.modules["lazy"] = Proxy()
    """,
}


@pytest.mark.parametrize("options", [["--reload"], ["--bytecode", "/proc/none/bytecode"], ["--imports", "{}/me/r", "--files", "{}/me/f"],
                                     ["--trace", "{}/trace"]])
@pytest.mark.parametrize("what", LAZY)
def test_what_is_looked_at_is_not_used(serve, tmp_path, what, options):
    """In sys.modules there may be what is loaded at its first use, and fails then, or answers with any exception."""
    source = textwrap.dedent(LAZY[what]) + textwrap.dedent("""
        time.sleep(0.05)
        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"here"]
    """)
    options = [option.format(tmp_path) for option in options]
    worker = serve(source, options=options, environ={"PYTHONDONTWRITEBYTECODE": "1"})
    assert worker.ask().body == b"here"
    worker.say("STOP")
    assert worker.message() == "" and worker.wait() == 0
    assert what == "object" or not (worker.directory / "loaded").exists()
    assert all(os.path.exists(option) for option in options if option.startswith(str(tmp_path)))


def test_the_extension_is_the_one_that_this_run_is_about(serve):
    """A sanitised run without a sanitised worker would find nothing."""
    with open("/proc/%d/maps" % serve().process.pid) as file:
        maps = file.read()
    assert WORKER_DIR + "/pyworker/_pyworker.abi3.so" in maps and ("/libubsan" in maps) == bool(PRELOAD)
