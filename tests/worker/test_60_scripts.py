"""Kinds cgi and files: a script runs as `python script.py` would, once for each request."""

import contextlib
import hashlib
import importlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import pytest

from fcgi_client import END, Answer, ProtocolError, cgi_params, request
from marks import FORKS_BESIDE_THREADS
from worker import ROOT, WORKER_DIR, eventually

MODES = ("fork", "persistent")
HEAD = 'print("Content-Type: text/plain\\n")\n'


@pytest.fixture
def script(serve, tmp_path):
    """script(source, mode): a worker of kind cgi with that script."""
    def start(source, mode="fork", options=(), **named):
        path = tmp_path / "site" / "hello.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(source))
        worker = serve(None, str(path), ["--kind", "cgi", "--mode", mode, *options], **named)
        worker.script = path
        return worker
    return start


@pytest.fixture
def files(serve, tmp_path):
    """files(name=source, ...): a worker of kind files over a directory with these files."""
    def start(mode="fork", options=(), **sources):
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        for name, source in sources.items():
            (root / (name + ".py")).write_text(textwrap.dedent(source))
        worker = serve(None, str(root), ["--kind", "files", "--mode", mode, *options])
        worker.root = root
        return worker
    return start


def get(worker, name, **more):
    return worker.ask(flags=0, SCRIPT_FILENAME=str(worker.root / name), **more)


@pytest.fixture
def scripts(monkeypatch):
    """The module, here."""
    monkeypatch.syspath_prepend(WORKER_DIR)
    return importlib.import_module("pyworker.scripts")


# --- the script's view ---

@pytest.mark.parametrize("mode", MODES)
def test_it_is_main(script, mode):
    worker = script("""
        import os, sys
        print("Content-Type: text/plain\\nX-Two: 2\\n")
        print(__name__, __file__, sys.argv, sys.path[0], os.getcwd(), sep="|")
        print(sys.modules["__main__"].__dict__ is globals(), __builtins__.__name__, __doc__, __package__, __spec__)
        print(sys.stdin.mode, sys.stdout.mode, sys.stderr.mode)
    """, mode)
    for _ in range(3):
        answer = worker.ask(flags=0)
        assert answer.status == "200 OK" and answer.headers == [("Content-Type", "text/plain"), ("X-Two", "2")]
        path, site = str(worker.script), str(worker.script.parent)
        first, second, third = answer.body.decode().splitlines()
        assert first == "|".join(["__main__", path, str([path]), site, site])
        assert second == "True builtins None None None" and third == "r w w"
        assert answer.app_status == 0 and answer.stdout_ended
    assert worker.stderr == "" and worker.stop() == 0


@pytest.mark.parametrize("mode", MODES)
def test_its_environment_is_the_request_s(script, mode):
    worker = script(HEAD + """
import os, subprocess
print(os.environ.get("QUERY_STRING"), os.environ.get("HTTP_X"), os.environ.get("HTTP_PROXY"), os.environ.get("LATER"))
print(os.environ["SCRIPT_FILENAME"] == __file__, os.environ["GIVEN"], os.environ.get("CONTENT_LENGTH"), flush=True)
subprocess.run("echo $QUERY_STRING-$HTTP_X", shell=True)
os.environ["LATER"] = "1"
del os.environ["GIVEN"]
""", mode, environ={"GIVEN": "kept"})
    answer = worker.ask(flags=0, QUERY_STRING="a=1", HTTP_X="\xc3\xa9", HTTP_PROXY="http://evil")
    assert answer.body.decode() == "a=1 \u00e9 None None\nTrue kept None\na=1-\u00e9\n"
    answer = worker.ask("POST", "/", b"four", flags=0)
    assert answer.body.decode() == " None None None\nTrue kept 4\n-\n"


@pytest.mark.parametrize("mode", MODES)
def test_input_binary_and_text(script, mode):
    worker = script("""
        import os, sys
        how = os.environ["QUERY_STRING"]
        if how == "buffer":
            body = sys.stdin.buffer.read(int(os.environ["CONTENT_LENGTH"]))
        elif how == "lines":
            body = repr(sys.stdin.readlines()).encode()
        elif how == "fd":
            body = os.read(0, 100)
        else:
            body = repr((sys.stdin.read(), sys.stdin.encoding)).encode()
        sys.stdout.buffer.write(b"Content-Type: x/y\\r\\n\\r\\n" + body)
    """, mode, environ={"LC_ALL": "C.UTF-8"})
    assert worker.ask("POST", "/", b"\0\xff\r\n", flags=0, QUERY_STRING="buffer").body == b"\0\xff\r\n"
    assert worker.ask("POST", "/", b"a\nb", flags=0, QUERY_STRING="lines").body == b"['a\\n', 'b']"
    assert worker.ask("POST", "/", b"a\r\nb\rc", flags=0, QUERY_STRING="lines").body == b"['a\\r\\n', 'b\\rc']"
    assert worker.ask("POST", "/", b"raw", flags=0, QUERY_STRING="fd").body == b"raw"
    assert worker.ask("POST", "/", "\u20ac".encode(), flags=0).body == "('\u20ac', 'utf-8')".encode()
    assert worker.ask(flags=0).body == b"('', 'utf-8')"


WITHOUT_MEMFD = [sys.executable, os.path.join(ROOT, "tests/support/refused.py")]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size, prefix", [(8000, ()), (8192, ()), (65536, ()), (65537, ()), (3_000_000, ()),
                                          (8000, WITHOUT_MEMFD), (3_000_000, WITHOUT_MEMFD)])
def test_bodies_of_every_size(script, mode, size, prefix):
    worker = script("""
        import hashlib, sys
        body = sys.stdin.buffer.read()
        print("Content-Type: text/plain\\n\\n%d %s" % (len(body), hashlib.md5(body).hexdigest()), end="")
    """, mode, prefix=prefix)
    body = os.urandom(size)
    expected = b"%d %s" % (size, hashlib.md5(body).hexdigest().encode())
    assert worker.ask("POST", "/", body, flags=0).body == expected
    assert worker.ask("POST", "/", body, flags=0).body == expected


@pytest.fixture
def no_tmpfile(tmp_path):
    """The environment of a worker whose file system has no O_TMPFILE, as overlayfs before Linux 6.1."""
    source, library = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text("""
        #define _GNU_SOURCE
        #include <errno.h>
        #include <fcntl.h>
        #include <stdarg.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        int open(const char *path, int flags, ...)
        {
            va_list list;
            va_start(list, flags);
            int mode = va_arg(list, int);
            va_end(list);
            errno = EOPNOTSUPP;
            return (flags & O_TMPFILE) == O_TMPFILE ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
        }
        int open64(const char *, int, ...) __attribute__((alias("open")));
    """)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    (tmp_path / "spool").mkdir()
    return {"LD_PRELOAD": str(library), "TMPDIR": str(tmp_path / "spool")}


