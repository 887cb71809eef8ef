"""The command line: what it starts, what it says, and how it ends."""

import os
import pwd
import re
import signal
import socket
import subprocess
import sys

import pytest

from gateway import APPS, Gateway, app, ini, needs_ipv6, run

OK, INTERNAL, USAGE, CANNOT_START, APP_BROKEN = 0, 1, 2, 3, 4


def write(directory, text, name="gateway.ini"):
    (directory / name).write_text(text)
    return directory


# --- words


def test_version(tmp_path):
    result = run(tmp_path, "--version")
    assert (result.returncode, result.stdout) == (OK, "leangate 0.1\n")


def test_help_names_every_directive(tmp_path):
    result = run(tmp_path, "--help")
    assert result.returncode == OK
    for flag in ("--bind", "--listen", "--idle-timeout", "--body-size", "--log-format", "-c", "-t", "-T", "--version"):
        assert re.search(rf"(^|\s|,){re.escape(flag)}\b", result.stdout), flag


def test_nothing_to_serve_is_usage(tmp_path):
    result = run(tmp_path)
    assert result.returncode == USAGE
    assert "gateway.ini" in result.stderr and result.stdout == ""


@pytest.mark.parametrize("args", [("--no-such-flag",), ("--idle-timeout",), ("-c",), ("app:app", "another:app")])
def test_wrong_usage(tmp_path, args):
    result = run(tmp_path, *args)
    assert result.returncode == USAGE
    assert len(result.stderr.splitlines()) <= 2 and result.stdout == ""


def test_an_empty_app_is_not_this_directory(tmp_path):
    """leangate "$APP" with a variable that is not set: it would run every script here."""
    for args in [("",), ("warm", ""), ("--", "")]:
        result = run(tmp_path, *args)
        assert result.returncode == USAGE and "is not an app" in result.stderr


# --- what is wrong with a file: always file:line: [section] key: what


@pytest.mark.parametrize("text, message", [
    ("[app:hello]\nmodule = hello\nidle_timeout = 60x\n",
     'gateway.ini:3: [app:hello] idle_timeout: "60x" is not a time in ms, s, m or h (try 60s)'),
    ("[app:hello]\nidle_timout = 60s\n",
     'gateway.ini:2: [app:hello] unknown key "idle_timout", did you mean "idle_timeout"?'),
])
def test_error_texts(tmp_path, text, message):
    result = run(write(tmp_path, text))
    assert result.returncode == USAGE
    assert result.stderr == f"leangate: {message}\n"


@pytest.mark.parametrize("text, line, words", [
    ("[app:hello]\nmodule = hello\n[nowhere]\nx = 1\n", 3, "nowhere"),
    ("[app:hello]\nmodule = hello\nbody_size = 10q\n", 3, "body_size"),
    ("[app:hello]\nmodule = hello\npath = api\n", 3, "path"),
    ("[app:hello]\nmodule = hello\nkind = cobol\n", 3, "kind"),
    ("[gateway]\nlisten = 127.0.0.1:99999\n[app:hello]\nmodule = hello\n", 2, "listen"),
    ("[app:hello]\nmodule = hello\n" + "env = A=" + "x" * 300 + "\n", 3, "env_file"),
    ("[gateway]\nbacklog = many\n[app:hello]\nmodule = hello\n", 2, "backlog"),
])
def test_errors_name_file_line_and_key(tmp_path, text, line, words):
    result = run(write(tmp_path, text), "-t")
    assert result.returncode == USAGE
    assert f"gateway.ini:{line}: " in result.stderr and words in result.stderr


def test_missing_file(tmp_path):
    result = run(tmp_path, "-c", "nowhere.ini")
    assert result.returncode == USAGE
    assert "nowhere.ini" in result.stderr


# --- cannot start


