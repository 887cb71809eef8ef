"""Kinds files and cgi: which script answers a path, what it is told, and everything that must never come out."""

import json
import os
import random
import socket
import sys

import pytest

from gateway import run, wait_until

SECRET = "the secret"

SHOW = """import json, os, sys
names = ["REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "SCRIPT_FILENAME", "DOCUMENT_ROOT", "PATH_TRANSLATED", "QUERY_STRING"]
print("Content-Type: application/json\\n")
print(json.dumps({name: os.environ.get(name) for name in names} | {"body": sys.stdin.read()}))
"""

WSGI = """def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"wsgi {environ['SCRIPT_NAME']}|{environ['PATH_INFO']}".encode()]
"""

LINGER = """import os, time

class Body(list):
    def close(self):
        while not os.path.exists("{go}"):
            time.sleep(0.005)

def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "6")])
    return Body([b"answer"])
"""


@pytest.fixture
def root(tmp_path):
    """The directory; beside it lies what must never come out."""
    root = tmp_path / "site/root"
    for name in ("shop", "web", "empty", ".git", "__pycache__", "shop/__pycache__", "both"):
        (root / name).mkdir(parents=True)
    files = {"index.py": SHOW, "report.py": SHOW, "shop/cart.py": SHOW, "shop/index.py": SHOW, "app.py": WSGI,
             "both.py": SHOW, "web/index.html": "<p>web", "web/a b.css": "p {}", "web/x.js": "1", "robots.txt": "robots",
             "report.py.bak": SECRET, "report.py~": SECRET, "data.sqlite": SECRET, "site.ini": SECRET, "dump.sql": SECRET,
             "site.zip": SECRET, "package.json": SECRET, ".env": SECRET, ".hidden.html": SECRET, ".git/config": SECRET,
             ".git/page.html": SECRET, "__pycache__/page.html": SECRET, "shop/__pycache__/cart.txt": SECRET,
             "noextension": SECRET, "README": SECRET, "key.pem": SECRET, "web/index.html.old": SECRET}
    for name, text in files.items():
        (root / name).write_text(text)
    (root.parent / "secret.txt").write_text(SECRET)
    (root.parent / "secret.py").write_text(f"print('Content-Type: text/plain\\n\\n{SECRET}')")
    (root.parent / "root2").mkdir()
    (root.parent / "root2/secret.html").write_text(SECRET)
    (root / "out.txt").symlink_to("../secret.txt")
    (root / "out.py").symlink_to("../secret.py")
    (root / "outside").symlink_to("..")
    (root / "absolute.html").symlink_to(root.parent / "root2/secret.html")
    (root / "proc").symlink_to("/proc/self/root")
    (root / "loop.html").symlink_to("loop.html")
    (root / "inside.css").symlink_to("web/a b.css")
    os.mkfifo(root / "fifo.html")
    return root


def section(root, **keys):
    return {"app:site": {"kind": "files", "root": root, "index": "index.py index.html", "python": sys.executable} | keys}


@pytest.fixture
def site(launch, root):
    return launch(section(root))


def show(answer):
    assert answer.status == 200, answer
    return json.loads(answer.text)


# --- which script


@pytest.mark.parametrize("target, script, name, info", [
    ("/", "index.py", "", "/"),
    ("/index", "index.py", "/index", ""),
    ("/index.py", "index.py", "/index.py", ""),
    ("/report", "report.py", "/report", ""),
    ("/report.py", "report.py", "/report.py", ""),
    ("/report/", "report.py", "/report", "/"),
    ("/report.py/a/b", "report.py", "/report.py", "/a/b"),
    ("/shop/", "shop/index.py", "/shop", "/"),
    ("/shop/cart", "shop/cart.py", "/shop/cart", ""),
    ("/shop/cart/7", "shop/cart.py", "/shop/cart", "/7"),
    ("/shop/cart/a%20b//c/.d", "shop/cart.py", "/shop/cart", "/a b//c/.d"),
    ("/shop/x/../cart/7", "shop/cart.py", "/shop/cart", "/7"),
    ("/%72eport/x", "report.py", "/report", "/x"),
    ("/both", "both.py", "/both", ""),
])
def test_which_script(site, root, target, script, name, info):
    seen = show(site.get(target + "?q=1"))
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == (name, info)
    assert seen["SCRIPT_FILENAME"] == f"{root}/{script}" and seen["DOCUMENT_ROOT"] == str(root)
    assert seen["PATH_TRANSLATED"] == (f"{root}{info}" if info else None)
    assert seen["QUERY_STRING"] == "q=1" and seen["REQUEST_METHOD"] == "GET"


