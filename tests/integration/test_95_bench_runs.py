"""The benches count what fails, go on without a peer that is not here, and do not go on without leangate."""

import contextlib
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gateway import alive, wait_until

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench"))  # last: it has a worker.py, as tests/support has

import curves  # noqa: E402
import memory  # noqa: E402
import pace  # noqa: E402
import peers  # noqa: E402
import resident  # noqa: E402
import serving  # noqa: E402
import warm  # noqa: E402


@contextlib.contextmanager
def answering(status):
    """The port of a server that says nothing else."""
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_a_request_that_fails_fast_is_not_fast():
    with answering(200) as port:
        assert max(pace.paced(port, 0.03)) < pace.TIMEOUT
    with answering(503) as port:
        failed = pace.paced(port, 1)  # which a client that is a second behind would end
    assert len(failed) == 100 and min(failed) >= pace.TIMEOUT
    assert min(pace.paced(port, 0.03)) >= pace.TIMEOUT  # nobody listens there any more
    good = [[0.001] * 3]
    assert pace.failures({"flask": {"leangate": good, "uwsgi": [failed]}, "slow": {"leangate": good, "gunicorn": [failed]}}) == [
        "flask, uwsgi: 100 requests failed"]
    assert pace.failures({"slow": {"leangate": [failed]}}) == ["slow, leangate: 100 requests failed"]


def test_the_pace_is_kept_and_told():
    failures, rates = [], {}
    with answering(200) as port:  # an empty body: a failure here
        curves.ask(port, time.monotonic() + 1, failures, rates)
    assert 10 <= len(failures) <= 101 and rates == {port: 0}


def serve_in_turn(listener):
    """One connection after the other, each until its client closes it."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                while connection.recv(65536):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def test_a_server_that_serves_only_some_of_its_clients_is_found_out():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [threading.Thread(target=serve_in_turn, args=(listener,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        port = listener.getsockname()[1]
        assert [serving.starves(port, connections) for connections in (2, 3, 4)] == [False, False, True]
        listener.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
    with pytest.raises(OSError):
        serving.starves(port, 2)  # nobody listens there any more


ANSWERS_ON_A_PATH = """if True:
    import socket, sys, time
    time.sleep(0.2)  # the relay waits for it
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen()
        while True:
            with listener.accept()[0] as connection:
                while connection.recv(65536):
                    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nme")
"""


def test_the_relay_hands_on_both_ways_and_ends_with_its_server(tmp_path):
    peer = peers.behind_relay(lambda spec, where: [sys.executable, "-c", spec, where], tmp_path)
    port = serving.free_port()
    with serving.server(peer(ANSWERS_ON_A_PATH, port), port, tmp_path, expected=b"me") as pid:
        processes = serving.tree(pid)
        assert len(processes) == 2
        assert [serving.get(port) for _ in range(3)] == [(200, b"me")] * 3
    wait_until(lambda: not any(alive(one) for one in processes), "the end of both")
    with pytest.raises(serving.Failed, match="nobody listens on"):
        with serving.server(peer("raise SystemExit", port), port, tmp_path):
            pass


def missing(*_):
    raise SystemExit("go is missing")


def test_a_program_that_is_missing_leaves_its_peer_out(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(resident, "go", missing)
    with contextlib.ExitStack() as running:
        assert warm.start("hello-wsgi", ["go"], tmp_path, running) == {}
    monkeypatch.setattr(memory, "BESIDE", {"hello": {"Go net/http": missing}})
    assert memory.bench_beside(tmp_path, 1) == {"hello": {}}
    assert capsys.readouterr().out.count("left out: ") == 2


def test_a_failed_request_and_a_missing_leangate_end_the_run(monkeypatch, tmp_path):
    def failed(*_):
        raise SystemExit("wrk saw errors")

    monkeypatch.setattr(memory, "BESIDE", {"hello": {"waitress": lambda port, home: ["true"]}})
    monkeypatch.setattr(memory, "alone", failed)
    with pytest.raises(SystemExit, match="wrk saw errors"):
        memory.bench_beside(tmp_path, 1)
    monkeypatch.setattr(memory, "BESIDE", {"hello": {"leangate": missing}})
    with pytest.raises(SystemExit, match="is missing"):
        memory.bench_beside(tmp_path, 1)


def test_a_peer_that_cannot_be_installed_is_named_and_no_failure(tmp_path):
    needed, optional = tmp_path / "needed.txt", tmp_path / "optional.txt"
    needed.write_text("# nothing\n")
    optional.write_text("# one\nno-such-server==1.0\n")
    done = subprocess.run([ROOT / "tests/support/need-venv", sys.executable, tmp_path / "venv", needed, optional], capture_output=True,
                          text=True, env={**os.environ, "PIP_NO_INDEX": "1"}, timeout=120)
    assert done.returncode == 0 and "left out: no-such-server==1.0" in done.stderr, done.stderr
