"""FastAPI and Starlette, unmodified, through the whole chain; clients that leave, timeouts and the end."""

import hashlib
import signal
import sys
import threading

import httpx
import pytest

from gateway import APPS, wait_until


@pytest.fixture
def site(launch):
    """site(keys of the app): (gateway, client)"""
    clients = []

    def start(gateway=None, environ=None, **keys):
        keys = {"module": "in_fastapi:app", "directory": APPS, "python": sys.executable} | keys
        if "env" in keys:
            keys["env"] = [f"{name}={value}" for name, value in keys["env"].items()]
        started = launch({"gateway": gateway or {}, "app:site": keys}, environ=environ)
        clients.append(httpx.Client(base_url=started.urls[0], timeout=60))
        return started, clients[-1]

    yield start
    for client in clients:
        client.close()


def lines(gateway):
    return gateway.out.text + gateway.err.text


# --- what FastAPI offers ---

def test_ready_as_asgi(site):
    gateway, client = site()
    assert client.get("/", params={"name": "you"}).json() == {"hello": "you", "with": "dependency"}
    assert client.get("/told").json() == ["startup", "dependency closed"]
    gateway.stop()
    wait_until(lambda: "shutdown" in lines(gateway), "shutdown")


def test_kind_asgi_and_lifespan_off(site):
    gateway, client = site(kind="asgi", lifespan="off")
    assert client.get("/told").json() == []
    gateway.stop()
    assert "shutdown" not in lines(gateway)


@pytest.mark.parametrize("mode", ["persistent", "fork"])
def test_a_startup_that_fails_is_a_500_with_its_reason(launch, tmp_path, mode):
    (tmp_path / "bad.py").write_text("import contextlib\nfrom fastapi import FastAPI\n@contextlib.asynccontextmanager\n"
                                     "async def lifespan(app):\n    raise KeyError('no database')\n    yield\n"
                                     "app = FastAPI(lifespan=lifespan)\n")
    gateway = launch({"app:bad": {"module": "bad:app", "directory": tmp_path, "python": sys.executable, "mode": mode}})
    assert gateway.get("/").status == 500
    gateway.err.wait("the app's startup failed: KeyError: 'no database'")
    assert gateway.err.text.count("startup failed") == 1


def test_mode_fork_and_a_startup_that_fails_later(launch, tmp_path):
    """Each copy has one. The request that waits for a copy is answered by a worker that knows why there is none."""
    (tmp_path / "late.py").write_text("import contextlib, os\nfrom fastapi import FastAPI\n@contextlib.asynccontextmanager\n"
                                      "async def lifespan(app):\n    os.stat('database')\n    yield\n"
                                      "app = FastAPI(lifespan=lifespan)\n"
                                      "@app.get('/')\ndef read():\n    os.path.exists('database') and os.rename('database', 'gone')\n"
                                      "    return 'served'\n")
    (tmp_path / "database").touch()
    gateway = launch({"app:late": {"module": "late:app", "directory": tmp_path, "python": sys.executable, "mode": "fork", "concurrency": "1"}})
    assert gateway.get("/").status == 200
    assert gateway.get("/").status == 500
    gateway.err.wait("late: the app's startup failed: FileNotFoundError")
    (tmp_path / "gone").rename(tmp_path / "database")
    wait_until(lambda: gateway.get("/").status == 200, "the app served again", 10)


@pytest.mark.parametrize("size", [0, 10, 70_000, 900_000])
def test_uploads_forms_and_json(site, size):
    _, client = site()
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    told = client.post("/upload", files={"file": ("name of it.bin", data)}, data={"note": "a note"}).json()
    assert told == {"name": "name of it.bin", "size": size, "sha": hashlib.sha256(data).hexdigest(), "note": "a note"}
    assert client.post("/form", data={"one": "1 + 1 & grün", "many": ["a", "b"]}).json() == {"one": "1 + 1 & grün", "many": ["a", "b"]}
    assert client.post("/json", json={"a": [1, None]}).json() == {"a": [1, None]}
    assert client.post("/json", content=b"no json").status_code == 422
    assert client.post("/count", content=data).json()["size"] == size
    assert client.post("/count", content=iter([data, data])).json()["size"] == 2 * size  # chunked