def test_below_a_path(launch, root):
    gateway = launch(section(root, path="/tools", root_path="/outer"))
    seen = show(gateway.get("/tools/shop/cart/7"))
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/outer/tools/shop/cart", "/7")
    moved = gateway.get("/tools")
    assert moved.status == 301 and moved.get("Location") == "/outer/tools/"


def test_bodies_and_methods(site):
    assert show(site.post("/report/x", b"abc"))["body"] == "abc"


def test_a_file_that_binds_application_is_called(site):
    assert site.get("/app/a/b").text == "wsgi /app|/a/b"


def test_new_edited_and_removed_files(site, root):
    assert site.get("/news").status == 404
    (root / "news.py").write_text("print('Content-Type: text/plain\\n\\nfirst')")
    assert site.get("/news").text == "first\n"
    (root / "news.py").write_text("print('Content-Type: text/plain\\n\\nsecond, longer')")
    assert site.get("/news").text == "second, longer\n"
    (root / "news.py").unlink()
    assert site.get("/news").status == 404


# --- files and directories, without Python


def test_web_files_are_sent_without_python(site):
    with site.connect() as connection:
        for target, kind in [("/web/a%20b.css", "text/css"), ("/web/x.js", "text/javascript"), ("/robots.txt", "text/plain"),
                             ("/web/", "text/html"), ("/inside.css", "text/css")]:
            answer = connection.get(target)
            assert answer.status == 200 and answer.get("Content-Type").startswith(kind), target
        assert connection.get("/web/").text == "<p>web" and connection.get("/web/").get("Content-Type").startswith("text/html")
        connection.request("HEAD", "/robots.txt")
        assert connection.answer("HEAD").get("Content-Length") == "6"
        assert connection.post("/robots.txt", b"").status == 405
    assert not site.workers


def test_a_directory_gets_its_slash(site):
    with site.connect() as connection:
        moved = connection.get("/web")
        assert moved.status == 301 and moved.get("Location") == "/web/" and moved.body == b""
        assert connection.get("/sh%6fp?x=%31&y").get("Location") == "/shop/?x=%31&y"
        assert connection.post("/shop", b"").status == 308
        assert connection.get("/empty").status == 301 and connection.get("/empty/").status == 404
    assert not site.workers


def test_a_redirect_names_no_other_host(launch, root):
    """Nothing in the path may become the name of a host, or end the line."""
    (root / "evil.example").mkdir()
    (root / "a\r\nX-Evil: 1").mkdir()
    gateway = launch(section(root))
    for target in ("//evil.example", "//evil.example/", "/%2fevil.example", "/.//evil.example", "/web/..//evil.example"):
        answer = gateway.get(target)
        assert answer.status in (400, 404), (target, answer)
    answer = gateway.get("/a%0d%0aX-Evil:%201")
    assert answer.status == 301 and answer.get("X-Evil") is None
    assert answer.get("Location") == "/a%0D%0AX-Evil:%201/"


# --- what never comes out

