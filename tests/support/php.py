"""PHP and Perl as FastCGI servers: what tests/support/need-servers has unpacked, or the machine's own."""

import subprocess
import time
from pathlib import Path

from webservers import UNPACKED

PATIENCE = 20

# What phpMyAdmin loads (posix: what the tests do), in the order in which one needs the other.
EXTENSIONS = ["ctype", "posix", "iconv", "mbstring", "gettext", "tokenizer", "xml", "dom", "simplexml", "xmlwriter", "mysqlnd",
              "mysqli"]


def find(pattern):
    """The one file of that pattern, unpacked or the machine's."""
    for root in (UNPACKED, Path("/")):
        found = sorted(root.glob(pattern))
        if found:
            return found[-1]
    raise AssertionError(f"{pattern} is missing: tests/support/need-servers build/servers")


def libraries():
    return ":".join(str(path) for part in ("usr/lib", "lib") for path in (UNPACKED / part).glob("*-linux-*"))


def environ():
    """What everything unpacked needs to find the rest of it."""
    return {"LD_LIBRARY_PATH": libraries(),
            "PERL5LIB": ":".join(str(path) for path in (UNPACKED / "usr/lib").glob("*-linux-*/perl5/*"))}


def env_lines():
    """The same as lines of an app's `env`."""
    return [f"{name}={value}" for name, value in environ().items()]


def cgi():
    return str(find("usr/bin/php-cgi[0-9]*"))


def phpmyadmin():
    """The directory with its index.php."""
    return find("usr/share/phpmyadmin/index.php").parent


def write_ini(directory):
    """A php.ini that knows the extensions, wherever each is, and nothing of the machine's own: its path."""
    libraries = {find("usr/share/php/Twig/autoload.php").parents[1], find("usr/share/php/Psr/Log/autoload.php").parents[2]}
    session = directory / "sessions"
    session.mkdir(exist_ok=True)
    lines = [*(f"extension={find(f'usr/lib/php/*/{name}.so')}" for name in EXTENSIONS),
             "include_path=.:" + ":".join(str(path) for path in libraries), f"session.save_path={session}",
             "display_errors=0", "log_errors=1", "cgi.fix_pathinfo=1"]
    path = directory / "php.ini"
    path.write_text("\n".join(lines) + "\n")
    return path


class Fpm:
    """php-fpm with one pool, listening at `listen` as its own configuration has it (a path, or host:port)."""

    def __init__(self, directory, listen, children=2):
        self.directory = directory
        self.listen = listen
        configuration = directory / "fpm.conf"
        self.log = directory / "fpm.log"
        configuration.write_text(
            f"[global]\nerror_log = {self.log}\ndaemonize = no\n[www]\nlisten = {listen}\npm = static\n"
            f"pm.max_children = {children}\ncatch_workers_output = yes\nclear_env = no\n")
        command = [find("usr/sbin/php-fpm[0-9]*"), "--nodaemonize", "--allow-to-run-as-root", "-y", configuration,
                   "-c", write_ini(directory)]
        self.process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL,
                                        env={"PATH": "/usr/bin:/bin", "PHP_INI_SCAN_DIR": ""} | environ())
        deadline = time.monotonic() + PATIENCE
        while "ready to handle connections" not in self.words():
            assert self.process.poll() is None and time.monotonic() < deadline, self.words()
            time.sleep(0.02)

    def words(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
