"""The table of hostile requests on the wire, against the whole gateway: what is refused gets one answer and the end of the
connection, never reaches an app, and takes nothing with it that stands behind; what is taken leaves the next request whole."""

import select

import pytest

from gateway import app
from http_cases import CASES

NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
REFUSED = [(name, data, status or 400) for name, data, status in CASES if status != 200]
TAKEN = [(name, data) for name, data, status in CASES if status == 200]
SHORT = 1000  # what is longer is not sent byte by byte


@pytest.fixture
def gateway(launch):
    return launch({"app:kitchen": app("kitchen")})


def at_once(connection, data):
    connection.send(data)


def byte_by_byte(connection, data):
    """Each in a packet of its own, until there is an answer."""
    for at in range(len(data)):
        if select.select([connection.socket], [], [], 0)[0]:
            break
        connection.send(data[at:at + 1])


WAYS = [at_once, byte_by_byte]


@pytest.mark.valgrind
@pytest.mark.parametrize("send", WAYS)
def test_what_is_refused_ends_there(gateway, send):
    for name, data, status in REFUSED:
        if send is byte_by_byte and len(data) > SHORT:
            continue
        with gateway.connect() as connection:
            send(connection, data + NEXT)
            answer = connection.answer()
            assert (answer.status, answer.get("Connection")) == (status, "close"), name
            assert connection.ended(), name
    assert "/next" not in gateway.out.text
    assert not gateway.workers


@pytest.mark.parametrize("send", WAYS)
def test_what_is_taken_leaves_the_next_request_whole(gateway, send):
    for name, data in TAKEN:
        with gateway.connect() as connection:
            send(connection, data)
            assert connection.answer().status == (204 if name == "asterisk" else 200), name
            if b"HTTP/1.0" in data:
                assert connection.ended()
            else:
                send(connection, NEXT)
                assert connection.answer().text == "GET /next", name


def test_what_comes_after_an_error_is_not_looked_at(gateway):
    """Also when it comes late, in packets of its own, while the connection lingers."""
    for name, data, status in REFUSED:
        with gateway.connect() as connection:
            connection.send(data + NEXT)  # NEXT ends what would go on waiting
            assert connection.answer().status == status, name
            try:
                connection.send(NEXT)
                connection.send(b"\r\n\r\n" + NEXT)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the end was faster
            assert connection.ended(), name
    assert "/next" not in gateway.out.text
    assert not gateway.workers
