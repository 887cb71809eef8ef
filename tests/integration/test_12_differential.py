"""The same bytes through our HTTP parsers, h11 and llhttp (httptools): what ours accepts they accept, as the same message to
the byte. Every other difference has a row here with its reason; one without a row fails.

The inputs are the corpus of the fuzz targets, a table of hostile requests, and what hypothesis grows from both. With
LEANGATE_LONG=1 it grows many more of them, others at every run."""

import os
import re

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway import BINARY, ROOT
from http_cases import CASES, CHUNKED
from http_oracles import BAD, MORE, WHOLE, Ours, parse_h11, parse_llhttp

# The verdict on bytes does not depend on how the gateway was built: one run is enough.
pytestmark = pytest.mark.release

LONG = bool(os.environ.get("LEANGATE_LONG"))
PEERS = {"h11": parse_h11, "llhttp": parse_llhttp}

# --- the differences that have a reason

# Methods that llhttp knows in HTTP requests; for all others ours is asked to take what it refuses, and the rest of the
# request is compared under a method that it knows.
LLHTTP_METHODS = set(b"""DELETE GET HEAD POST PUT OPTIONS COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND
    UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK UNLINK
    QUERY""".split())

# What ours takes and somebody else does not: how the bytes are put to that one, so that it can judge the rest.
LOOSER = [
    ("llhttp", "methods it does not know go to the app",
     lambda mine, data: re.sub(rb"\A((?:\r\n)?)" + re.escape(mine.method) + b" ", rb"\1POST ", data)
     if mine.method and mine.method not in LLHTTP_METHODS else data),
    ("llhttp", "it stops at an upgrade and leaves the rest to its caller; ours ignores all of them but websocket, which is 501",
     lambda mine, data: re.sub(rb"(?im)^upgrade(?=:)", b"xpgrade", data)),
    ("llhttp", "it obeys Proxy-Connection, which is no field of HTTP (RFC 9112 C.2.2)",
     lambda mine, data: re.sub(rb"(?im)^proxy-connection(?=:)", b"xroxy-connection", data)),
    ("h11", "an empty line before a request is to be skipped (RFC 9112 2.2)",
     lambda mine, data: data.removeprefix(b"\r\n")),
]

BOTH = ("h11", "llhttp")
H11, LLHTTP = ("h11",), ("llhttp",)

# What ours refuses and somebody else takes, or would take if more came: our words for it, who, why ours is stricter.
STRICTER = {
    "CONNECT and TRACE are not served": (BOTH, "parsers serve proxies, too; here they are 405"),
    "raw '#' in the target": (BOTH, "a fragment is never sent (RFC 9112 3.2); servers behind disagree on where the path ends"),
    "the target * goes with OPTIONS only": (BOTH, "RFC 9112 3.2.4; the parsers do not look at the form of a target"),
    "the target is neither a path nor an http URL": (BOTH, "RFC 9112 3.2; likewise"),
    "bad host in the target": (BOTH, "userinfo, ports and brackets are the caller's to check there"),
    "bad Host": (BOTH, "RFC 9112 3.2: an invalid value is a 400; the parsers leave it to their caller"),
    "no Host field": (LLHTTP, "RFC 9112 3.2; llhttp does not look at Host"),
    "two Host fields": (LLHTTP, "RFC 9112 3.2; llhttp does not look at Host"),
    "only HTTP/1.0 and HTTP/1.1 are spoken here": (BOTH, "llhttp takes 0.9 and 2.0, h11 any digits; here they are 505"),
    "no HTTP version": (BOTH, "HTTP/0.9; h11 waits for a whole head, llhttp ends such a request with the connection"),
    "more than one space in the request line": (LLHTTP, "RFC 9112 3 has one; llhttp skips more"),
    "malformed HTTP version": (LLHTTP, "RFC 9112 3 has one space before it; llhttp skips more"),
    "the method is too long": (H11, "a bound of ours: 32 bytes"),
    "the request line is too long": (BOTH, "a limit of ours, 414"),
    "the head is too large": (BOTH, "a limit of ours, 431"),
    "too many fields": (BOTH, "a limit of ours, 431"),
    "this is not HTTP": (LLHTTP, "llhttp skips any CR and LF before a request; ours one whole empty line"),
    "bare LF": (BOTH, "RFC 9112 2.2 lets a parser take it; what is behind may not. llhttp takes it before a request only"),
    "folded field line": (H11, "RFC 9112 5.2 lets a server unfold it; refusing it is the other choice given"),
    "control byte in a field value": (H11, "RFC 9110 5.5; h11 refuses NUL and white space only"),
    "Content-Length with Transfer-Encoding": (H11, "RFC 9112 6.1 lets the coding win; the classic way to smuggle"),
    "Transfer-Encoding in HTTP/1.0": (BOTH, "RFC 9112 6.1: faulty framing; neither looks at the version"),
    "repeated Content-Length": (H11, "RFC 9112 6.3 lets equal ones pass"),
    "bad Content-Length": (BOTH, "h11 takes lists of equal ones and 20 digits, llhttp 2^63 to 2^64"),
    "malformed Transfer-Encoding": (LLHTTP, "llhttp looks at the last coding only"),
    "unknown transfer coding": (LLHTTP, "llhttp leaves codings before chunked to its caller; here they are 501"),
    "only 100-continue can be expected": (BOTH, "left to the caller; here it is 417"),
    "bad chunk size": (H11, "h11 takes blanks behind a size, and waits for CRLF where LF came"),
    "chunk size too long": (BOTH, "ours has 15 digits at most; h11 20, llhttp any number of zeros"),
    "bad chunk extension": (BOTH, "h11 does not look at extensions, llhttp takes one that has a value and no name"),
    "bare CR behind a chunk size": (H11, "h11 does not look at extensions"),
    "chunk extensions too long": (BOTH, "a bound of ours: 4 KB in a body"),
    "trailers too long": (BOTH, "a bound of ours: 8 KB"),
    "framing or routing field in a trailer": (BOTH, "RFC 9110 6.5.1; left to the caller"),
    "bad trailer name": (H11, "h11 unfolds trailers, too"),
    "bad trailer value": (H11, "h11 takes control bytes in them as in fields, and a bare LF behind them"),
}


