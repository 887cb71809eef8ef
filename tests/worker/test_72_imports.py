"""import_cache: what the last start found out about imports changes nothing but the time that this one takes."""

import contextlib
import json
import marshal
import os
import random
import re
import resource
import shutil
import stat
import subprocess
import sys
import textwrap
import time
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker import PYTHON, ROOT, WORKER_DIR, Worker, interpreters, number

pytestmark = pytest.mark.release  # Python alone: a sanitiser has nothing to see

IMPORTING = str(ROOT / "tests/support/importing.py")
SITE = [path for path in sys.path if path.endswith("site-packages")]
FRAMEWORKS = ["flask", "fastapi", "django", "sqlalchemy", "requests"]


def importing(record, *names, path=(), python=PYTHON, keep=True, **more):
    """One interpreter that imports: what importing.py tells."""
    environ = Worker.environ({"PYTHONPATH": os.pathsep.join(map(str, path)), "KEEP": str(int(keep))}) | more
    result = subprocess.run([python, IMPORTING, WORKER_DIR, str(record), *names], capture_output=True, text=True, env=environ,
                            timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1]) | {"stderr": result.stderr}


def only(*names):
    return ("--", *names)


@pytest.fixture
def record(tmp_path):
    return tmp_path / "cache/me/app.imports"


@pytest.fixture
def site(tmp_path):
    """A directory on sys.path with modules of every sort."""
    site = tmp_path / "site"
    for name, text in {
        "plain.py": "VALUE = 1\n",
        "package/__init__.py": "from . import inner\n",
        "package/inner.py": "VALUE = 1\n",
        "spaced/part.py": "VALUE = 1\n",  # of a namespace package
        "patterns.py": "import re\nONE = re.compile('(?P<a>x+)|(y)', re.I)\nTWO = re.compile(b'x*[^a-z]')\n",
        "typed.py": "import dataclasses, typing\n@dataclasses.dataclass\nclass A:\n    a: 'int' = 1\n"
                    "B = typing.Optional['A']\n",
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    return site


ALL = only("plain", "package", "spaced.part", "patterns", "typed")


def recorded(record, site, **more):
    """A record of all that the directory holds, which was tried out."""
    importing("-", *ALL, path=[site], **more)  # compiles
    importing(record, *ALL, path=[site], **more)
    assert importing(record, *ALL, path=[site], **more)["used"]


def value(told, module):
    return [entry for entry in told["modules"][module]["namespace"]]


# --- nothing is different ---


@pytest.mark.parametrize("root", FRAMEWORKS)
def test_all_modules_of_a_framework_are_the_same(record, root):
    pytest.importorskip(root)
    importing(record, root, path=SITE)
    plain = importing("-", root, path=SITE)
    cached = importing(record, root, path=SITE)
    assert cached["used"] and not cached["outdated"] and len(plain["modules"]) > 50
    assert cached["failures"] == plain["failures"]
    assert cached["meta_path"] == plain["meta_path"]
    assert set(cached["modules"]) - set(plain["modules"]) <= {"marshal"}
    for name, facts in plain["modules"].items():
        assert cached["modules"][name] == facts, name


def test_modules_of_every_sort(record, site):
    recorded(record, site)
    plain, cached = importing("-", *ALL, path=[site]), importing(record, *ALL, path=[site])
    assert cached["used"] and {name: cached["modules"][name] for name in plain["modules"]} == plain["modules"]


def test_every_recorded_regex_is_what_it_would_be_made_anew(record):
    """All patterns of all modules of Django, requests and the standard library's text modules."""
    names = only("django.utils.text", "django.template.base", "django.urls", "requests", "email.message", "http.cookiejar", "tokenize",
                 "html.parser", "string", "textwrap", "csv", "doctest", "zipfile")
    importing(record, *names, path=SITE)
    check = """
        import marshal, re, sys, _sre
        sys.path.append(sys.argv[1])
        from pyworker.importcache import FORMAT, REGEX
        compiler = __import__(REGEX, fromlist=["compile"])
        regexes = marshal.loads(open(sys.argv[2], "rb").read()[len(FORMAT) + 8:])[5]
        count = 0
        for patterns in regexes:
            for (pattern, flags), (final, code, *rest) in patterns.items():
                made = _sre.compile(pattern, final, memoryview(code).cast("I").tolist(), *rest)
                again = compiler.compile(pattern, flags)
                assert made == again and made.groupindex == again.groupindex and made.groups == again.groups, pattern
                assert made.flags == again.flags and repr(made) == repr(again), pattern
                count += 1
        print(count)
    """
    result = subprocess.run([PYTHON, "-c", textwrap.dedent(check), WORKER_DIR, str(record)], capture_output=True, text=True,
                            env=Worker.environ({}))
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 40


PATTERNS = st.recursive(
    st.sampled_from(["a", "b", ".", r"\d", r"\w+?", "[a-c]", "[^x]", "^", "$", r"\b", "é", " "]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join), st.tuples(inner, inner).map("|".join), inner.map("(?:{})".format),
        inner.map("({})".format), inner.map("(?:{}){{1,3}}".format), inner.map("(?={})".format), inner.map("(?i:{})".format)),
    max_leaves=12)


