"""What a start leaves for the next one, through the whole chain: bytecode, a list of files, a record of imports."""

import ctypes
import json
import mmap
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import textwrap
from xml.etree import ElementTree

import pytest

from gateway import APPS, BINARY, app, children, ini, run, wait_until

SLOW = """
    import json, logging, time
    time.sleep(0.05)

    def application(environ, start_response):
        start_response("200 OK", [])
        import os
        return [json.dumps(dict(os.environ)).encode()]
"""


def is_cold(path):
    """Whether a file's beginning is not in the page cache. Reading with RWF_NOWAIT would bring it there."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE,
                                             flags=mmap.MAP_PRIVATE) as pages:
        state = ctypes.c_ubyte()
        start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
        assert ctypes.CDLL(None).mincore(ctypes.c_void_p(start), ctypes.c_size_t(mmap.PAGESIZE), ctypes.byref(state)) == 0
        return not state.value & 1


def evict(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return is_cold(path)


def records(gateway, suffix):
    return list((gateway.directory / "cache/leangate" / str(os.getuid())).glob("hello-*" + suffix))


def asleep(gateway):
    """The app has been asked once and sleeps again."""
    assert gateway.get().status == 200
    gateway.no_worker()


def test_what_a_start_leaves(launch, tmp_path):
    (tmp_path / "slow.py").write_text(textwrap.dedent(SLOW))
    keys = app("slow:application", directory=tmp_path, idle_timeout="100ms", import_cache="on")
    gateway = launch({"app:hello": keys})
    asleep(gateway)
    files, = records(gateway, ".files")
    imports, = records(gateway, ".imports")
    assert stat.S_IMODE(files.parent.stat().st_mode) == 0o700
    assert str(tmp_path / "slow.py") in files.read_text() and len(imports.read_bytes()) > 1000
    made = imports.stat().st_mtime_ns
    environ = json.loads(gateway.get().body)
    gateway.no_worker()
    assert imports.stat().st_mtime_ns == made
    assert not [name for name in environ if name.startswith(("PYTHON", "LEANGATE"))]


@pytest.mark.parametrize("switch", ["cache_dir", "keys"])
def test_switched_off_nothing_is_left(launch, switch):
    keys = app("hello", idle_timeout="100ms") | ({"prefetch": "off", "bytecode": "off"} if switch == "keys" else {})
    gateway = launch({"gateway": {"cache_dir": "off"} if switch == "cache_dir" else {}, "app:hello": keys})
    asleep(gateway)
    assert not (gateway.directory / "cache").exists()


def test_bytecode_that_cannot_be_beside_its_source(launch, tmp_path):
    (tmp_path / "slow.py").write_text(textwrap.dedent(SLOW))
    keys = app("slow:application", directory=tmp_path, idle_timeout="100ms", env="PYTHONDONTWRITEBYTECODE=1")
    gateway = launch({"gateway": {"cache_dir": "kept"}, "app:hello": keys})
    asleep(gateway)
    gateway.err.wait(r"bytecode of \d+ modules? cannot be written beside")
    assert list((gateway.directory / "kept" / str(os.getuid()) / "bytecode").rglob("slow.*.pyc"))
    assert not (tmp_path / "__pycache__").exists()
    seen = len(gateway.err.text)
    asleep(gateway)
    assert "bytecode" not in gateway.err.text[seen:]


def python_of_nobody(*files):
    """An interpreter that nobody can run, who has to be able to read these files, too."""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            subprocess.run([python, "-c", "import sys; [open(name).close() for name in sys.argv[1:]]", *files], user=65534, group=65534,
                           extra_groups=[], check=True)
            return python
        except (OSError, subprocess.SubprocessError):
            pass
    pytest.skip("nobody can run no interpreter here")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, who becomes nobody")
@pytest.mark.parametrize("whose", ["root", "nobody", "writable"])
def test_root_makes_the_place_of_another_user(launch, tmp_path, whose):
    """An app that belongs to root, without bytecode, and workers of nobody, who may make no directory. Where the user could make
    it, or anybody could, root keeps out of it."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/slow.py").write_text(textwrap.dedent(SLOW))
    for directory in tmp_path.parents:
        directory.chmod(os.stat(directory).st_mode | stat.S_IXOTH)
    tmp_path.chmod(0o755)
    place = tmp_path / "cache"
    if whose != "root":
        place.mkdir()
        place.chmod(0o777 if whose == "writable" else 0o755)
        shutil.chown(place, 65534 if whose == "nobody" else 0)
    python = python_of_nobody(BINARY, tmp_path / "app/slow.py")
    keys = app("slow:application", idle_timeout="100ms") | {"directory": tmp_path / "app", "python": python}
    umask = os.umask(0o077)
    try:
        gateway = launch({"gateway": {"user": "nobody", "cache_dir": place}, "app:hello": keys},
                         environ={"TMPDIR": "/tmp"})
    finally:
        os.umask(umask)
    environ = json.loads(gateway.get().body)
    assert environ["HOME"] == pwd.getpwuid(65534).pw_dir and environ["TEST_MARK"] == gateway.mark
    gateway.no_worker()
    if whose == "writable":
        gateway.err.wait("others may rename what is in .*/cache")
        return
    gateway.err.wait(r"bytecode of \d+ modules? cannot be written beside")
    assert list((place / "65534/bytecode").rglob("slow.*.pyc"))
    assert stat.S_IMODE(os.stat(place).st_mode) == 0o755 and os.stat(place).st_uid == (65534 if whose == "nobody" else 0)
    assert stat.S_IMODE(os.stat(place / "65534").st_mode) == 0o700 and os.stat(place / "65534").st_uid == 65534
    seen = len(gateway.err.text)
    asleep(gateway)
    assert "bytecode" not in gateway.err.text[seen:]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, who becomes nobody")
