"""`leangate profile APP [/PATH ...]`: what a start of the app and the memory of its worker consist of.

python -c ... LIBRARY DIRECTORY NAME [/PATH ...] -- ARGUMENTS, run by the app's own interpreter in the app's directory and with its
environment. ARGUMENTS are those of a worker, which is started a few times as the gateway does it, and once with --trace. The
flame chart goes into DIRECTORY, under the app's NAME.
"""

import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from html import escape

RUNS = 5
PTH_RUNS = 3
ROWS = 25
SLOW_SITE = 8.0  # milliseconds of site above which it is worth a look
PATIENCE = 60
BEGIN, PARAMS, STDIN, STDOUT, END = 1, 4, 5, 6, 3


APP_BROKEN = 4  # the exit status of leangate -t, too


class Failed(Exception):
    """The app cannot be profiled; its text is for the user."""


def record(kind, body=b""):
    return struct.pack(">BBHHBB", 1, kind, 1, len(body), 0, 0) + body


def pair(name, value):
    lengths = b"".join(bytes([len(x)]) if len(x) < 128 else struct.pack(">I", len(x) | 0x80000000) for x in (name, value))
    return lengths + name + value


def script_of(root, path):
    """The file that the gateway would find for a path, as far as kind files needs it."""
    file = os.path.join(root, path.lstrip("/"))
    tries = file, file.rstrip("/") + ".py", os.path.join(file, "index.py")
    return next(filter(os.path.isfile, tries), file)


def request(root, path):
    """A GET as FastCGI records."""
    path, _, query = path.partition("?")
    variables = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query, "SERVER_NAME": "localhost",
        "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "REQUEST_SCHEME": "http", "REMOTE_ADDR": "127.0.0.1",
        "REQUEST_URI": path + ("?" + query if query else ""), "HTTP_HOST": "localhost", "GATEWAY_INTERFACE": "CGI/1.1",
        "SCRIPT_FILENAME": script_of(root, path), "DOCUMENT_ROOT": root}
    body = b"".join(pair(name.encode(), value.encode()) for name, value in variables.items())
    return (record(BEGIN, struct.pack(">HB5x", 1, 0)) + record(PARAMS, body) + record(PARAMS) + record(STDIN))


class Worker:
    """One worker as the gateway starts it, and when it said what."""

    def __init__(self, arguments, options=()):
        code, *rest = arguments
        self.root = os.path.abspath(rest[-1]) if os.path.isdir(rest[-1]) else os.getcwd()
        self.directory = tempfile.TemporaryDirectory()
        self.address = os.path.join(self.directory.name, "s")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.address)
            listener.listen(16)
            self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.control.settimeout(PATIENCE)
            high = os.dup(listener.fileno()), os.dup(theirs.fileno())
            self.begun = time.perf_counter()
            self.process = subprocess.Popen([sys.executable, "-c", code, *options, *rest], close_fds=False, stdout=subprocess.DEVNULL,
                                            preexec_fn=lambda: (os.dup2(high[0], 0), os.dup2(high[1], 3)))
            theirs.close()
            for fd in high:
                os.close(fd)
        self.up = self.ready = self.kind = None
        self.import_us = 0

    def wait_ready(self):
        while self.ready is None:
            message = self.control.recv(65536).decode("utf-8", "replace")
            if message.startswith("READY "):
                self.ready = time.perf_counter()
                self.kind, _, _, took = message.split()[1:]
                self.import_us = int(took)
            elif message == "START":
                self.up = time.perf_counter()
            elif message.startswith("FAILED"):
                raise Failed(message.partition("\n")[2])
            elif not message:
                raise Failed("the worker ended before it was ready")
        return self

    def ask(self, path):
        """(seconds, the first line of the answer)."""
        begun = time.perf_counter()
        with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rb") as answer:
            connection.settimeout(PATIENCE)
            connection.connect(self.address)
            connection.sendall(request(self.root, path))
            output = b""
            while True:
                head = answer.read(8)
                if len(head) < 8:
                    raise Failed("no answer to %s" % path)
                _, kind, _, length, padding, _ = struct.unpack(">BBHHBB", head)
                body = answer.read(length + padding)[:length]
                output += body if kind == STDOUT else b""
                if kind == END:
                    return time.perf_counter() - begun, output.partition(b"\r\n")[0].decode("latin-1")

    def private(self):
        """Bytes of memory that are this process's own; in mode fork also what copies of it share with it."""
        with open("/proc/%d/smaps_rollup" % self.process.pid) as rollup:
            return sum(int(line.split()[1]) for line in rollup if line.startswith(("Private_Dirty", "Shared_Dirty"))) * 1024

    def stop(self):
        self.control.send(b"STOP")
        self.process.wait(PATIENCE)
        self.end()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.control.close()
        self.directory.cleanup()


