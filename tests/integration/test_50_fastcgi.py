"""The gateway before FastCGI servers of others: php-fpm over unix and TCP, php-cgi and Perl started on demand, servers
that are not there, and phpMyAdmin's login page through all of them."""

import os
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest

import fakeworker
import php
import rawhttp
from gateway import ROOT, proc_file, run, wait_until
from inside import Inside
from webservers import free_port

SHOW = """<?php
header("Content-Type: text/plain");
foreach (["REQUEST_METHOD", "REQUEST_URI", "QUERY_STRING", "SCRIPT_FILENAME", "SCRIPT_NAME", "PATH_INFO", "DOCUMENT_ROOT",
          "PHP_SELF", "REMOTE_ADDR", "CONTENT_LENGTH", "HTTP_X_TEST"] as $name)
    echo $name, "=", $_SERVER[$name] ?? "-", "\\n";
echo "BODY=", strlen(file_get_contents("php://input")), "\\n";
"""


@pytest.fixture
def www(tmp_path):
    """A directory with PHP in it, and what is none."""
    directory = tmp_path / "www"
    (directory / "sub").mkdir(parents=True)
    (directory / "index.php").write_text(SHOW)
    (directory / "sub/index.php").write_text(SHOW)
    (directory / "echo.php").write_text("<?php echo file_get_contents('php://input');")
    (directory / "die.php").write_text("<?php posix_kill(getmypid(), 9); sleep(9);")
    (directory / "slow.php").write_text("<?php sleep(30);")
    (directory / "status.php").write_text("<?php header('Location: /x'); http_response_code(418); echo 'teapot';")
    (directory / "picture.jpg").write_text("<?php echo 'it ran';")
    return directory


@pytest.fixture
def nap(www):
    """The request /nap.php rests until this is called."""
    cue = www / "cue"
    (www / "nap.php").write_text(f"<?php while (!file_exists('{cue}')) usleep(1000); echo 'rested';")
    return cue.touch


@pytest.fixture(params=["unix", "tcp"])
def fpm(request, tmp_path):
    listen = str(tmp_path / "fpm.sock") if request.param == "unix" else f"127.0.0.1:{free_port()}"
    server = php.Fpm(tmp_path, listen)
    server.address = f"unix:{listen}" if request.param == "unix" else listen
    yield server
    server.end()


@pytest.fixture
def remote(launch, fpm, www):
    """remote(key=value...): a gateway before php-fpm."""
    def start(**keys):
        return launch({"app:php": {"address": fpm.address, "script_filename": f"{www}$path"} | keys})
    return start


@pytest.fixture
def on_demand(launch, tmp_path, www):
    """on_demand(key=value...): a gateway that starts php-cgi when a request needs it."""
    def start(**keys):
        section = {"command": f"{php.cgi()} -c {php.write_ini(tmp_path)}", "directory": tmp_path,
                   "script_filename": f"{www}$path", "env": ["PHP_INI_SCAN_DIR=", *php.env_lines()]}
        return launch({"app:php": section | keys})
    return start


def sockets(gateway):
    return len([target for target in gateway.descriptors().values() if target.startswith("socket:")])


def variables(answer):
    assert answer.status == 200, answer
    return dict(line.split("=", 1) for line in answer.text.splitlines())


def check_variables(gateway, www, before=""):
    """What PHP sees of a script with a path behind it, and of a directory's index."""
    with gateway.connect() as connection:
        connection.request("GET", f"{before}/index.php/a%20b/c?x=1", fields=[("X-Test", "yes")])
        seen = variables(connection.answer("GET"))
        assert seen["SCRIPT_FILENAME"] == f"{www}/index.php" and seen["SCRIPT_NAME"] == f"{before}/index.php"
        assert seen["PATH_INFO"] == "/a b/c" and seen["PHP_SELF"] == f"{before}/index.php/a b/c"
        assert seen["DOCUMENT_ROOT"] == str(www) and seen["QUERY_STRING"] == "x=1" and seen["HTTP_X_TEST"] == "yes"
        assert seen["REQUEST_URI"] == f"{before}/index.php/a%20b/c?x=1" and seen["REMOTE_ADDR"] == "127.0.0.1"
        seen = variables(connection.get(f"{before}/sub/"))
        assert seen["SCRIPT_FILENAME"] == f"{www}/sub/index.php" and seen["SCRIPT_NAME"] == f"{before}/sub/index.php"
        assert seen["PATH_INFO"] in ("", "-") and seen["CONTENT_LENGTH"] in ("", "-", "0")