@settings(max_examples=100, deadline=None)
@given(PATTERNS, st.sampled_from([0, 2, 8, 16, 64, 2 | 16]))
def test_any_regex_is_what_it_would_be_made_anew(pattern, flags):
    sys.path.append(WORKER_DIR)
    try:
        import re

        import _sre
        from pyworker.importcache import REGEX
        from pyworker.importrecord import all_regexes
    finally:
        sys.path.remove(WORKER_DIR)
    compiler = __import__(REGEX, fromlist=["compile"])
    (final, code, *rest), = all_regexes({(pattern, flags): None}).values()
    made, again = _sre.compile(pattern, final, memoryview(code).cast("I").tolist(), *rest), compiler.compile(pattern, flags)
    assert made == again and made.groupindex == again.groupindex
    assert re.compile(pattern, flags).flags == made.flags


# --- what has changed is seen ---


def test_an_edited_module(record, site):
    recorded(record, site)
    (site / "plain.py").write_text("VALUE = 1\nOTHER = 2\n")
    told = importing(record, *ALL, path=[site])
    assert told["used"] and told["outdated"] and ["OTHER", "int"] in value(told, "plain")
    assert not record.exists()  # the next start makes another
    importing(record, *ALL, path=[site])
    assert importing(record, *ALL, path=[site])["used"]


def test_a_module_edited_within_its_second_and_size(record, site):
    """As far as CPython itself sees it: another time in nanoseconds is enough to ask it."""
    recorded(record, site)
    status = os.stat(site / "plain.py")
    (site / "plain.py").write_text("OTHER = 1\n")
    os.utime(site / "plain.py", ns=(status.st_atime_ns, status.st_mtime_ns + 2_000_000_000))
    assert ["OTHER", "int"] in value(importing(record, *ALL, path=[site]), "plain")


@pytest.mark.parametrize("where", ["before", "package"])
def test_a_new_module_that_would_be_found_first(record, site, tmp_path, where):
    first = tmp_path / "first"
    first.mkdir()
    path = [first, site]
    importing("-", *ALL, path=path)
    importing(record, *ALL, path=path)
    assert importing(record, *ALL, path=path)["used"]
    if where == "before":
        (first / "plain.py").write_text("SHADOW = 1\n")
        name = "plain"
    else:
        (site / "package/inner").mkdir()
        (site / "package/inner/__init__.py").write_text("SHADOW = 1\n")
        name = "package.inner"
    told = importing(record, *ALL, path=path)
    assert not told["used"] and ["SHADOW", "int"] in value(told, name)