@pytest.mark.release
def test_a_large_body_where_files_need_names(script, no_tmpfile):
    worker = script("import sys\n" + HEAD + "print(len(sys.stdin.buffer.read()))", environ=no_tmpfile)
    assert worker.ask("POST", "/", bytes(100000), flags=0).body == b"100000\n"
    assert os.listdir(no_tmpfile["TMPDIR"]) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_body_that_cannot_be_kept_is_a_503(script, tmp_path, mode):
    worker = script("import sys\n" + HEAD + "print(len(sys.stdin.buffer.read()))", mode, environ={"TMPDIR": str(tmp_path / "none")})
    assert worker.ask("POST", "/", bytes(100000), flags=0).status == "503 Service Unavailable"
    assert worker.ask("POST", "/", bytes(1000), flags=0).body == b"1000\n"
    assert worker.stop() == 0
    assert worker.stderr == "pyworker: 'POST' '/': the script's input cannot be kept (a large body in $TMPDIR): No such file or directory\n"

def test_no_script_sees_half_a_body(script, tmp_path):
    worker = script(HEAD + "open(%r, 'w').close()\n" % str(tmp_path / "ran"))
    message = request(cgi_params("POST", "/", b"b" * 10000), b"b" * 10000, flags=0)
    with worker.connect() as connection:
        connection.send(message[:-5000])
    with worker.connect() as connection:
        connection.send(request(cgi_params("POST", "/", b"b" * 100), b"b" * 50, flags=0))
        assert connection.read_answer().status == "400 Bad Request"
    assert not (tmp_path / "ran").exists()
    assert worker.ask(flags=0).status == "200 OK"
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("mode", MODES)
def test_descriptors_are_real_and_in_order(script, mode):
    worker = script("""
        import os, subprocess, sys
        print("Content-Type: text/plain\\n", flush=True)
        os.write(1, b"one\\n")
        subprocess.run(["sh", "-c", "echo two; cat; echo to the log >&2"])
        print("four", flush=True)
        os.system("echo five")
        sys.stdout.buffer.write(b"six\\n")
    """, mode)
    for _ in range(2):
        answer = worker.ask("POST", "/", b"three\n", flags=0)
        assert answer.body == b"one\ntwo\nthree\nfour\nfive\nsix\n"
    assert worker.stderr == "to the log\n" * 2
    assert worker.stdout == ""


@pytest.mark.parametrize("mode", MODES)
def test_unbuffered_output_needs_no_flush(script, mode):
    worker = script(HEAD + 'import os\nos.system("echo one")\nprint("two")\nos.write(1, b"three\\n")\n', mode,
                    environ={"PYTHONUNBUFFERED": "1"})
    for _ in range(2):
        assert worker.ask(flags=0).body == b"one\ntwo\nthree\n"


def test_more_from_a_subprocess_than_a_pipe_holds(script):
    worker = script(HEAD + 'import subprocess, sys\nsys.stdout.flush()\nsubprocess.run(["head", "-c", "5000000", "/dev/zero"])\n')
    assert worker.ask(flags=0).body == bytes(5000000)


@pytest.mark.parametrize("mode", MODES)
def test_output_goes_out_as_it_is_flushed(script, mode):
    worker = script("""
        import sys
        print("Content-Type: text/plain\\n\\nfirst", flush=True)
        open(sys.path[0] + "/go").read()
        print("second")
    """, mode)
    os.mkfifo(worker.script.parent / "go")
    with worker.connect() as connection:
        connection.send(request(cgi_params(), flags=0))
        answer = connection.read_until(Answer(), lambda kind, content: b"first\n" in content)
        assert answer.body == b"first\n"
        (worker.script.parent / "go").write_text("go")
        connection.read_until(answer, lambda kind, content: kind == END)
        assert answer.body == b"first\nsecond\n"


# --- the header block ---

@pytest.mark.parametrize("output, status, headers, body", [
    ("Content-Type: a/b\n\nx", "200 OK", [("Content-Type", "a/b")], b"x"),
    ("Content-Type: a/b\r\nstatus:404 Gone fishing \r\n\r\nx", "404 Gone fishing", [("Content-Type", "a/b")], b"x"),
    ("Status: 204\n\n", "204", [], b""),
    ("Location: http://elsewhere/\n\n", "302 Found", [("Location", "http://elsewhere/")], b""),
    ("Status: 301 Moved\nLocation: /x\n\n", "301 Moved", [("Location", "/x")], b""),
    ("Set-Cookie: a=1\nSet-Cookie: b=2\n\n", "200 OK", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], b""),
    ("Content-Length: 3\n\nabcdef", "200 OK", [("Content-Length", "3")], b"abc"),
])
def test_header_blocks(script, output, status, headers, body):
    answer = script("import sys\nsys.stdout.write(%r)\n" % output).ask(flags=0)
    assert (answer.status, answer.headers, answer.body) == (status, headers, body)
    assert answer.app_status == 0 and answer.stdout_ended


@pytest.mark.parametrize("output, why", [
    ("", "it is empty"),
    ("hello\n", "its header block has no end"),
    ("hello\n\n", "a header line has no colon"),
    ("\nhello", "it begins with an empty line"),
    ("HTTP/1.1 200 OK\n\n", "a header line has no colon"),
    ("Content Type: x\n\n", "a header line has a name with characters that are not allowed"),
    ("A: b\x01\n\n", "a header line has control characters"),
    ("A: b\rC: d\n\n", "a header line has control characters"),
    ("Status: OK\n\n", "Status is not a number from 200 to 599"),
    ("Status: 100 Continue\n\n", "Status is not a number from 200 to 599"),
    ("Status: 200\nStatus: 201\n\n", "there are two Status lines"),
    ("Content-Length: -1\n\n", "Content-Length is no length"),
    ("Content-Length:\n\n", "Content-Length is no length"),
    ("Content-Length: 1\nContent-Length: 2\n\n", "there are two Content-Length lines"),
    ("x" * 70000, "it has no empty line, which would end a header block"),
    ("A: " + "x" * 66000 + "\n\n", "it has no empty line, which would end a header block"),
])
@pytest.mark.parametrize("mode", MODES)
def test_what_is_no_answer(script, output, why, mode):
    worker = script("import sys\nsys.stdout.write(%r)\n" % output, mode)
    answer = worker.ask(path="/p", flags=0)
    assert (answer.status, answer.body) == ("500 Internal Server Error", b"Internal Server Error\n")
    assert answer.app_status == 0
    assert worker.stderr.startswith("pyworker: 'GET' '/p': the script's output is no CGI answer (") and why in worker.stderr


def test_what_is_no_answer_is_on_the_page_with_debug(script):
    assert b"it is empty" in script("pass", options=["--debug"]).ask(flags=0).body


@pytest.mark.parametrize("mode", MODES)
def test_head_has_no_body(script, mode):
    worker = script(HEAD + "print('body' * 100000)", mode)
    answer = worker.ask("HEAD", flags=0)
    assert answer.status == "200 OK" and answer.body == b"" and answer.app_status == 0


def test_fewer_bytes_than_promised(script):
    worker = script("print('Content-Length: 10\\n\\nfew', end='')")
    answer = worker.ask(flags=0)
    assert answer.app_status == 1 and not answer.stdout_ended
    assert "fewer bytes than its Content-Length promises" in worker.stderr


# --- ends ---

