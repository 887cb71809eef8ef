"""health_path and ready_path: what the gateway answers about itself, without waking anybody."""

import signal

import pytest

from gateway import app, needs_ipv6, run, wait_until

KITCHEN = {"app:kitchen": app("kitchen")}
HEALTH, READY = "/-/health", "/-/ready"


def check_ok(answer):
    assert (answer.status, answer.text, answer.get("Content-Type")) == (200, "ok\n", "text/plain; charset=utf-8")
    assert answer.get("Cache-Control") == "no-store" and answer.get("Content-Length") == "3"


@pytest.mark.parametrize("path", [HEALTH, READY])
def test_nobody_is_woken(launch, path):
    gateway = launch(KITCHEN)
    with gateway.connect() as connection:
        check_ok(connection.get(path))
        check_ok(connection.get(path + "?x=1"))
        check_ok(connection.get("/a/.." + path, host="any.example"))
        connection.request("HEAD", path)
        answer = connection.answer("HEAD")
        assert (answer.status, answer.get("Content-Length"), answer.body) == (200, "3", b"")
        connection.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        check_ok(connection.answer())
        assert connection.ended()
    assert not gateway.workers
    gateway.out.wait(rf'"GET {path} HTTP/1.1" 200 OK [0-9.]+ms -$')


@needs_ipv6
def test_every_listener(launch, tmp_path):
    gateway = launch(KITCHEN | {"gateway": {"listen": f"127.0.0.1:0 [::1]:0 unix:{tmp_path}/s"}})
    for index in range(3):
        for path in (HEALTH, READY):
            with gateway.connect(index) as connection:
                check_ok(connection.get(path))


def test_only_these_paths(launch):
    gateway = launch(KITCHEN)
    for path in ("/-/health/", "/-/healthz", "/-/", "/-/READY", "/x/-/health"):
        assert gateway.get(path).text == f"GET {path}"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get"])
def test_only_get_and_head(launch, method):
    gateway = launch(KITCHEN)
    with gateway.connect() as connection:
        connection.request(method, HEALTH)
        answer = connection.answer()
        assert (answer.status, answer.get("Allow")) == (405, "GET, HEAD")
        check_ok(connection.get(HEALTH))
    assert not gateway.workers


def test_a_body_is_not_waited_for(launch):
    gateway = launch(KITCHEN)
    with gateway.connect() as connection:
        connection.send(f"GET {HEALTH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n".encode())
        answer = connection.answer()
        check_ok(answer)
        assert answer.get("Connection") == "close"


def test_while_every_worker_is_busy(launch, tmp_path):
    gateway = launch({"app:kitchen": app("kitchen")})
    files = [tmp_path / f"go{n}" for n in range(8)]
    connections = [gateway.connect() for _ in files]
    for connection, file in zip(connections, files):
        connection.request("GET", f"/wait?file={file}")
    wait_until(lambda: list(tmp_path.glob("*.here")), "busy workers")
    for path in (HEALTH, READY):
        check_ok(gateway.get(path))
    for file in files:
        file.touch()
    for connection in connections:
        assert connection.answer().text == "waited"
        connection.close()


def test_they_win_over_routes(launch):
    gateway = launch({"app:kitchen": app("kitchen", path="/-", domain="a.example")})
    check_ok(gateway.get(HEALTH, host="a.example"))
    assert gateway.get("/-/x", host="a.example").status == 200
    assert gateway.get("/y", host="a.example").status == 404


def test_other_paths_and_off(launch):
    gateway = launch(KITCHEN | {"status": {"health_path": "/up", "ready_path": "off"}})
    check_ok(gateway.get("/up"))
    for path in (HEALTH, READY):
        assert gateway.get(path).text == f"GET {path}"


def test_not_ready_while_every_app_fails(launch):
    gateway = launch({"app:broken": app("broken", path="/broken"), "app:raises": app("raises", path="/raises")})
    assert gateway.get("/broken").status == 500
    check_ok(gateway.get(READY))  # the other one was never tried

    def not_ready():
        """Both in back-off at once, which grows with every failure."""
        gateway.get("/broken"), gateway.get("/raises")
        answer = gateway.get(READY)
        return answer.status == 503 and answer
    answer = wait_until(not_ready, "503")
    assert answer.text == "no app can start\n" and answer.get("Retry-After") == "1"
    check_ok(gateway.get(HEALTH))


def test_ready_again_when_the_app_is(launch, tmp_path):
    (tmp_path / "mine.py").write_text("raise ImportError('not yet')\n")
    gateway = launch({"app:mine": app("mine", directory=tmp_path)})
    wait_until(lambda: gateway.get("/").status == 500 and gateway.get(READY).status == 503, "503")  # while in back-off
    (tmp_path / "mine.py").write_text(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'here']\n")
    wait_until(lambda: gateway.get("/").status == 200, "the app")
    check_ok(gateway.get(READY))


def test_draining(launch, tmp_path):
    """Connections that are open get their answers: ready says 503, health still 200."""
    gateway = launch(KITCHEN)
    file = tmp_path / "go"
    with gateway.connect() as busy, gateway.connect() as ready, gateway.connect() as health:
        busy.request("GET", f"/wait?file={file}")
        wait_until((tmp_path / "go.here").exists, "the request")
        for connection, path in ((ready, READY), (health, HEALTH)):
            connection.send(f"GET {path} HTTP/1.1\r\n".encode())
        check_ok(gateway.get(READY))
        gateway.send_signal(signal.SIGTERM)
        gateway.err.wait("draining: 3 requests left")
        for connection, status in ((ready, 503), (health, 200)):
            connection.send(b"Host: x\r\n\r\n")
            answer = connection.answer()
            assert (answer.status, answer.get("Connection")) == (status, "close")
            assert connection.ended()
        file.touch()
        assert busy.answer().text == "waited"
    assert gateway.wait() == 0


def test_the_keys_in_the_dump(tmp_path):
    result = run(tmp_path, "-T", "kitchen:app", "--status-ready-path", "off", environ={"LEANGATE_STATUS_HEALTH_PATH": "/h"})
    assert "\nhealth_path = /h" in result.stdout and "; LEANGATE_STATUS_HEALTH_PATH" in result.stdout
    assert "ready_path = off" in result.stdout