@pytest.mark.parametrize("where", ["first", "beside", "package", "itself"])
def test_a_directory_that_becomes_a_package(record, site, tmp_path, where):
    """It has been there all the time, so that nothing changes in the directory around it."""
    first = tmp_path / "first"
    directory = {"first": first / "plain", "beside": site / "plain", "package": site / "package/inner", "itself": site / "lonely"}[where]
    directory.mkdir(parents=True)
    first.mkdir(exist_ok=True)
    names, path, name = only("plain", "package", "spaced.part"), [first, site], "package.inner" if where == "package" else "plain"
    if where == "itself":  # an extension is found before a source
        (directory / "__init__.py").write_text("VALUE = 1\n")
        names, name = only("lonely", "plain"), "lonely"
    importing("-", *names, path=path)
    importing(record, *names, path=path)
    assert importing(record, *names, path=path)["used"]
    status = os.stat(directory.parent)
    if where == "itself":
        (directory / "__init__.so").write_bytes(b"")
    else:
        (directory / "__init__.py").write_text("SHADOW = 1\n")
    assert os.stat(directory.parent).st_mtime_ns == status.st_mtime_ns
    told = importing(record, *names, path=path, keep=False)
    if where == "itself":
        assert "ImportError" in told["failures"][name]
    else:
        assert ["SHADOW", "int"] in value(told, name)


@pytest.mark.parametrize("what", ["file", "link to a file", "link to a directory"])
def test_what_becomes_a_module_under_its_name(record, site, tmp_path, what):
    """The names in the directory stay the same."""
    first, elsewhere = tmp_path / "first", tmp_path / "elsewhere"
    first.mkdir()
    place = first / ("plain.py" if what == "link to a file" else "plain")
    place.write_text("#!/bin/sh\n") if what == "file" else place.symlink_to(elsewhere)
    path, names = [first, site], only("plain", "package")
    importing("-", *names, path=path)
    importing(record, *names, path=path)
    assert importing(record, *names, path=path)["used"]
    if what == "file":
        place.unlink()
        elsewhere = place
    if what == "link to a file":
        elsewhere.write_text("SHADOW = 1\n")
    else:
        elsewhere.mkdir()
        (elsewhere / "__init__.py").write_text("SHADOW = 1\n")
    assert ["SHADOW", "int"] in value(importing(record, *names, path=path), "plain")


def test_a_directory_whose_time_is_put_back(record, site, tmp_path):
    """As whoever unpacks a release does, with one time for all of it."""
    first = tmp_path / "first"
    first.mkdir()
    os.utime(first, (1, 1))
    importing("-", *ALL, path=[first, site])
    importing(record, *ALL, path=[first, site])
    (first / "plain.py").write_text("SHADOW = 1\n")
    os.utime(first, (1, 1))
    assert ["SHADOW", "int"] in value(importing(record, *ALL, path=[first, site]), "plain")


def test_a_directory_that_comes_before_the_record_is_made(record, site, tmp_path):
    """It stands on sys.path, and importlib has noted that it is not there."""
    later = tmp_path / "later"
    (site / "maker.py").write_text("import os, plain\nos.mkdir(%r)\nopen(%r, 'w').write('SHADOW = 1')\n"
                                   % (str(later), str(later / "plain.py")))
    importing("-", *only("plain"), path=[later, site])
    importing(record, *only("maker"), path=[later, site])
    assert ["SHADOW", "int"] in value(importing(record, *only("plain"), path=[later, site]), "plain")


def test_a_link_that_breaks(record, site, tmp_path):
    """It is no module any more: the next one is found, as if it were not there."""
    first = tmp_path / "first"
    first.mkdir()
    (tmp_path / "real.py").write_text("LINKED = 1\n")
    (first / "plain.py").symlink_to(tmp_path / "real.py")
    importing("-", *ALL, path=[first, site])
    importing(record, *ALL, path=[first, site])
    assert ["LINKED", "int"] in value(importing(record, *ALL, path=[first, site]), "plain")
    (tmp_path / "real.py").unlink()
    told = importing(record, *ALL, path=[first, site])
    assert told["failures"] == {} and ["VALUE", "int"] in value(told, "plain")