def test_middleware_redirect_cookies_files(site):
    _, client = site()
    answer = client.get("/redirect")
    assert (answer.status_code, len(answer.headers.get_list("Set-Cookie"))) == (303, 2)
    assert (answer.headers["X-Tag"], answer.headers["X-Plain"]) == ("/redirect", "yes")
    assert client.get(answer.headers["Location"]).json()["pool"] == ["shared"]
    answer = client.get("/file")
    assert answer.text == (APPS / "in_fastapi.py").read_text() and "in_fastapi.py" in answer.headers["Content-Disposition"]
    assert client.get("/large").text == "0123456789abcdef" * 200_000
    head = client.head("/static/in_flask.py")
    assert head.status_code == 200 and head.content == b"" and int(head.headers["Content-Length"]) > 0
    assert client.get("/static/in_flask.py").content == (APPS / "frameworks/in_flask.py").read_bytes()
    assert client.get("/static/in_flask.py", headers={"If-None-Match": head.headers["ETag"]}).status_code == 304
    assert client.get("/sync").json() == {"var": "startup"}


def test_exceptions(site):
    gateway, client = site()
    answer = client.get("/missing")
    assert (answer.status_code, answer.json(), answer.headers["X-Why"]) == (404, {"detail": "not here"}, "test")
    assert client.get("/nowhere").status_code == 404
    assert client.get("/fail").status_code == 500
    gateway.err.wait("KeyError: 'before the head'")
    assert client.get("/").status_code == 200


def test_an_exception_after_the_head_cuts_the_answer(site):
    gateway, client = site(module="in_fastapi:bare")
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/cut")
    gateway.err.wait("KeyError: 'after the head'")
    assert client.get("/told").json() == ["startup"]


def test_streams_flow(site):
    _, client = site()
    with client.stream("GET", "/stream") as stream:
        assert list(stream.iter_lines()) == [f"line {i}" for i in range(5)]
    with client.stream("GET", "/events") as stream:
        events = stream.iter_lines()
        assert [next(events) for _ in range(3)] == ["data: 0", "", "data: 1"]
    wait_until(lambda: "events closed" in client.get("/told").json(), "the end of the events")


def test_background_tasks_run_after_the_answer(site):
    gateway, client = site(module="in_fastapi:bare")
    assert client.get("/background").json() == {"answered": True}
    assert "background" not in client.get("/told").json()
    (gateway.tmp / "go").touch()
    wait_until(lambda: "background" in client.get("/told").json(), "the background task")


