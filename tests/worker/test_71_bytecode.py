"""Bytecode that cannot be written beside its source goes into a private directory, and is used from there."""

import json
import os
import shutil
import stat
import subprocess
import sys
import textwrap

import pytest

from worker import PYTHON, WORKER_DIR, Worker

SOURCE = """
    import json, os, subprocess, sys
    import fixed.part

    def app(environ, start_response):
        start_response("200 OK", [])
        seen = subprocess.run([sys.executable, "-c", "import os, sys; print(dict(os.environ), sys.flags, sys.pycache_prefix)"],
                              capture_output=True, text=True).stdout
        return [json.dumps([fixed.part.__cached__, fixed.part.VALUE, seen]).encode()]
"""

IN_A_REQUEST = """
    def app(environ, start_response):
        import fixed.part
        start_response("200 OK", [])
        return [fixed.part.__cached__.encode()]
"""


@pytest.fixture
def site(tmp_path):
    """A directory with a package, which nothing can be written to, for root neither."""
    directory = tmp_path / "site"
    (directory / "fixed").mkdir(parents=True)
    (directory / "fixed/__init__.py").write_text("")
    (directory / "fixed/part.py").write_text("VALUE = 1\n")
    (directory / "page.py").write_text(textwrap.dedent(SOURCE))
    return directory


def run(serve, tmp_path, site, environ=(), options=None):
    """One worker: (what the app tells, its NOTEs)."""
    if options is None:
        options = ["--bytecode", str(tmp_path / "cache/me/bytecode")]
    environ = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"} | dict(environ)
    worker = serve(None, "page:app", options=options, environ=environ)
    told = json.loads(worker.ask().body)
    assert worker.stop() == 0
    return told, worker.notes


def test_the_second_start_finds_it(serve, tmp_path, site):
    (cached, _, _), notes = run(serve, tmp_path, site)
    assert cached.startswith(str(tmp_path / "cache/me/bytecode") + str(site)) and os.path.exists(cached)
    assert len(notes) == 1 and "cannot be written beside" in notes[0]
    assert "PYTHONDONTWRITEBYTECODE is set" in notes[0]
    written = os.stat(cached).st_mtime_ns
    (again, _, _), notes = run(serve, tmp_path, site)
    assert again == cached and os.stat(cached).st_mtime_ns == written and not notes
    assert not list(site.rglob("__pycache__"))
    assert stat.S_IMODE(os.stat(tmp_path / "cache/me").st_mode) == 0o700


def test_an_edited_source_is_compiled_anew(serve, tmp_path, site):
    run(serve, tmp_path, site)
    (site / "fixed/part.py").write_text("VALUE = 1234\n")
    (_, value, _), notes = run(serve, tmp_path, site)
    assert value == 1234


def test_bytecode_that_is_there_is_used(serve, tmp_path, site):
    environ = Worker.environ({})
    subprocess.run([PYTHON, "-m", "compileall", "-q", str(site)], check=True, env=environ)
    (cached, _, _), _ = run(serve, tmp_path, site)
    assert cached.startswith(str(site)) and not (tmp_path / "cache/me/bytecode" / str(site)[1:]).exists()
    before = os.stat(cached).st_mtime_ns
    os.utime(site / "fixed/part.py", (1, 1))  # it does not fit any more, and must not be written
    (private, _, _), _ = run(serve, tmp_path, site)
    assert private.startswith(str(tmp_path / "cache")) and os.stat(cached).st_mtime_ns == before


@pytest.mark.skipif(os.getuid() != 0, reason="needs a directory of another user")
@pytest.mark.parametrize("there", ["nothing", "empty", "of another Python", "stale"])
def test_a_directory_of_another_user_takes_none(spawn, tmp_path, site, there):
    """As nobody, without PYTHONDONTWRITEBYTECODE: only what cannot be written goes elsewhere. That there is a __pycache__ does
    not say that anything of use is in it: images of Python have empty ones, a venv that was copied has stale ones."""
    shutil.chown(tmp_path, 65534)
    for directory in tmp_path.parents:
        if not os.stat(directory).st_mode & stat.S_IXOTH:
            directory.chmod(directory.stat().st_mode | stat.S_IXOTH)
    tmp_path.chmod(0o755)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*nobody, PYTHON, "-c", "import sys; sys.path.insert(0, %r); import pyworker" % WORKER_DIR]).returncode:
        pytest.skip("nobody cannot run this interpreter")
    (site / "page.py").write_text(textwrap.dedent(IN_A_REQUEST))
    if there != "nothing":
        subprocess.run([PYTHON, "-m", "compileall", "-q", str(site)], check=True, env=Worker.environ({}))
    for cached in site.rglob("*.pyc"):
        if there == "empty":
            cached.unlink()
        elif there == "of another Python":
            cached.rename(cached.with_name(cached.name.replace(sys.implementation.cache_tag, "cpython-27")))
        else:
            os.utime(cached.parents[1] / (cached.name.partition(".")[0] + ".py"), (1, 1))
    for again in (False, True):
        (tmp_path / ("w%d" % again)).mkdir()
        shutil.chown(tmp_path / ("w%d" % again), 65534)  # the app's own directory takes bytecode
        worker = spawn(None, "page:app", prefix=nobody, environ={"PYTHONPATH": str(site)},
                       options=["--bytecode", str(tmp_path / "cache/me/bytecode")]).ready()
        cached = worker.ask().body.decode()
        assert cached.startswith(str(tmp_path / "cache/me/bytecode")) and os.path.exists(cached)
        assert worker.stop() == 0
        assert not worker.notes if again else str(site) in worker.notes[0]


