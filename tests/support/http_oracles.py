"""Three HTTP/1 parsers behind one face: ours (gateway/http_head.c and http_chunked.c in build/test/libhttp_head.so), h11
and llhttp (through httptools). Each takes bytes and tells what the first message in them is."""

import ctypes
from dataclasses import dataclass, field

import h11
import httptools

WHOLE, MORE, BAD = "whole", "more", "bad"
FIELDS_MAX = 100


@dataclass
class Message:
    verdict: str
    reason: str = ""
    status: int = 0
    method: bytes = b""
    target: bytes = b""
    version: str = ""
    fields: list = field(default_factory=list)  # (name, value) as they came, values without surrounding blanks
    body: bytes = b""
    keep_alive: bool = False
    # ours only
    consumed: int = 0  # bytes of the message
    head_size: int = 0
    chunked: bool = False

    def facts(self):
        return {"method": self.method, "target": self.target, "version": self.version, "fields": self.fields,
                "body": self.body}


# --- ours


class Slice(ctypes.Structure):
    _fields_ = [("off", ctypes.c_uint32), ("len", ctypes.c_uint32)]

    def of(self, data):
        return data[self.off:self.off + self.len]


class Field(ctypes.Structure):
    _fields_ = [("name", Slice), ("value", Slice)]


class ShimMessage(ctypes.Structure):
    """struct shim_message of tests/support/http_head_shim.c."""
    _fields_ = [(name, ctypes.c_uint32) for name in
                ("head", "body", "status", "minor", "keep_alive", "chunked", "head_size")] + \
               [("method", Slice), ("target", Slice), ("field_count", ctypes.c_uint32),
                ("fields", Field * FIELDS_MAX), ("consumed", ctypes.c_uint64), ("body_len", ctypes.c_uint64),
                ("reason", ctypes.c_char * 80)]


class Ours:
    VERDICTS = (WHOLE, MORE, BAD)

    def __init__(self, library):
        self.parse = ctypes.CDLL(str(library)).shim_parse
        self.parse.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.POINTER(ShimMessage)]
        self.parse.restype = None

    def __call__(self, data):
        out, body = ShimMessage(), ctypes.create_string_buffer(len(data) + 1)
        self.parse(data, len(data), body, ctypes.byref(out))
        head = self.VERDICTS[out.head]
        if head != WHOLE:
            return Message(head, out.reason.decode(), out.status)
        verdict = self.VERDICTS[out.body]
        return Message(verdict, out.reason.decode(), 400 if verdict == BAD else 0, out.method.of(data),
                       out.target.of(data), f"1.{out.minor}",
                       [(f.name.of(data), f.value.of(data)) for f in out.fields[:out.field_count]],
                       body.raw[:out.body_len], bool(out.keep_alive), out.consumed, out.head_size, bool(out.chunked))


# --- theirs


def parse_h11(data):
    if not data:  # which would tell it the end of the connection
        return Message(MORE)
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    message = Message(MORE)
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return message
            if isinstance(event, h11.Request):
                message.method, message.target = bytes(event.method), bytes(event.target)
                message.version = event.http_version.decode()
                message.fields = [(bytes(name), bytes(value)) for name, value in event.headers.raw_items()]
                message.keep_alive = True
            elif isinstance(event, h11.Data):
                message.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                message.verdict = WHOLE
                return message
    except h11.RemoteProtocolError as error:
        return Message(BAD, str(error), error.error_status_hint)


class Done(Exception):
    """The first message is whole: llhttp is to look at nothing more."""


class Collector:
    def __init__(self):
        self.message = Message(MORE)
        self.in_head = True
        self.parser = httptools.HttpRequestParser(self)

    def on_url(self, url):
        self.message.target += url

    def on_header(self, name, value):
        if self.in_head:  # a trailer is told in the same way
            self.message.fields.append((name, value.rstrip(b" \t")))  # trailing blanks are left to the caller

    def on_headers_complete(self):
        self.in_head = False
        self.message.method = self.parser.get_method()
        self.message.version = self.parser.get_http_version()
        self.message.keep_alive = self.parser.should_keep_alive()

    def on_body(self, body):
        self.message.body += body

    def on_message_complete(self):
        self.message.verdict = WHOLE
        raise Done


def parse_llhttp(data):
    collector = Collector()
    try:
        collector.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        collector.message.reason = "upgrade"
    except httptools.HttpParserError as error:
        if collector.message.verdict != WHOLE:
            return Message(BAD, str(error))
    return collector.message
