"""Static files on the wire: what is found, what is not, conditions, ranges, siblings, and that nothing is held."""

import hashlib
import json
import os
import re
import signal
import socket
import threading
import time
from email.utils import formatdate, parsedate_to_datetime

import pytest

from gateway import app, wait_until
from inside import Inside
from measure import rollup
from rawhttp import Cut

SECRET = b"the secret"
STAMP = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT
SMALL = 16 * 1024  # up to here the file goes out with the head


def static(path, **keys):
    """One app, whose module cannot be imported: whatever wakes it is a 500."""
    return {"app:site": app("no_such_module", static=f"/static/ {path}", **keys)}


@pytest.fixture
def public(tmp_path):
    """The directory that is served; beside it lies what must never come out."""
    directory = tmp_path / "site/public"
    (directory / "sub").mkdir(parents=True)
    (tmp_path / "site/secret.txt").write_bytes(SECRET)
    (tmp_path / "site/public.txt").write_bytes(SECRET)
    (directory / "hello.txt").write_bytes(b"hello, world\n")
    (directory / "sub/page.html").write_bytes(b"<p>page\n")
    os.utime(directory / "hello.txt", (STAMP, STAMP))
    return directory


@pytest.fixture
def gateway(launch, public):
    gateway = launch(static(public))
    yield gateway
    assert not gateway.workers, "a worker was started"


def ask(gateway, target="/static/hello.txt", method="GET", **fields):
    """One request with fields given as If_None_Match=...; a list is a field that comes several times."""
    pairs = []
    for name, values in fields.items():
        for value in values if isinstance(values, list) else [values]:
            pairs.append((name.replace("_", "-"), value))
    with gateway.connect() as connection:
        connection.request(method, target, fields=pairs)
        return connection.answer(method)


def noise(size):
    return hashlib.shake_128(b"%d" % size).digest(size)


# --- a file


@pytest.mark.valgrind
def test_a_file(gateway):
    answer = ask(gateway)
    assert (answer.status, answer.body) == (200, b"hello, world\n")
    assert answer.get("Content-Type") == "text/plain; charset=utf-8"
    assert answer.get("Content-Length") == "13"
    assert answer.get("Last-Modified") == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert re.fullmatch(r'"[0-9a-f-]+"', answer.get("ETag"))
    assert answer.get("Accept-Ranges") == "bytes"
    assert answer.get("Vary") == "Accept-Encoding"
    assert answer.get("X-Content-Type-Options") == "nosniff"
    assert answer.get("Content-Encoding") is None and answer.get("Content-Range") is None
    assert answer.get("Date") and answer.get("X-Request-ID")


def test_head_is_get_without_a_body(gateway, public):
    (public / "large").write_bytes(noise(100_000))
    with gateway.connect() as connection:
        for target in ("/static/hello.txt", "/static/large"):
            whole = connection.get(target)
            connection.request("HEAD", target)
            head = connection.answer("HEAD")
            skip = ("Date", "X-Request-ID")
            assert [f for f in head.fields if f[0] not in skip] == [f for f in whole.fields if f[0] not in skip]
            assert head.status == 200 and head.body == b""


@pytest.mark.parametrize("name, kind", [
    ("a.css", "text/css; charset=utf-8"), ("a.JS", "text/javascript; charset=utf-8"), ("a.png", "image/png"),
    ("a.unknown", "application/octet-stream"), ("README", "application/octet-stream"),
    ("a.tar.gz", "application/gzip"), ("a.html", "text/html; charset=utf-8"),
])
def test_types(gateway, public, name, kind):
    (public / name).write_bytes(b"x")
    assert ask(gateway, f"/static/{name}").get("Content-Type") == kind


@pytest.mark.parametrize("size", [0, 1, SMALL - 1, SMALL, SMALL + 1, 100_000, 1_048_576, 3_000_001])
def test_every_size(gateway, public, size):
    (public / "file").write_bytes(noise(size))
    with gateway.connect() as connection:
        for _ in range(3):
            assert connection.get("/static/file").body == noise(size)
        assert connection.get("/static/hello.txt").status == 200


def test_names_in_any_form(gateway, public):
    for name in ("with blank", "per%cent", "ünï", "a+b", "x;y", "back\\slash", "~tilde", "dots...txt"):
        (public / name).write_bytes(name.encode())
        target = "".join(f"%{byte:02x}" for byte in name.encode())
        assert ask(gateway, f"/static/{target}").body == name.encode(), name
    assert ask(gateway, "/static/sub/../hello.txt").status == 200
    assert ask(gateway, "/x/../static/./hello.txt?query=1").status == 200
    assert ask(gateway, "/%73tatic/hello.txt").status == 200


