"""A worker that misbehaves by a script: what a correct FastCGI library would never do.

The gateway starts it like an interpreter (`python = .../fakeworker.sh`, made by install()): the listening socket is
fd 0, the control channel fd 3, the arguments are ignored. $FAKEWORKER names the scripts: the first start plays the first
one, the next start the next, the last one repeats. $FAKEWORKER_JOURNAL is a file that tells the test what happened, a
line for each: `start SCRIPT PID`, `request METHOD PATH BODY_LENGTH`, `stacks`, `sent`,
`stop`.
"""

import ctypes
import os
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR = range(1, 8)
COMPLETE, CANT_MPX_CONN, OVERLOADED, UNKNOWN_ROLE = range(4)

HEAD = b"Content-Type: text/plain\r\n\r\n"


# --- the test's side


def install(directory, *scripts):
    """Writes the wrapper into directory; the value for `python`. The journal is directory/journal."""
    wrapper = directory / "fakeworker.sh"
    wrapper.write_text(f"#!/bin/sh\nFAKEWORKER='{' '.join(scripts)}' FAKEWORKER_JOURNAL='{directory}/journal' "
                       f"exec '{sys.executable}' -S -E '{Path(__file__).resolve()}' \"$@\"\n")
    wrapper.chmod(0o755)
    return str(wrapper)


def journal(directory, word=""):
    """The journal's lines that begin with a word."""
    file = directory / "journal"
    return [line for line in file.read_text().splitlines() if line.startswith(word)] if file.exists() else []


# --- records


def record(kind, content=b"", id=1, padding=0, version=1):
    return struct.pack("!BBHHBB", version, kind, id, len(content), padding, 0) + content + b"\0" * padding


def end(id, status=COMPLETE):
    return record(END, struct.pack("!IB3x", 0, status), id)


def pairs(data):
    """FastCGI name-value pairs as a dict."""
    found, position = {}, 0

    def length():
        nonlocal position
        if data[position] < 128:
            position += 1
            return data[position - 1]
        position += 4
        return struct.unpack("!I", data[position - 4:position])[0] & 0x7FFFFFFF

    while position < len(data):
        name, value = length(), length()
        found[data[position:position + name].decode()] = data[position + name:position + name + value].decode("latin-1")
        position += name + value
    return found


class Peer:
    """One connection from the gateway and the request on it."""

    def __init__(self, connection):
        self.connection = connection
        self.id, self.params, self.body = 0, {}, b""

    def read(self, count):
        data = b""
        while len(data) < count:
            piece = self.connection.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def read_record(self):
        _, kind, id, content, padding = struct.unpack("!BBHHBx", self.read(8))
        data = self.read(content)
        self.read(padding)
        return kind, id, data

    def read_params(self):
        kind, self.id, _ = self.read_record()
        assert kind == BEGIN, kind
        data = b""
        while (piece := self.expect(PARAMS)) != b"":
            data += piece
        self.params, self.body = pairs(data), b""

    def read_body(self):
        while (piece := self.expect(STDIN)) != b"":
            self.body += piece

    def expect(self, wanted):
        kind, id, data = self.read_record()
        assert (kind, id) == (wanted, self.id), (kind, id)
        return data

    def send(self, *records):
        self.connection.sendall(b"".join(records))

    def out(self, content, **more):
        return record(STDOUT, content, self.id, **more)

    def answer(self, body=b"good", head=HEAD):
        self.send(self.out(head + body), self.out(b""), end(self.id))


# --- scripts: each is given a Peer whose request was read; when it returns, the connection goes on


def good(peer):
    peer.answer(b"good %d" % len(peer.body))


def half_header(peer):
    peer.send(record(STDOUT, b"x", peer.id)[:4])
    time.sleep(3600)


def silence(peer):
    time.sleep(3600)


def end_without_stdout(peer):
    peer.send(end(peer.id))


def empty_stdout(peer):
    peer.send(peer.out(b""), end(peer.id))


def no_empty_stdout(peer):
    peer.send(peer.out(HEAD + b"good"), end(peer.id))


def wrong_version(peer):
    peer.send(peer.out(HEAD + b"bad", version=9), end(peer.id))


def wrong_id(peer):
    peer.send(record(STDOUT, HEAD + b"bad", peer.id + 1), end(peer.id + 1))


def garbage(peer):
    peer.send(os.urandom(1) + b"\xffHTTP/1.1 200 OK\r\n\r\n" * 1000)


def wrong_length(peer):
    peer.send(struct.pack("!BBHHBB", 1, STDOUT, peer.id, 65535, 255, 0) + b"X-Short: ")
    time.sleep(3600)


def full_records(peer):
    peer.send(peer.out(HEAD), *(peer.out(bytes([65 + n]) * 65535, padding=255) for n in range(4)),
              peer.out(b""), end(peer.id))


def byte_by_byte(peer):
    for byte in peer.out(HEAD + b"good", padding=7) + peer.out(b"") + end(peer.id):
        peer.send(bytes([byte]))