FINDERS = """
import os, sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, PathFinder, SourceFileLoader

class Loader(SourceFileLoader):
    def exec_module(self, module):
        super().exec_module(module)
        module.HOOKED = 1

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and name == "plain":
            spec.loader = Loader(name, spec.origin)
        return spec

how = os.environ.get("HOW")
if how == "path_hooks":
    sys.path_hooks.insert(0, FileFinder.path_hook((Loader, SOURCE_SUFFIXES)))
    sys.path_importer_cache.clear()
elif how == "before PathFinder":
    sys.meta_path.insert(sys.meta_path.index(PathFinder), Finder)
elif how == "in its place":
    sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
"""


@pytest.mark.parametrize("how", ["path_hooks", "before PathFinder", "in its place"])
def test_finders_that_the_app_brings_while_it_is_imported(record, site, how):
    """The record was made of a start without them."""
    (site / "brings.py").write_text(FINDERS)
    names = only("brings", "plain")
    importing("-", *names, path=[site])
    importing(record, *names, path=[site])
    assert ["HOOKED", "int"] in value(importing(record, *names, path=[site], HOW=how), "plain")


@pytest.mark.parametrize("what", ["''", "'lib'", "__import__('pathlib').Path(%r)"])
def test_a_path_that_is_none_of_absolute_texts(record, site, tmp_path, what):
    """What it means depends on the current directory, or it means nothing."""
    here = tmp_path / "here"
    here.mkdir()
    (site / "changes.py").write_text("import os, sys\nos.chdir(%r)\nsys.path.insert(0, %s)\n"
                                     % (str(here), what.replace("%r", repr(str(here)))))
    names = only("changes", "plain")
    importing("-", *names, path=[site])
    importing(record, *names, path=[site])
    assert importing(record, *names, path=[site])["used"]
    for directory in here, here / "lib":
        directory.mkdir(exist_ok=True)
        (directory / "plain.py").write_text("SHADOW = 1\n")
    plain, told = importing("-", *names, path=[site]), importing(record, *names, path=[site])
    assert told["modules"]["plain"]["namespace"] == plain["modules"]["plain"]["namespace"]


@pytest.mark.parametrize("source", ["import re\nre.compile('[[a]')\n", "import typing\ntyping.Optional[\"A['\\\\d']\"]\n"])
def test_warnings_are_the_same(record, site, source):
    """Of a pattern, about the line that has it; of a text that is compiled; at every start, and as errors."""
    (site / "warns.py").write_text(source)
    importing("-", *only("warns"), path=[site])
    plain = importing("-", *only("warns"), path=[site], PYTHONWARNINGS="default")
    assert "Warning: " in plain["stderr"]
    for used in False, True, True:
        told = importing(record, *only("warns"), path=[site], PYTHONWARNINGS="default")
        assert told["used"] is used and told["stderr"] == plain["stderr"]
    failures = importing("-", *only("warns"), path=[site], PYTHONWARNINGS="error")["failures"]
    assert failures and importing(record, *only("warns"), path=[site], PYTHONWARNINGS="error")["failures"] == failures


def test_an_archive_on_the_path(record, site, tmp_path):
    """Its modules stay ordinary; all others are recorded, as long as it is not another one."""
    archive = tmp_path / "some.zip"
    path, names = [archive, site], only("zipped", "plain", "package")
    for value_of_it in (1, 2):
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr("zipped.py", "VALUE = 1\n")
            if value_of_it == 2:
                made.writestr("plain.py", "SHADOW = 1\n")
        os.utime(archive, (value_of_it, value_of_it))
        told = importing(record, *names, path=path)
        assert not told["used"] and not told["failures"]
        assert (["SHADOW", "int"] in value(told, "plain")) is (value_of_it == 2)
        importing(record, *names, path=path)
        assert importing(record, *names, path=path)["used"]