def test_http_1_0(gateway):
    with gateway.connect() as connection:
        connection.send(b"GET /static/hello.txt HTTP/1.0\r\n\r\n")
        answer = connection.answer()
        assert answer.body == b"hello, world\n" and answer.get("Content-Length") == "13"
        assert connection.ended()


def test_pipelined(gateway, public):
    (public / "large").write_bytes(noise(200_000))
    with gateway.connect() as connection:
        for target in ("hello.txt", "large", "none", "large", "hello.txt"):
            connection.request("GET", f"/static/{target}")
        bodies = [connection.answer() for _ in range(5)]
    assert [answer.status for answer in bodies] == [200, 200, 404, 200, 200]
    assert bodies[1].body == bodies[3].body == noise(200_000) and bodies[4].body == b"hello, world\n"


def test_many_at_once(gateway, public):
    """Requests that are answered in one turn of the loop share open files, and never each other's."""
    wanted = []
    for number in range(12):
        content = noise(100 + number)
        (public / f"f{number}").write_bytes(content)
        (public / f"f{number}.gz").write_bytes(content[::-1])
        wanted += [(f"f{number}", "identity", content), (f"f{number}", "gzip", content[::-1])] * 3
    for length in range(110, 135):  # "/static/" and the name around the 128 bytes that a kept path may have
        for last in "ab":
            (public / ("n" * length + last)).write_text(f"{length}{last}")
            wanted.append(("n" * length + last, "identity", f"{length}{last}".encode()))
    wanted += wanted[::-1] + wanted[::7]
    before = gateway.descriptors()
    with gateway.connect() as connection:
        connection.send(b"".join(f"GET /static/{name} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n".encode()
                                 for name, coding, _ in wanted))
        for name, coding, content in wanted:
            answer = connection.answer()
            assert (answer.status, answer.body) == (200, content), (name, coding)
    wait_until(lambda: len(gateway.descriptors()) == len(before), "all is closed")


def test_a_changed_file_is_another(gateway, public):
    before = ask(gateway)
    (public / "hello.txt").write_bytes(b"HELLO, WORLD\n")
    os.utime(public / "hello.txt", ns=(0, STAMP * 10**9 + 1))
    after = ask(gateway)
    assert after.body == b"HELLO, WORLD\n" and after.get("Last-Modified") == before.get("Last-Modified")
    assert after.get("ETag") != before.get("ETag")
    (public / "new").write_bytes(b"HELLO, WORLD\n")
    os.utime(public / "new", ns=(0, STAMP * 10**9 + 1))
    os.replace(public / "new", public / "hello.txt")
    assert ask(gateway).get("ETag") not in (before.get("ETag"), after.get("ETag"))


def test_a_file_from_the_future_is_of_now(gateway, public):
    os.utime(public / "hello.txt", (2**33, 2**33))
    answer = ask(gateway)
    modified, date = (parsedate_to_datetime(answer.get(name)) for name in ("Last-Modified", "Date"))
    assert 0 <= (date - modified).total_seconds() <= 1
    os.utime(public / "hello.txt", (-5, -5))
    assert ask(gateway).get("Last-Modified") == "Thu, 01 Jan 1970 00:00:00 GMT"


# --- routes