def management(peer):
    peer.send(record(10, b"\0" * 16, 0), record(200, b"?" * 300, 0, padding=5))
    peer.answer()


def stderr_flood(peer):
    for _ in range(64):
        peer.send(record(STDERR, b"flood " * 2730 + b"\n", peer.id))
    peer.answer()


def endless_header(peer):
    while True:
        peer.send(peer.out(b"X-More: " + b"x" * 1000 + b"\r\n"))


def no_header_end(peer):
    peer.send(peer.out(b"Content-Type: text/plain\r\n"), peer.out(b""), end(peer.id))


def bad_status(peer):
    peer.answer(head=b"Status: 99\r\n\r\n")


def tight_head(peer):
    """Written as HTTP it has half as many bytes more."""
    peer.answer(head=b"a:b\n" * 16_000 + b"\n")


def split_head(peer):
    peer.answer(head=b"X-A: 1\r\nX-B: a\rb\r\n\r\n")


def smuggled_framing(peer):
    peer.answer(head=b"Transfer-Encoding: chunked\r\nConnection: upgrade, x-hop\r\nX-Hop: 1\r\nX-Kept: 1\r\n\r\n")


def short_length(peer):
    peer.answer(b"short", head=b"Content-Length: 10\r\n\r\n")


def long_length(peer):
    peer.answer(b"toolong", head=b"Content-Length: 3\r\n\r\n")


def death_before(peer):
    os._exit(1)


def death_mid_head(peer):
    peer.send(peer.out(b"X-Half: "))
    os._exit(1)


def death_mid_body(peer):
    peer.send(peer.out(HEAD + b"half"))
    os._exit(1)


def close_without_end(peer):
    peer.send(peer.out(HEAD + b"half"))
    peer.connection.close()


def close_after_stdout(peer):
    peer.send(peer.out(HEAD + b"good"), peer.out(b""))
    peer.connection.close()


def stdout_after_end(peer):
    peer.answer()
    peer.send(peer.out(b"more"))


def overloaded(peer):
    peer.send(end(peer.id, OVERLOADED))


def leaves(peer):
    """One answer; then a worker that refuses and ends by itself, as pyworker does when the sources have changed. The
    gateway stands still, so that it hears all of that at once."""
    if answered:
        os.kill(os.getppid(), signal.SIGSTOP)
        note("leaves")
        overloaded(peer)
        os._exit(0)
    answered.append(peer)
    good(peer)


def leaves_on_cue(peer):
    """The same, when a file says so: until then more can come for a worker that is about to leave."""
    os.kill(os.getppid(), signal.SIGSTOP)
    note("leaves")
    while not os.path.exists("cue"):
        time.sleep(0.001)
    overloaded(peer)
    os._exit(0)


def drops_and_errs(peer):
    """It closes one connection under its request and lives on; on the other comes garbage when a file says so."""
    if peer.params["REQUEST_URI"] == "/drop":
        peer.connection.close()
        return
    while not os.path.exists("cue"):
        time.sleep(0.001)
    garbage(peer)


def one_errs(peer):
    """Garbage on one connection while another has a request."""
    if peer.params["REQUEST_URI"] == "/err":
        garbage(peer)
    time.sleep(3600)


def slow(peer):
    """The request /1 waits for a cue."""
    time.sleep(0.3)
    while peer.params["REQUEST_URI"] == "/1" and not os.path.exists("cue"):
        time.sleep(0.001)
    peer.answer()


def stops_reading(peer):
    """As a worker that ends by itself: from here on nothing can be delivered, and nobody knows yet."""
    socket.socket(fileno=os.dup(0)).shutdown(socket.SHUT_RDWR)
    peer.connection.shutdown(socket.SHUT_RD)  # before the next request can be on its way
    peer.answer()
    time.sleep(0.5)
    os._exit(0)


def dying(peer):
    """As one that the kernel ends: its memory and its connections are gone, its listening socket not yet."""
    if leave.is_set():
        peer.connection.close()
        return
    peer.connection.shutdown(socket.SHUT_RD)  # before the next request can be on its way
    peer.answer()
    leave.set()
    time.sleep(3600)


def nonsense_control(peer):
    control.send(b"WHAT IS THIS")
    time.sleep(3600)


def ignores_stop(peer):
    peer.answer()


def early(peer):
    """Played before the body is read: see UNREAD. As pyworker does it: nothing can be sent to it from the end on."""
    peer.connection.shutdown(socket.SHUT_RD)
    peer.answer(b"early")
    peer.connection.close()


def fork(peer):
    """Mode fork, by the path: each connection stands for a copy, which is gone when it is closed."""
    copies[peer.id] = peer
    act = peer.params["REQUEST_URI"].strip("/")
    if act in ("silence", "deaf"):
        time.sleep(3600)
    elif act == "garbage":
        peer.send(b"\xff" * 1000)
        time.sleep(3600)
    elif act == "half":
        peer.send(peer.out(HEAD + b"half"))
    elif act != "death":
        peer.answer()
    if act == "lingers":
        time.sleep(0.4)
    while act == "stays" and not os.path.exists("cue"):
        time.sleep(0.001)
    peer.connection.shutdown(socket.SHUT_RDWR)