def test_a_file_that_is_no_module_changes_nothing(record, site):
    recorded(record, site)
    (site / "site.log").write_text("x")
    (site / "data.sqlite3").write_text("x")
    assert importing(record, *ALL, path=[site])["used"]


def test_a_module_that_is_gone(record, site):
    recorded(record, site)
    (site / "plain.py").unlink()
    told = importing(record, *ALL, path=[site])
    assert not told["used"] and told["failures"] == {"plain": "ModuleNotFoundError: No module named 'plain'"}


def test_bytecode_that_is_another(record, site):
    """Its header, its length, its code: what does not fit is left to importlib."""
    recorded(record, site)
    cached, = (site / "__pycache__").glob("plain.*.pyc")
    whole = cached.read_bytes()
    for damaged in (b"\0" * 16 + whole[16:], whole[:20], whole[:8] + b"\1" + whole[9:], whole + b"x"):
        cached.write_bytes(damaged)
        told = importing(record, *ALL, path=[site], keep=False)
        plain = importing("-", *ALL, path=[site])
        assert told["failures"] == plain["failures"] and (told["failures"] or ["VALUE", "int"] in value(told, "plain"))


def test_another_path(record, site, tmp_path):
    recorded(record, site)
    (tmp_path / "other").mkdir()
    assert not importing(record, *ALL, path=[tmp_path / "other", site], keep=False)["used"]
    assert not importing(record, *ALL, path=[site, tmp_path / "other"], keep=False)["used"]
    assert importing(record, *ALL, path=[site])["used"]


def test_other_flags(record, site):
    recorded(record, site)
    assert not importing(record, *ALL, path=[site], keep=False, PYTHONOPTIMIZE="1")["used"]
    assert not importing(record, *ALL, path=[site], keep=False, PYTHONPYCACHEPREFIX=str(site / "other"))["used"]


def test_another_interpreter(record, site):
    others = [path for version, path in interpreters().items()
              if re.fullmatch(r"3\.\d+", version) and number(version) >= (3, 9) and path != PYTHON]
    if not others:
        pytest.skip("there is only one here")
    recorded(record, site)
    for other in others:
        assert not importing(record, *ALL, path=[site], python=other, keep=False)["used"], other


def test_a_venv_that_has_moved(record, site, tmp_path):
    venv = tmp_path / "venv"
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(venv)], check=True, env=Worker.environ({}))
    packages, = venv.glob("lib/python*/site-packages")
    shutil.copytree(site, packages, dirs_exist_ok=True)
    importing("-", *ALL, python=str(venv / "bin/python"))
    importing(record, *ALL, python=str(venv / "bin/python"))
    assert importing(record, *ALL, python=str(venv / "bin/python"))["used"]
    venv.rename(tmp_path / "moved")
    told = importing(record, *ALL, python=str(tmp_path / "moved/bin/python"))
    assert not told["used"] and str(tmp_path / "moved") in told["modules"]["plain"]["__file__"]


def test_a_path_that_the_app_changes(record, site, tmp_path):
    """What is imported after sys.path has changed is looked for there."""
    (site / "changes.py").write_text("import sys\nsys.path.insert(0, %r)\nimport late\n" % str(tmp_path / "late"))
    (tmp_path / "late").mkdir()
    (tmp_path / "late/late.py").write_text("LATE = 1\n")
    names = only("changes", "plain")
    plain = importing("-", *names, path=[site])
    for _ in range(3):
        told = importing(record, *names, path=[site])
        assert told["failures"] == {} and told["modules"]["late"] == plain["modules"]["late"]
    early = importing(record, *only("late", "changes"), path=[site], keep=False)
    assert early["used"] and early["failures"] == {"late": "ModuleNotFoundError: No module named 'late'"}