def test_a_client_that_leaves_is_told_of(site):
    gateway, client = site(module="in_fastapi:bare")
    with gateway.connect() as connection:
        connection.send(b"GET /watch HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: client.get("/told").json() == ["startup"], "the worker")
    wait_until(lambda: "left" in client.get("/told").json(), "the news")
    assert "failed:" not in lines(gateway)


def test_two_hundred_event_streams_in_one_process(site):
    gateway, client = site(concurrency=250)
    client.get("/")
    connections = [gateway.connect() for _ in range(200)]
    for connection in connections:
        connection.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    for connection in connections:
        data = b""
        while b"data: 3" not in data:
            data += connection.socket.recv(65536)
    assert len(gateway.workers) == 1
    for connection in connections:
        connection.close()
    wait_until(lambda: client.get("/told").json().count("events closed") == 200, "the ends of the streams")


# --- where an app is ---

PATHS = [
    ({}, "", ""),
    ({"path": "/api"}, "/api", "/api"),
    ({"path": "/api", "root_path": "/outer"}, "/api", "/outer/api"),
    ({"root_path": "/outer"}, "", "/outer"),
    ({"env": {"ROOT_PATH": "/api"}, "path": "/api"}, "/api", "/api"),
]


@pytest.mark.parametrize("keys, prefix, root", PATHS)
def test_urls_and_the_docs_page(site, keys, prefix, root):
    gateway, client = site(**keys)
    told = client.get(prefix + "/scope?a=1", headers={"Host": "example.org"}).json()
    assert told["root_path"] == root and told["path"] == root + "/scope"
    assert told["url"] == "http://example.org" + root + "/scope?a=1"
    assert told["base"] == "http://example.org" + root + "/"
    assert told["for"] == "http://example.org" + root + "/scope"
    assert told["client"][0] == "127.0.0.1" and told["client"][1] > 0 and told["http_version"] == "1.1"
    docs = client.get(prefix + "/docs")
    assert docs.status_code == 200 and f"url: '{root}/openapi.json'" in docs.text
    assert client.get(prefix + "/openapi.json").json()["info"]["title"] == "FastAPI"
    assert client.get(prefix + "/sub/in/x", headers={"Host": "example.org"}).text == \
        f"{root}/sub http://example.org{root}/sub/in/x"


def test_what_a_proxy_says(site):
    _, client = site()
    told = client.get("/scope", headers={"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "Host": "example.org"}).json()
    assert told["client"][0] == "203.0.113.9" and told["url"] == "https://example.org/scope"


def test_websockets_are_refused_before_the_app(site):
    gateway, client = site()
    answer = client.get("/", headers={"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                                      "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
    assert answer.status_code == 501
    assert not gateway.workers


# --- limits and the end ---


HANG = """
import asyncio, os
async def app(scope, receive, send):
    if scope["path"] == "/hang":
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            print("cancelled", flush=True)
            raise
    await send({"type": "http.response.start", "status": 200})
    if scope["path"] == "/long":
        await send({"type": "http.response.body", "body": b"more ", "more_body": True})
        await asyncio.sleep(3)
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""


def test_a_request_timeout_cancels_the_task_and_spares_the_worker(launch, tmp_path):
    (tmp_path / "hang.py").write_text(HANG)
    gateway = launch({"app:hang": {"module": "hang:app", "directory": tmp_path, "python": sys.executable,
                                   "request_timeout": "1s", "lifespan": "off"}})
    pid = gateway.get("/").body
    assert gateway.get("/hang").status == 504
    wait_until(lambda: "cancelled" in lines(gateway), "the cancellation")
    assert gateway.get("/").body == pid


def test_a_task_that_was_cancelled_has_ended(launch, tmp_path):
    """What others of its worker have begun is not given stop_timeout, for nothing hangs."""
    (tmp_path / "hang.py").write_text(HANG)
    gateway = launch({"app:hang": {"module": "hang:app", "directory": tmp_path, "python": sys.executable, "lifespan": "off",
                                   "request_timeout": "1s", "stop_timeout": "100ms"}})
    pid = gateway.get("/").body
    with gateway.connect() as other:
        other.request("GET", "/long")
        assert gateway.get("/hang").status == 504
        assert other.answer().body == b"more " + pid
    assert gateway.get("/").body == pid
    assert "it is replaced" not in gateway.err.text


def test_a_task_that_goes_on_after_its_cancellation_costs_the_worker(launch, tmp_path):
    (tmp_path / "hang.py").write_text(HANG.replace("raise", "await asyncio.sleep(100)"))
    gateway = launch({"app:hang": {"module": "hang:app", "directory": tmp_path, "python": sys.executable, "lifespan": "off",
                                   "request_timeout": "1s", "stop_timeout": "100ms"}})
    pid = gateway.get("/").body
    assert gateway.get("/hang").status == 504
    gateway.err.wait(f"^error: hang: worker {pid.decode()} did not end a request that it was told to; it is replaced$")
    assert gateway.get("/").body != pid


def test_sigterm_finishes_streams_and_runs_the_shutdown(site):
    gateway, client = site()
    client.get("/")
    read = []

    def follow():
        with client.stream("GET", "/stream", params={"lines": 300}) as stream:
            for line in stream.iter_lines():
                read.append(line)
    follower = threading.Thread(target=follow)
    follower.start()
    wait_until(lambda: read, "the first line")
    gateway.send_signal(signal.SIGTERM)
    follower.join()
    assert len(read) == 300
    assert gateway.wait() == 0
    assert "shutdown" in lines(gateway)


def test_it_sleeps_and_wakes_with_its_lifespan(site):
    gateway, client = site(idle_timeout="100ms")
    for _ in range(2):
        assert client.get("/").status_code == 200
        gateway.no_worker()
    wait_until(lambda: lines(gateway).count("startup") == lines(gateway).count("shutdown") == 2, "what both have said")


def test_mode_fork(site):
    gateway, client = site(mode="fork")
    for _ in range(3):
        assert client.get("/told").json() == ["startup"]
    assert client.post("/json", json={"a": 1}).json() == {"a": 1}
    wait_until(lambda: lines(gateway).count("shutdown") == 4, "the ends of the copies")