@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("end, log", [
    ("sys.exit()", ""), ("sys.exit(0)", ""), ("sys.exit(3)", ""), ("sys.exit('sorry')", "sorry\n"), ("raise SystemExit", ""),
    ("exit()", ""), ("quit(1)", ""),
])
def test_exit_is_an_ordinary_end(script, mode, end, log):
    worker = script("import sys\n" + HEAD + "print('done')\n%s\nprint('not reached')\n" % end, mode)
    for _ in range(2):
        answer = worker.ask(flags=0)
        assert (answer.status, answer.body, answer.app_status) == ("200 OK", b"done\n", 0)
    assert worker.stderr == log * 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("debug", [False, True])
def test_a_traceback_is_a_500(script, mode, debug):
    worker = script(HEAD + "print('partial')\ndef f():\n    1/0\nf()\n", mode, ["--debug"] if debug else [])
    for count in 1, 2:
        answer = worker.ask(path="/p", flags=0)
        assert answer.status == "500 Internal Server Error" and b"partial" not in answer.body
        assert (b"ZeroDivisionError" in answer.body) == debug
        assert worker.stderr.count("ZeroDivisionError") == count
    assert worker.stderr.startswith("pyworker: 'GET' '/p' failed:\nTraceback (most recent call last):\n  File \"%s\", line 5, in <module>" % worker.script)
    assert worker.stdout == ""


@pytest.mark.parametrize("mode", MODES)
def test_a_traceback_after_output_cuts_the_answer(script, mode):
    worker = script(HEAD + "print('partial', flush=True)\n1/0\n", mode)
    with worker.connect() as connection:
        connection.send(request(cgi_params(), flags=0))
        answer = connection.read_answer()
    assert answer.body == b"partial\n" and answer.app_status == 1 and not answer.stdout_ended


@pytest.mark.parametrize("mode", MODES)
def test_a_source_that_does_not_compile(script, mode):
    worker = script("print(", mode, ["--debug"])
    answer = worker.ask(flags=0)
    assert answer.status == "500 Internal Server Error" and b"SyntaxError" in answer.body and b"hello.py" in answer.body
    assert "SyntaxError" in worker.stderr


@pytest.mark.parametrize("mode", MODES)
def test_an_excepthook_of_the_script_answers(script, mode):
    worker = script("""
        import sys
        def hook(kind, error, trace):
            print("Content-Type: text/plain\\n\\nit was", kind.__name__)
        sys.excepthook = hook
        1/0
    """, mode)
    for _ in range(2):
        answer = worker.ask(flags=0)
        assert (answer.status, answer.body) == ("200 OK", b"it was ZeroDivisionError\n")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("own", ["", "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')", "sys.stdout = open(1, 'w', closefd=False)"])
@pytest.mark.parametrize("kind", ["ZeroDivisionError", "GeneratorExit"])
def test_a_script_whose_stderr_is_its_answer_shows_its_traceback(script, mode, own, kind):
    """What the manual of the module cgi advises where not even cgitb can be imported."""
    worker = script('import io, sys\n%s\nsys.stderr = sys.stdout\nprint("Content-Type: text/plain\\n")\nraise %s("so")\n' % (own, kind), mode)
    for count in 1, 2:
        answer = worker.ask(path="/p", flags=0)
        assert (answer.status, answer.app_status) == ("200 OK", 0), worker.stderr
        assert answer.body.startswith(b"Traceback (most recent") and answer.body.endswith(b"%s: so\n" % kind.encode())
        assert worker.stderr.count("%s: so" % kind) == worker.stderr.count("pyworker: 'GET' '/p' failed:\n") == count
    assert worker.stdout == ""


@pytest.mark.parametrize("mode", MODES)
def test_a_traceback_that_goes_elsewhere_is_no_answer(script, mode):
    worker = script("""
        import io, sys
        print("Content-Type: text/plain\\n")
        sys.stdout = sys.stderr = io.StringIO()
        1/0
    """, mode)
    for _ in range(2):
        assert worker.ask(flags=0).status == "500 Internal Server Error"


@pytest.mark.parametrize("mode", MODES)
def test_a_script_without_stderr_ends_well(script, mode):
    worker = script("import sys\nprint('Content-Type: text/plain\\n\\nfine')\ndel sys.stderr\n", mode)
    for _ in range(2):
        answer = worker.ask(flags=0)
        assert (answer.status, answer.body, answer.app_status) == ("200 OK", b"fine\n", 0)


@pytest.mark.parametrize("mode", MODES)
def test_an_excepthook_that_exits_leaves_nothing_behind(script, mode):
    worker = script("""
        import os, sys
        def hook(kind, error, trace):
            print("it was", kind.__name__)
            sys.exit(1)
        sys.stderr, sys.excepthook = sys.stdout, hook
        print("Content-Type: text/plain\\n\\n" + os.environ.get("HTTP_COOKIE", "none"))
        1/0
    """, mode)
    for cookie in {"HTTP_COOKIE": "a secret"}, {}:
        answer = worker.ask(flags=0, **cookie)
        assert answer.body == b"%s\nit was ZeroDivisionError\n" % cookie.get("HTTP_COOKIE", "none").encode()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("begin, told", [
    ("sys.stderr = sys.stdout", True), ("print('garbage')\nsys.stderr = sys.stdout", True), ("sys.stdout = sys.stderr", True),
    ("sys.stderr = sys.stdout\nsys.excepthook = None", True), ("sys.stdin = sys.stdout = sys.stderr = None", False),
])
def test_a_traceback_that_is_no_answer_is_in_the_log(script, mode, begin, told):
    worker = script("import sys\n" + begin + "\nimport nosuch\n", mode, ["--debug"])
    for count in 1, 2:
        answer = worker.ask(flags=0)
        assert answer.status == "500 Internal Server Error" and b"No module named 'nosuch'\n" in answer.body
        assert worker.stderr.count("No module named 'nosuch'\n") >= count * told, worker.stderr
    assert worker.stdout == ""


@pytest.mark.parametrize("mode", MODES)
def test_what_is_said_of_an_answer_is_not_said_in_it(script, mode):
    worker = script("import sys\nsys.stderr = sys.stdout\nprint('garbage')\n", mode)
    for count in 1, 2:
        assert worker.ask(flags=0).status == "500 Internal Server Error"
        assert worker.stderr.count("its header block has no end") == count and worker.stdout == ""


def test_output_goes_out_before_threads_are_waited_for(script):
    worker = script("""
        import sys, threading
        print("Content-Type: text/plain\\n\\nanswer")
        threading.Thread(target=lambda: open(sys.path[0] + "/go").read()).start()
    """)
    os.mkfifo(worker.script.parent / "go")
    with worker.connect() as connection:
        connection.send(request(cgi_params(), flags=0))
        answer = connection.read_until(Answer(), lambda kind, content: b"answer\n" in content)
        (worker.script.parent / "go").write_text("go")
        connection.read_until(answer, lambda kind, content: kind == END)
        assert answer.body == b"answer\n"


def test_exit_functions_and_threads_belong_to_the_script(script):
    worker = script("""
        import atexit, threading, time
        print("Content-Type: text/plain\\n")
        atexit.register(print, "exit function")
        threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
        print("script")
    """)
    for _ in range(2):
        assert worker.ask(flags=0).body == b"script\nthread\nexit function\n"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("end", ["", "sys.exit(0)", "1 / 0"])