HIDDEN = [
    # sources, backups, data, configuration, hidden names
    "/report.py.bak", "/report.py~", "/data.sqlite", "/site.ini", "/dump.sql", "/site.zip", "/package.json", "/.env",
    "/.hidden.html", "/.git/config", "/.git/page.html", "/.git/", "/.git", "/__pycache__/page.html", "/__pycache__/",
    "/shop/__pycache__/cart.txt", "/noextension", "/README", "/key.pem", "/web/index.html.old", "/REPORT.PY",
    "/report.PY", "/report.py%20", "/report.py.", "/report.pyc", "/robots.txt/", "/robots.txt/x", "/fifo.html",
    # links that lead out, and loops
    "/out.txt", "/out.py", "/out", "/outside/secret.txt", "/outside/secret", "/outside/root2/secret.html",
    "/absolute.html", "/proc/etc/passwd", "/proc/etc/hostname", "/loop.html", "/outside", "/outside/",
    # dots
    "/../secret.txt", "/shop/../../secret.txt", "/shop/../../root2/secret.html", "/./../secret.txt", "/..",
    "/shop/..%2f..%2fsecret.txt", "/%2e%2e/secret.txt", "/%2e%2e%2fsecret.txt", "/shop/%2e%2e/%2e%2e/secret.txt",
    "/.%2e/secret.txt", "/..%2fsecret.txt", "/%2e./secret.txt", "/...", "/.../secret.txt", "/..;/secret.txt",
    "/..%00/secret.txt", "/%252e%252e/secret.txt", "/%252e%252e%252fsecret.txt", "/%25%32%65%25%32%65/secret.txt",
    "/%c0%ae%c0%ae/secret.txt", "/%c0%ae%c0%ae%c0%afsecret.txt", "/%e0%80%ae%e0%80%ae/secret.txt",
    "/%uff0e%uff0e/secret.txt", "/..\\secret.txt", "/..%5csecret.txt", "/%5c..%5csecret.txt", "/shop/..%5c..%5csecret.txt",
    "/..//secret.txt", "//../secret.txt", "/shop//..//..//secret.txt", "/..2/secret.html", "/../root2/secret.html",
    "/shop/cart.py/../../../secret.txt", "/shop/cart/../../../secret.txt", "/web/a%20b.css/../../../secret.txt",
    # slashes
    "//secret.txt", "//etc/passwd", "/%2fetc%2fpasswd", "/%2Fetc/passwd", "//report", "/shop//cart", "/web//x.js",
    "/web%2fx.js", "/shop%2Fcart", "/report%2Fx", "/report/x%2fy", "/report.py/%2e%2e%2f%2e%2e%2fsecret.txt",
    # NUL, line ends, names of other systems
    "/report.py%00.txt", "/robots.txt%00.py", "/secret.txt%00", "/robots.txt%0a", "/report%0d%0aX-Evil:%201",
    "/robots.txt::$DATA", "/report.py::$DATA", "/robots.txt%20", "/report.py%2500.txt", "/c:/secret.txt",
    "/file:///etc/passwd", "/robots.txt;x=.py", "/CON", "/~root/.profile", "/etc/passwd", "/proc/self/environ",
    # long ones
    "/" + "a" * 300 + ".html", "/" + "a/" * 2000 + "x.html", "/" + "shop/../" * 500 + "data.sqlite",
    "/" + "../" * 500 + "secret.txt",
]


def raw(gateway, target, method="GET"):
    """The answer's status and all its bytes, to a request line that goes out as it stands."""
    with socket.create_connection(gateway.address(), 10) as connection:
        connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode("latin-1"))
        data = b""
        while piece := connection.recv(65536):
            data += piece
    return int(data.split(b" ", 2)[1]), data


def test_what_never_comes_out(site, root):
    """Each of them is refused without Python, whatever the encoding or the link."""
    for target in HIDDEN:
        for method in ("GET", "HEAD", "POST"):
            status, data = raw(site, target, method)
            assert status in (400, 404), (method, target, data)
            assert SECRET.encode() not in data and b"root:" not in data, (method, target, data)
            assert b"X-Evil: 1\r\n" not in data, target
    assert not site.workers


def test_the_same_in_absolute_form(site):
    for target in HIDDEN:
        status, data = raw(site, f"http://h{target}")
        assert status in (400, 404) and SECRET.encode() not in data, (target, data)
    assert not site.workers


def test_the_same_for_an_encoding_of_every_byte(site):
    """A path in which each byte is written %xx is the same path."""
    for target in [target for target in HIDDEN if "%" not in target]:
        encoded = "/" + "".join(f"%{byte:02x}" if byte != 0x2f else "/" for byte in target[1:].encode("latin-1"))
        if len(encoded) < 8000:
            status, data = raw(site, encoded)
            assert status in (400, 404) and SECRET.encode() not in data, (target, data)
    assert not site.workers


PIECES = ["/", "/", "/", "//", "%2f", "%2F", "..", "..", ".", "%2e", "%2e%2e", ".%2e", "%252e", "\\", "%5c", "%00", "%0a", "%20", ";", "~",
          "secret.txt", "secret", "secret.html", "root", "root2", "outside", "out", "out.py", "absolute.html", "proc", "etc",
          "passwd", "shop", "web", "__pycache__", ".git", ".env", "index.html", "index", "data.sqlite", "report.py.bak", "both",
          "site.ini", "loop.html", "robots.txt", "x.js", "%ff", "%c0%af", "?", "a"]