def test_nothing_is_left_for_subprocesses(serve, tmp_path, site):
    environ = {"MARK": "x"}
    (_, _, with_it), _ = run(serve, tmp_path, site, environ)
    (_, _, without), _ = run(serve, tmp_path, site, environ, options=[])
    assert with_it == without.replace("w1", "w0") or with_it.replace("w0", "w1") == without


def test_a_place_of_the_user_is_left_alone(serve, tmp_path, site):
    (cached, _, _), notes = run(serve, tmp_path, site, {"PYTHONPYCACHEPREFIX": str(tmp_path / "own")})
    assert cached.startswith(str(tmp_path / "own")) and not notes


@pytest.mark.parametrize("spoil", ["mode", "link", "owner", "file"])
def test_a_place_that_others_can_write_is_not_used(serve, tmp_path, site, spoil):
    place = tmp_path / "cache/me"
    place.mkdir(parents=True, mode=0o700)
    if spoil == "mode":
        place.chmod(0o770)
    elif spoil == "owner":
        if os.getuid() != 0:
            pytest.skip("needs root")
        shutil.chown(place, 65534)
    else:
        place.rmdir()
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "elsewhere") if spoil == "link" else place.write_text("")
    (cached, _, _), notes = run(serve, tmp_path, site)
    assert cached.startswith(str(site)) and not os.path.exists(cached)
    assert len(notes) == 1 and "cannot be written, which makes every start slow" in notes[0]


@pytest.mark.parametrize("spoil", ["above", "link", "owner"])
def test_a_place_that_others_can_put_another_one_in_is_not_used(serve, tmp_path, site, spoil):
    """The directory itself is private; one above it, or one that a link leads through, is not."""
    above = tmp_path / "cache"
    above.mkdir()
    if spoil == "above":
        above.chmod(0o777)
    elif spoil == "owner":
        if os.getuid() != 0:
            pytest.skip("needs root")
        shutil.chown(above, 65534)
    else:
        above.rmdir()
        (tmp_path / "open").mkdir()
        (tmp_path / "real").mkdir()
        (tmp_path / "open").chmod(0o777)
        (tmp_path / "open/link").symlink_to("../real")
        above.symlink_to("open/link")
    (cached, _, _), notes = run(serve, tmp_path, site)
    assert cached.startswith(str(site)) and not os.path.exists(cached)
    told = "belongs to another user" if spoil == "owner" else "chmod go-w"
    assert len(notes) == 1 and told in notes[0] and str(tmp_path) in notes[0]


def test_what_lies_above_may_be_like_tmp(serve, tmp_path, site):
    (tmp_path / "real").mkdir()
    (tmp_path / "real").chmod(0o1777)
    (tmp_path / "cache").symlink_to("real")
    (cached, _, _), _ = run(serve, tmp_path, site)
    assert cached.startswith(str(tmp_path / "cache/me")) and os.path.exists(cached)


def test_others_may_enter_what_is_made_above(serve, tmp_path, site):
    """Several users may share a cache_dir; none may write there, whatever the umask is."""
    environ = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["--bytecode", str(tmp_path / "cache/me/bytecode")]
    for _ in range(2):
        worker = serve(None, "page:app", options=options, environ=environ, prefix=["sh", "-c", 'umask 0; exec "$@"', "sh"])
        assert worker.stop() == 0
    assert stat.S_IMODE(os.stat(tmp_path / "cache").st_mode) == 0o755 and not worker.notes


@pytest.mark.parametrize("spoil", ["cut", "code", "nothing", "directory"])
def test_what_is_damaged_is_made_anew(serve, tmp_path, site, spoil):
    (cached, _, _), _ = run(serve, tmp_path, site)
    whole = open(cached, "rb").read()
    if spoil == "directory":
        os.unlink(cached)
        os.mkdir(cached)
    else:
        with open(cached, "wb") as file:
            file.write({"cut": whole[:-5], "code": whole[:16] + bytes(len(whole) - 16), "nothing": b""}[spoil])
    (_, value, _), _ = run(serve, tmp_path, site)
    assert value == 1
    if spoil != "directory":
        assert open(cached, "rb").read() == whole