# --- comparing


def differences(ours, data):
    """What is wrong between ours and the others about these bytes; empty when all is well or explained."""
    mine = ours(data)
    found = []
    for who, parse in PEERS.items():
        check = {WHOLE: taken, MORE: unfinished, BAD: not_taken}[mine.verdict]
        found += [f"{who}: {what}" for what in check(who, parse, ours, mine, data)]
    return found


def put_to(who, mine, data):
    for peer, _, change in LOOSER:
        if peer == who:
            data = change(mine, data)
    return data


def facts_for(who, ours, mine, data):
    """What that one must find, given what is changed for it."""
    changed = put_to(who, mine, data)
    facts = (mine if changed == data else ours(changed)).facts()
    if who == "h11":  # it tells the one coding it knows in lower case
        facts["fields"] = [(name, value.lower() if name.lower() == b"transfer-encoding" else value)
                           for name, value in facts["fields"]]
    return facts


def taken(who, parse, ours, mine, data):
    """The same message, which ends at the same byte: alone it is whole, less one byte it is not."""
    message, facts = data[:mine.consumed], facts_for(who, ours, mine, data)
    for name, piece, verdict in [("with what follows", data, WHOLE), ("alone", message, WHOLE),
                                 ("less a byte", message[:-1], MORE)]:
        theirs = parse(put_to(who, mine, piece))
        if theirs.verdict != verdict:
            yield f"{name}: {theirs.verdict} {theirs.reason}"
        elif verdict == WHOLE and theirs.facts() != facts:
            yield f"{name}: {theirs.facts()} for {facts}"
        elif who == "llhttp" and verdict == WHOLE and mine.keep_alive and not theirs.keep_alive:
            yield f"{name}: the connection may not go on"


def unfinished(who, parse, ours, mine, data):
    """Nobody may see a whole message. That somebody refuses it early is right if ours does in the end: a line is judged
    when it is whole."""
    theirs = parse(put_to(who, mine, data))
    if theirs.verdict == WHOLE:
        yield f"whole for it: {theirs.facts()}"
    elif theirs.verdict == BAD and mine.head_size > 0:
        head = data[:mine.head_size]
        if mine.chunked:
            whole = head + b"0\r\n\r\n"
        else:
            whole = re.sub(rb"(?im)^(content-length:[ \t]*)[0-9]+", rb"\g<1>0", head)
        if parse(put_to(who, mine, whole)).verdict != WHOLE:
            yield f"refuses the head: {theirs.reason}"
    elif theirs.verdict == BAD:
        longer = data + b"\r\n\r\n"
        if ours(longer).verdict != BAD:
            yield from differences(ours, longer)


def not_taken(who, parse, ours, mine, data):
    theirs = parse(data)
    if theirs.verdict == MORE:  # h11 judges whole heads only
        theirs = parse(data + b"\r\n\r\n")
    peers, _ = STRICTER.get(mine.reason, ((), ""))
    if theirs.verdict != BAD and who not in peers:
        yield f"{theirs.verdict} for it, while ours says {mine.reason!r}"


# --- inputs


def corpus():
    folder = ROOT / "tests/fuzz/corpus"
    heads = [path.read_bytes() for path in sorted((folder / "http_head").iterdir())]
    bodies = [CHUNKED + path.read_bytes() for path in sorted((folder / "http_chunked").iterdir())]
    return heads + bodies + [data for _, data, _ in CASES if len(data) < 2000]


