"""The gateway against a FastCGI worker that does what a correct library cannot: see tests/support/fakeworker.py.

Whatever the worker does, the client gets a whole answer, an error, or a connection that is visibly cut; never a silently
short answer; and the next request is served.
"""

import json
import os
import re
import signal
import time

import pytest

from fakeworker import install, journal
from gateway import SLOW, proc_state, wait_until
from inside import Inside
from measure import memory
from rawhttp import Cut


@pytest.fixture
def play(launch, tmp_path):
    """play("script", "next script", key=value...): a gateway whose workers play these scripts in turn."""
    def start(*scripts, drain="3s", **keys):
        section = {"module": "fake", "directory": tmp_path, "python": install(tmp_path, *scripts)}
        return launch({"timeouts": {"drain": drain}, "app:fake": section | keys})
    return start


@pytest.fixture
def notes(tmp_path):
    return lambda word="": journal(tmp_path, word)


# --- odd, but right


@pytest.mark.parametrize("script", ["good", "no-empty-stdout", "byte-by-byte", "management", "close-after-stdout",
                                    "stderr-flood"])
def test_whole_answers(play, script):
    gateway = play(script)
    with gateway.connect() as connection:
        for _ in range(2):
            answer = connection.get("/")
            assert answer.status == 200 and answer.text.startswith("good")


@pytest.mark.valgrind
def test_full_records_with_padding(play):
    gateway = play("full-records")
    with gateway.connect() as connection:
        for _ in range(2):
            assert connection.get("/").body == b"".join(bytes([65 + n]) * 65535 for n in range(4))


@pytest.mark.valgrind
def test_stderr_goes_to_the_log(play):
    gateway = play("stderr-flood")
    assert gateway.get("/").text == "good"
    gateway.err.wait("flood flood flood")


def test_framing_of_the_worker_is_not_passed_on(play):
    with play("smuggled-framing").connect() as connection:
        answer = connection.get("/")
        assert answer.body == b"good" and answer.get("X-Kept") == "1" and answer.get("X-Hop") is None
        assert connection.get("/").body == b"good"


def test_more_than_the_promised_length_is_dropped(play):
    with play("long-length").connect() as connection:
        for _ in range(2):
            assert connection.get("/").body == b"too"


@pytest.mark.parametrize("size", [0, 3_000_000])
@pytest.mark.valgrind
def test_an_answer_before_the_body_is_read(play, size):
    """The worker answers and closes while the body is still being written to it: the answer counts, not the EPIPE."""
    gateway = play("early")
    assert gateway.post("/", b"x" * size).text == "early"
    assert gateway.post("/", b"x" * size).text == "early"


# --- wrong: 502, and a fresh worker for the next request