def test_modules_that_the_app_makes_while_it_is_imported(record, site):
    (site / "maker.py").write_text(
        "import importlib, pathlib\n"
        "where = pathlib.Path(__file__).with_name('made.py')\n"
        "where.write_text('VALUE = %d' % len(list(where.parent.glob('mark*'))))\n"
        "importlib.invalidate_caches()\nimport made\n")
    for count in range(3):
        told = importing(record, *only("maker"), path=[site])
        assert told["failures"] == {}
        (site / ("mark%d" % count)).touch()
        shutil.rmtree(site / "__pycache__", ignore_errors=True)


# --- records that are none ---


@pytest.mark.parametrize("spoil", ["truncated", "empty", "garbage", "flipped", "link", "mode", "directory mode", "owner", "fifo"])
def test_a_record_that_is_not_trusted(record, site, tmp_path, spoil):
    recorded(record, site)
    data = record.read_bytes()
    if spoil in ("truncated", "empty", "garbage", "flipped"):
        record.write_bytes({"truncated": data[:-10], "empty": b"", "garbage": b"x" * 1000,
                            "flipped": data[:100] + bytes([data[100] ^ 1]) + data[101:]}[spoil])
    elif spoil == "link":
        record.rename(tmp_path / "elsewhere")
        record.symlink_to(tmp_path / "elsewhere")
    elif spoil == "mode":
        record.chmod(0o622)
    elif spoil == "directory mode":
        record.parent.chmod(0o770)
    elif spoil == "fifo":
        record.unlink()
        os.mkfifo(record, 0o600)
    elif os.getuid() == 0:
        shutil.chown(record, 65534)
    else:
        pytest.skip("needs root")
    told = importing(record, *ALL, path=[site], keep=False)
    assert not told["used"] and not told["failures"]


@pytest.fixture(scope="module")
def good_record(tmp_path_factory):
    directory = tmp_path_factory.mktemp("good")
    record = directory / "cache/me/app.imports"
    importing(record, *only("json", "string"))
    return record.read_bytes()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_record_is_refused(good_record, data):
    """Any bytes changed, left out or added anywhere: it is not read, and nothing is raised."""
    sys.path.append(WORKER_DIR)
    try:
        from pyworker.importcache import Cache
    finally:
        sys.path.remove(WORKER_DIR)
    start = data.draw(st.integers(0, len(good_record)))
    end = data.draw(st.integers(start, min(len(good_record), start + 64)))
    damaged = good_record[:start] + data.draw(st.binary(max_size=64)) + good_record[end:]
    cache = Cache(sys.path)
    assert cache.read(damaged) is False or damaged == good_record
    assert cache.recording and not cache.modules


@pytest.fixture(scope="module")
def ours():
    """The modules of the worker that read and write records."""
    sys.path.append(WORKER_DIR)
    try:
        from pyworker import importcache, private
    finally:
        sys.path.remove(WORKER_DIR)
    return importcache, private


@pytest.mark.parametrize("what", [None, (), (1,) * 6, (1,) * 8, "directories", "modules", "deep"])
def test_a_record_that_holds_something_else_is_refused(ours, what):
    """Its checksum is right, and it is of this interpreter, as another version's might be."""
    importcache, _ = ours
    known = importcache.Cache(sys.path).identity
    if what == "directories":
        what = (known, [], [1], {}, [], ({}, {}), ({}, {}))
    elif what == "modules":
        what = (known, [], {}, 1, 2, 3, 4)
    data = b"[\1\0\0\0" * 100_000 if what == "deep" else marshal.dumps(what)
    cache = importcache.Cache(sys.path)
    assert cache.read(importcache.FORMAT + importcache.checksum(data) + data) is False
    assert cache.recording and not cache.modules and not cache.known