def test_paths_put_together_by_chance(site):
    """No path leads out, and none is too much: three thousand of them, the same each time."""
    chance = random.Random(20261126)
    with site.connect() as connection:
        for _ in range(3000):
            target = "/" + "".join(chance.choice(PIECES) for _ in range(chance.randint(1, 9)))
            connection.request("GET", target)
            answer = connection.answer("GET")
            assert SECRET not in answer.body.decode("latin-1") and answer.status in (200, 301, 400, 404), (target, answer)
            assert not (answer.get("Location") or "/x").startswith("//"), (target, answer)
            if answer.get("Connection") == "close":
                connection.close()
                connection = site.connect()


def test_root_itself_may_be_a_link_and_may_move(launch, root, tmp_path):
    link = tmp_path / "current"
    link.symlink_to(root)
    gateway = launch(section(link))
    assert gateway.get("/robots.txt").text == "robots"
    link.unlink()
    link.symlink_to(root.parent / "root2")
    assert gateway.get("/secret.html").text == SECRET and gateway.get("/robots.txt").status == 404


def test_a_root_that_is_not_there(launch, tmp_path):
    gateway = launch(section(tmp_path / "none"))
    assert gateway.get("/").status == 404
    gateway.err.wait(f"cannot open root {tmp_path}/none: No such file or directory")


def test_other_extensions(launch, root):
    gateway = launch(section(root, extensions=".cgi", index="index.html"))
    (root / "old.cgi").write_text(SHOW)
    assert show(gateway.get("/old/x"))["SCRIPT_NAME"] == "/old"
    assert gateway.get("/report.py").status == 404 and gateway.get("/report").status == 404


# --- one script


def test_cgi(launch, root, tmp_path):
    gateway = launch({"app:one": {"kind": "cgi", "script": root / "report.py", "path": "/cgi", "python": sys.executable}})
    seen = show(gateway.post("/cgi/a%2Fb/c?x=1", b"abc"))
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/cgi", "/a/b/c") and seen["body"] == "abc"
    assert seen["SCRIPT_FILENAME"] == f"{root}/report.py" and seen["DOCUMENT_ROOT"] == str(root)
    assert seen["PATH_TRANSLATED"] == f"{root}/a/b/c"
    seen = show(gateway.get("/cgi"))
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"], seen["PATH_TRANSLATED"]) == ("/cgi", "", None)


# --- the command line finds out


def test_a_directory_on_the_command_line(launch, root):
    gateway = launch(args=[f"{root}/", "--listen", "127.0.0.1:0", "--python", sys.executable])
    assert show(gateway.get("/shop/cart/7"))["PATH_INFO"] == "/7"
    assert gateway.get("/robots.txt").text == "robots"