@pytest.mark.parametrize("script", [
    "end-without-stdout", "empty-stdout", "wrong-version", "wrong-id", "garbage", "endless-header", "no-header-end",
    "bad-status", "split-head"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nonsense_is_502(play, script, method):
    gateway = play(script, "good")
    with gateway.connect() as connection:
        connection.request(method, "/", body=b"x" * 10)
        answer = connection.answer()
        assert answer.status == 502 and answer.get("Transfer-Encoding") is None


def test_what_the_gateway_has_killed_was_not_out_of_memory(play, tmp_path):
    gateway = play("drops-and-errs")
    with gateway.connect() as connection:
        connection.request("GET", "/")
        wait_until(lambda: journal(tmp_path, "request"), "the request")
        assert gateway.get("/drop").status == 502
        (tmp_path / "cue").touch()
        assert connection.answer().status == 502
    gateway.err.wait(r"^error: fake: worker \d+ was killed by signal 9 \(Killed\)$")


def test_what_the_gateway_has_killed_did_not_crash(play, tmp_path):
    """What else it had in work ends with it."""
    gateway = play("one-errs", "good")
    with gateway.connect() as connection:
        connection.request("POST", "/", body=b"")
        wait_until(lambda: journal(tmp_path, "request"), "the request")
        assert gateway.post("/err", b"").status == 502
        assert connection.answer().status == 502
    gateway.err.wait(r"^error: fake: worker \d+ does not speak FastCGI: ")
    assert gateway.get("/").text.startswith("good")
    assert "was killed" not in gateway.err.text


@pytest.mark.parametrize("script", ["wrong-version", "wrong-id", "garbage"])
def test_a_worker_that_broke_the_protocol_is_replaced(play, notes, script):
    gateway = play(script, "good")
    assert gateway.post("/", b"").status == 502
    assert gateway.get("/").text.startswith("good")
    assert len(notes("start")) == 2
    wait_until(lambda: len(gateway.workers) == 1, "the end of the broken worker")


@pytest.mark.valgrind
def test_bytes_after_the_end_of_an_answer(play):
    gateway = play("stdout-after-end", "good")
    assert gateway.get("/").text == "good"
    answer = gateway.get("/")
    assert answer.status == 200 and answer.text.startswith("good")


def test_an_endless_head_does_not_hold_the_app(play):
    """The client has its 502; the worker that goes on writing loses the connection, and serves the next request."""
    gateway = play("endless-header")
    for _ in range(3):
        assert gateway.get("/").status == 502
    assert gateway.one_worker()


def test_what_a_bad_head_took_is_given_back(launch, tmp_path):
    """It was taken apart into a buffer of as many bytes."""
    gateway = launch({"status": {"listen": "127.0.0.1:0"}, "limits": {"response_headers": "200k"},
                      "app:fake": {"module": "fake", "directory": tmp_path, "python": install(tmp_path, "endless-header")}})
    assert gateway.get("/").status == 502
    with Inside(gateway) as inside:
        assert inside.status()["memory"]["buffers"] < 100_000


def test_a_head_that_outgrows_response_memory_is_502(launch, tmp_path):
    gateway = launch({"limits": {"response_headers": "64k", "response_memory": "64k"},
                      "app:fake": {"module": "fake", "directory": tmp_path, "python": install(tmp_path, "tight-head")}})
    assert gateway.get("/").status == 502
    gateway.err.wait("its head is larger than response_memory")


# --- cut


@pytest.mark.parametrize("script, kept", [("death-mid-body", False), ("close-without-end", False), ("short-length", True)])
@pytest.mark.valgrind
def test_a_short_answer_is_cut(play, script, kept):
    """The next one, too, where its worker stays."""
    gateway = play(script, "good")
    for _ in range(1 + kept):
        with pytest.raises(Cut):
            gateway.get("/")
    if not kept:
        wait_until(lambda: gateway.get("/").status == 200, "the next answer")


def test_a_short_answer_to_http_1_0_is_cut_by_a_reset(play):
    """Where the end of the connection is the end of the body, only a reset tells the difference."""
    gateway = play("death-mid-body")
    with gateway.connect() as connection:
        connection.send(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            while connection.socket.recv(1000):
                pass


def test_bytes_of_an_answer_in_chunks_that_a_client_leaves(launch, tmp_path):
    """What it has taken was sent, what waits was not: here five sixths of either are the framing."""
    gateway = launch({"log": {"format": "json"}, "limits": {"response_memory": "16m"},
                      "app:fake": {"module": "fake", "directory": tmp_path, "python": install(tmp_path, "crumbs")}})
    with gateway.connect() as connection:
        connection.request("GET", "/")
        wait_until(lambda: journal(tmp_path, "sent"), "the answer in the gateway")
        connection.head()
        connection.need(100_000)
    line = json.loads(gateway.out.wait(r"^\{.*\}$")[0])
    assert 100_000 <= line["bytes_out"] < 6_000_000


# --- lost workers: who is sent again


@pytest.mark.valgrind
def test_a_get_is_sent_again_once(play, notes):
    gateway = play("death-before", "good")
    assert gateway.get("/").text == "good 0"
    assert len(notes("request GET")) == 2
    gateway.err.wait("fake: ")


def test_a_get_that_kills_two_workers(play, notes):
    gateway = play("death-before")
    assert gateway.get("/").status == 502
    assert len(notes("request")) == 2


def test_a_post_is_not_sent_again(play, notes):
    gateway = play("death-before", "good")
    assert gateway.post("/", b"x").status == 502
    assert len(notes("request")) == 1
    assert gateway.post("/", b"x").text == "good 1"


def test_half_a_head_is_not_an_answer_yet(play, notes):
    """Nothing of it has reached the client: a GET goes to a fresh worker, a POST is lost."""
    gateway = play("death-mid-head", "good", "death-mid-head", "good")
    assert gateway.get("/").text == "good 0"
    os.kill(gateway.one_worker(), signal.SIGKILL)
    gateway.no_worker()
    assert gateway.post("/", b"x").status == 502


@pytest.mark.parametrize("size", [5, 1_000_000])
@pytest.mark.valgrind
def test_overloaded_is_sent_again_whatever_the_method(play, notes, size):
    gateway = play("overloaded", "good", workers=2)
    assert gateway.post("/", b"x" * size).text == f"good {size}"
    assert len(notes("request POST")) == 2


def test_a_worker_that_is_always_overloaded(play, notes):
    gateway = play("overloaded")
    assert gateway.post("/", b"x").status == 502
    assert 2 <= len(notes("start")) <= 8


@pytest.mark.valgrind
def test_a_worker_that_refuses_and_leaves_is_no_crash(play, notes):
    """Its exit is heard before its refusal is read. With status 0 that is in order; the request is served by the next one."""
    gateway = play("leaves")
    rounds = 8 if SLOW else 30
    with gateway.connect() as connection:
        assert connection.post("/", b"x").text == "good 1"
        for n in range(1, rounds):
            pid = gateway.one_worker()
            connection.request("POST", "/", b"x")
            wait_until(lambda: proc_state(pid) == "Z", "its end")
            gateway.send_signal(signal.SIGCONT)
            assert connection.answer().text == "good 1"
            assert len(notes("leaves")) == n
    assert len(notes("request POST")) == 2 * rounds - 1
    assert "error: " not in gateway.err.text


def test_who_comes_too_late_to_a_worker_that_leaves_is_served(play, notes, tmp_path):
    """A request finds the socket closed before the refusal of the one before it is read; and yet it is no crash."""
    gateway = play("leaves-on-cue", "good")
    with gateway.connect() as first, gateway.connect() as second:
        first.request("POST", "/", b"x")
        wait_until(lambda: notes("leaves"), "the worker to have it")
        pid = gateway.one_worker()
        second.request("POST", "/second", b"x")
        (tmp_path / "cue").touch()
        wait_until(lambda: proc_state(pid) == "Z", "its end")
        gateway.send_signal(signal.SIGCONT)
        assert first.answer().text.startswith("good") and second.answer().text.startswith("good")
    assert "error: " not in gateway.err.text


def test_what_was_not_delivered_is_sent_again_whatever_the_method(play, notes):
    gateway = play("stops-reading", "good", workers=2, start="eager")
    gateway.err.wait("^fake: ready")  # only then is the connection kept for the next request
    assert gateway.get("/").text == "good"
    assert gateway.post("/", b"xyz").text == "good 3"
    assert len(notes("request POST")) == 1


def test_a_worker_that_dies_is_not_connected_to_again(play, notes):
    gateway = play("dying", "good", workers=2, start="eager", stop_timeout="100ms")
    gateway.err.wait("^fake: ready")
    pid = gateway.one_worker()
    assert gateway.get("/").text == "good"
    wait_until(lambda: proc_state(pid) == "Z", "the end of its memory")
    assert gateway.post("/", b"xyz").text == "good 3"
    assert len(notes("request POST")) == 1


@pytest.mark.valgrind
def test_nonsense_on_the_control_channel(play, notes):
    gateway = play("nonsense-control", "good")
    assert gateway.post("/", b"x").status == 502
    assert gateway.post("/", b"x").text == "good 1"


# --- timeouts


@pytest.mark.parametrize("script", ["silence", "half-header"])
def test_no_head_in_time_is_504(play, script):
    gateway = play(script, "good", request_timeout="400ms", stop_timeout="200ms")
    assert gateway.get("/").status == 504
    wait_until(lambda: gateway.get("/").text.startswith("good"), "the next answer")


@pytest.mark.valgrind
def test_a_timeout_is_never_sent_again(play, notes):
    gateway = play("silence", "good", request_timeout="300ms", stop_timeout="100ms")
    assert gateway.get("/").status == 504
    gateway.no_worker()
    assert len(notes("request")) == 1


def test_never_ready(play, notes):
    gateway = play("never-ready", start_timeout="400ms")
    answer = gateway.get("/")
    assert answer.status == 503 and int(answer.get("Retry-After")) >= 1
    gateway.no_worker()


def test_ready_at_the_last_moment_is_an_ordinary_worker(play):
    """READY came while the stacks of its start were written down: its end is its own, and not that start's."""
    gateway = play("ready-at-last", start_timeout="1500ms")
    wait_until(lambda: gateway.get("/").text == "good", "a start that is ready before it is killed")
    assert gateway.post("/", b"x").status == 502
    gateway.err.wait("worker [0-9]+ exited with status 3$")


# --- starts that fail


def test_exit_without_a_word_is_tried_once_more(play, notes):
    gateway = play("exits-at-once", "good")
    assert gateway.post("/", b"x").text == "good 1"
    assert len(notes("start")) == 2


@pytest.mark.valgrind
def test_exit_without_a_word_twice(play, notes):
    gateway = play("exits-at-once")
    assert gateway.post("/", b"x").status == 502
    assert len(notes("start")) == 2
    began = time.monotonic()
    assert gateway.get("/").status in (502, 503)
    assert time.monotonic() - began < 5


def test_failed(play, notes):
    gateway = play("fails", "good")
    assert gateway.get("/").status == 500
    gateway.err.wait("No module named 'nowhere'")
    gateway.err.wait("^  the traceback")
    wait_until(lambda: gateway.get("/").status == 200, "the end of the back-off")


def test_nobody_says_that_no_app_can_start_while_one_does(play, notes):
    """The worker that was lost ends, and there is back-off, when another has begun in its place."""
    gateway = play("fails", "fails", "fails", "hangs-up", "never-ready")
    wait_until(lambda: gateway.get("/").status == 500 and len(notes("start")) == 3, "the failures that make back-off long")

    def waits():
        connection = gateway.connect()
        connection.request("GET", "/")
        return connection.silent(1) and connection
    with wait_until(waits, "the end of the back-off"):
        gateway.err.wait(r"worker \d+ closed its socket before it was ready and was killed$")
        assert gateway.get("/-/ready").status == 200
        wait_until(lambda: len(notes("start")) == 5, "the start in its place")


def test_a_failing_second_worker_fails_nobody(play, notes, tmp_path):
    """FAILED and the exit are seen in one turn of the loop: nothing may be queued twice."""
    gateway = play("slow", "fails", workers=2, queue_timeout="20s")
    with gateway.connect() as first:
        first.request("GET", "/1")
        wait_until(lambda: notes("request"), "the first request")
        for _ in range(5):
            with gateway.connect() as second:
                gateway.send_signal(signal.SIGSTOP)
                second.request("GET", "/2")
                gateway.send_signal(signal.SIGCONT)
                wait_until(lambda: notes("start fails"), "the second worker")
                (tmp_path / "cue").touch()
                assert second.answer().text == "good"
        assert first.answer().text == "good"


def test_a_worker_that_does_not_stop_is_killed(play, notes):
    gateway = play("ignores-stop", idle_timeout="200ms", stop_timeout="300ms")
    assert gateway.get("/").status == 200
    wait_until(lambda: notes("stop"), "STOP")
    gateway.no_worker()


# --- the queue


def test_one_request_at_a_time(play, notes):
    """A fake worker announces a concurrency of one: the second request waits in the gateway."""
    gateway = play("silence", request_timeout="off", queue="1", queue_timeout="3s")
    with gateway.connect() as first, gateway.connect() as second, gateway.connect() as third:
        first.request("GET", "/1")
        wait_until(lambda: notes("request"), "the first request")
        second.request("GET", "/2")
        gateway.get("/-/health")  # it is in the queue when this, which came later, has its answer
        third.request("GET", "/3")
        full = third.answer()
        assert full.status == 503 and full.get("Retry-After")
        assert second.silent(0.01)  # who came before it waits on
        late = second.answer()
        assert late.status == 503 and late.get("Retry-After")
        assert [re.sub(" 0$", "", line) for line in notes("request")] == ["request GET /1"]


@pytest.mark.valgrind
def test_a_client_that_leaves_the_queue_costs_nothing(play, notes):
    gateway = play("silence", "good", request_timeout="2s", stop_timeout="100ms")
    with gateway.connect() as first:
        first.request("GET", "/1")
        wait_until(lambda: notes("request"), "the first request")
        with gateway.connect() as second:
            second.request("GET", "/2")
            gateway.get("/-/health")  # it is in the queue when this, which came later, has its answer
        assert first.answer().status == 504
    assert gateway.get("/3").status == 200
    assert not [line for line in notes() if "/2" in line]


def test_a_request_that_nobody_waits_for_does_not_hold_the_drain(play, notes):
    """The client is gone, the worker hangs: at SIGTERM it has stop_timeout, not the whole of drain."""
    gateway = play("silence", drain="20s", request_timeout="off", stop_timeout="200ms")
    with gateway.connect() as connection:
        connection.request("GET", "/")
        wait_until(lambda: notes("request"), "the request")
    began = time.monotonic()
    gateway.stop()
    assert time.monotonic() - began < 10


# --- memory


@pytest.mark.skipif(SLOW, reason="a sanitiser keeps what is freed")
@pytest.mark.parametrize("script", ["endless-header", "stderr-flood", "full-records", "garbage", "wrong-length"])
def test_memory_is_bounded_whatever_a_worker_writes(play, script):
    gateway = play(script, request_timeout="400ms", stop_timeout="100ms", queue_timeout="300ms")
    gateway.get("/-/health")
    before = memory(gateway.pid)[2]
    for _ in range(10):
        assert gateway.get("/").status in (200, 502, 503, 504)
    assert memory(gateway.pid)[2] < before + 1500, "kB of private memory"


def test_a_record_that_is_shorter_than_it_says(play):
    """It announces more than it sends, and then nothing comes."""
    gateway = play("wrong-length", "good", request_timeout="400ms", stop_timeout="100ms")
    assert gateway.get("/").status == 504
    wait_until(lambda: gateway.get("/").text.startswith("good"), "the next answer")