def test_prefixes(launch, public, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.txt").write_text("other")
    gateway = launch({
        "app:a": app("kitchen", static=[f"/s {public}", f"/s/deep/ {other}"]),
        "app:b": app("kitchen", path="/b", static=f"/b/s {other}")})
    assert gateway.get("/s/hello.txt").text == "hello, world\n"
    assert gateway.get("/s/deep/x.txt").text == gateway.get("/b/s/x.txt").text == "other"
    assert gateway.get("/s/deeper").status == gateway.get("/s/x.txt").status == 404
    assert not gateway.workers
    assert gateway.get("/sx").text == "GET /sx"
    assert gateway.get("/b/sx").text == "GET /sx"
    assert gateway.get("/b/x/s/x.txt").text == "GET /x/s/x.txt"


def test_the_directory_is_relative_to_the_app(launch, public):
    gateway = launch({"app:site": app("no_such_module", static="/static public") | {"directory": public.parent}})
    assert gateway.get("/static/hello.txt").status == 200


def test_the_root_as_prefix(launch, public):
    gateway = launch({"app:site": app("no_such_module", static=f"/ {public}")})
    assert gateway.get("/hello.txt").status == 200
    assert gateway.get("/").status == gateway.get("/none").status == gateway.get("//hello.txt").status == 404
    assert gateway.get("/site.ini").status == 404 and not gateway.workers


def test_a_directory_that_is_replaced(launch, public, tmp_path):
    """A deployment moves a symbolic link: the next request sees the new release."""
    releases = [tmp_path / "r1", tmp_path / "r2"]
    for release in releases:
        release.mkdir()
        (release / "v").write_text(release.name)
    current = tmp_path / "current"
    current.symlink_to("r1")
    gateway = launch(static(current))
    assert gateway.get("/static/v").text == "r1"
    (tmp_path / "next").symlink_to("r2")
    os.replace(tmp_path / "next", current)
    assert gateway.get("/static/v").text == "r2"
    current.unlink()
    assert gateway.get("/static/v").status == 404
    gateway.err.wait(r"site: static /static: cannot open .*/current: No such file or directory")


# --- misses


@pytest.mark.parametrize("target", [
    "/static", "/static/", "/static/none", "/static/sub", "/static/sub/", "/static/hello.txt/",
    "/static/hello.txt/x", "/static//hello.txt", "/static/sub//page.html", "/static/HELLO.TXT",
    "/static/" + "x" * 300, "/static/" + "d/" * 2500, "/static/" + "x" * 4096,
])
def test_misses(gateway, target):
    answer = ask(gateway, target)
    assert answer.status == 404 and answer.text.startswith("404 Not Found")
    assert answer.get("ETag") is None


@pytest.mark.parametrize("way", [
    "../secret.txt", "..%2fsecret.txt", "%2e%2e/secret.txt", "%2E%2E%2Fsecret.txt", ".%2e/secret.txt",
    "sub/../../secret.txt", "sub/%2e%2e/%2e%2e/secret.txt", "./../secret.txt", "..;/secret.txt",
    "..\\secret.txt", "..%5csecret.txt", "%252e%252e/secret.txt", "%252e%252e%252fsecret.txt",
    "%c0%ae%c0%ae/secret.txt", "%e0%80%ae%e0%80%ae/secret.txt", "..%c0%afsecret.txt", "%uff0e%uff0e/secret.txt",
    "....//secret.txt", ".../secret.txt", "..%00/secret.txt", "hello.txt%00.html", "/secret.txt",
    "../../../../../../../../etc/passwd", "%2e%2e/" * 12 + "etc/passwd", "//etc/passwd", "%2fetc%2fpasswd",
    "sub/..%2f..%2fsecret.txt", "../public.txt", "..public.txt", "../public/../secret.txt", "file:///etc/passwd",
    "../static/../../secret.txt", ".", "..", "%2e", "sub/..", "..%09/secret.txt", "%2e%2e%2f" * 30 + "etc/passwd",
])
def test_no_way_out(launch, public, way):
    """What leaves the prefix is the app's, which cannot be imported; what stays below it is a miss."""
    answer = ask(launch(static(public)), f"/static/{way}")
    assert answer.status in (400, 404, 500)
    assert SECRET not in answer.body and b"root:" not in answer.body


@pytest.fixture
def hidden(public):
    for name in (".env", ".git/config", "sub/.hidden/x.txt", "sub/.htaccess", "..."):
        (public / name).parent.mkdir(exist_ok=True)
        (public / name).write_bytes(SECRET)
    return public


@pytest.mark.parametrize("name", [".env", "%2eenv", ".git/config", "%2Egit/config", ".git%2fconfig", "...",
                                  "sub/.hidden/x.txt", "sub/.htaccess", "sub/%2ehtaccess", "sub/../.env"])
def test_no_dot_files(gateway, hidden, name):
    assert ask(gateway, f"/static/{name}").status == 404


def test_links(gateway, public, tmp_path):
    """Links are followed as long as they stay below; an absolute one leaves, wherever it leads."""
    inside = {"in": "hello.txt", "sub/up": "../hello.txt", "dir": "sub", "far": "dir/../sub/../hello.txt"}
    outside = {"out": "../secret.txt", "sub/out": "../../secret.txt", "parent": "..",
               "absolute": str(public / "hello.txt"), "etc": "/etc", "proc": "/proc/self/root",
               "loop": "loop", "dangling": "none", "sub/back": "../../public/hello.txt"}
    for name, target in (inside | outside).items():
        (public / name).symlink_to(target)
    for name in ("in", "sub/up", "far"):
        assert ask(gateway, f"/static/{name}").body == b"hello, world\n", name
    assert ask(gateway, "/static/dir/page.html").status == 200
    for name in (*outside, "parent/secret.txt", "etc/passwd", "proc/etc/passwd"):
        assert ask(gateway, f"/static/{name}").status == 404, name
    gateway.err.wait(r"site: static: /static/out is not served: Invalid cross-device link")


def test_only_regular_files(gateway, public, monkeypatch):
    os.mkfifo(public / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(public)  # its whole name may be too long for a socket
        listener.bind("socket")
        (public / "linked").symlink_to("fifo")
        for name in ("fifo", "socket", "sub", "linked"):
            assert ask(gateway, f"/static/{name}").status == 404, name


def test_devices(gateway, public):
    try:
        os.mknod(public / "zero", 0o20666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")
    assert ask(gateway, "/static/zero").status == 404


def test_unreadable(launch, public, tmp_path):
    keys = {}
    if os.geteuid() == 0:  # who may read everything
        keys = {"gateway": {"user": "nobody"}}
        for directory in (tmp_path, *tmp_path.parents):
            directory.chmod(os.stat(directory).st_mode | 0o001)
    (public / "hello.txt").chmod(0)
    gateway = launch(static(public) | keys)
    assert gateway.get("/static/hello.txt").status == 404
    gateway.err.wait("/static/hello.txt is not served: Permission denied")
    (public / "hello.txt").chmod(0o644)
    assert gateway.get("/static/hello.txt").status == 200


# --- methods and bodies


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "get", "HEADX"])
def test_other_methods(gateway, method):
    with gateway.connect() as connection:
        connection.request(method, "/static/hello.txt")
        answer = connection.answer()
        assert answer.status == 405 and answer.get("Allow") == "GET, HEAD"
        assert connection.get("/static/hello.txt").status == 200


def test_a_body_is_not_waited_for(gateway):
    for method, status in (("GET", 200), ("POST", 405)):
        with gateway.connect() as connection:
            connection.send(f"{method} /static/hello.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n".encode())
            answer = connection.answer()
            assert (answer.status, answer.get("Connection")) == (status, "close")
            connection.send(b"x" * 1000)
            assert connection.ended()


def test_a_body_is_no_request(gateway, public):
    """What stands in a body that nobody reads is never taken for a request."""
    inner = b"GET /static/sub/page.html HTTP/1.1\r\nHost: a\r\n\r\n"
    for framing in (b"Content-Length: %d\r\n\r\n%b" % (len(inner), inner),
                    b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner)):
        with gateway.connect() as connection:
            connection.send(b"GET /static/hello.txt HTTP/1.1\r\nHost: a\r\n" + framing)
            assert connection.answer().body == b"hello, world\n"
            assert connection.ended()