def median_ms(values):
    return 1e3 * statistics.median(values)


def run_plain(arguments):
    """Seconds of the interpreter with these arguments."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def measure(arguments, paths):
    """The parts of a start as (what, milliseconds), the bytes of memory of a warm worker, and whether it runs scripts."""
    up, imports, rest, first, memory = [], [], [], [], 0
    bare, full = ["-I", "-S", "-c", "import os; os._exit(0)"], ["-c", "import os; os._exit(0)"]
    plain = [], [], []
    for number in range(RUNS + 1):
        worker = Worker(arguments)
        try:
            worker.wait_ready()
            took, _ = worker.ask(paths[0])
            memory = worker.private()
            worker.stop()
        finally:
            worker.end()
        if number > 0:  # the first may have to compile
            up.append(worker.up - worker.begun)
            imports.append(worker.import_us / 1e6)
            rest.append(worker.ready - worker.up - worker.import_us / 1e6)
            first.append(took)
            for times, options in zip(plain, (["-V"], bare, full)):  # between the others: whatever slows one of them slows all
                times.append(run_plain(options))
    spawn, without_site, with_site = map(median_ms, plain)
    interpreter, site = max(without_site - spawn, 0), max(with_site - without_site, 0)
    parts = [("spawn (fork, exec, libraries)", spawn), ("interpreter", interpreter), ("site", site),
             ("worker", max(median_ms(up) - spawn - interpreter - site, 0) + max(median_ms(rest), 0)),
             ("import", median_ms(imports)), ("first answer (%s)" % paths[0], median_ms(first))]
    return parts, memory, worker.kind in ("cgi", "files")


def trace(arguments, paths, scripts):
    """What one traced worker has seen, and the answers to the paths. Scripts run in the worker itself, not in copies of it."""
    if scripts:
        arguments = arguments[:-1] + ["--mode", "persistent", arguments[-1]]
    with tempfile.TemporaryDirectory() as directory:
        file = os.path.join(directory, "trace")
        worker = Worker(arguments, ["--trace", file])
        try:
            worker.wait_ready()
            answers = [(path, *worker.ask(path)) for path in paths]
            worker.stop()
        finally:
            worker.end()
        with open(file) as found:
            return json.load(found), answers


def without_children(imports):
    """[(name, self nanoseconds, nanoseconds, self bytes, bytes)]"""
    inner = [[0, 0] for _ in imports]
    for _, parent, _, took, memory in imports:
        if parent >= 0:
            inner[parent][0] += took
            inner[parent][1] += memory
    return [(name, took - spent, took, memory - kept, memory)
            for (name, _, _, took, memory), (spent, kept) in zip(imports, inner)]


def tell_parts(parts, memory):
    whole = sum(took for _, took in parts)
    print("A start, median of %d: %.0f ms from spawn to the first answer" % (RUNS, whole))
    for name, took in parts:
        print("  %-30s %7.1f ms  %3.0f %%  %s" % (name, took, 100 * took / whole, "#" * round(40 * took / whole)))
    print("Memory of the worker after it: %.1f MB private\n" % (memory / 1e6))


def tell_imports(rows):
    print("Imports, worst first (of %d; with the modules that each imports in turn)" % len(rows))
    print("  self ms  with ms  self KB  with KB  module")
    for name, own, took, kept, memory in sorted(rows, key=lambda row: -row[1])[:ROWS]:
        print("  %7.1f  %7.1f  %7d  %7d  %s" % (own / 1e6, took / 1e6, kept / 1024, memory / 1024, name))
    print()


def pth_files():
    """[(milliseconds, file)] of .pth files that run code, each tried in an interpreter of its own."""
    found = []
    for directory in filter(os.path.isdir, sys.path):
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            if not name.endswith(".pth") or "site-packages" not in directory and "dist-packages" not in directory:
                continue
            with open(path, errors="replace") as lines:
                if not any(line.startswith(("import ", "import\t")) for line in lines):
                    continue
            code = ("import sys, time, site; sys.path.append(%r); t = time.perf_counter(); site.addpackage(%r, %r, set()); "
                    "print((time.perf_counter() - t) * 1e3)" % (directory, directory, name))
            results = [subprocess.run([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                       for _ in range(PTH_RUNS)]
            found.append((min(float(one.stdout.split()[-1]) if one.returncode == 0 else 0.0 for one in results), path))
    return sorted(found, reverse=True)


def unused(seen, rows):
    """[(self nanoseconds, modules, package)] of packages of which no module ran code in the requests, worst first."""
    touched = {name.partition(".")[0] for name in seen["touched"]}
    packages = {}
    for name, own, _, _, _ in rows:
        top = name.partition(".")[0]
        if top not in touched and not top.startswith("pyworker"):
            spent, count = packages.get(top, (0, 0))
            packages[top] = spent + own, count + 1
    return sorted(((spent, count, top) for top, (spent, count) in packages.items()), reverse=True)


def tell_conclusions(parts, seen, rows, answers):
    print("What follows")
    missing = [name for name in seen["missing"] if not name.startswith("pyworker.")]
    if missing:
        print("  %d module%s without bytecode (%s): run python -m compileall, or let the worker keep it (cache_dir)"
              % (len(missing), "s" * (len(missing) > 1), ", ".join(missing[:3]) + " ..." * (len(missing) > 3)))
    site = dict(parts)["site"]
    for took, path in pth_files():
        if took > 1 or site > SLOW_SITE:
            print("  %s costs every start of this Python %.1f ms" % (path, took))
    spare = [row for row in unused(seen, rows) if row[0] > 1e6]
    print("  Requests: " + "; ".join("%s: %s in %.1f ms" % (path, line, took * 1e3) for path, took, line in answers))
    for spent, count, top in spare[:10]:
        print("  %s (%d module%s, %.1f ms): nothing of it ran in these requests" % (top, count, "s" * (count > 1), spent / 1e6))
    if not spare:
        print("  every package that takes more than a millisecond ran in these requests")


def tell_preload(imports, known):
    """What scripts import themselves, which each copy of the worker does anew."""
    costly = [(took, name) for name, parent, _, took, _ in imports
              if parent < 0 and took > 1e6 and name not in known and not name.startswith("pyworker")]
    for took, name in sorted(costly, reverse=True)[:10]:
        print("  every request that imports %s waits %.1f ms for it: preload = %s" % (name, took / 1e6, name))


def color(name):
    """The same for all modules of a package, from red to yellow; in the form that every viewer of SVG knows."""
    seed = sum(ord(letter) * (index + 7) for index, letter in enumerate(name.partition(".")[0]))
    return "#ff%02x%02x" % (110 + seed % 120, 60 + seed % 60)


def label(name, width):
    """As much of a name as there is room for."""
    return next((text for text in (name, name.rpartition(".")[2]) if len(text) * 7 + 6 < width), "")


def flame_chart(imports):
    """The imports as SVG: time goes to the right, what a module imports stands below it."""
    width, height = 1200, 18
    begin = min((start for _, _, start, _, _ in imports), default=0)
    end = max((start + took for _, _, start, took, _ in imports), default=1)
    scale = width / max(end - begin, 1)
    depths, boxes = [], []
    for name, parent, start, took, memory in imports:
        depths.append(depths[parent] + 1 if parent >= 0 else 0)
        x, w, y = (start - begin) * scale, took * scale, depths[-1] * height + 30
        if w < 0.2:
            continue
        text = label(name, w)
        boxes.append('<g><title>%s: %.1f ms, %d KB</title><rect x="%.2f" y="%d" width="%.2f" height="%d" fill="%s"/>%s</g>'
                     % (escape(name), took / 1e6, memory // 1024, x, y, w, height - 1, color(name),
                        '<text x="%.1f" y="%d">%s</text>' % (x + 3, y + 13, escape(text)) if text else ""))
    tall = (max(depths, default=0) + 1) * height + 40
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="monospace" font-size="11">'
            '<rect width="100%%" height="100%%" fill="#fff"/><text x="4" y="18">imports: %.0f ms from left to right, traced</text>%s</svg>\n'
            % (width, tall, (end - begin) / 1e6, "".join(boxes)))


def main():
    directory, name, *rest = sys.argv[2:]
    mark = rest.index("--")
    paths, arguments = rest[:mark] or ["/"], rest[mark + 2 :]
    try:
        parts, memory, scripts = measure(arguments, paths)
        seen, answers = trace(arguments, paths, scripts)
    except (Failed, OSError, subprocess.SubprocessError) as error:
        print("leangate: the app cannot be profiled: %s" % str(error).strip(), file=sys.stderr)
        sys.exit(APP_BROKEN if isinstance(error, Failed) else 1)
    rows = without_children(seen["imports"])
    tell_parts(parts, memory)
    tell_imports(rows)
    tell_conclusions(parts, seen, rows, answers)
    if scripts:
        tell_preload(seen["imports"], {after for option, after in zip(arguments, arguments[1:]) if option == "--preload"})
    file = os.path.join(directory, "profile-%s.svg" % name)
    try:
        with open(file, "w") as out:
            out.write(flame_chart(seen["imports"]))
        print("  %s shows the imports as a flame chart" % file)
    except OSError as error:
        print("  no flame chart: %s: %s; run this in a directory that user %d may write to" % (file, error.strerror, os.geteuid()))


try:
    main()
    sys.stdout.flush()
except BrokenPipeError:  # of `| head`
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
except KeyboardInterrupt:
    sys.exit(130)