def test_files_that_are_not_closed_are_written(script, mode, end):
    worker = script("""
        import sys
        def why(): return __name__  # it and its globals know each other
        text, data = open("text", "a"), open("data", "ab")
        text.write("text ")
        data.write(b"data ")
        print("Content-Type: text/plain\\n\\nanswer")
        %s
    """ % end, mode)
    for n in 1, 2:
        assert worker.ask(flags=0).body == (b"Internal Server Error\n" if "/" in end else b"answer\n")
        assert (worker.script.parent / "text").read_text() == "text " * n
        assert (worker.script.parent / "data").read_text() == "data " * n


def test_its_globals_are_dropped_as_by_the_end_of_an_interpreter(script):
    worker = script("""
        import zipfile
        print("Content-Type: text/plain\\n\\nscript")

        class Last:
            def __del__(self):
                print("last words")

        def generator():
            try:
                yield
            finally:
                print("finally")

        last, steps, archive = Last(), generator(), zipfile.ZipFile("archive.zip", "w")
        next(steps)
        archive.writestr("name", "text")
    """)
    for _ in range(2):
        assert worker.ask(flags=0).body == b"script\nfinally\nlast words\n"
        with zipfile.ZipFile(worker.script.parent / "archive.zip") as archive:
            assert archive.read("name") == b"text"


def test_what_a_script_does_in_del_finds_what_was_there_before(script):
    worker = script("""
        import os
        path = "lock"

        def unlock():
            os.remove(path)

        class Lock:
            def __init__(self):
                open(path, "w").close()
            def __del__(self):
                unlock()

        lock = Lock()
        print("Content-Type: text/plain\\n\\n%s" % os.path.exists(path))
    """)
    assert worker.ask(flags=0).body == b"True\n"
    assert not (worker.script.parent / "lock").exists()
    assert worker.stderr == ""


def test_scripts_have_the_path_that_a_preloaded_module_leaves(script, tmp_path):
    (tmp_path / "vendor.py").write_text("import sys\nsys.path.append(%r)\n" % str(tmp_path / "lib"))
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "its_own.py").touch()
    worker = script("import its_own\nprint('Content-Type: text/plain\\n\\nfound')\n", "fork", ["--preload", "vendor"],
                    environ={"PYTHONPATH": str(tmp_path)})
    assert worker.ask(flags=0).body == b"found\n"


@FORKS_BESIDE_THREADS
@pytest.mark.parametrize("mode", MODES)
def test_a_process_that_the_script_forks_ends_with_the_script(script, mode):
    worker = script("""
        import os
        print("Content-Type: text/plain\\n", flush=True)
        if os.fork() == 0:
            print("child")
        else:
            os.wait()
            print("parent")
    """, mode)
    for _ in range(2):
        assert worker.ask(flags=0).body == b"child\nparent\n"


@FORKS_BESIDE_THREADS
@pytest.mark.parametrize("mode", MODES)
def test_it_does_at_its_end_what_any_process_does(script, mode):
    worker = script("""
        import atexit, os, sys, threading, time
        print("Content-Type: text/plain\\n", flush=True)
        if os.fork() == 0:
            atexit.register(print, "exit function")
            threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
            sys.exit(7)
        print("ended with", os.waitstatus_to_exitcode(os.wait()[1]))
    """, mode)
    for _ in range(2):
        assert worker.ask(flags=0).body == b"thread\nexit function\nended with 7\n"


@FORKS_BESIDE_THREADS
@pytest.mark.parametrize("mode", MODES)
def test_it_does_so_whatever_it_does_at_its_end(script, mode):
    worker = script("""
        import os, sys
        print("Content-Type: text/plain\\n", flush=True)
        if os.fork() == 0:
            sys.excepthook = None
            1 / 0
        print("ended with", os.waitstatus_to_exitcode(os.wait()[1]))
    """, mode)
    for _ in range(2):
        assert worker.ask(flags=0).body == b"ended with 1\n"


@pytest.mark.parametrize("mode", MODES)
def test_what_a_script_leaves_behind_does_not_hold_its_answer(script, mode):
    worker = script(HEAD + "import subprocess\nsubprocess.Popen(['sleep', '60'])\nprint('done')\n", mode)
    begun = time.monotonic()
    assert worker.ask(flags=0).body == b"done\n"
    assert time.monotonic() - begun < 30
    worker.say("STOP")


@FORKS_BESIDE_THREADS
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("begun", [False, True])
def test_a_script_that_is_lost_is_not_outlived_by_its_request(script, mode, begun):
    worker = script("""
        import os, time
        print("Content-Type: text/plain\\n", flush=%s)
        pid = os.fork()
        if pid == 0:
            time.sleep(100)
            os._exit(0)
        open("child", "w").write(str(pid))
        os._exit(0)
    """ % begun, mode)
    with worker.connect() as connection:
        connection.send(request(cgi_params(), flags=0))
        with contextlib.suppress(EOFError):
            while True:  # if its head came
                connection.read_record()
    os.kill(int((worker.script.parent / "child").read_text()), signal.SIGKILL)


# --- hostile scripts and clients ---

@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", ["os.close(0)", "os.close(1)", "sys.stdout.close()", "sys.stdin.close()", "sys.stdout.detach()",
                                  "sys.stdout = None", "sys.stdin = sys.stdout = sys.stderr = None", "os.close(0); os.close(1)",
                                  "os.chdir('/'); os.environ.clear()", "sys.argv = sys.path = None"])
def test_scripts_that_take_things_away(script, mode, what):
    worker = script("import os, sys\n" + HEAD + "print('out', flush=True)\n" + what + "\n", mode)
    for _ in range(3):
        assert worker.ask("POST", "/", b"body", flags=0).body == b"out\n"
    assert worker.stop() == 0


@pytest.mark.parametrize("what", ["sys.stderr = sys.stdout", "sys.stderr.close()", "sys.stderr.detach()",
                                  "sys.stderr = sys.__stderr__ = None"])
def test_what_a_script_does_to_stderr_is_its_own_loss(script, what):
    """The first is an old custom, to see errors in the browser; those of other scripts nobody is to see there."""
    worker = script("import os, sys\n" + HEAD + "if os.environ['QUERY_STRING']:\n    " + what +
                    "\nelse:\n    sys.stderr.write('for the log\\n')\nprint('out')\n", "persistent")
    for _ in range(2):
        assert worker.ask(QUERY_STRING="do it").body == b"out\n"
        assert worker.ask().body == b"out\n"
    assert worker.stderr == "for the log\n" * 2


def test_an_environment_of_a_script_s_own_is_not_the_next_one_s(script):
    worker = script("import os, subprocess\n" + HEAD + "if os.environ['QUERY_STRING']:\n    os.environ = dict(os.environ)\n"
                    "print(subprocess.run('echo $HTTP_COOKIE', shell=True, stdout=-1, text=True).stdout, end='')\n", "persistent")
    assert worker.ask(QUERY_STRING="do it", HTTP_COOKIE="secret").body == b"secret\n"
    assert worker.ask().body == b"\n"


