"""The same small site in five WSGI frameworks, unmodified, through the whole chain; and what wsgiref.validate says of us."""

import hashlib
import sys

import httpx
import pytest

from gateway import APPS, wait_until

FRAMEWORKS = "flask", "bottle", "django", "falcon", "pyramid"
SITES = APPS / "frameworks"


@pytest.fixture(params=FRAMEWORKS)
def site(request, launch):
    gateway = launch({"app:site": {"module": f"in_{request.param}:app", "directory": SITES, "python": sys.executable}})
    with httpx.Client(base_url=gateway.urls[0], timeout=60) as client:
        yield client


def test_forms(site):
    fields = {"one": "1 + 1 = 2 & more", "many": ["a", "b"], "umlaut": "grün"}
    assert site.post("/form", data=fields).json() == {"one": ["1 + 1 = 2 & more"], "many": ["a", "b"], "umlaut": ["grün"]}


@pytest.mark.parametrize("size", [0, 10, 70_000, 900_000])
def test_uploads(site, size):
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    told = site.post("/upload", files={"file": ("name of it.bin", data)}, data={"note": "a note"}).json()
    assert told == {"name": "name of it.bin", "size": size, "sha": hashlib.sha256(data).hexdigest(), "note": "a note"}


def test_cookies_and_sessions(site):
    first = site.get("/cookie")
    assert first.text == "never" and len(first.headers.get_list("Set-Cookie")) == 2
    assert site.get("/cookie").text == "once" and site.cookies["other"] == "more"
    assert [site.get("/session").text for _ in range(3)] == ["1", "2", "3"]


def test_redirect(site):
    away = site.get("/redirect")
    assert away.status_code in (302, 303) and httpx.URL(away.headers["Location"]).path == "/cookie"
    assert site.get("/redirect", follow_redirects=True).text == "never"


def test_stream_and_its_close(site):
    with site.stream("GET", "/stream") as stream:
        assert list(stream.iter_lines()) == [f"/stream {i}" for i in range(5)]
    wait_until(lambda: site.get("/closed").text == "stream", "close()")


def test_downloads(site):
    answer = site.get("/download")
    assert answer.content == b"\0\1" * 100_000 and "data.bin" in answer.headers["Content-Disposition"]
    assert b"The same site" in site.get("/file").content or b"One of the same" in site.get("/file").content
    assert site.head("/download").content == b""
    assert site.get("/nowhere").status_code == 404


VALIDATED = """
from wsgiref.validate import validator

def plain(environ, start_response):
    errors = environ["wsgi.errors"]
    errors.write("")
    errors.flush()
    data = environ["wsgi.input"]
    body = data.read(3) + data.readline() + b"".join(data.readlines(1)) + b"".join(data)
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))])
    return [body[:5], body[5:]]

def written(environ, start_response):
    environ["wsgi.input"].read(0)
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"written")
    return iter([b" and", b" iterated"])

def nothing(environ, start_response):
    start_response("204 No Content", [])
    return []

routes = {"/plain": plain, "/written": written, "/nothing": nothing}
app = validator(lambda environ, start_response: routes[environ["PATH_INFO"]](environ, start_response))
"""


def test_wsgiref_validate_has_no_complaint(launch, tmp_path):
    (tmp_path / "validated.py").write_text(VALIDATED)
    gateway = launch({"app:validated": {"module": "validated:app", "directory": tmp_path, "python": sys.executable,
                                        "env": ["PYTHONWARNINGS=error"]}})
    with httpx.Client(base_url=gateway.urls[0], timeout=60) as client:
        body = b"line one\nline two\n\nline four without end"
        for content in b"", body, body * 2000, (piece for piece in (body, body)):
            expected = content if isinstance(content, bytes) else body * 2
            assert client.post("/plain?a=b%20c", content=content).content == expected
        assert client.get("/plain").content == b"" and client.head("/plain").status_code == 200
        assert client.get("/written").text == "written and iterated"
        assert client.get("/nothing").status_code == 204
    assert "Error" not in gateway.err.text