def check_answers(gateway):
    """Status, fields, bodies in both directions; a body larger than any buffer between."""
    big = os.urandom(3_000_000)
    with gateway.connect() as connection:
        answer = connection.get("/status.php")
        assert answer.status == 418 and answer.get("Location") == "/x" and answer.text == "teapot"
        assert connection.post("/echo.php", b"abc").text == "abc"
        assert connection.post("/echo.php", big).body == big
        connection.request("HEAD", "/index.php")
        assert connection.answer("HEAD").body == b""


# --- php-fpm, which runs already


def test_fpm_variables(remote, www):
    check_variables(remote(), www)


def test_fpm_below_a_path(remote, www):
    check_variables(remote(path="/blog"), www, "/blog")


def test_fpm_answers(remote):
    check_answers(remote())


def test_no_process_and_no_connection_stays(remote):
    gateway = remote()
    for _ in range(3):
        assert gateway.get("/index.php").status == 200
    assert not gateway.workers
    wait_until(lambda: sockets(gateway) == 1, "only the listener")


def test_status_of_a_server_that_runs_already(launch, fpm, www, nap):
    """It is neither asleep nor awake: busy or idle is all that can be known of it."""
    gateway = launch({"status": {"listen": "127.0.0.1:0"},
                      "app:php": {"address": fpm.address, "script_filename": f"{www}$path"}})

    def state():
        with Inside(gateway) as inside:
            found = inside.app("php")
            return found["state"], len(found["workers"])

    assert gateway.get("/index.php").status == 200 and state() == ("idle", 0)
    sleeper = threading.Thread(target=lambda: gateway.get("/nap.php"))
    sleeper.start()
    wait_until(lambda: state() == ("busy", 0), "busy")
    nap()
    sleeper.join()


def test_more_requests_than_children(remote):
    """php-fpm has two processes here: what waits in its backlog is served in turn."""
    gateway = remote(concurrency=8)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(gateway.get("/index.php").status)) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 30


def test_only_scripts_are_asked_for(remote):
    """A server that is told a file's name runs what it finds there."""
    gateway = remote()
    for target in ("/picture.jpg", "/picture.jpg/x", "/index", "/index.php.bak", "/.hidden.php", "/a//b.php", "/sub",
                   "/index.php%00.jpg", "/%2e%2e%2f%2e%2e/x.php", "/sub%2findex.php", "/index.php%0a", "/index.php/%0a"):
        assert gateway.get(target).status in (400, 404), target
    assert gateway.get("/nowhere.php").status == 404