def test_a_descriptor_that_a_script_closes_is_its_own_loss(script):
    """What a script of the old days does to become a daemon takes its connection away, and no other."""
    worker = script("import os\n" + HEAD + "print(os.environ['QUERY_STRING'], flush=True)\n"
                    "if os.environ['QUERY_STRING'] == 'close':\n    os.closerange(3, 256)\n")
    for _ in range(3):
        with contextlib.suppress(ProtocolError, EOFError, ConnectionError):
            worker.ask(flags=0, QUERY_STRING="close")
        assert worker.ask(flags=0, QUERY_STRING="stay").body == b"stay\n"


@pytest.mark.parametrize("free", range(7))
def test_without_free_descriptors_its_own_stay_what_they_are(script, free):
    """0 and 1 above all: closed, one of them would be the next connection."""
    worker = script(HEAD + "print('out')", "persistent")
    place = "/proc/%d/fd" % worker.process.pid
    own = [os.readlink(place + "/" + number) for number in "01"]
    soft, most = resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE)
    with worker.connect() as connection:
        assert connection.ask().body == b"out\n"
        eventually(worker.sleeps)
        used = set(map(int, os.listdir(place)))
        limit = [number for number in range(100) if number not in used][free]
        resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (limit, most))
        assert connection.ask().status in ("200 OK", "500 Internal Server Error", "503 Service Unavailable")
        eventually(worker.sleeps)
        assert [os.readlink(place + "/" + number) for number in "01"] == own
        assert ("the script's input cannot be kept (a large body in $TMPDIR): Too many" in worker.stderr) == (free == 0)
        resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (soft, most))
        assert connection.ask().body == b"out\n"

@pytest.mark.parametrize("end", ["resource.setrlimit(resource.RLIMIT_NOFILE, (3, most)); 1 / 0", "sys.stderr.close(); sys.exit('it failed')"])
def test_what_a_client_has_sent_goes_with_its_script_however_that_ends(script, end):
    worker = script("""
        import os, resource, sys
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if "HTTP_COOKIE" in os.environ:
            %s
        print("Content-Type: text/plain\\n\\nfine")
    """ % end, "persistent")
    limits = resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE)
    with worker.connect() as connection:
        assert connection.ask(HTTP_COOKIE="secret").status == "500 Internal Server Error"
        resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, limits)
        assert connection.ask().body == b"fine\n"


@pytest.mark.parametrize("mode", MODES)
def test_the_worker_s_directory_may_go(script, mode):
    """A deployment may replace it; scripts are found by their own paths."""
    worker = script(HEAD + "import os\nprint(os.getcwd())", mode,
                    prefix=("sh", "-c", 'mkdir gone && cd gone && exec "$@"', "sh"))
    (worker.directory / "gone").rmdir()
    for _ in range(3):
        assert worker.ask(flags=0).body.decode() == "%s\n" % worker.script.parent
    assert worker.stop() == 0


@pytest.mark.parametrize("mode", MODES)
def test_it_may_go_while_a_script_runs(script, mode):
    worker = script(HEAD + "import os\nif os.path.isdir(os.environ['QUERY_STRING']):\n    os.rmdir(os.environ['QUERY_STRING'])\nprint('fine')",
                    mode, prefix=("sh", "-c", 'mkdir gone && cd gone && exec "$@"', "sh"))
    for _ in range(3):
        answer = worker.ask(flags=0, QUERY_STRING=str(worker.directory / "gone"))
        assert (answer.body, answer.app_status) == (b"fine\n", 0)
    assert worker.stop() == 0 and worker.stderr == ""


@pytest.mark.parametrize("mode", MODES)
def test_a_script_that_sets_its_user(script, mode):
    """libc interrupts every thread of the process for it, the one that sends the output too."""
    worker = script(HEAD + """
import os, sys, time
sys.stdout.flush()
for number in range(20):
    os.setuid(os.getuid())
    os.setgid(os.getgid())
    print(number, flush=True)
    time.sleep(0.001)
""", mode)
    for _ in range(3):
        answer = worker.ask(flags=0)
        assert (answer.body.split(), answer.app_status) == ([b"%d" % number for number in range(20)], 0)
    assert worker.stderr == "" and worker.stop() == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_client_that_leaves_ends_the_output(script, mode):
    worker = script(HEAD + "import subprocess, sys\nsys.stdout.flush()\nsubprocess.run(['cat', '/dev/zero'])\nwhile True: print('x' * 10000)\n", mode)
    for _ in range(3):
        with worker.connect() as connection:
            connection.send(request(cgi_params(), flags=0))
            for _ in range(50):
                connection.read_record()
    worker.script.write_text(HEAD + "print('fine')")
    assert worker.ask(flags=0).body == b"fine\n"
    assert worker.stderr == ""


@pytest.mark.parametrize("own", ["", "sys.stdout = io.TextIOWrapper(sys.stdout.detach())"])
def test_what_a_client_left_behind_is_no_part_of_the_next_answer(script, own):
    """A module may still have the stream of a script before."""
    worker = script("""
        import io, os, select, sys, warnings
        %s
        print("Content-Type: text/plain\\n", flush=True)
        if os.environ["PATH_INFO"] == "/first":
            warnings.kept = sys.stdout
            left = select.poll()
            left.register(1, 0)
            left.poll()
            print("of another client")
        else:
            warnings.kept.flush()
    """ % own, "persistent")
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/first"), flags=0))
        connection.read_until(Answer(), lambda kind, content: b"text/plain" in content)
    assert worker.ask(flags=0, path="/second").body == b""


def test_nor_is_it_where_a_module_has_the_stream_of_an_earlier_one(script):
    worker = script("""
        import logging, os, select, sys
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        print("Content-Type: text/plain\\n", flush=True)
        if os.environ["PATH_INFO"] == "/leaves":
            left = select.poll()
            left.register(1, 0)
            left.poll()
        logging.warning(os.environ["PATH_INFO"])
    """, "persistent")
    assert worker.ask(flags=0, path="/first").body == b"/first\n"
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/leaves"), flags=0))
        connection.read_until(Answer(), lambda kind, content: b"text/plain" in content)
    assert worker.ask(flags=0, path="/third").body == b"/third\n"


@pytest.mark.parametrize("mode", MODES)
def test_output_without_end_takes_no_memory(script, mode):
    worker = script(HEAD + "import sys\nfor _ in range(1000): sys.stdout.write('x' * 100000)\n", mode)
    with worker.connect() as connection:
        connection.send(request(cgi_params(), flags=0))
        total, peak = 0, 0
        while True:
            kind, _, content = connection.read_record()
            if kind == END:
                break
            total += len(content)
            if total % 16 == 0:
                peak = max(peak, worker.memory())
        assert total > 100_000_000
    assert peak < 60_000_000


# --- seeing changes ---

@pytest.mark.parametrize("mode", MODES)
def test_an_edited_script_is_seen_at_the_next_request(script, mode):
    worker = script(HEAD + "print('one')", mode)
    for text in "one", "two", "six", "ten", "all":
        worker.script.write_text(HEAD + "print(%r)" % text)
        assert worker.ask(flags=0).body.decode() == text + "\n"
    worker.script.unlink()
    assert worker.ask(flags=0).status == "404 Not Found"
    worker.script.write_text(HEAD + "print('again')")
    assert worker.ask(flags=0).body == b"again\n"


