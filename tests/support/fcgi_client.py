"""A FastCGI client after the specification 1.0, written for the tests alone: it shares no code with what it tests, keeps
every record that it gets in order, and can send records that a sane web server would not."""

import socket
import struct

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR, DATA, GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE = range(1, 12)
RESPONDER, AUTHORIZER, FILTER = 1, 2, 3
KEEP_CONN = 1
REQUEST_COMPLETE, CANT_MPX_CONN, OVERLOADED, UNKNOWN_ROLE = range(4)
HEADER = struct.Struct(">BBHHBx")
CONTENT_MAX = 65535


class ProtocolError(Exception):
    """What came is no FastCGI, or not in order."""


def record(kind, request_id, content=b"", padding=0, version=1):
    return HEADER.pack(version, kind, request_id, len(content), padding) + content + b"\0" * padding


def stream(kind, request_id, data, size=CONTENT_MAX, padding=0):
    """A stream as records of at most `size` bytes, with the empty one that ends it."""
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    return b"".join(record(kind, request_id, piece, padding) for piece in pieces) + record(kind, request_id)


def length(n):
    return bytes([n]) if n < 128 else struct.pack(">I", n | 0x80000000)


def pairs(params):
    out = []
    for name, value in params.items():
        name = name.encode("latin-1") if isinstance(name, str) else name
        value = value.encode("latin-1") if isinstance(value, str) else value
        out.append(length(len(name)) + length(len(value)) + name + value)
    return b"".join(out)


def parse_pairs(data):
    """The inverse of pairs(), as {bytes: bytes}."""
    out, at = {}, 0
    while at < len(data):
        sizes = []
        for _ in range(2):
            if data[at] < 128:
                sizes.append(data[at])
                at += 1
            else:
                sizes.append(struct.unpack_from(">I", data, at)[0] & 0x7FFFFFFF)
                at += 4
        name, at = data[at : at + sizes[0]], at + sizes[0]
        out[name], at = data[at : at + sizes[1]], at + sizes[1]
    return out


def begin(request_id, role=RESPONDER, flags=KEEP_CONN):
    return record(BEGIN, request_id, struct.pack(">HB5x", role, flags))


def request(params, body=b"", request_id=1, flags=KEEP_CONN, role=RESPONDER, size=CONTENT_MAX, padding=0):
    return (
        begin(request_id, role, flags)
        + stream(PARAMS, request_id, pairs(params), size, padding)
        + stream(STDIN, request_id, body, size, padding)
    )


def cgi_params(method="GET", path="/", body=b"", query="", **extra):
    """The variables that a gateway sends, in their usual number."""
    params = {
        "REQUEST_METHOD": method,
        "REQUEST_URI": path + ("?" + query if query else ""),
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8000",
        "SERVER_SOFTWARE": "test",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_SCHEME": "http",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "40000",
        "HTTP_HOST": "localhost:8000",
        "HTTP_USER_AGENT": "test",
        "HTTP_ACCEPT": "*/*",
    }
    if body:
        params["CONTENT_LENGTH"] = str(len(body))
    params.update(extra)
    return params


class Answer:
    """One answer: its records in order as (type, content), and what they add up to."""

    def __init__(self):
        self.records = []
        self.app_status = self.protocol_status = None

    @property
    def stdout(self):
        return b"".join(content for kind, content in self.records if kind == STDOUT)

    @property
    def stdout_ended(self):
        return (STDOUT, b"") in self.records

    @property
    def head(self):
        return self.stdout.partition(b"\r\n\r\n")[0].decode("latin-1")

    @property
    def status(self):
        first = self.head.split("\r\n")[0]
        assert first.startswith("Status: "), self.stdout[:200]
        return first[len("Status: ") :]

    @property
    def headers(self):
        return [tuple(line.split(": ", 1)) for line in self.head.split("\r\n")[1:]]

    def header(self, name):
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) < 2, values
        return values[0] if values else None

    @property
    def body(self):
        return self.stdout.partition(b"\r\n\r\n")[2]


class Connection:
    """One connection to a FastCGI application."""

    def __init__(self, address, timeout=20):
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.socket.connect(address)  # blocking: with a timeout a full backlog of a unix socket is an error at once
        self.socket.settimeout(timeout)
        self.data = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def read_exactly(self, n):
        """n bytes; ProtocolError when the connection ends inside of them, EOFError before them."""
        while len(self.data) < n:
            chunk = self.socket.recv(262144)
            if not chunk:
                raise ProtocolError("end inside a record") if self.data else EOFError
            self.data += chunk
        taken, self.data = self.data[:n], self.data[n:]
        return taken

    def read_record(self):
        """(type, request id, content)."""
        version, kind, request_id, size, padding = HEADER.unpack(self.read_exactly(HEADER.size))
        if version != 1:
            raise ProtocolError("version %d" % version)
        content = self.read_exactly(size + padding)[:size] if size + padding else b""
        return kind, request_id, content

    def read_until(self, answer, stop, request_id=1):
        """Add records to the answer up to the first that `stop(kind, content)` accepts; check their order."""
        while True:
            kind, got_id, content = self.read_record()
            if got_id != request_id:
                raise ProtocolError("record of request %d" % got_id)
            if kind == STDOUT and answer.stdout_ended:
                raise ProtocolError("STDOUT after its end")
            if kind not in (STDOUT, STDERR, END):
                raise ProtocolError("record of type %d" % kind)
            if kind == END:
                answer.app_status, answer.protocol_status = struct.unpack(">IB3x", content)
            else:
                answer.records.append((kind, content))
            if stop(kind, content):
                return answer
            if kind == END:
                raise ProtocolError("END_REQUEST came first")

    def read_answer(self, request_id=1):
        """All of one answer; nothing may follow it."""
        answer = self.read_until(Answer(), lambda kind, content: kind == END, request_id)
        if self.data:
            raise ProtocolError("bytes after END_REQUEST")
        return answer

    def ask(self, method="GET", path="/", body=b"", request_id=1, flags=KEEP_CONN, **extra):
        """One request with its answer."""
        self.send(request(cgi_params(method, path, body, **extra), body, request_id, flags))
        return self.read_answer(request_id)

    def at_end(self):
        """Whether the peer has closed (waits for it, within the timeout)."""
        try:
            return not self.data and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
