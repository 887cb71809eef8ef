"""One application with a route for everything that a test wants of an app."""

import hashlib
import json
import os
import signal
import sys
import threading
import time
from urllib.parse import parse_qsl


def plain(start_response, text, status="200 OK", headers=()):
    body = text if isinstance(text, bytes) else text.encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), *headers])
    return [body]


def environ_(environ, start_response, query):
    texts = {key: value for key, value in environ.items() if isinstance(value, str)}
    return plain(start_response, json.dumps(texts))


def process_environ(environ, start_response, query):
    return plain(start_response, json.dumps(dict(os.environ)))


def descriptors(environ, start_response, query):
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass
    return plain(start_response, json.dumps(found))


def pid(environ, start_response, query):
    return plain(start_response, str(os.getpid()))


def echo(environ, start_response, query):
    return plain(start_response, environ["wsgi.input"].read())


def checksum(environ, start_response, query):
    """The body's length and sha256; reads in pieces."""
    digest, length = hashlib.sha256(), 0
    while piece := environ["wsgi.input"].read(10000):
        digest.update(piece)
        length += len(piece)
    return plain(start_response, f"{length} {digest.hexdigest()}")


def unread(environ, start_response, query):
    return plain(start_response, "not looked at")


def big(environ, start_response, query):
    """`size` bytes that tell where they stand, in pieces of `piece`; with a length unless `chunked`."""
    size, piece = int(query["size"]), int(query.get("piece", 65536))
    headers = [("Content-Type", "application/octet-stream")]
    if "chunked" not in query:
        headers.append(("Content-Length", str(size)))
    start_response("200 OK", headers)
    pattern = bytes(range(251)) * (piece // 251 + 2)
    return (pattern[at % 251:at % 251 + min(piece, size - at)] for at in range(0, size, piece))


def wait(environ, start_response, query):
    """Says `FILE.here` by making that file, and answers when FILE is there."""
    open(query["file"] + ".here", "w").close()
    while not os.path.exists(query["file"]):
        time.sleep(0.005)
    return plain(start_response, "waited")


def drip(environ, start_response, query):
    """A piece at once, the next when FILE is there."""
    start_response("200 OK", [("Content-Type", "text/plain")])

    def pieces():
        yield b"first"
        while not os.path.exists(query["file"]):
            time.sleep(0.005)
        yield b"second"

    return pieces()


def hang(environ, start_response, query):
    time.sleep(3600)


def status(environ, start_response, query):
    start_response(query["is"], [])
    return []


def header(environ, start_response, query):
    """One header that makes the whole block, with its empty line, `size` bytes long."""
    head = "Status: 204 No Content\r\nX-Fill: \r\n\r\n"
    start_response("204 No Content", [("X-Fill", "x" * (int(query["size"]) - len(head)))])
    return []


def print_(environ, start_response, query):
    print("a line on stdout")
    print("a line on stderr", file=sys.stderr)
    print("a line on wsgi.errors", file=environ["wsgi.errors"])
    return plain(start_response, "printed")


def raise_(environ, start_response, query):
    raise ValueError("raised before the head")


def raise_late(environ, start_response, query):
    start_response("200 OK", [("Content-Type", "text/plain")])

    def pieces():
        yield b"half"
        raise ValueError("raised behind the head")

    return pieces()


def die(environ, start_response, query):
    """At once, or (late) behind the first piece; once only, if `once` is a file to remember it by."""
    if "once" in query:
        if os.path.exists(query["once"]):
            return plain(start_response, "survived")
        open(query["once"], "w").close()
    if "late" not in query:
        end(query)
    start_response("200 OK", [("Content-Type", "text/plain")])

    def pieces():
        yield b"half"
        time.sleep(0.2)
        end(query)

    return pieces()


def end(query):
    if "signal" in query:
        os.kill(os.getpid(), int(query["signal"]))
        time.sleep(3600)
    os._exit(7)


def subprocess_(environ, start_response, query):
    """Leaves a process behind that would live for long."""
    child = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "3600")
    return plain(start_response, str(child))


def stubborn(environ, start_response, query):
    """Does not let itself be stopped from now on."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return plain(start_response, "stubborn")


def eat(environ, start_response, query):
    """Keeps `size` bytes for good."""
    EATEN.append(b"x" * int(query["size"]))
    return plain(start_response, str(os.getpid()))


EATEN = []


def modules(environ, start_response, query):
    return plain(start_response, "\n".join(sorted(sys.modules)))


ROUTES = {
    "/environ": environ_, "/process-environ": process_environ, "/descriptors": descriptors, "/pid": pid, "/echo": echo,
    "/checksum": checksum, "/unread": unread, "/big": big, "/wait": wait, "/drip": drip, "/hang": hang,
    "/status": status, "/header": header, "/print": print_, "/raise": raise_, "/raise-late": raise_late, "/die": die,
    "/subprocess": subprocess_, "/stubborn": stubborn, "/modules": modules, "/eat": eat,
}


def application(environ, start_response):
    query = dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
    route = ROUTES.get(environ["PATH_INFO"])
    if route is None:
        return plain(start_response, f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
    return route(environ, start_response, query)