def test_the_bytecode_cache_is_used(script):
    worker = script(HEAD + "print('cached')")
    old = time.time() - 100
    os.utime(worker.script, (old, old))
    assert worker.ask(flags=0).body == b"cached\n"
    cache = list((worker.script.parent / "__pycache__").glob("hello.*.pyc"))
    assert len(cache) == 1
    before = cache[0].stat().st_mtime_ns
    assert worker.ask(flags=0).body == b"cached\n"
    assert cache[0].stat().st_mtime_ns == before


# --- scripts of the old days ---

def test_a_script_is_not_taken_for_the_module_of_its_name(files):
    worker = files(a=HEAD + 'print("module")')
    (worker.root / "a.cgi").write_text(HEAD + 'print("script")')
    for name in "a.py", "a.cgi":
        os.utime(worker.root / name, (1e9, 1e9))
    assert [get(worker, name).body for name in ("a.py", "a.cgi", "a.py")] == [b"module\n", b"script\n", b"module\n"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name, source", [
    ("index.py", "from wsgiref.handlers import CGIHandler\nfrom pages import app\nCGIHandler().run(app)\n"),
    ("index.cgi", "import pages\napplication = pages.app\npages.launch(application)\n"),
])
def test_a_script_that_runs_its_app_itself(files, mode, name, source):
    """As the manual of Flask has it for CGI, and hgweb.cgi: to import it would call the app once more, without a request."""
    worker = files(mode, pages="""
        def app(environ, start_response):
            open("calls", "a").write(environ.get("PATH_INFO", "no request") + " ")
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"done"]

        def launch(app):
            import wsgiref.handlers
            wsgiref.handlers.CGIHandler().run(app)
    """)
    (worker.root / name).write_text(source)
    assert [get(worker, name, PATH_INFO=path).body for path in ("/a", "/b")] == [b"done"] * 2
    assert (worker.root / "calls").read_text() == "/a /b " and worker.stderr == worker.stdout == ""


def test_the_old_cgi_module(script):
    pytest.importorskip("cgi")
    worker = script("""
        import warnings
        warnings.simplefilter("ignore")
        import cgi, cgitb
        cgitb.enable()
        form = cgi.FieldStorage()
        print("Content-Type: text/html")
        print()
        print(form.getfirst("name"), form["file"].filename, form["file"].file.read()) if "file" in form else print(form.getlist("a"))
        if "fail" in form: raise ValueError("the failure")
    """)
    assert worker.ask(flags=0, QUERY_STRING="a=1&a=2").body == b"['1', '2']\n"
    body = (b"--B\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nval\r\n"
            b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.txt\"\r\n\r\ncontent\r\n--B--\r\n")
    answer = worker.ask("POST", "/", body, flags=0, CONTENT_TYPE="multipart/form-data; boundary=B")
    assert answer.body == b"val f.txt b'content'\n"
    assert b"the failure" in worker.ask(flags=0, QUERY_STRING="fail=1").body


def test_cgitb_begins_the_answer(script):
    """Its page begins with what is a header and a comment."""
    pytest.importorskip("cgitb")
    worker = script("""
        import warnings
        warnings.simplefilter("ignore")
        import cgitb
        cgitb.enable()
        raise ValueError("the failure")
    """)
    answer = worker.ask(flags=0)
    assert (answer.status, answer.header("Content-Type")) == ("200 OK", "text/html")
    assert b"the failure" in answer.body


# --- files ---

WSGI = """
    import sys
    started = []
    def application(environ, start_response):
        started.append(1)
        start_response("200 OK", [("X-Count", str(len(started)))])
        return [__name__.encode(), environ["PATH_INFO"].encode(), environ["wsgi.input"].read()]
"""


@pytest.mark.parametrize("mode", MODES)
def test_a_directory_of_scripts(files, mode):
    worker = files(mode, report=HEAD + "import helper\nprint('report', helper.NAME)", helper="NAME = 'help'",
                   cart=WSGI, index="import os\n" + HEAD + "print('index', os.environ['PATH_INFO'])")
    (worker.root / "shop").mkdir()
    (worker.root / "shop" / "index.py").write_text("import os\n" + HEAD + "print('shop', os.path.basename(os.getcwd()))")
    for _ in range(2):
        assert get(worker, "report.py").body == b"report help\n"
        assert get(worker, "index.py", path="/x").body == b"index /x\n"
        assert get(worker, "shop/index.py").body == b"shop shop\n"
        assert worker.ask("POST", "/7", b"in", flags=0, SCRIPT_FILENAME=str(worker.root / "cart.py")).body == b"cart/7in"
    assert get(worker, "cart.py").header("X-Count") == ("1" if mode == "fork" else "3")


@pytest.mark.parametrize("mode", MODES)
def test_new_and_edited_files_work_at_once(files, mode):
    worker = files(mode, a=WSGI)
    assert get(worker, "a.py").body.startswith(b"a/")
    assert get(worker, "new.py").status == "404 Not Found"
    (worker.root / "new.py").write_text(HEAD + "print('new')")
    assert get(worker, "new.py").body == b"new\n"
    (worker.root / "a.py").write_text(textwrap.dedent(WSGI).replace("__name__", "'edited'"))
    assert get(worker, "a.py").body.startswith(b"edited/")
    (worker.root / "a.py").write_text(HEAD + "print('a script now')")
    assert get(worker, "a.py").body == b"a script now\n"
    (worker.root / "a.py").unlink()
    assert get(worker, "a.py").status == "404 Not Found"


@pytest.mark.parametrize("source, kind", [
    ("app = 1\n", "app"), ("def app(e, s): pass\n", "app"), ("async def app(e, s): pass\n", "app"), ("class application: pass\n", "app"),
    ("from wsgiref.simple_server import demo_app as application\n", "app"), ("import os as app\n", "app"),
    ("if True:\n    app = 1\n", "app"), ("with open('x') as app: pass\n", "app"), ("for app in (): pass\n", "app"),
    ("x = %s\napp = x\n" % " + ".join("n%d" % i for i in range(400)), "app"),
    ("print('app')\n", "script"), ("def f():\n    app = 1\n", "script"), ("print(app)\n", "script"), ("x.app = 1\n", "script"),
    ("del app\n", "script"), ("import app.x as y\n", "script"), ("application_name = 1\n", "script"),
    ("from pages import app\nCGIHandler().run(app)\n", "script"), ("app = 1\nwsgiref.handlers.CGIHandler().run(app)\n", "script"),
    ("app = 1\nif __name__ == '__main__':\n    CGIHandler().run(app)\n", "app"), ("app = 1\ndef f():\n    CGIHandler()\n", "app"),
    ("from wsgiref.handlers import CGIHandler\napp = 1\ndef main():\n    CGIHandler().run(app)\n", "app"),
    ("class H(CGIHandler): pass\napp = 1\n", "app"), ("class H(CGIHandler): pass\napp = 1\nH().run(app)\n", "script"),
])
def test_what_binds_an_app(scripts, source, kind):
    assert scripts.binds_app(compile(source, "x.py", "exec")) == (kind == "app")


