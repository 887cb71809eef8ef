"""What make does beside compiling: it refuses an unsafe libfcgi, names what is missing, and installs; and what lint needs nothing for."""

import os
import shutil
import subprocess
import sys

import pytest

from gateway import ROOT, Gateway, app, ini

pytestmark = pytest.mark.release

SUPPORT = ROOT / "tests/support"


def tools(directory, **scripts):
    """A PATH that has sh's own companions and these scripts, nothing else."""
    scripts = {name.replace("_", "-"): text for name, text in scripts.items()}
    for name in ("sh", "dirname", "sort", "id", "env", "cat", "dpkg"):
        if shutil.which(name) and name not in scripts:
            (directory / name).symlink_to(shutil.which(name))
    for name, text in scripts.items():
        file = directory / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)
    return {"PATH": str(directory)}


def sh(script, *args, environ):
    return subprocess.run([SUPPORT / script, *args], env=environ, capture_output=True, text=True)


@pytest.mark.skipif(not shutil.which("dpkg"), reason="no dpkg to compare Debian's versions")
@pytest.mark.parametrize("version, safe", [
    ("2.4.2-2+deb12u1", True), ("2.4.2-2+deb12u2", True), ("2.4.5-1", True), ("2.4.2-2", False), ("2.4.0-10", False)])
def test_libfcgi_of_debian(tmp_path, version, safe):
    result = sh("check-libfcgi", environ=tools(tmp_path, dpkg_query=f"printf %s '{version}'"))
    assert (result.returncode == 0) == safe
    if not safe:
        assert "CVE-2025-23016" in result.stderr and version in result.stderr


@pytest.mark.parametrize("version, safe", [("2.4.5", True), ("2.4.7", True), ("2.4.2", False)])
def test_libfcgi_from_elsewhere(tmp_path, version, safe):
    environ = tools(tmp_path, dpkg_query="exit 1", pkg_config=f"""case $1 in
--modversion) echo {version} ;;
--atleast-version=2.4.5) {str(safe).lower()} ;;
*) exit 2 ;;
esac""")
    result = sh("check-libfcgi", environ=environ)
    assert (result.returncode == 0) == safe
    if not safe:
        assert "CVE-2025-23016" in result.stderr and version in result.stderr


def test_without_apt_get_the_missing_packages_are_named(tmp_path):
    result = sh("need-packages", "build", "test", environ=tools(tmp_path))
    assert result.returncode == 1
    for package in ("gcc", "libev-dev", "libinih-dev", "libfcgi-dev", "python3-dev", "libcmocka-dev", "python3-venv", "wrk",
                    "strace"):
        assert package in result.stderr.split(), package


def test_without_root_and_sudo_they_are_named(tmp_path):
    result = sh("need-packages", "build", environ=tools(tmp_path, apt_get="exit 9", id="echo 1000"))
    assert result.returncode == 1 and "gcc" in result.stderr and "sudo" in result.stderr


def test_nothing_is_installed_when_nothing_is_missing(tmp_path):
    """Any call of apt-get would end with an error here."""
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\nexit 9\n")
    apt.chmod(0o755)
    result = sh("need-packages", "build", "test", environ=dict(os.environ, PATH=f"{tmp_path}:{os.environ['PATH']}"))
    assert (result.returncode, result.stdout) == (0, "")


def make(*words, **how):
    return subprocess.run(["make", "-s", *words], cwd=ROOT, check=True, capture_output=True, text=True, **how)


def test_install_and_uninstall(tmp_path):
    stage = tmp_path / "stage"
    places = [f"DESTDIR={stage}", "PREFIX=/opt/lean"]
    make("install", *places, umask=0o077)
    prefix = stage / "opt/lean"
    hidden = [path for path in prefix.rglob("*") if not path.stat().st_mode & 0o004]
    assert not hidden, "only who has installed it can read it"
    assert list((prefix / "lib/leangate/pyworker/__pycache__").glob("*.pyc")), "bytecode was not compiled"
    assert {page.name for page in (prefix / "share/man").rglob("*.[15]")} == {"leangate.1", "gateway.ini.5"}
    assert "_leangate" in (prefix / "share/bash-completion/completions/leangate").read_text()
    configuration = prefix / "etc/leangate/gateway.ini"
    assert "directory = /opt/lean/share/leangate/examples/hello" in configuration.read_text()

    configuration.write_text(ini({"gateway": {"listen": "127.0.0.1:0"}, "app:hello": app(
        "app:application", directory=prefix / "share/leangate/examples/hello")}))
    changed = configuration.read_text()
    make("install", *places)
    assert configuration.read_text() == changed, "a configuration was overwritten"

    gateway = Gateway(tmp_path, args=["-c", str(configuration)])
    gateway.binary = prefix / "bin/leangate"
    try:
        assert "Hello from Python" in gateway.start().get("/").text
        gateway.stop()
    finally:
        gateway.kill()

    make("uninstall", *places)
    assert [file for file in stage.rglob("*") if file.is_file()] == [configuration]
    configuration.unlink()
    make("install", *places)
    make("uninstall", *places)
    assert not [file for file in stage.rglob("*") if file.is_file()]


@pytest.mark.parametrize("script", ["layers.py", "banned.py"])
def test_who_includes_and_calls_what(script):
    result = subprocess.run([sys.executable, ROOT / "tests/lint" / script], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