def test_a_package_on_the_command_line_is_a_module(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").write_text(WSGI)
    assert run(tmp_path, "shop", "-t", "--python", sys.executable).returncode == 0
    for app, line in ("shop", "module = shop "), ("shop/", f"root = {tmp_path}/shop "), ("./shop", f"root = {tmp_path}/shop "):
        assert line in run(tmp_path, app, "-T").stdout, app


def test_a_script_on_the_command_line(launch, root):
    gateway = launch(args=[str(root / "report.py"), "--listen", "127.0.0.1:0", "--python", sys.executable])
    seen = show(gateway.get("/a/b"))
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("", "/a/b") and seen["SCRIPT_FILENAME"] == f"{root}/report.py"


def test_a_file_with_an_app_on_the_command_line(launch, root):
    gateway = launch(args=[str(root / "app.py"), "--listen", "127.0.0.1:0", "--python", sys.executable])
    assert gateway.get("/a/b").text == "wsgi |/a/b"


def test_dev_is_for_this_machine_alone(root):
    result = run(root, "app.py", "--dev", "--listen", ":0")
    assert result.returncode == 2 and "is not on this machine alone" in result.stderr


def test_dev_shows_the_traceback(launch, root):
    (root / "broken.py").write_text("def application(environ, start_response):\n    raise ValueError('look here')\n")
    gateway = launch(args=[str(root / "broken.py"), "--dev", "--listen", "127.0.0.1:0", "--python", sys.executable])
    answer = gateway.get("/")
    assert answer.status == 500 and "look here" in answer.text


def test_dev_shows_what_does_not_compile(launch, root):
    """At the first start and after an edit; the mended source is served, however often it had failed."""
    (root / "app.py").write_text("def application(\n")
    gateway = launch(args=[str(root / "app.py"), "--dev", "--start", "lazy", "--listen", "127.0.0.1:0",
                           "--python", sys.executable])
    for good in "one", "three":  # Python takes bytecode of the same second and size for the source's
        for _ in range(5):
            answer = gateway.get("/")
            assert answer.status == 500 and "SyntaxError" in answer.text and "app.py" in answer.text
        (root / "app.py").write_text(WSGI.replace("wsgi", good))
        wait_until(lambda: gateway.get("/").text == good + " |/", "the mended code")
        (root / "app.py").write_text("def application(\n")
        wait_until(lambda: gateway.get("/").status == 500, "the broken code")


def test_dev_takes_changed_sources(launch, root):
    gateway = launch(args=[str(root / "app.py"), "--dev", "--listen", "127.0.0.1:0", "--python", sys.executable])
    assert gateway.get("/").text == "wsgi |/"
    (root / "app.py").write_text(WSGI.replace("wsgi", "changed"))
    wait_until(lambda: gateway.get("/").text == "changed |/", "the new code")


# --- a copy for each request


def test_a_copy_that_dies_costs_its_own_request(launch, root):
    (root / "die.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    gateway = launch(section(root))
    assert show(gateway.get("/report"))["SCRIPT_NAME"] == "/report"
    zygote = gateway.one_worker()
    for _ in range(3):
        assert gateway.get("/die").status == 502
        assert show(gateway.get("/report"))["SCRIPT_NAME"] == "/report"
    assert gateway.one_worker() == zygote


def test_a_copy_that_dies_is_never_sent_again(launch, root, tmp_path):
    (root / "once.py").write_text(f"import os\nopen({str(tmp_path / 'count')!r}, 'a').write('x')\nos.kill(os.getpid(), 9)\n")
    gateway = launch(section(root))
    assert gateway.get("/once").status == 502
    assert (tmp_path / "count").read_text() == "x"


def test_a_copy_that_takes_too_long_is_killed_alone(launch, root):
    (root / "sleep.py").write_text("import time\ntime.sleep(60)\n")
    (root / "spin.py").write_text("while True:\n    pass\n")
    gateway = launch(section(root, request_timeout="1500ms", stop_timeout="5s"))
    assert show(gateway.get("/report"))["SCRIPT_NAME"] == "/report"
    zygote = gateway.one_worker()
    for target in ("/sleep", "/spin", "/sleep"):
        assert gateway.get(target).status == 504
        assert show(gateway.get("/report"))["SCRIPT_NAME"] == "/report"
    assert gateway.one_worker() == zygote
    assert "is killed" in gateway.err.text and "is replaced" not in gateway.err.text


def test_a_slot_is_free_when_its_copy_has_ended(launch, root, tmp_path):
    """Copies that go on after their answer hold their slots: with two of them the third request waits."""
    (root / "linger.py").write_text(LINGER.format(go=tmp_path / "go"))
    gateway = launch(section(root, concurrency=2))
    assert [gateway.get("/linger").text for _ in range(2)] == ["answer"] * 2
    with gateway.connect() as third:
        third.request("GET", "/report")
        assert third.silent(0.3)
        (tmp_path / "go").touch()
        assert show(third.answer())["SCRIPT_NAME"] == "/report"


def test_mode_persistent(launch, root):
    gateway = launch(section(root, mode="persistent"))
    for _ in range(3):
        assert show(gateway.get("/report/x"))["PATH_INFO"] == "/x"


def test_fork_and_reload(launch, root):
    """A changed source means a fresh zygote for the request that finds it, whatever its method."""
    gateway = launch({"app:app": {"module": "app.py", "directory": root, "mode": "fork", "reload": "on",
                                  "python": sys.executable}})
    assert gateway.post("/", b"").text == "wsgi |/"
    (root / "app.py").write_text(WSGI.replace("wsgi", "changed"))
    wait_until(lambda: gateway.post("/", b"").text == "changed |/", "the new code")


def test_fork_for_wsgi(launch, root):
    (root / "count.py").write_text("import os\ncount = 0\ndef application(environ, start_response):\n    global count\n"
                                   "    count += 1\n    start_response('200 OK', [])\n"
                                   "    return [b'%d %d' % (count, os.getpid())]\n")
    gateway = launch({"app:count": {"module": "count.py", "directory": root, "mode": "fork", "python": sys.executable}})
    answers = {gateway.get("/").text for _ in range(5)}
    assert len(answers) == 5 and all(answer.startswith("1 ") for answer in answers)