@pytest.mark.parametrize("link", ["home", "home/cache"])
def test_root_makes_nothing_where_a_link_of_the_user_leads(launch, tmp_path, link):
    """Else whoever the workers run as would have a directory wherever root alone may make one."""
    for name in "etc", "home":
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    if link == "home":
        (tmp_path / link).rmdir()
    (tmp_path / link).symlink_to(tmp_path / "etc")
    os.chown(tmp_path / link, 65534, -1, follow_symlinks=False)
    launch({"gateway": {"user": "nobody", "cache_dir": tmp_path / "home/cache"}, "app:hello": app("hello")},
           environ={"TMPDIR": "/tmp"})
    assert not list((tmp_path / "etc").iterdir())


@pytest.fixture
def listed(launch, tmp_path):
    """(a gateway whose app sleeps, the file with its list, four files on that list) with the last one not in memory."""
    data = [tmp_path / f"data{i}" for i in range(4)]
    for path in data:
        path.write_bytes(os.urandom(300_000))
        path.read_bytes()
    gateway = launch({"app:hello": app("hello", idle_timeout="100ms")})
    asleep(gateway)
    files, = records(gateway, ".files")
    if not evict(data[3]):
        pytest.skip("pages cannot be evicted here")
    return gateway, files, data


def test_a_cold_start_reads_ahead(listed):
    gateway, files, data = listed
    files.write_text(f"r200000{data[3]}\nr/nowhere\nr12\nr\nr{data[0].parent}\nx\ns{data[0]}\n" + f"r{data[0]}\n" * 20)
    assert gateway.get().status == 200
    wait_until(lambda: not is_cold(data[3]), "the file in memory")
    wait_until(lambda: len(children(gateway.pid)) <= 1, "the end of the reader")


def test_a_warm_start_does_not(listed):
    """The files that are looked at are in memory: the one behind them is left alone."""
    gateway, files, data = listed
    files.write_text(f"r{data[0]}\n" * 10 + f"r{data[1]}\n" * 10 + f"r{data[2]}\n" * 10 + f"r{data[3]}\n")
    assert gateway.get().status == 200
    gateway.no_worker()
    assert is_cold(data[3])