def test_address_in_use(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        write(tmp_path, ini({"gateway": {"listen": f"127.0.0.1:{port}"}, "app:hello": app("hello")}))
        result = run(tmp_path)
    assert result.returncode == CANNOT_START
    assert f"gateway.ini:2: [gateway] listen: cannot listen on 127.0.0.1:{port}: address in use" in result.stderr.lower()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can drop to a user")
def test_unknown_user(tmp_path):
    write(tmp_path, ini({"gateway": {"listen": "127.0.0.1:0", "user": "nosuchuser"}, "app:hello": app("hello")}))
    result = run(tmp_path)
    assert result.returncode == CANNOT_START
    assert result.stderr == 'error: gateway.ini:3: [gateway] user: no user "nosuchuser" on this machine\n'
    for args, words in [(("--user", "nosuchuser"), '--user: no user'), (("--user", "", "--group", "nogroupx"), '--group: no group'),
                        (("--user", "4294967296"), '--user: no user'), (("--user", "", "--group", "4294967296"), '--group: no group')]:
        result = run(tmp_path, *args)
        assert result.returncode == CANNOT_START and result.stderr.startswith(f"error: {words} ")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can drop to a user")
@pytest.mark.parametrize("log", ["access", "error"])
def test_root_follows_no_link_to_a_log(tmp_path, log):
    """The user that will be dropped to, whose directory it is, could have root append to any file."""
    (tmp_path / "precious").write_text("")
    (tmp_path / "a.log").symlink_to("precious")
    write(tmp_path, ini({"gateway": {"listen": "127.0.0.1:0", "user": "nobody"}, "log": {log: "a.log"}, "app:hello": app("hello")}))
    result = run(tmp_path)
    assert result.returncode == CANNOT_START
    assert f"error: gateway.ini:5: [log] {log}: cannot open the log {tmp_path}/a.log" in result.stderr
    assert (tmp_path / "precious").read_text() == ""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can drop to a user")
@pytest.mark.parametrize("log", ["access", "error"])
def test_root_makes_no_log_where_a_link_of_the_user_leads(tmp_path, log):
    """Which would be the user's file in a directory of root's; nor does it append to a file with two names."""
    nobody = pwd.getpwnam("nobody")
    theirs, precious = tmp_path / "theirs", tmp_path / "precious"
    theirs.mkdir()
    precious.mkdir()
    (precious / "file").touch()
    os.chown(theirs, nobody.pw_uid, nobody.pw_gid)
    (theirs / "logs").symlink_to("../precious")
    (tmp_path / "roots").symlink_to("theirs/logs")
    (theirs / "hard.log").hardlink_to(precious / "file")
    for path, why in [(theirs / "logs/a.log", "Too many levels of symbolic links"), (tmp_path / "roots/a.log", "Too many levels of symbolic links"),
                      (theirs / "hard.log", "Too many links")]:
        write(tmp_path, ini({"gateway": {"listen": "127.0.0.1:0", "user": "nobody"}, "log": {log: path}, "app:hello": app("hello")}))
        result = run(tmp_path)
        assert result.returncode == CANNOT_START
        assert f"error: gateway.ini:5: [log] {log}: cannot open the log {path}: {why}" in result.stderr
    assert [entry.name for entry in precious.iterdir()] == ["file"] and (precious / "file").read_text() == ""


# --- -t and -T


def test_check_says_yes(tmp_path):
    write(tmp_path, ini({"app:hello": app("hello"), "app:kitchen": app("kitchen", path="/kitchen")}))
    assert run(tmp_path, "-t").returncode == OK


def test_check_binds_nothing(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        write(tmp_path, ini({"gateway": {"listen": "127.0.0.1:%d" % other.getsockname()[1]}, "app:hello": app("hello")}))
        assert run(tmp_path, "-t").returncode == OK


def test_check_imports_every_app(tmp_path):
    write(tmp_path, ini({"app:hello": app("hello"), "app:bad": app("broken", path="/b"),
                         "app:worse": app("raises", path="/w")}))
    result = run(tmp_path, "-t")
    assert result.returncode == APP_BROKEN
    assert re.search(r'^error: bad: cannot import "broken": No module named \'a_module_that_is_nowhere\' \(python: .+\)$',
                     result.stderr, re.M)
    assert re.search(r'^error: worse: cannot import "raises": .*the database is not there', result.stderr, re.M)
    assert "hello: cannot" not in result.stderr


@pytest.mark.parametrize("keys, words", [
    ({"module": "nowhere:application"}, r'hello: cannot import "nowhere": No module named \'nowhere\''),
    ({"module": "hello:nothing"}, r'hello: module "hello" has no attribute "nothing"; callable there: application'),
    ({"module": "exits"}, r"hello: .* exited with status 7 before it was ready"),
    ({"directory": "nowhere"}, r"hello: cannot enter directory .*/nowhere: No such file or directory"),
])
def test_check_of_what_does_not_load(tmp_path, keys, words):
    write(tmp_path, ini({"app:hello": app("hello") | keys}))
    result = run(tmp_path, "-t")
    assert result.returncode == APP_BROKEN
    assert re.search(f"^error: {words}", result.stderr, re.M), result.stderr


def test_check_that_a_signal_breaks_off_says_nothing_of_the_apps(tmp_path):
    (tmp_path / "interrupts.py").write_text("import os, signal, time\nos.kill(os.getppid(), signal.SIGINT)\ntime.sleep(60)\n")
    write(tmp_path, ini({"app:k": app("interrupts", directory=tmp_path), "app:bad": app("broken", path="/b")}))
    result = run(tmp_path, "-t")
    assert result.returncode == INTERNAL
    assert result.stderr == "error: the check was broken off by a signal\n"


def test_dump_says_where_values_come_from(tmp_path):
    write(tmp_path, "[app]\nqueue = 7\n[app:hello]\nmodule = hello\nidle_timeout = 5m\n")
    result = run(tmp_path, "-T", "--start-timeout", "9s", environ={"LEANGATE_LOG_LEVEL": "debug"})
    assert result.returncode == OK
    lines = {line.split("=")[0].strip(): line for line in result.stdout.splitlines() if "=" in line}
    for key, value, source in [("idle_timeout", "5m", "gateway.ini:5"), ("level", "debug", "LEANGATE_LOG_LEVEL"),
                               ("start_timeout", "9s", "--start-timeout"), ("queue", "7", "gateway.ini:2"),
                               ("body_memory", "64k", "default")]:
        assert re.search(rf"{key}\s*=\s*{value}\b.*{re.escape(source)}", lines[key]), lines[key]


def test_dump_is_a_configuration(tmp_path):
    write(tmp_path, ini({"gateway": {"listen": ["127.0.0.1:0", "unix:/tmp/not-bound"]}, "app:hello": app("hello", env=["A=1", "B=2"])}))
    first = run(tmp_path, "-T").stdout
    write(tmp_path, first, "again.ini")
    again = run(tmp_path, "-T", "-c", "again.ini")
    assert again.returncode == OK

    def values(text):
        return [re.sub(r"\s*;.*", "", line).rstrip() for line in text.splitlines()]

    assert values(again.stdout) == values(first)


# --- an app on the command line


def command_line(tmp_path, *args, **environ):
    gateway = Gateway(tmp_path, args=args, environ={"LEANGATE_PYTHON": sys.executable} | environ)
    (tmp_path / "hello.py").write_text((APPS / "hello.py").read_text())
    return gateway


@pytest.fixture
def cli(tmp_path):
    started = []

    def start(*args, **environ):
        started.append(command_line(tmp_path, *args, **environ))
        return started[-1].start()

    yield start
    for gateway in started:
        gateway.kill()


def test_app_on_the_command_line(cli, tmp_path):
    (tmp_path / "gateway.ini").write_text("this is not a configuration\n")
    gateway = cli("hello:application", "--bind", "127.0.0.1:0")
    gateway.err.wait(r"^  /  hello:application  ")
    assert gateway.get("/").text == "Hello world\n"
    gateway.err.wait(r"^hello: ready in \d+ ms")
    gateway.stop()


def test_bare_module_and_file(cli):
    for spec in ("hello", "hello.py", "hello.py:application"):
        gateway = cli(spec, "--bind=127.0.0.1:0")
        assert gateway.get("/").status == 200
        gateway.stop()


def test_broken_app_on_the_command_line_says_so_at_once(tmp_path):
    (tmp_path / "bad.py").write_text("import a_module_that_is_nowhere\n")
    result = run(tmp_path, "bad:app", "--bind", "127.0.0.1:0", environ={"LEANGATE_PYTHON": sys.executable})
    assert result.returncode == APP_BROKEN
    assert 'bad: cannot import "bad": No module named \'a_module_that_is_nowhere\'' in result.stderr


def test_check_at_start_leaves_no_worker(cli):
    gateway = cli("hello", "--bind", "127.0.0.1:0")
    gateway.no_worker()
    gateway.stop()


def test_lower_sources_give_way(cli, tmp_path):
    """flag > environment > default, as the idle stop shows."""
    gateway = cli("hello", "--bind", "127.0.0.1:0", "--idle-timeout", "300ms", LEANGATE_IDLE_TIMEOUT="1h")
    assert gateway.get("/").status == 200
    gateway.no_worker()
    gateway.stop()


def test_unknown_variable_only_warns(cli):
    gateway = cli("hello", "--bind", "127.0.0.1:0", LEANGATE_IDLE_TIMOUT="5s")
    assert "LEANGATE_IDLE_TIMOUT" in gateway.err.text
    gateway.stop()


def test_a_flag_that_does_nothing_is_told(launch):
    gateway = launch({"app:hello": app("hello", idle_timeout="9s")}, args=["--idle-timeout", "5s", "--queue", "3"])
    assert "--idle-timeout has no effect on [app:hello]: gateway.ini:" in gateway.err.text
    assert "--queue" not in gateway.err.text
    gateway.err.wait("stops after 9s idle")


def test_a_directory_that_is_not_there_is_told(launch):
    gateway = launch({"app:hello": app("hello", directory="nowhere")})
    gateway.err.wait(r"^warning: hello: directory \S+/nowhere: No such file or directory$")
    assert gateway.get("/").status == 500


def test_static_files_that_are_not_there_are_told(launch, tmp_path):
    sections = {"app:hello": app("hello", static="/static nowhere")}
    gateway = launch(sections)
    gateway.err.wait(r"warning: hello: static \S*/nowhere: No such file or directory")
    result = run(write(tmp_path, ini(sections)), "-t")
    assert result.returncode == OK and "/nowhere: No such file or directory" in result.stderr
    (tmp_path / "file").write_text("")
    (tmp_path / "file").chmod(0o755)
    result = run(write(tmp_path, ini({"app:hello": app("hello", static=f"/static {tmp_path}/file")})), "-t")
    assert result.returncode == OK and "/file: Not a directory" in result.stderr


@pytest.fixture
def port():
    """Nobody else's as long as the test lasts. The gateway says SO_REUSEADDR, too: it can have it beside us."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("0.0.0.0", 0))
        yield probe.getsockname()[1]


def test_port_variable(launch, port):
    gateway = launch(text=ini({"gateway": {"listen": "127.0.0.1:1"}, "app:hello": app("hello")}),
                     environ={"PORT": str(port)})
    assert gateway.urls[0] == f"http://0.0.0.0:{port}"
    assert gateway.get("/").status == 200


def test_port_variable_yields_to_a_flag(cli):
    gateway = cli("hello", "--bind", "127.0.0.1:0", PORT="1")
    assert gateway.urls[0].startswith("http://127.0.0.1:")
    gateway.stop()


def test_paths_are_relative_to_the_file(launch, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site/hello.py").write_text((APPS / "hello.py").read_text())
    (tmp_path / "site/my.ini").write_text(ini({"gateway": {"listen": "127.0.0.1:0"}, "app:hello": {
        "module": "hello", "python": sys.executable}}))
    gateway = launch(args=["-c", "../site/my.ini"])
    assert gateway.get("/").status == 200


def test_interrupt_is_a_clean_end(cli):
    gateway = cli("hello", "--bind", "127.0.0.1:0")
    gateway.stop(signal.SIGINT)


@pytest.mark.parametrize("address, hint", [("127.0.0.1:%d", True), pytest.param("[::1]:%d", True, marks=needs_ipv6),
                                           (":%d", False)])
def test_in_a_container_a_loopback_address_is_warned_of(launch, port, address, hint):
    """The address that it names has the port that was asked for."""
    g = launch({"gateway": {"listen": address % port}, "app:hello": app("hello")}, environ={"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    g.err.wait("asleep")  # which is said after it
    assert (f"try --bind :{port}\n" in g.err.text) == hint


def test_what_others_can_see_is_warned_of(launch):
    sections = {"app:hello": app("hello", debug="on")}
    for address, hints in ("0.0.0.0", 1), ("127.0.0.1", 0):
        gateway = launch(sections | {"gateway": {"listen": f"{address}:0"}, "status": {"listen": f"{address}:0"}})
        gateway.err.wait("asleep")  # which is said after it
        assert gateway.err.text.count("warning: debug is on and not only this machine can connect") == hints
        assert gateway.err.text.count("warning: the status listener is open to other machines") == hints


def test_a_function_that_makes_the_app(cli, tmp_path):
    (tmp_path / "makes.py").write_text("def create():\n    import hello\n    return hello.application\n")
    gateway = cli("makes:create", "--factory", "--bind", "127.0.0.1:0")
    assert gateway.get("/").text == "Hello world\n"
    gateway.stop()


def test_a_venv_beside_the_app_is_used(launch, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    (tmp_path / "prefix.py").write_text("import sys\ndef app(environ, start_response):\n    start_response('200 OK', [])\n"
                                        "    return [sys.prefix.encode()]\n")
    gateway = launch({"app:prefix": {"module": "prefix:app", "directory": tmp_path}})
    gateway.err.wait(r"^  /  prefix:app  \.venv python 3\.\d+  asleep")
    assert gateway.get("/").text == str(tmp_path / ".venv")