def crumbs(peer):
    """Many pieces of one byte each."""
    peer.send(peer.out(HEAD), peer.out(b"x") * 1_000_000, peer.out(b""), end(peer.id))
    note("sent")


def ready_at_last(peer):
    """Its start is late_ready; the second request is its end."""
    if answered:
        os._exit(3)
    answered.append(peer.id)
    peer.answer()


def crosses_stop(peer):
    """Its start waits for a cue, too, and it hears no STOP before the end of its request."""
    while not os.path.exists("go"):
        time.sleep(0.001)
    peer.answer(b"finished")
    os._exit(0)


SCRIPTS = {function.__name__.replace("_", "-"): function for function in (
    good, half_header, silence, end_without_stdout, empty_stdout, no_empty_stdout, wrong_version, wrong_id, garbage,
    wrong_length, full_records, byte_by_byte, management, stderr_flood, endless_header, no_header_end, bad_status, split_head,
    smuggled_framing, short_length, long_length, death_before, death_mid_head, death_mid_body, close_without_end,
    close_after_stdout, stdout_after_end, overloaded, leaves, leaves_on_cue, drops_and_errs, one_errs, slow, stops_reading, dying,
    nonsense_control, ignores_stop, early, fork, crumbs, tight_head, ready_at_last, crosses_stop)}
UNREAD = {early}

MODES = {"fork": ("fork", 4), "leaves-on-cue": ("persistent", 2), "drops-and-errs": ("persistent", 2),
         "one-errs": ("persistent", 2)}

# Scripts about the start, played before any connection; but for late_ready they do not return.


def never_ready():
    time.sleep(3600)


def exits_at_once():
    os._exit(3)


def fails():
    control.send(b"FAILED\nNo module named 'nowhere'\nTraceback (most recent call last):\n  the traceback\n")
    os._exit(1)


def fails_on_cue():
    note("waits")
    while not os.path.exists("cue"):
        time.sleep(0.001)
    fails()


def ready_on_cue():
    while not os.path.exists("cue"):
        time.sleep(0.001)


def hangs_up():
    os.close(0)  # the listening socket
    time.sleep(3600)


def late_ready():
    signal.pause()  # start_timeout is over, and the gateway asks for the stacks


STARTS = {"never-ready": never_ready, "ready-at-last": late_ready, "exits-at-once": exits_at_once, "fails": fails,
          "fails-on-cue": fails_on_cue, "hangs-up": hangs_up, "crosses-stop": ready_on_cue}


# --- the worker's side

control = None
answered = []  # scripts leaves, ready-at-last
leave = threading.Event()  # script dying
copies = {}  # mode fork: the peer of each slot


def note(line):
    with open(os.environ["FAKEWORKER_JOURNAL"], "a") as file:
        file.write(line + "\n")


def serve(connection, script):
    peer = Peer(connection)
    try:
        while connection.fileno() >= 0:
            peer.read_params()
            if script not in UNREAD:
                peer.read_body()
            note(f"request {peer.params['REQUEST_METHOD']} {peer.params['REQUEST_URI']} {len(peer.body)}")
            script(peer)
    except (EOFError, OSError):
        connection.close()


def kill(slot):
    note(f"kill {slot}")
    if copies[slot].params["REQUEST_URI"] != "/deaf":
        copies[slot].connection.shutdown(socket.SHUT_RDWR)


def listen(script):
    listener = socket.socket(fileno=os.dup(0))
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # shut down
            return
        threading.Thread(target=serve, args=(connection, script), daemon=True).start()


def main():
    global control
    control = socket.socket(fileno=3)
    scripts = os.environ["FAKEWORKER"].split()
    before = len(journal(Path(os.environ["FAKEWORKER_JOURNAL"]).parent, "start"))
    name = scripts[min(before, len(scripts) - 1)]
    note(f"start {name} {os.getpid()}")
    signal.signal(signal.SIGRTMAX - 1, lambda *_: note("stacks"))
    control.send(b"START")
    if name in STARTS:
        STARTS[name]()
    mode, concurrency = MODES.get(name, ("persistent", 1))
    control.send(f"READY wsgi {mode} {concurrency} 1000".encode())
    threading.Thread(target=listen, args=(SCRIPTS[name],), daemon=True).start()
    if name == "dying":
        leave.wait()
        ctypes.CDLL(None).pthread_exit(None)  # the first thread's end is what /proc tells of the process
    while (message := control.recv(65536)) not in (b"", b"STOP"):
        if message.startswith(b"KILL "):
            kill(int(message[5:]))
    note("stop")
    if message and name in ("ignores-stop", "crosses-stop"):
        time.sleep(3600)
    os._exit(0)


if __name__ == "__main__":
    main()