def test_an_expected_continue_gets_the_answer(gateway):
    with gateway.connect() as connection:
        connection.send(b"POST /static/hello.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                        b"Expect: 100-continue\r\n\r\n")
        assert connection.head().status == 405


def test_an_early_answer_reaches_a_client_that_goes_on_sending(gateway):
    """The unread body must not turn into a reset that takes the answer with it."""
    with gateway.connect() as connection:
        connection.send(b"POST /static/hello.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
        connection.send(b"x" * 200_000)
        assert connection.answer().status == 405
        assert connection.ended()


# --- conditions


@pytest.fixture
def etag(gateway):
    return ask(gateway).get("ETag")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.valgrind
def test_not_modified(gateway, etag, method):
    date = formatdate(STAMP, usegmt=True)
    for fields in ({"If_None_Match": etag}, {"If_None_Match": "W/" + etag}, {"If_None_Match": "*"},
                   {"If_None_Match": f'"x", {etag}'}, {"If_None_Match": ['"x"', etag]}, {"If_Modified_Since": date},
                   {"If_Modified_Since": formatdate(STAMP + 5, usegmt=True)},
                   {"If_Modified_Since": "Sunday, 06-Nov-94 08:49:37 GMT"},
                   {"If_Modified_Since": "Sun Nov  6 08:49:37 1994"},
                   {"If_None_Match": etag, "If_Modified_Since": formatdate(0, usegmt=True)},
                   {"If_None_Match": etag, "Range": "bytes=0-1"}):
        answer = ask(gateway, method=method, **fields)
        assert (answer.status, answer.body) == (304, b""), fields
        assert answer.get("ETag") == etag and answer.get("Last-Modified") == date
        assert answer.get("Vary") == "Accept-Encoding" and answer.get("Date")
        assert answer.get("Content-Length") is None and answer.get("Content-Type") is None


def test_modified(gateway, etag):
    for fields in ({"If_None_Match": '"x"'}, {"If_None_Match": etag[1:-1]}, {"If_None_Match": ""},
                   {"If_Modified_Since": formatdate(STAMP - 1, usegmt=True)}, {"If_Modified_Since": "now"},
                   {"If_None_Match": '"x"', "If_Modified_Since": formatdate(STAMP, usegmt=True)},
                   {"If_Match": etag}, {"If_Match": "*"}, {"If_Match": f'"x", {etag}'},
                   {"If_Unmodified_Since": formatdate(STAMP, usegmt=True)},
                   {"If_Match": etag, "If_Unmodified_Since": formatdate(0, usegmt=True)}):
        assert ask(gateway, **fields).body == b"hello, world\n", fields


def test_precondition_failed(gateway, etag):
    for fields in ({"If_Match": '"x"'}, {"If_Match": "W/" + etag}, {"If_Match": ""},
                   {"If_Unmodified_Since": formatdate(STAMP - 1, usegmt=True)},
                   {"If_Match": '"x"', "If_None_Match": etag},
                   {"If_Match": '"x"', "Range": "bytes=0-1"}):
        assert ask(gateway, **fields).status == 412, fields


def test_conditions_of_a_miss_do_not_count(gateway):
    for fields in ({"If_None_Match": "*"}, {"If_Match": "*"}, {"Range": "bytes=5-4"}):
        assert ask(gateway, "/static/none", **fields).status == 404


def test_a_kept_connection_after_each_status(gateway, etag):
    with gateway.connect() as connection:
        for fields, status in (([("If-None-Match", etag)], 304), ([("If-Match", '"x"')], 412),
                               ([("Range", "bytes=99-")], 416), ([("Range", "bytes=0-0")], 206), ([], 200)):
            assert connection.get("/static/hello.txt", fields=fields).status == status


# --- ranges


@pytest.mark.parametrize("size", [1000, SMALL + 1000, 300_000])
def test_ranges(gateway, public, size):
    content = noise(size)
    (public / "file").write_bytes(content)
    last = size - 1
    for value, first, end in (("0-0", 0, 1), ("0-", 0, size), ("-1", last, size), (f"-{size}", 0, size),
                              (f"-{size * 2}", 0, size), (f"{last}-", last, size), (f"{last}-{last}", last, size),
                              ("500-600", 500, 601), (f"1-{size * 3}", 1, size), (f"0-{10**30}", 0, size)):
        answer = ask(gateway, "/static/file", Range=f"bytes={value}")
        assert (answer.status, answer.body) == (206, content[first:end]), value
        assert answer.get("Content-Range") == f"bytes {first}-{end - 1}/{size}"
        assert answer.get("ETag") and answer.get("Content-Type") == "application/octet-stream"


def test_ranges_that_cannot_be_met(gateway):
    for value in ("13-", "13-20", "-0", f"{2**64}-", f"{2**64 - 1}-", f"{10**40}-"):
        answer = ask(gateway, Range=f"bytes={value}")
        assert (answer.status, answer.get("Content-Range")) == (416, "bytes */13"), value


def test_ranges_that_are_none(gateway):
    for value in ("bytes=5-4", "bytes=0-1,3-4", "bytes=a-b", "bytes=-", "bytes=", "lines=0-1", "bytes 0-1",
                  "bytes=--1", "bytes=0-1;x", ["bytes=0-1", "bytes=0-1"]):
        answer = ask(gateway, Range=value)
        assert (answer.status, answer.body) == (200, b"hello, world\n"), value
    assert ask(gateway, method="HEAD", Range="bytes=0-1").status == 200


def test_ranges_of_an_empty_file(gateway, public):
    (public / "empty").touch()
    assert ask(gateway, "/static/empty", Range="bytes=0-").status == 416
    assert ask(gateway, "/static/empty", Range="bytes=-5").status == 200


def test_if_range(gateway, etag, public):
    for value, status in ((etag, 206), ('"x"', 200), ("W/" + etag, 200), (formatdate(STAMP, usegmt=True), 206),
                          (formatdate(STAMP + 1, usegmt=True), 200), (formatdate(STAMP - 1, usegmt=True), 200),
                          ("*", 200), ("", 200)):
        assert ask(gateway, Range="bytes=0-1", If_Range=value).status == status, value
    os.utime(public / "hello.txt", (2**33, 2**33))
    assert ask(gateway, Range="bytes=0-1", If_Range=formatdate(2**33, usegmt=True)).status == 200


# --- compressed siblings


@pytest.fixture
def packed(public):
    (public / "app.js").write_bytes(b"plain")
    (public / "app.js.gz").write_bytes(b"gzipped!")
    (public / "app.js.br").write_bytes(b"brotli")
    for name in ("app.js", "app.js.gz", "app.js.br"):
        os.utime(public / name, (STAMP, STAMP))
    return public


@pytest.mark.parametrize("accepted, body, coding", [
    (None, b"plain", None), ("", b"plain", None), ("identity", b"plain", None), ("gzip", b"gzipped!", "gzip"),
    ("gzip, deflate, br", b"brotli", "br"), ("br;q=0.5, gzip", b"gzipped!", "gzip"), ("br;q=0, gzip;q=0", b"plain", None),
    ("gzip;q=0, *", b"brotli", "br"), ("*;q=0", b"plain", None), ("x-gzip", b"gzipped!", "gzip"),
    ("GZIP", b"gzipped!", "gzip"), (["deflate", "gzip"], b"gzipped!", "gzip"), ("br;q=0.0", b"plain", None),
])
def test_codings(gateway, packed, accepted, body, coding):
    answer = ask(gateway, "/static/app.js", **({} if accepted is None else {"Accept_Encoding": accepted}))
    assert (answer.status, answer.body, answer.get("Content-Encoding")) == (200, body, coding)
    assert answer.get("Content-Type") == "text/javascript; charset=utf-8"
    assert answer.get("Vary") == "Accept-Encoding"


@pytest.mark.valgrind
def test_each_coding_has_its_own_validator(gateway, packed):
    etags = {ask(gateway, "/static/app.js", Accept_Encoding=coding).get("ETag") for coding in ("", "gzip", "br")}
    assert len(etags) == 3
    gz = ask(gateway, "/static/app.js", Accept_Encoding="gzip")
    assert ask(gateway, "/static/app.js", Accept_Encoding="gzip", If_None_Match=gz.get("ETag")).status == 304
    assert ask(gateway, "/static/app.js", Accept_Encoding="br", If_None_Match=gz.get("ETag")).status == 200


def test_a_range_is_of_the_coded_bytes(gateway, packed):
    answer = ask(gateway, "/static/app.js", Accept_Encoding="gzip", Range="bytes=0-3")
    assert (answer.status, answer.body, answer.get("Content-Encoding")) == (206, b"gzip", "gzip")
    assert answer.get("Content-Range") == "bytes 0-3/8"


def test_an_old_sibling_does_not_count(gateway, packed):
    os.utime(packed / "app.js.br", ns=(0, STAMP * 10**9 - 1))
    assert ask(gateway, "/static/app.js", Accept_Encoding="br, gzip").get("Content-Encoding") == "gzip"
    os.utime(packed / "app.js", (STAMP + 1, STAMP + 1))
    assert ask(gateway, "/static/app.js", Accept_Encoding="br, gzip").body == b"plain"


def test_a_sibling_alone_is_a_miss(gateway, packed):
    (packed / "app.js").unlink()
    assert ask(gateway, "/static/app.js", Accept_Encoding="br, gzip").status == 404
    assert ask(gateway, "/static/app.js.gz").get("Content-Type") == "application/gzip"


def test_a_sibling_is_a_regular_file_inside(gateway, packed):
    (packed / "app.js.br").unlink()
    (packed / "app.js.br").symlink_to("../secret.txt")
    (packed / "app.js.gz").unlink()
    (packed / "app.js.gz").mkdir()
    assert ask(gateway, "/static/app.js", Accept_Encoding="br, gzip").body == b"plain"


# --- large files, slow and gone clients


LARGE = 50 * 1024 * 1024


@pytest.fixture
def large(public):
    with open(public / "large", "wb") as file:
        for number in range(50):
            file.write(noise(1024 * 1024 + number)[:1024 * 1024])
    return public / "large"


def checksum(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def receive(connection, length, pause=lambda got: None):
    """The body behind a head, piece by piece."""
    digest, got = hashlib.sha256(connection.buffer), len(connection.buffer)
    while got < length:
        data = connection.socket.recv(1 << 18)
        assert data, f"the end after {got} bytes"
        digest.update(data)
        got += len(data)
        pause(got)
    return digest.hexdigest()


@pytest.mark.valgrind
def test_a_large_file(gateway, large):
    with gateway.connect() as connection:
        connection.request("GET", "/static/large")
        head = connection.head()
        assert head.get("Content-Length") == str(LARGE)
        assert receive(connection, LARGE) == checksum(large)
        wait_until(lambda: str(large) not in gateway.descriptors().values(), "the file is closed")


def memory(gateway):
    """Private dirty, in kB."""
    return rollup(gateway.pid)["Private_Dirty"]


def test_a_slow_reader_of_a_large_file(gateway, large):
    """It holds a descriptor and no memory, and nobody up."""
    before = memory(gateway)
    with gateway.connect() as slow:
        slow.request("GET", "/static/large")
        slow.head()
        for _ in range(20):
            assert gateway.get("/static/hello.txt").status == 200
        assert str(large) in gateway.descriptors().values()
        assert memory(gateway) - before < 2048

        def pause(got, state={"next": 0}):
            if got > state["next"]:
                state["next"] = got + (5 << 20)
                assert gateway.get("/static/hello.txt").status == 200

        assert receive(slow, LARGE, pause) == checksum(large)
    wait_until(lambda: str(large) not in gateway.descriptors().values(), "the file is closed")


def test_fast_readers_of_a_large_file_do_not_starve_others(gateway, large):
    stop, at_work = threading.Event(), set()

    def drain():
        with gateway.connect() as connection:
            while not stop.is_set():
                connection.request("GET", "/static/large")
                connection.head()
                left = LARGE - len(connection.buffer)
                connection.buffer = b""
                while left:
                    left -= len(connection.socket.recv(min(left, 1 << 20)))
                    at_work.add(threading.get_ident())

    readers = [threading.Thread(target=drain) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        wait_until(lambda: len(at_work) == len(readers), "readers at work")
        with gateway.connect() as connection:
            def took():
                began = time.monotonic()
                assert connection.get("/static/hello.txt").status == 200
                return time.monotonic() - began

            worst = min(max(took() for _ in range(30)) for _ in range(3))  # the machine may keep it in one of the three
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert worst < 2


@pytest.mark.valgrind
def test_a_client_that_leaves(gateway, large):
    before = gateway.descriptors()
    for _ in range(10):
        with gateway.connect() as connection:
            connection.request("GET", "/static/large")
            connection.head()
    wait_until(lambda: len(gateway.descriptors()) == len(before), "all is closed")


def test_a_client_that_does_not_read_is_cut(launch, public, large):
    gateway = launch(static(public) | {"timeouts": {"send": "300ms"}})
    with gateway.connect() as connection:
        connection.request("GET", "/static/large")
        head = connection.head()  # it is being sent
        wait_until(lambda: str(large) not in gateway.descriptors().values(), "it gives up")
        with pytest.raises(Cut):
            b"".join(connection.pieces(head))


@pytest.mark.valgrind
def test_a_file_that_is_truncated_while_it_is_sent(gateway, large):
    with gateway.connect() as connection:
        connection.request("GET", "/static/large")
        head = connection.head()
        os.truncate(large, 1024 * 1024)
        with pytest.raises(Cut):
            b"".join(connection.pieces(head))
    gateway.err.wait(r"site: an answer was cut: its file cannot be read, or is shorter than it was \(id [0-9a-f]+\)")
    assert gateway.err.text.count("an answer was cut") == 1
    assert gateway.get("/static/hello.txt").status == 200
    wait_until(lambda: str(large) not in gateway.descriptors().values(), "the file is closed")


def test_a_file_that_is_removed_while_it_is_sent(gateway, large):
    expected = checksum(large)
    with gateway.connect() as connection:
        connection.request("GET", "/static/large")
        connection.head()
        large.unlink()
        assert receive(connection, LARGE) == expected


def test_draining_waits_for_a_file(launch, public, large):
    gateway = launch(static(public))
    with gateway.connect() as connection:
        connection.request("GET", "/static/large")
        connection.head()
        gateway.send_signal(signal.SIGTERM)
        gateway.err.wait("draining")
        assert receive(connection, LARGE) == checksum(large)
    assert gateway.wait() == 0


def test_over_a_unix_socket(launch, public, large, tmp_path):
    gateway = launch(static(public) | {"gateway": {"listen": f"unix:{tmp_path}/s"}})
    with gateway.connect() as connection:
        assert connection.get("/static/hello.txt").status == 200
        connection.request("GET", "/static/large")
        connection.head()
        assert receive(connection, LARGE) == checksum(large)


def test_a_small_response_memory(launch, public):
    gateway = launch(static(public) | {"limits": {"response_memory": "4k", "response_headers": "1k"}})
    for size in (1000, 2048, 2049, 4000, 16_000):
        (public / "file").write_bytes(noise(size))
        assert gateway.get("/static/file").body == noise(size)
        wait_until(lambda: not gateway.files(), "its file is given back")


# --- nothing is held


def test_no_descriptor_is_leaked(gateway, public, packed):
    (public / "mid").write_bytes(noise(SMALL * 2))
    os.mkfifo(public / "fifo")
    (public / "out").symlink_to("../secret.txt")
    requests = [("GET", "hello.txt", []), ("GET", "mid", []), ("HEAD", "mid", []), ("GET", "none", []),
                ("GET", "fifo", []), ("GET", "out", []), ("GET", "sub", []), ("POST", "mid", []),
                ("GET", "mid", [("Range", "bytes=5-9")]), ("GET", "mid", [("Range", "bytes=99999999-")]),
                ("GET", "mid", [("If-None-Match", "*")]), ("GET", "mid", [("If-Match", '"x"')]),
                ("GET", "app.js", [("Accept-Encoding", "br, gzip")]), ("GET", "app.js", [("Accept-Encoding", "gzip")]),
                ("GET", ".env", []), ("GET", "%2e%2e/secret.txt", [])]
    with gateway.connect() as connection:
        connection.get("/static/none")
        before = gateway.descriptors()
        for number in range(1000):
            method, name, fields = requests[number % len(requests)]
            connection.request(method, f"/static/{name}" if not name.startswith("%") else f"/static/sub/{name}",
                               fields=fields)
            connection.answer(method)
        wait_until(lambda: gateway.descriptors() == before, "all is closed")


def test_out_of_descriptors(launch, public):
    """A file that cannot be opened for want of descriptors is a 503, and the next one is served again."""
    (public / "mid").write_bytes(noise(3_000_000))
    gateway = launch(static(public))
    used = max(gateway.descriptors()) + 1
    import resource
    soft, hard = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)
    with gateway.connect() as connection:
        assert connection.get("/static/hello.txt").status == 200
        low = min(set(range(used + 2)) - set(gateway.descriptors()))
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (low, hard))
        answer = connection.get("/static/hello.txt")
        assert answer.status == 503 and answer.get("Retry-After")
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (soft, hard))
        assert connection.get("/static/hello.txt").status == 200


# --- the logs


def test_access_lines(gateway):
    gateway.get("/static/hello.txt")
    gateway.out.wait(r'"GET /static/hello\.txt HTTP/1\.1" 200 OK [0-9.]+ms site static$')
    gateway.get("/static/none")
    gateway.out.wait(r'"GET /static/none HTTP/1\.1" 404 Not Found [0-9.]+ms site static$')


def test_access_lines_as_json(launch, public):
    gateway = launch(static(public) | {"log": {"format": "json"}})
    gateway.get("/static/hello.txt")
    line = json.loads(gateway.out.wait(r"^\{.*\}$")[0])
    assert (line["app"], line["start"], line["status"], line["bytes_out"]) == ("site", "static", 200, 13)


def test_bytes_of_a_client_that_leaves(launch, public, large):
    """What it has not taken was not sent, neither in the log nor in the counters."""
    gateway = launch(static(public) | {"log": {"format": "json"}, "status": {"listen": "127.0.0.1:0"}})
    with gateway.connect() as connection:
        connection.request("GET", "/static/large")
        connection.need(1 << 20)
    line = json.loads(gateway.out.wait(r"^\{.*\}$")[0])
    assert line["status"] == 200 and 1 << 20 <= line["bytes_out"] + 1024 < large.stat().st_size
    with Inside(gateway) as inside:
        assert inside.app("site")["bytes"]["sent"] == line["bytes_out"]


def test_spooled_answers_go_out_whole(launch):
    """An app's answer that waits in a file is sent from there, again and again on one connection."""
    gateway = launch({"app:kitchen": app("kitchen"), "limits": {"response_memory": "64k"}})
    size = 8_000_000
    expected = (bytes(range(251)) * (size // 251 + 1))[:size]
    with gateway.connect() as connection:
        for target in (f"/big?size={size}", f"/big?size={size}&chunked", f"/big?size={size}"):
            connection.request("GET", target)
            wait_until(gateway.files, "the answer waits in a file")
            assert connection.answer().body == expected


# --- configuration


@pytest.mark.parametrize("value, what", [
    ("static/ public", 'static: "static/" does not begin with / (try /static/)'),
    ("/static/", 'static: "/static" has no directory behind it (try /static public)'),
])
@pytest.mark.valgrind
def test_errors(tmp_path, value, what):
    from gateway import run
    (tmp_path / "gateway.ini").write_text(f"[app:site]\nmodule = m\nstatic = {value}\n")
    result = run(tmp_path, "-t")
    assert result.returncode == 2 and result.stderr == f"leangate: gateway.ini:3: [app:site] {what}\n"