@pytest.mark.parametrize("spoil", ["full", "half", "directory"])
def test_a_record_that_cannot_be_written_leaves_nothing(ours, tmp_path, spoil):
    _, private = ours
    path = tmp_path / "cache/me/app.imports"
    assert private.write(str(path), b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if spoil == "directory":
        path.unlink()
        path.mkdir()
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0 if spoil == "full" else 100, hard))
    try:
        assert private.write(str(path), b"new" * 100) is False
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(path.parent.iterdir()) == [path]
    assert spoil == "directory" or path.read_bytes() == b"old"


def test_what_a_killed_worker_of_the_same_number_has_left_is_in_nobodys_way(ours, tmp_path):
    """In a container all workers may have one number."""
    _, private = ours
    path = tmp_path / "cache/me/app.imports"
    assert private.write(str(path), b"old")
    (path.parent / ("app.imports.%d" % os.getpid())).write_bytes(b"ne")
    assert private.write(str(path), b"new") and path.read_bytes() == b"new" and list(path.parent.iterdir()) == [path]


# --- in a worker ---

SLOW = """
    import time
    import package, patterns
    time.sleep(0.05)

    def app(environ, start_response):
        import sys
        start_response("200 OK", [])
        return [repr([getattr(f, "__name__", type(f).__name__) for f in sys.meta_path]).encode()]
"""


@pytest.mark.parametrize("mode", ["persistent", "fork"])
def test_a_worker_records_at_its_end_and_uses_it(serve, record, site, mode):
    options = ["--imports", str(record), "--files", str(record.with_suffix(".files")), "--mode", mode]
    worker = serve(SLOW, options=options, environ={"PYTHONPATH": str(site)})
    usual = worker.ask(flags=0).body
    assert b"pyworker" not in usual and not record.exists()
    assert worker.stop() == 0
    assert stat.S_IMODE(record.stat().st_mode) == 0o600 and len(record.read_bytes()) > 1000
    made = record.stat().st_mtime_ns
    again = serve(None, "main:app", options=options, environ={"PYTHONPATH": str(site)},
                  prefix=["sh", "-c", 'cd "$0" && exec "$@"', str(worker.directory)])
    assert again.ask(flags=0).body == usual and again.stop() == 0
    assert record.stat().st_mtime_ns == made
    files = record.with_suffix(".files").read_bytes().split(b"\n")
    assert b"s" + bytes(site / "patterns.py") in files and any(line.startswith(b"r/") and b"inner" in line for line in files)


def test_a_fast_start_is_not_recorded(serve, record):
    for _ in range(20):  # one that others hold up takes as long as a slow one
        record.unlink(missing_ok=True)
        worker = serve(options=["--imports", str(record)])
        assert worker.stop() == 0
        if record.stat().st_size < 64:
            break
    else:
        pytest.fail("all were recorded")
    again = serve("""
        import sys
        def app(environ, start_response):
            start_response("200 OK", [])
            return [str("pyworker.importcache" in sys.modules).encode()]
    """, options=["--imports", str(record)])
    assert again.ask().body == b"False" and again.stop() == 0


def test_an_app_that_has_become_slow_is_recorded(serve, record):
    assert serve(options=["--imports", str(record)]).stop() == 0
    for _ in range(2):
        slow = "import time\ntime.sleep(0.1)\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'x']\n"
        assert serve(slow, options=["--imports", str(record)]).stop() == 0
    assert record.stat().st_size > 64


def test_a_record_that_cannot_be_written_spoils_nothing(serve, tmp_path):
    (tmp_path / "file").write_text("")
    worker = serve(options=["--imports", str(tmp_path / "file/x/r"), "--files", str(tmp_path / "file/x/f")])
    assert worker.ask().status == "200 OK" and worker.stop() == 0