@pytest.mark.parametrize("spoil", ["mode", "link", "directory", "long"])
def test_a_list_that_is_not_trusted(listed, tmp_path, spoil):
    gateway, files, data = listed
    files.write_text(f"r{data[3]}\n" if spoil != "long" else "r/" + "x" * 10000 + "\n" + "q\n" * 1000)
    if spoil == "mode":
        files.chmod(0o666)
    elif spoil == "link":
        files.rename(tmp_path / "elsewhere")
        files.symlink_to(tmp_path / "elsewhere")
    elif spoil == "directory":
        files.unlink()
        files.mkdir()
    assert gateway.get().status == 200
    assert is_cold(data[3])


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, who becomes nobody")
def test_reading_ahead_is_done_as_the_user_of_the_worker(launch, tmp_path):
    """What that user may not read is not brought into memory for it."""
    for directory in tmp_path.parents:
        directory.chmod(os.stat(directory).st_mode | stat.S_IXOTH)
    tmp_path.chmod(0o755)
    python = python_of_nobody(BINARY, APPS / "hello.py")
    keys = app("hello", idle_timeout="100ms") | {"python": python}
    gateway = launch({"gateway": {"user": "nobody", "cache_dir": tmp_path / "kept"}, "app:hello": keys}, environ={"TMPDIR": "/tmp"})
    asleep(gateway)
    files, = (tmp_path / "kept/65534").glob("hello-*.files")
    secret, public = tmp_path / "secret", tmp_path / "public"
    for path, mode in (secret, 0o600), (public, 0o644):
        path.write_bytes(os.urandom(300_000))
        path.chmod(mode)
        if not evict(path):
            pytest.skip("pages cannot be evicted here")
    files.write_text(f"r{public}\nr{secret}\nr{public}\n")
    evict(public)
    assert gateway.get().status == 200
    wait_until(lambda: not is_cold(public), "the file in memory")
    wait_until(lambda: len(children(gateway.pid)) <= 1, "the end of the reader")
    assert is_cold(secret)


# --- warm and profile ---

def test_warm_leaves_what_a_start_does(tmp_path):
    (tmp_path / "slow.py").write_text(textwrap.dedent(SLOW))
    keys = {"python": sys.executable, "import_cache": "on"}
    (tmp_path / "gateway.ini").write_text(ini({"app:hello": {"module": "slow:application"} | keys, "app:other": {
        "module": "hello", "directory": APPS, "path": "/other"} | keys}))
    result = run(tmp_path, "warm")
    assert result.returncode == 0, result.stderr
    place = tmp_path / "cache/leangate" / str(os.getuid())
    assert sorted(path.name.partition("-")[0] + path.suffix for path in place.iterdir()) == [
        "hello.files", "hello.imports", "other.files", "other.imports"]
    assert list((tmp_path / "__pycache__").glob("slow.*.pyc"))


@pytest.mark.parametrize("keys, kept", [({}, False), ({"prefetch": "off"}, True), ({"prefetch": "off", "import_cache": "on"}, False)])
def test_warm_that_can_keep_nothing(tmp_path, keys, kept):
    (tmp_path / "cache").write_text("")
    (tmp_path / "gateway.ini").write_text(ini({"app:shop": app("hello") | keys}))
    result = run(tmp_path, "warm")
    assert result.returncode == (0 if kept else 3), result.stderr
    assert ("shop: nothing is kept for its next start: %s/cache/" % tmp_path in result.stderr) is not kept
    assert ("set [gateway] cache_dir" in result.stderr) is not kept
    (tmp_path / "gateway.ini").write_text(ini({"gateway": {"cache_dir": "off"}, "app:shop": app("hello") | keys}))
    assert run(tmp_path, "warm").returncode == 0