def test_a_full_disk_fails_no_start(serve, tmp_path, site):
    """Half of a file is written, and neither this start nor the next one minds."""
    environ = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["--bytecode", str(tmp_path / "cache/me/bytecode")]
    worker = serve(None, "page:app", options=options, environ=environ, prefix=["prlimit", "--fsize=100"])
    assert worker.stop() == 0
    (_, value, _), _ = run(serve, tmp_path, site)
    assert value == 1
    (_, value, _), notes = run(serve, tmp_path, site)
    assert value == 1 and not notes


def test_what_cannot_be_written_at_all_is_told(serve, tmp_path, site):
    environ = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    cache = tmp_path / "cache/me/bytecode"
    worker = serve(None, "page:app", options=["--bytecode", str(cache)], environ=environ, prefix=["prlimit", "--fsize=0"])
    assert worker.stop() == 0
    assert len(worker.notes) == 1 and "(%s is full or read-only); run python -m compileall" % cache in worker.notes[0]


COMPILED = """
    import importlib, os
    import fixed.part

    def app(environ, start_response):
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/again":
            with open(fixed.part.__file__, "w") as file:
                file.write("VALUE = 4321\\n")
            importlib.reload(fixed.part)
        return [b"%d" % fixed.part.VALUE]
"""


@pytest.mark.parametrize("how", ["timestamp", "checked-hash", "unchecked-hash"])
def test_bytecode_beside_a_source_stays_as_it_is(serve, tmp_path, site, how):
    """Where none is to be written. It has become old before the start, or becomes it before a module is loaded anew."""
    (site / "page.py").write_text(textwrap.dedent(COMPILED))
    subprocess.run([PYTHON, "-m", "compileall", "-q", "--invalidation-mode", how, str(site)], check=True, env=Worker.environ({}))
    before = {path: path.read_bytes() for path in site.rglob("*.pyc")}
    options, environ = ["--bytecode", str(tmp_path / "cache/me/bytecode")], {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    worker = serve(None, "page:app", options=options, environ=environ)
    assert worker.ask().body == b"1" and not worker.notes
    assert worker.ask(path="/again").body == (b"1" if how == "unchecked-hash" else b"4321") and worker.stop() == 0
    worker = serve(None, "page:app", options=options, environ=environ)
    assert worker.ask().body == (b"1" if how == "unchecked-hash" else b"4321") and worker.stop() == 0
    assert {path: path.read_bytes() for path in site.rglob("*.pyc")} == before


@pytest.mark.parametrize("usable", [True, False])
def test_what_lies_in_a_zip_file_has_none(serve, tmp_path, site, usable):
    shutil.make_archive(str(tmp_path / "site"), "zip", site)
    subprocess.run([PYTHON, "-m", "compileall", "-q", WORKER_DIR + "/pyworker"], check=True)  # whose bytecode would be missing as well
    if not usable:
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache/me").write_text("")
    assert run(serve, tmp_path, tmp_path / "site.zip")[1] == []


def test_what_a_request_imports_is_kept_too(serve, tmp_path, site):
    worker = serve(IN_A_REQUEST, options=["--bytecode", str(tmp_path / "cache/me/bytecode")],
                   environ={"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"})
    assert os.path.exists(worker.ask().body.decode())


def test_each_file_is_looked_for_once(tmp_path):
    """Though importlib asks twice, for __cached__ and to load: in a start of a thousand modules it is felt."""
    (tmp_path / "modules").mkdir()
    for n in range(5):
        (tmp_path / f"modules/m{n}.py").write_text(f"import m{n + 1}\n" if n < 4 else "")
    program = textwrap.dedent("""
        import collections, sys
        from pyworker import bytecode

        looks, find_place = collections.Counter(), bytecode.find_place

        def counted(path, usual):
            looks[path] += 1
            return find_place(path, usual)

        bytecode.find_place = counted
        bytecode.redirect(sys.argv[1])
        import m0
        print(sorted(looks.values()), m0.__cached__ == bytecode.place(m0.__file__))
    """)
    environ = {"PYTHONPATH": os.pathsep.join([WORKER_DIR, str(tmp_path / "modules")]), "PYTHONDONTWRITEBYTECODE": "1"}
    told = subprocess.run([PYTHON, "-c", program, str(tmp_path / "cache/me/bytecode")], env=environ, capture_output=True, text=True, check=True)
    assert told.stdout == "[1, 1, 1, 1, 1] True\n"