def test_workers_that_start_and_end_at_once(spawn, record, site):
    """Each of them records, or finds the record outdated; what is left is one whole record, or none."""
    options = ["--imports", str(record), "--files", str(record.with_suffix(".files"))]
    for _ in range(3):  # recording, using, removing what an edit has made old
        workers = [spawn(SLOW, options=options, environ={"PYTHONPATH": str(site)}) for _ in range(2)]
        for worker in workers:
            worker.ready()
        for worker in workers:
            worker.say("STOP")
        for worker in workers:
            notes = []
            while message := worker.message():
                notes.append(message)
            assert worker.wait() == 0 and not [note for note in notes if "could not be recorded" in note], notes
        assert not list(record.parent.glob("*.*.*"))
        (site / "patterns.py").write_text("import re\nONE = re.compile('%d')\n" % os.stat(site / "patterns.py").st_mtime_ns)


def test_a_place_that_is_not_private_is_named(serve, record):
    record.parent.mkdir(parents=True, mode=0o700)
    record.parent.parent.chmod(0o777)
    worker = serve(options=["--imports", str(record)])
    worker.say("STOP")
    notes = []
    while message := worker.message():
        notes.append(message)
    assert worker.wait() == 0 and not record.exists()
    assert notes == ["NOTE the start could not be recorded: others may rename what is in %s, above %s: chmod go-w it"
                     % (record.parent.parent, record.parent)]


GONE = """
    import shutil
    shutil.rmtree(%r)
    import package, patterns, plain, time
    time.sleep(0.05)

    def app(environ, start_response):
        start_response("200 OK", [])
        return [b"here"]
"""


def test_a_cache_that_goes_away_under_a_start(serve, record, site):
    """It is removed while the app is imported; this start serves, and leaves a new one."""
    options = ["--imports", str(record), "--files", str(record.with_suffix(".files")), "--bytecode", str(record.parent / "bytecode")]
    environ = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    record.parent.mkdir(parents=True, mode=0o700)
    for _ in range(3):
        worker = serve(GONE % str(record.parent.parent), options=options, environ=environ)
        assert worker.ask().body == b"here"
        worker.say("STOP")
        assert worker.message() == "" and worker.wait() == 0
        assert stat.S_IMODE(record.parent.stat().st_mode) == 0o700


def test_whatever_happens_to_the_files_of_a_cache_every_start_serves(spawn, record, site):
    """They are cut off, filled with something else, made links to nowhere, or removed, between starts and during them. Single bytes
    of bytecode are left alone: nobody checks it but by its header, Python neither."""
    options = ["--imports", str(record), "--files", str(record.with_suffix(".files")), "--bytecode", str(record.parent / "bytecode")]
    environ = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    chance = random.Random(8)

    def spoil(path):
        how = chance.randrange(8)
        if how == 0:
            path.unlink()
        elif how == 1:
            path.unlink()
            path.symlink_to("nowhere")
        elif how == 2:
            data = bytearray(path.read_bytes())
            if path.suffix == ".pyc":  # as a power cut leaves it
                start = chance.randrange(len(data))
                data[start:] = bytes(len(data) - start)
            else:
                for _ in range(1 + len(data) // 100):
                    data[chance.randrange(len(data))] = chance.randrange(256)
            path.write_bytes(data)
        elif how == 3:
            os.truncate(path, chance.randrange(path.stat().st_size + 1))

    for _ in range(15):
        workers = [spawn(SLOW, options=options, environ=environ) for _ in range(2)]
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            with contextlib.suppress(OSError):  # a worker has been faster
                files = [path for path in record.parent.rglob("*") if path.is_file() and path.stat().st_size > 20]
                if files:
                    spoil(chance.choice(files))
        for worker in workers:
            assert worker.ready().ask().status == "200 OK" and worker.stop() == 0


def test_a_failing_import_leaves_no_record(spawn, record):
    spawn("import json\n1 / 0", options=["--imports", str(record)]).failed()
    assert not record.exists()
