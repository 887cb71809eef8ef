"""A worker started by hand behind the web servers that people have: nginx, lighttpd, Apache httpd and Caddy."""

import shutil
import signal
import socket
import threading

import httpx
import pytest

from webservers import ALL, free_port
from worker import ROOT, Worker, eventually

APP = """
    import json, time

    def app(environ, start_response):
        path = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
        if path == "/fail":
            raise ValueError("on purpose")
        if path == "/large":
            start_response("200 OK", [("Content-Type", "application/octet-stream")])
            return (bytes([i % 256]) * 65536 for i in range(80))
        if path == "/moved":
            start_response("302 Found", [("Location", "/there"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
            return []
        body = environ["wsgi.input"].read()
        told = {key: value for key, value in environ.items() if isinstance(value, str)}
        told.update(path=path, body=len(body), sum=sum(body))
        start_response("200 OK", [("Content-Type", "application/json"), ("X-App", "yes")])
        return [json.dumps(told).encode()]
"""


@pytest.fixture(params=ALL)
def kind(request):
    return ALL[request.param]


@pytest.fixture(params=["unix", "tcp"])
def fronted(request, kind, tmp_path):
    """fronted(source, spec): (worker, client of the web server before it); as people start it, without a gateway."""
    running = []

    def start(source=APP, spec="main:app", directory=None):
        options = ["--kind", "wsgi"]
        if request.param == "tcp":
            address = ("127.0.0.1", free_port())
            options += ["--listen", "%s:%d" % address]
        worker = Worker(directory or tmp_path / "worker", source, spec, options, control=False)
        running.append(worker)
        backend = worker.address
        if request.param == "tcp":
            backend = address
            eventually(lambda: reaches(address))
        else:
            for folder in (worker.directory, *worker.directory.parents):
                if folder.stat().st_uid == 0 and str(folder).startswith("/tmp/"):
                    folder.chmod(0o755)
            (worker.directory / "s").chmod(0o777)  # the web server has a user of its own
        server = kind(tmp_path / "server", backend)
        running.append(server)
        client = httpx.Client(base_url=server.url, timeout=30)
        return worker, client

    yield start
    for process in reversed(running):
        process.end()


def reaches(address):
    try:
        socket.create_connection(address).close()
        return True
    except OSError:
        return False


def test_requests_and_answers(fronted):
    worker, client = fronted()
    with client:
        told = client.get("/a%20path/x?q=1&r=%2F", headers={"X-Thing": "some thing"}).json()
        assert told["path"] == "/a path/x" and told["QUERY_STRING"] == "q=1&r=%2F"
        assert told["HTTP_X_THING"] == "some thing" and told["REQUEST_METHOD"] == "GET"
        assert told["REMOTE_ADDR"] == "127.0.0.1" and told["wsgi.url_scheme"] == "http"
        for size in 0, 1, 8192, 65536, 300_000:
            told = client.post("/post", content=b"\1" * size).json()
            assert told["body"] == told["sum"] == size
        head = client.head("/head")
        assert head.status_code == 200 and head.content == b"" and head.headers["X-App"] == "yes"
        moved = client.get("/moved")
        assert moved.status_code == 302 and moved.headers["Location"].endswith("/there")
        assert moved.headers.get_list("Set-Cookie") == ["a=1", "b=2"]
        large = client.get("/large").content
        assert large == b"".join(bytes([i % 256]) * 65536 for i in range(80))
        assert client.get("/fail").status_code == 500
        assert "ValueError: on purpose" in worker.stderr
        assert client.get("/still").json()["path"] == "/still"
    worker.process.send_signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_chunked_body(fronted):
    _, client = fronted()
    with client:
        told = client.post("/chunked", content=(b"\1" * 1000 for _ in range(50))).json()
        assert told["body"] == told["sum"] == 50_000


def test_many_clients_at_once(fronted):
    _, client = fronted()
    wrong = []

    def ask(number):
        with httpx.Client(base_url=client.base_url, timeout=30) as own:
            for i in range(20):
                told = own.post("/%d/%d" % (number, i), content=b"\1" * (i * 1000)).json()
                if (told["path"], told["body"]) != ("/%d/%d" % (number, i), i * 1000):
                    wrong.append(told)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_client_that_leaves(fronted):
    _, client = fronted()
    for _ in range(5):
        with socket.create_connection((client.base_url.host, client.base_url.port)) as rude:
            rude.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            rude.recv(100)
    with client:
        assert client.get("/after").json()["path"] == "/after"


@pytest.mark.parametrize("example", ["hello", "flask"])
def test_examples(fronted, tmp_path, example):
    directory = tmp_path / "worker"
    shutil.copytree(ROOT / "examples" / example, directory)
    spec = {"hello": "app:application", "flask": "app:app"}[example]
    _, client = fronted(None, spec, directory)
    with client:
        if example == "hello":
            answer = client.post("/a/path", content=b"12345")
            assert "Hello from Python." in answer.text and "POST /a/path" in answer.text and "body: 5 bytes" in answer.text
        else:
            client.follow_redirects = True
            assert "<li>buy &lt;milk&gt;</li>" in client.post("/", data={"text": "buy <milk>"}).text
            assert client.get("/notes.json").json() == {"notes": ["buy <milk>"]}
            assert client.get("/nowhere").status_code == 404
