"""An HTTP/1.1 client that sends exactly the bytes it is told to and reads answers strictly.

What is sent may be as wrong as a test wants; what comes back must be right to the byte, else ProtocolError.
"""

import re
import socket

TIMEOUT = 15.0

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ([\x20-\x7e]*)\Z")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\x80-\xff\t]*?)[ \t]*\Z")
CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}\Z")


class ProtocolError(AssertionError):
    """What came is not a correct HTTP answer."""


class Cut(AssertionError):
    """The connection ended inside an answer; `body` is what had come of it."""

    def __init__(self, message, body=b""):
        super().__init__(message)
        self.body = body


class Answer:
    def __init__(self, status, reason, fields, body=b""):
        self.status = status
        self.reason = reason
        self.fields = fields  # in order, names as they came
        self.body = body

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name):
        """The value of a field that may be there once."""
        values = self.all(name)
        if len(values) > 1:
            raise ProtocolError(f"{name} came {len(values)} times")
        return values[0] if values else None

    @property
    def text(self):
        return self.body.decode()

    def __repr__(self):
        return f"<{self.status} {self.reason} {dict(self.fields)} {self.body[:200]!r}>"


class Connection:
    """`address` is (host, port) or the path of a unix socket; `source` an address of our own to come from."""

    def __init__(self, address, timeout=TIMEOUT, source=None):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        if source is not None:
            self.socket.bind((source, 0))
        self.socket.connect(address)
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def close(self):
        self.socket.close()

    # -- sending

    def send(self, data):
        self.socket.sendall(data)

    def request(self, method="GET", target="/", body=None, fields=(), host="test"):
        """A well-formed request; fields are (name, value) pairs."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in fields)]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))

    def get(self, target="/", **more):
        self.request("GET", target, **more)
        return self.answer()

    def post(self, target, body, **more):
        self.request("POST", target, body=body, **more)
        return self.answer()

    # -- reading

    def fill(self):
        """More bytes into the buffer; False at the end of the stream."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self.buffer += data
        return bool(data)

    def need(self, count, got=b""):
        while len(self.buffer) < count:
            if not self.fill():
                raise Cut(f"cut: {len(self.buffer)} of {count} bytes", got + self.buffer)
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def line(self, got=b""):
        while b"\n" not in self.buffer:
            if not self.fill():
                raise Cut(f"cut inside a line: {self.buffer[:100]!r}", got)
        line, self.buffer = self.buffer.split(b"\n", 1)
        if not line.endswith(b"\r") or b"\r" in line[:-1]:
            raise ProtocolError(f"a line that does not end with CRLF: {line[:100]!r}")
        return line[:-1]

    def head(self):
        """One head, an interim one, too."""
        line = self.line()
        match = STATUS_LINE.match(line)
        if not match:
            raise ProtocolError(f"status line {line[:100]!r}")
        fields = []
        while line := self.line():
            field = FIELD.match(line)
            if not field:
                raise ProtocolError(f"field {line[:100]!r}")
            fields.append((field[1].decode(), field[2].decode("latin-1")))
        return Answer(int(match[1]), match[2].decode(), fields)

    def answer(self, method="GET"):
        """The next final answer with its body; interim answers are dropped."""
        answer = self.head()
        while answer.status < 200:
            answer = self.head()
        answer.body = b"".join(self.pieces(answer, method))
        return answer

    def pieces(self, answer, method="GET"):
        """The body behind a head, as it comes."""
        coding, length = answer.get("Transfer-Encoding"), answer.get("Content-Length")
        if coding is not None and length is not None:
            raise ProtocolError("Transfer-Encoding and Content-Length")
        if method == "HEAD" or answer.status in (204, 304):
            if coding is not None:
                raise ProtocolError("a transfer coding where there is no body")
            return
        if coding is not None:
            if coding != "chunked":
                raise ProtocolError(f"Transfer-Encoding: {coding}")
            yield from self.chunks()
        elif length is not None:
            if not re.fullmatch("[0-9]+", length):
                raise ProtocolError(f"Content-Length: {length}")
            yield self.need(int(length))
        else:
            if "close" not in (answer.get("Connection") or ""):
                raise ProtocolError("a body without framing on a connection that stays")
            while self.fill():
                pass
            data, self.buffer = self.buffer, b""
            yield data

    def chunks(self):
        got = b""
        while True:
            size = self.line(got)
            if not CHUNK_SIZE.match(size):
                raise ProtocolError(f"chunk size {size[:100]!r}")
            if int(size, 16) == 0:
                break
            data = self.need(int(size, 16), got)
            if self.need(2, got + data) != b"\r\n":
                raise ProtocolError("no CRLF behind a chunk")
            got += data
            yield data
        if self.line(got):
            raise ProtocolError("trailers")

    def ended(self):
        """Whether the other side closes without sending anything more; waits for it."""
        return not self.buffer and not self.fill()

    def silent(self, seconds):
        """Whether nothing comes, not even an end, for so long."""
        if self.buffer:
            return False
        self.socket.settimeout(seconds)
        try:
            self.fill()
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(TIMEOUT)
        return False


def chunked(*chunks):
    """The pieces in chunked coding."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