@pytest.mark.parametrize("mode", MODES)
def test_nothing_outside_of_the_root(files, mode, tmp_path):
    worker = files(mode, inside=HEAD)
    (tmp_path / "outside.py").write_text(HEAD + "print('outside')")
    (tmp_path / "root2").mkdir()
    (tmp_path / "root2" / "x.py").write_text(HEAD)
    (worker.root / "link.py").symlink_to(tmp_path / "outside.py")
    (worker.root / "directory.py").mkdir()
    for name in "../outside.py", "link.py", "../root2/x.py", "directory.py", "", "inside.py/more", "/etc/passwd":
        assert get(worker, name).status == "404 Not Found", name
    assert get(worker, "inside.py").status == "200 OK"
    answer = worker.ask(flags=0)
    assert answer.status == "500 Internal Server Error"
    assert "the web server sent no SCRIPT_FILENAME" in worker.stderr


@pytest.mark.parametrize("mode", MODES)
def test_an_app_file_that_fails(files, mode):
    worker = files(mode, ["--debug"], app="1/0\napp = 1", text="app = 'x'", exits="import sys\ndef app(e, s): pass\nsys.exit(1)")
    for name, text in ("app", b"ZeroDivisionError"), ("text", b"app is no app: it is str"), ("exits", b"SystemExit"):
        for _ in range(2):
            answer = get(worker, name + ".py")
            assert answer.status == "500 Internal Server Error" and text in answer.body, answer.body


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind, spec", [("files", "current"), ("cgi", "current/hello.py")])
def test_a_link_to_the_scripts_may_move(serve, tmp_path, mode, kind, spec):
    """To the next release, as a deployment does it; the old one is removed."""
    for name in "one", "two":
        (tmp_path / name).mkdir()
        (tmp_path / name / "hello.py").write_text(HEAD + "print(%r)" % name)
    link = tmp_path / "current"
    link.symlink_to("one")
    worker = serve(None, str(tmp_path / spec), ["--kind", kind, "--mode", mode])
    assert worker.ask(flags=0, SCRIPT_FILENAME=str(link / "hello.py")).body == b"one\n"
    link.unlink()
    link.symlink_to("two")
    shutil.rmtree(tmp_path / "one")
    assert worker.ask(flags=0, SCRIPT_FILENAME=str(link / "hello.py")).body == b"two\n"


@pytest.mark.parametrize("kind, spec", [("files", "current/../site"), ("cgi", "current/../site/hello.py")])
def test_what_lies_beside_the_target_of_a_link(serve, tmp_path, kind, spec):
    for name in "releases/one", "releases/site":
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/one")
    (tmp_path / "releases/site/hello.py").write_text(HEAD + "print('done')")
    worker = serve(None, "%s/%s" % (tmp_path, spec), ["--kind", kind])
    assert worker.ask(flags=0, SCRIPT_FILENAME=str(tmp_path / "current/../site/hello.py")).body == b"done\n"


def test_a_link_may_move_while_a_request_is_looked_at(scripts, tmp_path, monkeypatch):
    for name in "one", "two":
        (tmp_path / name).mkdir()
    link = tmp_path / "current"
    link.symlink_to("one")
    realpath = os.path.realpath

    def move(path):
        found = realpath(path)
        if link.readlink() != Path("two"):
            link.unlink()
            link.symlink_to("two")
        return found

    monkeypatch.setattr(os.path, "realpath", move)
    assert scripts.Scripts(None, str(link), []).allowed(str(link / "a.py")) == realpath(tmp_path / "two/a.py")
    assert scripts.Scripts(None, str(link), []).allowed(str(tmp_path / "one/a.py")) is None


@pytest.mark.parametrize("mode", MODES)
def test_an_app_file_imports_what_is_beside_it_at_any_time(files, mode):
    """Also what it has put on sys.path is there, whatever was served in between."""
    worker = files(mode, script=HEAD)
    for name in "a", "b":
        (worker.root / name / "lib").mkdir(parents=True)
        (worker.root / name / ("beside_%s.py" % name)).touch()
        (worker.root / name / "lib" / ("below_%s.py" % name)).touch()
        (worker.root / name / "app.py").write_text(textwrap.dedent("""
            import os, sys
            sys.path.append(os.path.dirname(__file__) + "/lib")
            def app(environ, start_response):
                start_response("200 OK", [])
                if environ["PATH_INFO"] == "/late":
                    import beside_%s, below_%s
                return [b"done"]
        """ % (name, name)))
    for path in "/", "/late":
        for name in "a/app.py", "b/app.py":
            assert get(worker, name, PATH_INFO=path).body == b"done", worker.stderr
            assert get(worker, "script.py").body == b""


def test_two_files_of_one_name(files):
    worker = files("persistent", index=WSGI)
    (worker.root / "shop").mkdir()
    (worker.root / "shop" / "index.py").write_text(textwrap.dedent(WSGI).replace("__name__", "'shop'"))
    for _ in range(2):
        assert get(worker, "index.py").body == b"index/"
        assert get(worker, "shop/index.py").body == b"shop/"


# --- kind auto, and what is missing ---

def test_kind_auto(spawn, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "s.py").write_text(HEAD)
    for spec, start in (str(tmp_path / "d"), "READY files fork 4 "), (str(tmp_path / "d" / "s.py"), "READY cgi fork 4 "):
        worker = spawn(None, spec)
        assert worker.message() == "START" and worker.message().startswith(start)
    worker = spawn(spec="main.py")
    assert worker.message() == "START" and worker.message().startswith("READY wsgi persistent 4 ")


@pytest.mark.parametrize("options, text", [
    (["--kind", "cgi", "nothing.py"], "nothing.py is no file (in "),
    (["--kind", "files", "nothing"], "nothing is no directory (in "),
    (["--kind", "cgi", "."], ". is no file (in "),
])
def test_what_is_not_there(spawn, options, text):
    summary, _ = spawn(spec=None, options=options).failed()
    assert summary.startswith(text)


