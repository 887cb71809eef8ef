"""Calls that fail for a moment: every other one does (tests/support/faults.c)."""

import errno

import pytest

from worker import PRELOAD, ROOT

LIBRARY = ROOT / "build/test/libfaults.so"
ECHO = """
    def app(environ, start_response):
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]
"""
KINDS = pytest.mark.parametrize("options", [[], ["--mode", "fork"]], ids=["persistent", "fork"])


def faults(**errors):
    assert LIBRARY.exists(), f"make {LIBRARY}"
    return {"LD_PRELOAD": f"{PRELOAD} {LIBRARY}".strip()} | {f"FAULT_{name}": str(error) for name, error in errors.items()}


@KINDS
@pytest.mark.parametrize("length", [0, 100_000])
def test_interrupted_reads(serve, options, length):
    """An edge of epoll is told once: who comes back with nothing for a signal would never hear of its request again."""
    worker = serve(ECHO, options=options, environ=faults(RECV=errno.EINTR))
    for _ in range(3):
        with worker.connect() as connection:
            assert connection.ask(body=b"x" * length).body == b"x" * length
    worker.say("STOP")
    assert worker.wait() == 0


@KINDS
@pytest.mark.parametrize("error", [errno.ENOBUFS, errno.ENOMEM, errno.EINTR])
def test_messages_that_cannot_be_sent_at_once(serve, options, error):
    """READY comes, and a copy's word that it has its connection: else there would be no next one."""
    worker = serve(ECHO, options=options, environ=faults(SEND=error))
    for _ in range(3):
        with worker.connect() as connection:
            assert connection.ask(body=b"x").body == b"x"
    worker.say("STOP")
    assert worker.wait() == 0


@KINDS
def test_interrupted_writes(serve, options):
    """The head of a request with a large body goes into a file, which may lie anywhere."""
    worker = serve(ECHO, options=options, environ=faults(WRITE=errno.EINTR))
    for _ in range(4):
        with worker.connect() as connection:
            assert connection.ask(body=b"x" * 100_000).body == b"x" * 100_000
    assert worker.stop() == 0


@pytest.mark.parametrize("mode", ["persistent", "fork"])
def test_interrupted_reads_of_a_script(serve, tmp_path, mode):
    """What it has left in the pipe at its end belongs to its answer."""
    script = tmp_path / "script.py"
    script.write_text('print("Content-Type: text/plain\\n\\n" + "x" * 50000)')
    worker = serve(None, str(script), ["--kind", "cgi", "--mode", mode], environ=faults(READ=errno.EINTR))
    for _ in range(8):
        answer = worker.ask(flags=0, SCRIPT_FILENAME=str(script))
        assert answer.status == "200 OK" and len(answer.body) == 50001
    assert worker.stop() == 0