SEEDS = corpus()

PIECES = [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\r\r\n", b"\r\n ", b"\r\n\t", b" ", b"\t", b"\x0b", b"\0", b":", b";", b",",
          b"=", b'"', b"\\", b"#", b"%", b"?", b"/", b"//", b"*", b"@", b"[", b"]", b"\x7f", b"\x80", b"\xff", b"0", b"-1",
          b"+", b"0x", b"1.0", b"1.1", b"HTTP/", b"http://", b"https://x", b"chunked", b"close", b"keep-alive", b"upgrade",
          b"GET ", b"HEAD", b"POST", b"0\r\n\r\n", b"3\r\nabc\r\n"]
LINES = [b"Host: x", b"host:y", b"Content-Length: 0", b"Content-Length: 3", b"content-length:3", b"Content-Length: 03",
         b"Transfer-Encoding: chunked", b"transfer-encoding:\tChunked ", b"Transfer-Encoding: gzip",
         b"Transfer-Encoding: ,chunked", b"Connection: close", b"Connection: keep-alive", b"Connection: close, keep-alive",
         b"Connection: Upgrade", b"Upgrade: websocket", b"Upgrade: h2c", b"Expect: 100-continue", b"Expect: x", b"A:", b"A:b",
         b"A: \xfc", b"A_B: c", b"Trailer: A", b"TE: trailers", b"X-Long: " + b"x" * 300, b"Proxy-Connection: close"]


@st.composite
def grown(draw):
    """A seed after a few changes of bytes, pieces, lines, line ends, sizes, and splices with other seeds."""
    data = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["byte", "piece", "cut", "line", "repeat", "end", "splice", "number", "drop"]))
        lines = data.split(b"\r\n")
        row = draw(st.integers(0, len(lines) - 1))
        if kind == "byte":
            data = data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + draw(st.integers(0, 1)):]
        elif kind == "piece":
            data = data[:at] + draw(st.sampled_from(PIECES)) + data[at + draw(st.integers(0, 2)):]
        elif kind == "cut":
            data = data[:at] + data[at + draw(st.integers(1, 8)):]
        elif kind == "line":
            data = b"\r\n".join(lines[:row] + [draw(st.sampled_from(LINES))] + lines[row:])
        elif kind == "repeat":
            data = b"\r\n".join(lines[:row] + [lines[row]] * draw(st.integers(2, 3)) + lines[row + 1:])
        elif kind == "end":
            end = draw(st.sampled_from([b"\n", b"\r", b"\r\r\n", b"\r\n ", b"\r\n\r\n", b" \r\n", b"\0\r\n"]))
            data = b"\r\n".join(lines[:row]) + end + b"\r\n".join(lines[row:])
        elif kind == "splice":
            other = draw(st.sampled_from(SEEDS))
            data = data[:at] + other[draw(st.integers(0, len(other))):]
        elif kind == "number":
            number = draw(st.sampled_from([b"0", b"1", b"2", b"3", b"00", b"0a", b"F", b"999999999999999999",
                                           b"9223372036854775807", b"18446744073709551615", b"1" * 20, b"f" * 16]))
            spots = list(re.finditer(rb"[0-9a-fA-F]+", data))
            if spots:
                spot = spots[draw(st.integers(0, len(spots) - 1))]
                data = data[:spot.start()] + number + data[spot.end():]
        else:
            data = data[:at]
    return data[:4000]


# --- tests


@pytest.fixture(scope="module")
def ours():
    build = BINARY.parent if BINARY.parent.name not in ("san", "static") else BINARY.parent.parent
    library = build / "test/libhttp_head.so"
    assert library.exists(), f"make {library}"
    return Ours(library)


@pytest.mark.parametrize("data, status", [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_hostile_requests(ours, data, status):
    """Our own verdict first, then the others' on it. No status: it is not whole yet."""
    mine = ours(data)
    assert {WHOLE: 200, MORE: None, BAD: mine.status}[mine.verdict] == status, mine
    assert not differences(ours, data)


@pytest.mark.parametrize("data", SEEDS)
def test_the_corpus(ours, data):
    assert not differences(ours, data)


@settings(max_examples=200_000 if LONG else 3000, derandomize=not LONG, deadline=None, database=None,
          suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink])
@given(data=grown())
def test_what_grows_from_it(ours, data):
    assert not differences(ours, data), data


def test_every_explanation_is_needed(ours):
    """A reason that ours no longer gives, or a difference that is none any more, must leave the table."""
    seen = set()
    for _, data, _ in CASES:
        mine = ours(data)
        seen |= {(mine.reason, who) for who, parse in PEERS.items() if mine.verdict == BAD and parse(data).verdict != BAD}
    listed = {(reason, who) for reason, (peers, _) in STRICTER.items() for who in peers}
    assert listed - seen == set()