def test_no_part_of_a_name_is_run(on_demand, www):
    """PHP looks for a script that does not exist in the front of its name, and php-cgi runs what it finds there."""
    deep = "/x" * ((4096 - len(str(www / "picture.jpg"))) // 2)
    gateway = on_demand()
    for target in ("/picture.jpg/x.php", "/picture.jpg/x.php/info", "/picture.jpg/", "/picture.jpg/sub/",
                   f"/picture.jpg{deep}.php", f"/picture.jpg/{'x' * 300}.php"):
        assert gateway.get(target).status == 404, target
    assert not gateway.workers
    assert variables(gateway.get("/sub/index.php/picture.jpg/x.php"))["PATH_INFO"] == "/picture.jpg/x.php"


def test_fpm_process_that_dies(remote):
    gateway = remote()
    assert gateway.post("/die.php", b"").status == 502
    gateway.err.wait("closed the connection without an answer")
    assert gateway.get("/index.php").status == 200


def test_fpm_too_slow(remote):
    gateway = remote(request_timeout="1s")
    assert gateway.get("/slow.php").status == 504
    assert gateway.get("/index.php").status == 200


def test_a_reload_lets_a_request_finish(remote, nap):
    """SIGHUP with another path: what is under way ends well, what comes goes by the new file."""
    gateway = remote()
    answers = []
    napping = threading.Thread(target=lambda: answers.append(gateway.get("/nap.php").text))
    napping.start()
    wait_until(lambda: sockets(gateway) == 3, "listener, client and server")
    gateway.config.write_text(gateway.config.read_text().replace("[app:php]", "[app:php]\npath = /new"))
    gateway.send_signal(signal.SIGHUP)
    wait_until(lambda: gateway.get("/new/index.php").status == 200, "the new configuration")
    assert gateway.get("/index.php").status == 404
    nap()
    napping.join()
    assert answers == ["rested"]


# --- any other server


class Plain:
    """A server that does what the specification asks for, and no more: it answers each connection with `records`, which
    are given the request's id, and leaves it open."""

    def __init__(self, *records):
        self.records = records
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.flags = []
        self.open = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(connection)
            peer = fakeworker.Peer(connection)
            self.flags.append(connection.recv(16, socket.MSG_PEEK | socket.MSG_WAITALL)[10])
            peer.read_params()
            peer.read_body()
            connection.sendall(b"".join(make(peer.id) for make in self.records))

    def end(self):
        self.listener.close()
        for connection in self.open:
            connection.close()


def out(content):
    return lambda id: fakeworker.record(fakeworker.STDOUT, content, id)


def ended(status=0, protocol=0):
    return lambda id: fakeworker.record(fakeworker.END, struct.pack("!IB3x", status, protocol), id)


HEAD = b"Content-Type: text/plain\r\n\r\n"


@pytest.mark.parametrize("records, status", [
    ([out(HEAD + b"answer"), out(b""), ended()], 200),
    ([out(HEAD + b"answer"), ended()], 200),  # without the empty STDOUT
    ([out(HEAD), out(b"answer"), ended(3)], 200),  # the exit status of a CGI program
    ([ended()], 502),
    ([out(b"no head"), ended()], 502),
    ([ended(0, fakeworker.OVERLOADED)], 503),
    ([ended(0, fakeworker.UNKNOWN_ROLE)], 502),
    ([lambda id: b"HTTP/1.1 200 OK\r\n\r\n" * 9], 502),
    ([out(HEAD + b"answer"), out(b""), ended(), out(b"more")], 200),
])
def test_plain_server(launch, records, status):
    """Connections are not asked to be kept, and are closed by us when their request is over."""
    server = Plain(*records)
    try:
        gateway = launch({"app:plain": {"address": server.address}})
        for _ in range(3):
            answer = gateway.get("/")
            assert answer.status == status and (status != 200 or answer.text == "answer"), answer
        assert server.flags == [0, 0, 0]
        wait_until(lambda: sockets(gateway) == 1, "only the listener")
    finally:
        server.end()


def test_an_answer_that_is_too_long_is_told_once(launch):
    """Not for each of its records: their number is the server's."""
    server = Plain(out(b"Content-Length: 3\r\n\r\n"), *[out(b"answer")] * 1000, out(b""), ended())
    try:
        gateway = launch({"app:plain": {"address": server.address}})
        assert [gateway.get("/").text for _ in range(2)] == ["ans", "ans"]
        gateway.stop()
        assert gateway.err.text.count("plain sent more than its Content-Length") == 2
    finally:
        server.end()


def test_a_server_that_leaves_in_an_answer(launch):
    server = Plain(out(HEAD + b"ans"))
    gateway = launch({"app:plain": {"address": server.address}})
    with gateway.connect() as connection:
        connection.request("GET", "/")
        connection.head()
        server.end()
        with pytest.raises(rawhttp.Cut):
            b"".join(connection.chunks())
    gateway.err.wait("closed the connection before the end of its answer")


def test_ignore_idle_of_other_apps(launch):
    """A server that runs already is never asleep: what [app] says about processes is not for it."""
    server = Plain(out(HEAD + b"answer"), out(b""), ended())
    try:
        gateway = launch({"app": {"ignore_idle": "/ping"}, "app:plain": {"address": server.address}})
        assert gateway.get("/ping").text == "answer"
    finally:
        server.end()


class Counting(Plain):
    """It reads as fast as it can, and never answers."""
    got = 0

    def serve(self):
        connection, _ = self.listener.accept()
        with connection:
            while piece := connection.recv(1 << 20):
                self.got += len(piece)


@pytest.mark.release
def test_a_body_that_is_read_as_fast_as_it_comes(launch):
    """Others have their turn before it is out; each read of its file takes a while here, as on a disk that is slower than the
    server."""
    library = ROOT / "build/test/libfaults.so"
    assert library.exists(), f"make {library}"
    size = 32 << 20
    server = Counting()
    try:
        gateway = launch({"app:plain": {"address": server.address, "body_size": size}},
                         environ={"LD_PRELOAD": str(library), "SLOW_PREAD": "5000"})
        with gateway.connect() as connection:
            connection.request("POST", "/", body=bytes(size))
            wait_until(lambda: server.got, "the first of it")
            assert gateway.get("/-/health").status == 200
            assert server.got < size // 2
    finally:
        server.end()


# --- nobody there


def test_unreachable_unix(launch, tmp_path):
    gateway = launch({"app:php": {"address": f"unix:{tmp_path}/none.sock"}})
    assert gateway.get("/").status == 502
    gateway.err.wait(f"cannot reach unix:{tmp_path}/none.sock: No such file or directory")
    assert gateway.post("/", b"x").status == 502


def test_unreachable_tcp(launch):
    port = free_port()
    gateway = launch({"app:php": {"address": f"localhost:{port}"}})
    assert gateway.get("/").status == 502
    gateway.err.wait(f"cannot reach localhost:{port}: Connection refused")
    gateway.out.wait(r" php unserved( \(queue [\d.]+\))?$")
    assert "given up" not in gateway.err.text
    with socket.create_server(("127.0.0.1", port)) as server:
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        assert gateway.post("/", b"x").status == 502


def test_a_silent_server_is_504_and_the_queue_503(launch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        gateway = launch({"app:php": {"address": f"127.0.0.1:{server.getsockname()[1]}", "request_timeout": "3s",
                                      "queue_timeout": "200ms", "concurrency": 1}})
        answers = []
        first = threading.Thread(target=lambda: answers.append(gateway.get("/").status))
        first.start()
        connection = server.accept()[0]
        assert gateway.get("/").status == 503
        first.join()
        assert answers == [504]
        connection.close()


# --- started on demand


def test_cgi_variables(on_demand, www):
    check_variables(on_demand(), www)


def test_cgi_answers(on_demand):
    check_answers(on_demand())


def test_started_once_and_stopped_when_idle(on_demand):
    gateway = on_demand(idle_timeout="2s")
    assert not gateway.workers
    assert gateway.get("/index.php").status == 200
    first = gateway.one_worker()
    assert gateway.get("/index.php").status == 200 and gateway.one_worker() == first
    gateway.no_worker()
    gateway.err.wait("php: stopped after 2s idle")
    assert gateway.get("/index.php").status == 200 and gateway.one_worker() != first


def test_a_server_that_was_told_to_stop_has_not_crashed(on_demand, www):
    """php-cgi keeps what a script gave to exit() for its own end."""
    (www / "exit.php").write_text("<?php echo 'done'; exit(3);")
    gateway = on_demand(idle_timeout="300ms")
    assert gateway.get("/exit.php").text == "done"
    gateway.no_worker()
    assert gateway.get("/index.php").status == 200
    assert "exited with status" not in gateway.err.text


DIES = """import os, socket, time
connection, _ = socket.socket(fileno=0).accept()
connection.recv(65536)
open("here", "w")
while not os.path.exists("go"):
    time.sleep(0.01)
os._exit(7)
"""


def test_a_server_that_dies_while_it_is_replaced_has_crashed(launch, tmp_path):
    """It was not told to stop: it had a request."""
    (tmp_path / "dies.py").write_text(DIES)
    gateway = launch({"app:own": {"command": f"{sys.executable} dies.py", "directory": tmp_path}})
    with gateway.connect() as connection:
        connection.request("POST", "/", b"x")
        wait_until((tmp_path / "here").exists, "the request")
        gateway.send_signal(signal.SIGHUP)
        gateway.err.wait(r"^own: worker \d+ is replaced after 0 requests \(reload\)$")
        (tmp_path / "go").touch()
        assert connection.answer().status == 502
    gateway.err.wait(r"^error: own: worker \d+ exited with status 7$")


def test_all_that_it_may_serve_at_once_fits_into_its_socket(launch):
    """Also of a server that accepts none of them."""
    gateway = launch({"app:own": {"command": "sleep 60", "concurrency": 200}})
    clients = [gateway.connect() for _ in range(200)]
    for client in clients:
        client.request("GET", "/")
    wait_until(lambda: sockets(gateway) == 1 + 2 * len(clients), "listener, clients and their connections")
    for client in clients:
        client.close()


def test_it_inherits_a_socket_and_nothing_else(on_demand):
    gateway = on_demand()
    assert gateway.get("/index.php").status == 200
    pid = gateway.one_worker()
    assert stat.S_ISSOCK(os.stat(f"/proc/{pid}/fd/0").st_mode)
    rows = [line.split() for line in proc_file(pid, "net/unix").splitlines()[1:]]
    packets = {f"socket:[{row[6]}]" for row in rows if row[4] == "0005"}  # SOCK_SEQPACKET, as a worker's control channel is
    assert packets.isdisjoint(os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd"))
    assert "LEANGATE_" not in proc_file(pid, "environ")


def test_it_does_not_end_by_itself(on_demand):
    """php-cgi would after 500 requests, and lose what waits in its backlog."""
    gateway = on_demand()
    with gateway.connect() as connection:
        assert all(connection.post("/echo.php", b"x").text == "x" for _ in range(600))
    assert "exited" not in gateway.err.text and gateway.err.text.count("php: started") == 1


def test_killed_under_way_and_started_anew(on_demand):
    gateway = on_demand()
    assert gateway.get("/index.php").status == 200
    os.kill(gateway.one_worker(), signal.SIGKILL)
    wait_until(lambda: gateway.get("/index.php").status == 200, "the next process")


def test_a_request_that_kills_it(on_demand):
    gateway = on_demand()
    assert gateway.post("/die.php", b"").status == 502
    assert gateway.post("/echo.php", b"abc").text == "abc"


def test_timeout_replaces_it(on_demand):
    gateway = on_demand(request_timeout="2s", stop_timeout="200ms")
    assert gateway.get("/slow.php").status == 504
    assert gateway.get("/index.php").status == 200


def test_a_program_that_is_not_there(launch):
    gateway = launch({"app:none": {"command": "no-such-program --x"}})
    assert gateway.get("/").status == 500
    gateway.err.wait("cannot run no-such-program: No such file or directory")


def test_check(tmp_path, www):
    """-t starts it once and stops it."""
    (tmp_path / "gateway.ini").write_text(f"[app:php]\ncommand = {php.cgi()}\nenv = {php.env_lines()[0]}\n"
                                          "[app:other]\npath = /x\naddress = 127.0.0.1:1\n")
    result = run(tmp_path, "-t")
    assert result.returncode == 0 and "gateway.ini: ok" in result.stderr and "error" not in result.stderr
    (tmp_path / "gateway.ini").write_text("[app:php]\ncommand = no-such-program\n")
    result = run(tmp_path, "-t")
    assert result.returncode == 4 and "cannot run no-such-program" in result.stderr


PERL = """
use strict;
use FCGI;
my $request = FCGI::Request();
my $served = 0;
while ($request->Accept() >= 0) {
    my %env = %{$request->GetEnvironment()};
    my $body = "";
    read(STDIN, $body, $env{CONTENT_LENGTH} || 0);
    $served++;
    print "Content-Type: text/plain\\r\\nX-Served: $served\\r\\n\\r\\n$env{SCRIPT_NAME}|$env{PATH_INFO}|$body";
}
"""


def perl(launch, tmp_path, **keys):
    script = tmp_path / "responder.pl"
    script.write_text(PERL)
    return launch({"app:perl": {"command": f"perl {script}", "path": "/perl", "env": php.env_lines()} | keys})


def test_perl_responder(launch, tmp_path):
    gateway = perl(launch, tmp_path, idle_timeout="2s")
    with gateway.connect() as connection:
        for served in range(1, 4):
            answer = connection.post("/perl/a/b", b"body")
            assert answer.text == "/perl|/a/b|body" and answer.get("X-Served") == str(served)
    gateway.no_worker()
    assert gateway.get("/perl").text == "/perl||"


def test_perl_responder_that_runs_already(launch, tmp_path):
    """The same one, started by hand on a socket of its own."""
    path = str(tmp_path / "perl.sock")
    script = tmp_path / "open.pl"
    script.write_text(PERL.replace("FCGI::Request()",
                                   f"FCGI::Request(\\*STDIN, \\*STDOUT, \\*STDERR, \\%ENV, FCGI::OpenSocket('{path}', 5))"))
    process = subprocess.Popen(["perl", str(script)], env=dict(os.environ) | php.environ())
    try:
        wait_until(lambda: os.path.exists(path), "its socket")
        gateway = launch({"app:perl": {"address": f"unix:{path}"}})
        for served in range(1, 4):
            answer = gateway.post("/x", b"abc")
            assert answer.text == "|/x|abc" and answer.get("X-Served") == str(served)
    finally:
        process.kill()
        process.wait()


# --- phpMyAdmin


def check_login_page(gateway):
    with gateway.connect() as connection:
        moved = connection.get("/pma")
        assert moved.status == 301 and moved.get("Location") == "/pma/"
        page = connection.get("/pma/")
        assert page.status == 200 and "<title>phpMyAdmin</title>" in page.text
        assert 'name="pma_username"' in page.text and 'name="login_form"' in page.text
        assert any(field.startswith("phpMyAdmin=") and "path=/pma/" in field for field in page.all("Set-Cookie"))
        style = re.search(r'href="\./(themes/[^"?]*/theme\.css)', page.text)[1]
        sheet = connection.get(f"/pma/{style}")
        assert sheet.status == 200 and sheet.get("Content-Type").startswith("text/css") and len(sheet.body) > 50_000
        script = connection.get("/pma/js/messages.php?l=en")
        assert script.status == 200 and script.get("Content-Type").startswith("text/javascript")
        assert connection.get("/pma/README").status == 404


def pma():
    root = php.phpmyadmin()
    return {"path": "/pma", "script_filename": f"{root}$path", "static": f"/pma/themes {root}/themes"}


def test_phpmyadmin_with_fpm(remote):
    check_login_page(remote(**pma()))


def test_phpmyadmin_on_demand(on_demand):
    gateway = on_demand(idle_timeout="1s", **pma())
    check_login_page(gateway)
    gateway.no_worker()


# --- concurrency


def test_how_many_requests_a_server_is_given_at_once(launch):
    """16, where nobody says another number."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server, ExitStack() as stack:
        gateway = launch({"app:silent": {"address": f"127.0.0.1:{server.getsockname()[1]}"}})
        for _ in range(20):
            stack.enter_context(gateway.connect()).request("GET", "/")
        wait_until(lambda: sockets(gateway) == 1 + 20 + 16, "its connections")
        with pytest.raises(AssertionError):
            wait_until(lambda: sockets(gateway) > 1 + 20 + 16, "more than that", 0.2)