def test_warm_tells_of_what_is_broken(tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0")
    result = run(tmp_path, "warm", "broken:app", "--python", sys.executable)
    assert result.returncode == 4 and "ZeroDivisionError" in result.stderr


def test_profile(tmp_path):
    (tmp_path / "shop.py").write_text(textwrap.dedent("""
        import colorsys, heavy, late_import

        def app(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            if environ["PATH_INFO"] == "/late":
                late_import.use()
            return [b"x"]
    """))
    (tmp_path / "heavy.py").write_text("import time\ntime.sleep(0.3)\nkept = bytearray(4000000)\n")
    (tmp_path / "late_import.py").write_text("import time\ntime.sleep(0.01)\ndef use():\n    pass\n")
    result = run(tmp_path, "profile", "shop:app", "/", "/late?a=b", "--python", sys.executable)
    assert result.returncode == 0, result.stderr
    for part in ("spawn", "interpreter", "site", "worker", "import", r"first answer \(/\)"):
        assert re.search(rf"^  {part}.* \d+\.\d ms +\d+ %", result.stdout, re.M), part
    own, whole, kept, memory = next(re.findall(r"[\d.]+", line) for line in result.stdout.splitlines() if line.endswith("  heavy"))
    assert float(own) >= 300 and float(whole) >= float(own) and int(kept) > 3800
    assert result.stdout.index("  heavy") < result.stdout.index("  late_import\n")
    assert "heavy (1 module," in result.stdout and "late_import (1" not in result.stdout
    assert "/late?a=b: Status: 200 OK" in result.stdout
    chart = ElementTree.parse(tmp_path / "profile-shop.svg")
    assert any("heavy: " in title.text for title in chart.iter("{http://www.w3.org/2000/svg}title"))
    assert all(re.fullmatch("#[0-9a-f]{3,6}", box.get("fill")) for box in chart.iter("{http://www.w3.org/2000/svg}rect"))
    assert {"shop", "heavy"} <= {text.text for text in chart.iter("{http://www.w3.org/2000/svg}text")}


def test_profile_of_an_app_of_a_file(tmp_path):
    """With what its section says: the directory is another one, and one app of several is meant."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there/shop.py").write_text("def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'']\n")
    (tmp_path / "gateway.ini").write_text(f"[app]\npython = {sys.executable}\n[app:other]\npath = /other\nmodule = nowhere\n"
                                          "[app:shop]\ndirectory = there\nmodule = shop:app\n")
    result = run(tmp_path, "profile", "-c", "gateway.ini", "shop", "/x")
    assert result.returncode == 0 and "/x: Status: 200 OK" in result.stdout, result.stderr
    assert (tmp_path / "profile-shop.svg").is_file()  # after its name: several may have one module
    result = run(tmp_path, "profile")
    assert result.returncode == 2 and "-c FILE NAME for [app:NAME]" in result.stderr


def test_profile_tells_of_costly_pth_files(tmp_path):
    """They are tried with what they import: the directory that they lie in is on sys.path by then."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    packages, = (tmp_path / "venv").glob("lib/python*/site-packages")
    for name, text in ("slow", "import time\ntime.sleep(0.03)\n"), ("quick", ""):
        (packages / f"{name}.pth").write_text(f"import of_{name}\n")
        (packages / f"of_{name}.py").write_text(text)
    result = run(tmp_path, "profile", "hello", "--app-dir", APPS, "--python", tmp_path / "venv")
    assert result.returncode == 0, result.stderr
    cost = {name: float(ms) for name, ms in re.findall(r"/(\w+)\.pth costs every start of this Python (\d+\.\d) ms", result.stdout)}
    assert cost["slow"] >= 30 and cost.get("quick", 0) < cost["slow"] / 2, cost


def test_profile_tells_of_missing_bytecode(tmp_path):
    (tmp_path / "shop.py").write_text("import side\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'']\n")
    (tmp_path / "side.py").write_text("")
    result = run(tmp_path, "profile", "shop:app", "--python", sys.executable, "--bytecode", "off",
                 environ={"PYTHONDONTWRITEBYTECODE": "1"})
    assert "2 modules without bytecode (side, shop): run python -m compileall" in result.stdout


@pytest.mark.parametrize("kind", ["cgi", "files"])
def test_profile_of_scripts(tmp_path, kind):
    """What they import is imported with every request, unless it is preloaded; what they print is not for the terminal."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/report.py").write_text("import late_import\nprint('Content-Type: text/plain\\n\\nprinted')\n")
    (tmp_path / "late_import.py").write_text("import time\ntime.sleep(0.02)\n")
    target, path = ("site/report.py", "/") if kind == "cgi" else ("site/", "/report?a=b")
    environ = {"PYTHONPATH": str(tmp_path)}
    result = run(tmp_path, "profile", target, path, "--python", sys.executable, environ=environ)
    assert result.returncode == 0, result.stderr
    assert f"{path}: Status: 200 OK" in result.stdout and "printed" not in result.stdout
    assert re.search(r"every request that imports late_import waits \d+\.\d ms for it: preload = late_import$", result.stdout, re.M)
    assert float(re.search(r"Memory of the worker after it: (\d+\.\d) MB", result.stdout)[1]) > 2
    assert "json" not in result.stdout
    result = run(tmp_path, "profile", target, path, "--python", sys.executable, "--preload", "late_import", environ=environ)
    assert result.returncode == 0 and "preload = late_import" not in result.stdout


def test_profile_prints_nothing_of_the_app(tmp_path):
    (tmp_path / "shop.py").write_text("print('chatter')\ndef app(environ, start_response):\n"
                                      "    start_response('200 OK', [])\n    return [b'']\n")
    result = run(tmp_path, "profile", "shop:app", "--python", sys.executable)
    assert result.returncode == 0 and "chatter" not in result.stdout


def test_profile_into_a_pipe_that_is_closed(tmp_path):
    environ = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(tmp_path / "cache")}
    result = subprocess.run(["sh", "-c", '"$0" profile hello --app-dir "$1" --python "$2" | true', BINARY, APPS, sys.executable], cwd=tmp_path,
                            env=environ, stderr=subprocess.PIPE, text=True)
    assert result.stderr == ""


def test_profile_where_nothing_can_be_written(tmp_path):
    """The table is told all the same, and the chart's absence with what to do."""
    (tmp_path / "profile-hello.svg").mkdir()
    result = run(tmp_path, "profile", "hello", "--app-dir", APPS, "--python", sys.executable)
    assert result.returncode == 0 and "Imports, worst first" in result.stdout
    assert "no flame chart: %s/profile-hello.svg: Is a directory; run this in a directory" % tmp_path in result.stdout


def test_profile_of_a_name_that_the_file_has_not(tmp_path):
    (tmp_path / "gateway.ini").write_text("[app:shop]\nmodule = shop:app\n")
    result = run(tmp_path, "profile", "-c", "gateway.ini", "shpo")
    assert result.returncode == 2 and "there is no [app:shpo]; one that there is: shop" in result.stderr


def test_profile_of_a_broken_app_ends_as_a_check_does(tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    result = run(tmp_path, "profile", "broken:app", "--python", sys.executable)
    assert result.returncode == 4 and "ZeroDivisionError" in result.stderr and 'broken.py", line 1' in result.stderr


@pytest.mark.parametrize("args, text", [
    (["nowhere:app"], 'cannot import "nowhere"'), (["--kind", "fastcgi", "--command", "php-cgi"], "profile is for one Python app")])
def test_profile_that_cannot_be(tmp_path, args, text):
    if "--kind" in args:
        (tmp_path / "gateway.ini").write_text("[app:x]\ncommand = php-cgi\n")
        args = []
    result = run(tmp_path, "profile", *args, *(["--python", sys.executable] if args else []))
    assert result.returncode != 0 and text in result.stderr


@pytest.mark.parametrize("word", ["warm", "profile"])
def test_an_app_of_that_name(tmp_path, word):
    (tmp_path / f"{word}.py").write_text("def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'']\n")
    result = run(tmp_path, "-t", f"{word}:app", "--python", sys.executable)
    assert result.returncode == 0, result.stderr


def test_a_slow_start_names_the_profile(launch, tmp_path):
    (tmp_path / "slow.py").write_text(textwrap.dedent(SLOW).replace("0.05", "0.35"))
    gateway = launch({"app:hello": app("slow:application", directory=tmp_path)})
    assert gateway.get().status == 200
    gateway.err.wait(r"hello: ready in \d+ ms \(import \d+\); leangate profile shows where it went")