def test_it_imports_nothing_that_the_script_does_not(script):
    worker = script("import sys\n" + HEAD + "print(*sorted(sys.modules))", "persistent")
    loaded = set(worker.ask(flags=0).body.decode().split())
    import subprocess
    from worker import PYTHON
    plain = set(subprocess.run([PYTHON, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True).stdout.split())
    assert {name for name in loaded - plain if not name.startswith("pyworker")} <= {"time", "atexit", "faulthandler", "gc"}


def test_what_cannot_be_a_file(files):
    worker = files(a=HEAD)
    loop = worker.root / "loop.py"
    loop.symlink_to(loop)
    for name in "x" * 300 + ".py", "d/" * 3000 + "x.py", "loop.py", "\xff.py":
        assert get(worker, name).status == "404 Not Found"


@pytest.mark.parametrize("mode", MODES)
def test_streams_of_the_script_s_own(script, mode):
    worker = script("""
        import sys
        print("Content-Type: text/plain\\n\\nfine", flush=True)
        class Bad:
            def flush(self): 1/0
            def write(self, text): 1/0
        sys.stdout = Bad()
    """, mode)
    for _ in range(3):
        assert worker.ask(flags=0).body == b"fine\n"


def test_closing_what_the_worker_needs_ends_it_and_no_more(script):
    """Only its own descriptors are a script's to close; in mode persistent the worker ends, and a gateway starts another."""
    worker = script("import os\nos.closerange(3, 256)\n" + HEAD, "persistent")
    with contextlib.suppress(ProtocolError, EOFError, ConnectionError):
        worker.ask(flags=0)
    assert worker.wait() == 1


def test_it_ends_also_when_nobody_can_be_told(script):
    """The thread that reads its output is told by an eventfd, and what it has started holds the pipe."""
    worker = script("""
        import os, subprocess, time
        print("Content-Type: text/plain\\n\\n%d" % subprocess.Popen(["sleep", "60"]).pid, flush=True)
        time.sleep(0.1)
        for fd in map(int, os.listdir("/proc/self/fd")):
            if fd > 2 and os.path.exists("/proc/self/fd/%d" % fd) and "eventfd" in os.readlink("/proc/self/fd/%d" % fd):
                os.close(fd)
    """, "persistent")
    for _ in range(2):
        answer = worker.ask(flags=0)
        os.kill(int(answer.body), signal.SIGKILL)
        assert answer.app_status == 0


def test_parameters_of_every_kind(script):
    worker = script("import os\n" + HEAD + "print(ascii([os.environ.get(name) for name in ('HTTP_A', 'HTTP_B', 'HTTP_C')]))")
    answer = worker.ask(flags=0, HTTP_A="\xff\x01", HTTP_B="x" * 70000, HTTP_C="", **{"": "empty", "HTTP_D=1": "x"})
    first, second, third = eval(answer.body)
    assert (first, third) == ("\udcff\x01", "") and len(second) == 70000


ASGI = """
    events = []
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                event = (await receive())["type"]
                events.append(event)
                scope["state"]["up"] = True
                await send({"type": event + ".complete"})
                if event == "lifespan.shutdown":
                    return open("shutdown", "w").close()
        body = (await receive())["body"]
        if scope["path"] == "/a/fail":
            raise ValueError("failed")
        await send({"type": "http.response.start", "status": 201, "headers": [(b"x-path", scope["path"].encode())]})
        if scope["path"] == "/a/cut":
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
            raise ValueError("cut")
        for piece in body, repr((scope["root_path"], scope["query_string"], scope["method"], scope["state"], events)).encode():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})
        assert (await receive())["type"] == "http.disconnect"
        open("background", "w").close()
"""


@pytest.mark.parametrize("mode", MODES)
def test_an_asgi_file(files, mode):
    worker = files(mode, a=ASGI)
    name = str(worker.root / "a.py")
    for _ in range(2):
        answer = worker.ask("POST", "/x", b"body", flags=0, SCRIPT_FILENAME=name, SCRIPT_NAME="/a", QUERY_STRING="q=1")
        assert answer.status.startswith("201") and answer.header("x-path") == "/a/x"
        assert answer.body.startswith(b"body('/a', b'q=1', 'POST', {'up': True}, ['lifespan.startup'")
        assert (worker.directory / "background").exists() and answer.app_status == 0
        assert get(worker, "a.py", path="/fail", SCRIPT_NAME="/a").status == "500 Internal Server Error"
        assert get(worker, "a.py", path="/cut", SCRIPT_NAME="/a").app_status == 1
        (worker.directory / "background").unlink()
    assert worker.stderr.count("ValueError: failed") == 2 and worker.stderr.count("ValueError: cut") == 2
    assert "never retrieved" not in worker.stderr
    assert (worker.directory / "shutdown").exists()


def test_headers_about_the_body_come_once(files):
    """As nginx sends them: both ways, and empty where there is no body."""
    worker = files(a="""
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": repr([pair for pair in scope["headers"] if b"content" in pair[0]]).encode()})
    """)
    answer = get(worker, "a.py", HTTP_CONTENT_LENGTH="3", HTTP_CONTENT_TYPE="text/x", CONTENT_TYPE="text/x", CONTENT_LENGTH="")
    assert answer.body == b"[(b'content-type', b'text/x')]"
    assert get(worker, "a.py", HTTP_CONTENT_TYPE="", CONTENT_TYPE="").body == b"[]"


def test_an_asgi_file_has_the_version_that_asgi_knows(files):
    worker = files(a="""
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": scope["http_version"].encode()})
    """)
    for protocol, version in ("HTTP/1.0", b"1.0"), ("HTTP/1.1", b"1.1"), ("HTTP/2.0", b"2"), ("HTTP/3.0", b"3"):
        assert get(worker, "a.py", SERVER_PROTOCOL=protocol).body == version


def test_what_a_piece_of_an_asgi_file_may_be(files):
    worker = files(a="""
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200})
            for piece in b"bytes", bytearray(b" bytearray"), memoryview(b" memoryview"):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": 5 if scope["query_string"] else b""})
    """)
    assert get(worker, "a.py").body == b"bytes bytearray memoryview"
    assert get(worker, "a.py", QUERY_STRING="number").app_status == 1
    assert "TypeError" in worker.stderr


@pytest.mark.parametrize("mode", MODES)
def test_what_follows_the_answer_of_an_asgi_file_is_done_though_the_client_left(files, mode):
    worker = files(mode, a="""
        import os, time
        async def app(scope, receive, send):
            assert scope["type"] == "http"
            print("begun", flush=True)
            while not os.path.exists(__file__ + ".go"):
                time.sleep(0.001)
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"too late" * 10000})
            print("behind it", flush=True)
    """)
    connection = worker.connect()
    connection.send(request(cgi_params(path="/", SCRIPT_FILENAME=str(worker.root / "a.py")), flags=0))
    eventually(lambda: worker.stdout == "begun\n")
    connection.close()
    (worker.root / "a.py.go").touch()
    eventually(lambda: worker.stdout == "begun\nbehind it\n")
    assert worker.stderr == ""


@pytest.mark.parametrize("mode", MODES)
def test_an_asgi_file_may_do_without_a_lifespan(files, mode):
    worker = files(mode, a="""
        async def app(scope, receive, send):
            assert scope["type"] == "http"
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"fine"})
    """)
    for _ in range(3):
        assert get(worker, "a.py").body == b"fine"
    worker.say("STOP")
    assert worker.message() == "" and worker.stderr == ""


def test_an_asgi_file_whose_startup_fails_is_not_asked_to_shut_down(files):
    worker = files(a="""
        async def app(scope, receive, send):
            assert (await receive())["type"] == "lifespan.startup"
            await send({"type": "lifespan.startup.failed", "message": "no luck"})
            print(await receive(), flush=True)
    """)
    assert get(worker, "a.py").status == "500 Internal Server Error"
    assert worker.stderr.count("no luck") == 1 and "shutdown" not in worker.stderr and worker.stdout == ""


def test_an_asgi_file_that_fails_behind_its_answer_is_shut_down(files):
    worker = files(a="""
        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                for _ in range(2):
                    event = (await receive())["type"]
                    print(event, flush=True)
                    await send({"type": event + ".complete"})
                return
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"fine"})
            raise ValueError("behind it")
    """)
    assert get(worker, "a.py").body == b"fine"
    assert worker.stdout == "lifespan.startup\nlifespan.shutdown\n" and "ValueError: behind it" in worker.stderr


def test_one_at_a_time_in_mode_persistent(spawn, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "s.py").write_text(HEAD)
    for spec, start in (str(tmp_path / "d"), "READY files persistent 1 "), (str(tmp_path / "d" / "s.py"), "READY cgi persistent 1 "):
        worker = spawn(None, spec, ["--mode", "persistent"])
        assert worker.message() == "START" and worker.message().startswith(start)
