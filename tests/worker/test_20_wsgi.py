"""The app's side: PEP 3333."""

import json
import re

import pytest

import fcgi_client as fcgi
from fcgi_client import END, STDIN, STDOUT, cgi_params, record, request
from worker import Worker, eventually

# --- environ ---

ENVIRON = """
    import json, sys

    def app(environ, start_response):
        start_response("200 OK", [])
        assert type(environ) is dict
        assert environ["wsgi.errors"] is sys.stderr
        return [json.dumps({key: value if isinstance(value, (str, int, tuple)) else type(value).__name__
                            for key, value in environ.items()}).encode()]
"""


def environ_of(worker, **extra):
    return json.loads(worker.ask(**extra).body)


def test_environ_is_what_the_gateway_sent_and_what_wsgi_adds(serve):
    given = cgi_params(path="/a b", query="x=1", HTTP_X="y", EMPTY="")
    assert environ_of(serve(ENVIRON), path="/a b", query="x=1", HTTP_X="y", EMPTY="") == dict(given, **{
        "wsgi.version": [1, 0],
        "wsgi.url_scheme": "http",
        "wsgi.input": "input",
        "wsgi.errors": "TextIOWrapper",
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "wsgi.file_wrapper": "type",
    })


@pytest.mark.parametrize("extra, scheme", [
    ({"REQUEST_SCHEME": "https"}, "https"),
    ({"REQUEST_SCHEME": "http", "HTTPS": "on"}, "https"),
    ({"HTTPS": "1"}, "https"),
    ({"HTTPS": "off"}, "http"),
    ({"HTTPS": ""}, "http"),
])
def test_scheme(serve, extra, scheme):
    assert environ_of(serve(ENVIRON), **extra)["wsgi.url_scheme"] == scheme


def test_what_other_web_servers_leave_out_or_send_amiss(serve):
    params = cgi_params("POST", "/", b"abc")
    del params["SCRIPT_NAME"], params["PATH_INFO"]
    params["CONTENT_LENGTH"] = "-1"
    worker = serve(ENVIRON)
    with worker.connect() as connection:
        connection.send(request(params, b"abc"))
        told = json.loads(connection.read_answer().body)
    assert told["SCRIPT_NAME"] == told["PATH_INFO"] == "" and "CONTENT_LENGTH" not in told


def test_environ_of_one_request_is_not_seen_by_the_next(serve):
    worker = serve("""
        def app(environ, start_response):
            start_response("200 OK", [])
            seen = environ.get("mark", "none")
            environ["mark"] = "here"
            del environ["wsgi.version"]
            return [seen.encode(), environ.get("HTTP_ONCE", "-").encode()]
    """)
    assert worker.ask(HTTP_ONCE="1").body == b"none1"
    assert worker.ask().body == b"none-"


def test_more_header_names_than_are_remembered(serve):
    worker = serve(ENVIRON)
    for i in range(0, 600, 50):
        extra = {"HTTP_X%d" % j: "v%d" % j for j in range(i, i + 50)}
        environ = environ_of(worker, **extra)
        assert all(environ[name] == value for name, value in extra.items())


# --- one worker for all that is an expression: it comes as a parameter ---

EVALUATE = """
    def app(environ, start_response):
        names = {"i": environ["wsgi.input"], "start_response": start_response}
        code = environ["CODE"]
        if environ["CALL"]:
            try:
                eval(code, names)
            except BaseException as error:
                if environ["CALL"] == "first":
                    start_response("200 OK", [])
                return [("%s: %s" % (type(error).__name__, error)).encode()]
            return [b"accepted"]
        start_response("200 OK", [])
        return [repr(eval(code, names)).encode()]
"""


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory):
    """A connection to that worker."""
    worker = Worker(tmp_path_factory.mktemp("evaluator") / "w", EVALUATE).ready()
    with worker.connect() as connection:
        yield connection
    assert worker.stop() == 0
    assert worker.stderr == ""
    worker.end()


def evaluate(connection, code, params, body=b"", size=65535):
    connection.send(request(dict(params, CODE=code.encode(), CALL=""), body, size=size))
    return connection.read_answer().body


def call(connection, code, when="first"):
    """Evaluate a call of start_response; `when`: it fails before the head is set, or after."""
    return connection.ask(CODE=code, CALL=when)


# --- wsgi.input ---

BODY = b"one\ntwo\n\nfour" + b"x" * 9000 + b"\nlast"


@pytest.mark.parametrize("declared", [True, False], ids=["length", "to the end"])
@pytest.mark.parametrize("size", [3, 65535], ids=["small records", "one record"])
@pytest.mark.parametrize("code, expected", [
    ("i.read()", BODY),
    ("i.read(-1)", BODY),
    ("i.read(None)", BODY),
    ("i.read(5)", BODY[:5]),
    ("i.read(0)", b""),
    ("i.read(10**6)", BODY),
    ("[i.read(4), i.read(8500), i.read(), i.read(), i.read(1)]", [BODY[:4], BODY[4:8504], BODY[8504:], b"", b""]),
    ("i.readline()", b"one\n"),
    ("[i.readline(2), i.readline(2), i.readline(-1), i.readline(None), i.readline(4), i.readline(0)]",
     [b"on", b"e\n", b"two\n", b"\n", b"four", b""]),
    ("[i.read(13), i.readline(), i.readline(), i.readline()]", [BODY[:13], b"x" * 9000 + b"\n", b"last", b""]),
    ("i.readlines()", BODY.splitlines(True)),
    ("i.readlines(5)", [b"one\n", b"two\n"]),
    ("i.readlines(-1)", BODY.splitlines(True)),
    ("list(i)", BODY.splitlines(True)),
    ("[next(i), i.read(1), list(i)[-1], list(i), next(i, None)]", [b"one\n", b"t", b"last", [], None]),
    ("(iter(i) is i)", True),
])
def test_input(evaluator, code, expected, size, declared):
    params = cgi_params("POST", "/", BODY)
    if not declared:
        params["CONTENT_LENGTH"] = ""
    for _ in range(2):
        assert evaluate(evaluator, code, params, BODY, size) == repr(expected).encode()


def test_input_without_a_body(evaluator):
    code = "[i.read(), i.read(5), i.readline(), i.readlines(), list(i)]"
    assert evaluate(evaluator, code, cgi_params()) == b"[b'', b'', b'', [], []]"


def test_input_stops_at_content_length(evaluator):
    params = cgi_params("POST", "/", b"1234")
    assert evaluate(evaluator, "[i.read(2), i.read(), i.readline()]", params, b"1234 and more\n") == b"[b'12', b'34', b'']"


@pytest.mark.parametrize("code", ["i.read('x')", "i.readline(1.5)", "i.read(1, 2)", "i.readlines([])", "i.read(10**30)"])
def test_input_wrong_arguments(evaluator, code):
    assert re.match(b"(Type|Overflow)Error: ", call(evaluator, code).body)


def test_handles_after_the_request(serve):
    worker = serve("""
        kept = []

        def app(environ, start_response):
            texts = []
            for input, start, write in kept:
                for call in (input.read, lambda: next(input), lambda: start("200 OK", []), lambda: write(b"x"),
                             lambda: type(input)().read(), lambda: type(start)()("200 OK", [])):
                    try:
                        call()
                    except (ValueError, RuntimeError) as error:
                        texts.append(str(error))
            kept[:] = [(environ["wsgi.input"], start_response, start_response("200 OK", []))]
            return [repr(texts).encode()]
    """)
    assert worker.ask("POST", "/", b"body").body == b"[]"
    body = worker.ask("POST", "/", b"body").body
    assert body.count(b"the request is over") == 6, body


@pytest.mark.parametrize("method", ["read", "readline", "readlines"])
def test_a_read_that_begins_late_takes_nothing_of_the_next_request(serve, method):
    worker = serve("""
        import threading
        asked, over, tried = threading.Event(), threading.Event(), threading.Event()

        class Late:
            def __index__(self):
                asked.set()
                over.wait()
                return 3

        def steal(read):
            try:
                print(read(Late()))
            except ValueError as error:
                print(error)
            tried.set()

        def app(environ, start_response):
            start_response("200 OK", [])
            if environ["PATH_INFO"] == "/":
                threading.Thread(target=steal, args=(environ["wsgi.input"].%s,)).start()
                asked.wait()
                return []
            over.set()
            tried.wait()
            return [environ["wsgi.input"].read()]
    """ % method, options=["--concurrency", "1"])
    worker.ask("POST", "/", b"mine")
    assert worker.ask("POST", "/next", b"yours").body == b"yours"
    assert worker.stop() == 0 and worker.stdout == "wsgi.input: the request is over\n"


def test_handles_while_what_the_app_returned_goes(serve):
    worker = serve("""
        class Body:
            def __init__(self, *calls):
                self.calls = calls

            def __iter__(self):
                return iter([b"body"])

            def __del__(self):
                for call in self.calls:
                    try:
                        call()
                    except RuntimeError as error:
                        print(error)

        def app(environ, start_response):
            input, write = environ["wsgi.input"], start_response("200 OK", [])
            return Body(input.read, input.readline, lambda: write(b"late"))
    """)
    for n in 1, 2:
        assert worker.ask("POST", "/", b"not read").body == b"body"
        eventually(lambda: worker.stdout == "the request is over\n" * 3 * n)
    assert worker.ask().body == b"body"


# --- start_response ---

@pytest.mark.parametrize("code, error", [
    ('start_response("200", [])', "ValueError: status must be three digits"),
    ('start_response("200OK", [])', "ValueError: status must be"),
    ('start_response("20 OK", [])', "ValueError: status must be"),
    ('start_response("2x0 OK", [])', "ValueError: status must be"),
    ('start_response("HTTP/1.1 200 OK", [])', "ValueError: status must be"),
    ('start_response("099 Low", [])', "ValueError: status must be"),
    ('start_response("", [])', "ValueError: status must be"),
    ('start_response("200 O\\nK", [])', "ValueError: status must be"),
    ('start_response("100 Continue", [])', "ValueError: status '100 Continue' is not final"),
    ('start_response(b"200 OK", [])', "TypeError: status must be str, not bytes"),
    ('start_response(200, [])', "TypeError: status must be str, not int"),
    ('start_response("200 \\u20ac", [])', "ValueError: status has characters that are not Latin-1"),
    ('start_response("200 OK", ())', "TypeError: headers must be a list of tuples, not <class 'tuple'>"),
    ('start_response("200 OK", {})', "TypeError: headers must be a list"),
    ('start_response("200 OK", [["A", "b"]])', "TypeError: headers must be tuples (name, value), not ['A', 'b']"),
    ('start_response("200 OK", [("A", "b", "c")])', "TypeError: headers must be tuples"),
    ('start_response("200 OK", [("A", b"b")])', "TypeError: header value must be str, not bytes"),
    ('start_response("200 OK", [(b"A", "b")])', "TypeError: header name must be str, not bytes"),
    ('start_response("200 OK", [("A", 1)])', "TypeError: header value must be str, not int"),
    ('start_response("200 OK", [("A", "b\\r\\nC: d")])', "ValueError: header A: control characters"),
    ('start_response("200 OK", [("A", "b\\0")])', "ValueError: header A: control characters"),
    ('start_response("200 OK", [("A\\nB", "b")])', "ValueError: b'A\\nB' cannot be the name of a header"),
    ('start_response("200 OK", [("A:", "b")])', "ValueError: b'A:' cannot be"),
    ('start_response("200 OK", [("A B", "b")])', "ValueError: b'A B' cannot be"),
    ('start_response("200 OK", [("", "b")])', "ValueError: b'' cannot be"),
    ('start_response("200 OK", [("Status", "404")])', "ValueError: b'Status' cannot be"),
    ('start_response("200 OK", [("A", "\\u20ac")])', "ValueError: header value has characters that are not Latin-1"),
    ('start_response("200 OK", [("Content-Length", "x")])', "ValueError: header Content-Length: b'x' is not a length"),
    ('start_response("200 OK", [("Content-Length", "-1")])', "ValueError: header Content-Length"),
    ('start_response("200 OK", [("Content-Length", "1" * 40)])', "ValueError: header Content-Length"),
    ('start_response("200 OK", [("Content-Length", "1"), ("content-length", "2")])', "ValueError: header Content-Length"),
    ('start_response("200 OK", [("A", "x" * 2000000)])', "ValueError: the head of the answer is too long"),
    ('start_response("200 OK")', "TypeError:"),
    ('start_response("200 OK", [], None, None)', "TypeError:"),
    ('start_response("200 OK", [], 5)', "TypeError:"),
    ('start_response("200 OK", [])("text")', "TypeError: write() takes bytes, not <class 'str'>"),
])
def test_start_response_refuses(evaluator, code, error):
    answer = call(evaluator, code, "later" if "write" in error else "first")
    assert answer.status == "200 OK"
    assert answer.body.decode("latin-1").startswith(error)


@pytest.mark.parametrize("code, head", [
    ('start_response("200 OK", [])', "Status: 200 OK"),
    ('start_response("999 ", [])', "Status: 999 "),
    ('start_response("404 Nicht gef\\xfcnden", [("X-\\x41", "\\xe4\\tb")])', "Status: 404 Nicht gef\xfcnden\r\nX-A: \xe4\tb"),
    ('start_response(status="200 OK", headers=[("A", "")], exc_info=None)', "Status: 200 OK\r\nA: "),
    ('start_response("200 OK", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])',
     "Status: 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2"),
    ('start_response("200 OK", [("A", "x" * 30000)])', "Status: 200 OK\r\nA: " + "x" * 30000),
])
def test_start_response_accepts(evaluator, code, head):
    answer = call(evaluator, code)
    assert answer.head == head + "\r\nContent-Length: 8"
    assert answer.body == b"accepted"


def test_start_response_twice(evaluator):
    answer = call(evaluator, 'start_response("200 OK", []), start_response("201 Created", [])', "later")
    assert answer.status == "200 OK"
    assert answer.body == b"AssertionError: start_response() was called twice without exc_info"


def test_exc_info_replaces_a_head_that_is_not_sent(serve):
    worker = serve("""
        import sys

        def app(environ, start_response):
            start_response("200 OK", [("Content-Length", "77"), ("X-First", "1")])
            try:
                raise KeyError("inner")
            except KeyError:
                start_response("500 Oops", [("X-Second", "2")], sys.exc_info())
            return [b"page"]
    """)
    answer = worker.ask()
    assert answer.status == "500 Oops"
    assert answer.headers == [("X-Second", "2"), ("Content-Length", "4")]
    assert answer.app_status == 0


def test_exc_info_after_the_head_is_sent_raises_it(serve):
    worker = serve("""
        import sys

        def app(environ, start_response):
            start_response("200 OK", [])
            yield b"begun"
            try:
                raise KeyError("inner")
            except KeyError:
                start_response("500 Oops", [], sys.exc_info())
            yield b"never"
    """)
    answer = worker.ask()
    assert answer.stdout.endswith(b"\r\n\r\nbegun")
    assert answer.app_status == 1 and not answer.stdout_ended
    assert "KeyError: 'inner'" in worker.stderr


@pytest.mark.parametrize("exc_info", ["sys.exc_info()", "(1, 2, 3)", "(ValueError, 'text', None)", "(ValueError, ValueError(), 3)"])
def test_exc_info_without_an_exception(serve, exc_info):
    worker = serve("""
        import sys

        def app(environ, start_response):
            start_response("200 OK", [])(b"begun")
            if environ["PATH_INFO"] == "/":
                return []
            start_response("500 Oops", [], %s)
    """ % exc_info)
    for _ in range(20):
        answer = worker.ask(path="/amiss")
        assert answer.stdout.endswith(b"\r\n\r\nbegun")
        assert answer.app_status == 1 and not answer.stdout_ended
    assert worker.stderr.count("\nTypeError: ") == 20
    assert worker.ask().body == b"begun"


def test_write(serve):
    worker = serve("""
        def app(environ, start_response):
            write = start_response("200 OK", [])
            assert write(b"one ") is None
            write(b"")
            write(b"two " * 10000)
            return [b"three"]
    """)
    with worker.connect() as connection:
        connection.send(request(cgi_params()))
        answer = connection.read_answer()
    assert answer.body == b"one " + b"two " * 10000 + b"three"
    assert answer.records[0][1].endswith(b"\r\n\r\none ")  # at once, not gathered
    assert answer.header("Content-Length") is None


def test_write_to_a_client_that_is_gone(serve):
    worker = serve("""
        def app(environ, start_response):
            write = start_response("200 OK", [])
            if environ["PATH_INFO"] == "/":
                return []
            try:
                while True:
                    write(b"x" * 10000)
            except BrokenPipeError as error:
                print("told:", error)
                if environ["PATH_INFO"] == "/raises":
                    raise
            return [b"ignored"]
    """)
    for n, path in enumerate(("/endless", "/raises"), 1):
        with worker.connect() as connection:
            connection.send(request(cgi_params(path=path)))
            connection.read_exactly(100)
        eventually(lambda: worker.stdout == "told: the client is gone\n" * n)
        assert worker.ask().status == "200 OK"
    assert worker.stderr == ""


# --- bodies ---


@pytest.mark.parametrize("result, body, length", [
    ('[b"hello"]', b"hello", "5"),
    ('(b"hello",)', b"hello", "5"),
    ('[b"a", b"", b"b" * 20000]', b"a" + b"b" * 20000, "20001"),
    ("[]", b"", "0"),
    ("[b'']", b"", "0"),
    ('iter([b"a", b"b"])', b"ab", None),
    ('(x for x in [b"", b"a", b"", b"b"])', b"ab", None),
    ('{b"x": 1}', b"x", None),
    ('iter([])', b"", None),
    ('Bytes()', b"sub", None),
])
def test_iterables(serve, result, body, length):
    worker = serve("""
        class Bytes(list):
            def __init__(self):
                self.append(type("B", (bytes,), {})(b"sub"))

        def app(environ, start_response):
            start_response("200 OK", [("X", "y")])
            return %s
    """ % result)
    with worker.connect() as connection:
        for _ in range(2):
            answer = connection.ask()
            assert (answer.body, answer.header("Content-Length"), answer.app_status) == (body, length, 0)
            assert answer.stdout_ended


def test_pieces_are_sent_as_they_come(serve):
    worker = serve("""
        def app(environ, start_response):
            start_response("200 OK", [])
            for i in range(3):
                yield b"piece %d" % i
                environ["wsgi.input"].read(1)
    """)
    with worker.connect() as connection:
        connection.send(request(cgi_params("POST", "/", b"abc"))[:-8])
        answer = fcgi.Answer()
        for i in range(3):
            connection.read_until(answer, lambda kind, content: content.endswith(b"piece %d" % i))
            connection.send(record(STDIN, 1, b"x"))
        connection.send(record(STDIN, 1))
        connection.read_until(answer, lambda kind, content: kind == END)
    assert answer.body == b"piece 0piece 1piece 2"


def test_status_may_come_with_the_first_piece(serve):
    worker = serve("""
        class Late:
            def __init__(self, start_response):
                self.start_response, self.pieces = start_response, iter([b"", b"late"])
            def __iter__(self):
                return self
            def __next__(self):
                piece = next(self.pieces)
                if piece:
                    self.start_response("202 Accepted", [])
                return piece

        def app(environ, start_response):
            return Late(start_response)
    """)
    answer = worker.ask()
    assert (answer.status, answer.body) == ("202 Accepted", b"late")


@pytest.mark.parametrize("result, text", [
    ('b"bytes"', "the app returned <class 'bytes'>, not an iterable of bytes: return [body]"),
    ('"text"', "the app returned <class 'str'>"),
    ("None", "'NoneType' object is not iterable"),
    ('["text"]', "the body must be an iterable of bytes, and this one has <class 'str'>"),
    ('[b"ok", 5]', "<class 'int'>"),
    ('[bytearray(b"x")]', "<class 'bytearray'>"),
    ('[memoryview(b"x")]', "<class 'memoryview'>"),
    ('iter(["text"])', "<class 'str'>"),
])
def test_what_is_no_body(serve, result, text):
    worker = serve("""
        def app(environ, start_response):
            start_response("200 OK", [])
            return %s
    """ % result)
    answer = worker.ask()
    assert (answer.status, answer.body) == ("500 Internal Server Error", b"Internal Server Error\n")
    assert text in worker.stderr


@pytest.mark.parametrize("result, body, aborted", [
    ('[b"1234567"]', b"12345", False),
    ('iter([b"123", b"4567", b"8"])', b"12345", False),
    ('iter([b"12345", b"6"])', b"12345", False),
    ('[b"1234"]', b"", True),
    ('iter([b"123", b"4"])', b"1234", True),
    ('iter([b"123", b"45"])', b"12345", False),
])
def test_content_length_is_kept(serve, result, body, aborted):
    worker = serve("""
        def app(environ, start_response):
            start_response("200 OK", [("Content-Length", "5")])
            return %s
    """ % result)
    with worker.connect() as connection:
        answer = connection.ask()
    if aborted and body:
        assert answer.app_status == 1 and not answer.stdout_ended
        assert answer.body == body
    elif aborted:
        assert answer.status == "500 Internal Server Error"
    else:
        assert (answer.body, answer.app_status, answer.stdout_ended) == (body, 0, True)
    assert ("bytes of the 5 that Content-Length promises" in worker.stderr) == aborted


def test_what_is_beyond_content_length_is_not_asked_for(serve):
    worker = serve("""
        class Endless:
            def __iter__(self):
                yield b"12345"
                yield b""
                print("behind the last piece", flush=True)
                while True:
                    yield b"6"

            def close(self):
                print("closed", flush=True)

        def app(environ, start_response):
            start_response("200 OK", [("Content-Length", "5")])
            return Endless()
    """)
    assert worker.ask().body == b"12345"
    assert worker.ask("HEAD").body == b""
    eventually(lambda: worker.stdout == "behind the last piece\nclosed\n" * 2)


@pytest.mark.parametrize("method, status", [("HEAD", "200 OK"), ("GET", "304 Not Modified"), ("GET", "204 No Content")])
def test_answers_without_a_body(serve, method, status):
    worker = serve("""
        class Body:
            def __iter__(self):
                return iter([] if "200" not in %r else [b"12", b"345"])
            def close(self):
                print("closed")

        def app(environ, start_response):
            start_response(%r, [("Content-Length", "5")])
            return Body()
    """ % (status, status))
    with worker.connect() as connection:
        for i in range(2):
            answer = connection.ask(method)
            assert (answer.status, answer.body, answer.app_status) == (status, b"", 0)
            assert answer.header("Content-Length") == "5"
    assert worker.stdout == "closed\n" * 2
    assert worker.stderr == ""


def test_head_of_a_list(serve):
    assert serve().ask("HEAD").stdout.endswith(b"Content-Length: 5\r\n\r\n")


@pytest.mark.parametrize("body", ["[]", "[b'']", "()"])
def test_head_of_what_is_empty_for_head_only(serve, body):
    """As Bottle answers it: what GET would have had is not known, and was not nothing."""
    worker = serve("""
        def app(environ, start_response):
            start_response("200 OK", [])
            return %s
    """ % body)
    assert worker.ask("HEAD").stdout == b"Status: 200 OK\r\n\r\n"
    assert worker.ask().header("Content-Length") == "0"


# --- close ---

CLOSING = """
    import time

    class Body:
        def __init__(self, environ, pieces):
            self.environ, self.pieces = environ, iter(pieces)
        def __iter__(self):
            return self
        def __next__(self):
            return next(self.pieces)
        def close(self):
            self.environ["wsgi.input"].read()
            print("closed", self.environ["PATH_INFO"])
            {more}

    def fail():
        yield b"some"
        raise ZeroDivisionError("in the body")

    def app(environ, start_response):
        start_response("200 OK", {headers})
        return Body(environ, fail() if environ["PATH_INFO"] == "/fail" else [b"hello"])
"""


@pytest.mark.parametrize("headers", ["[]", '[("Content-Length", "5")]'])
def test_answer_is_complete_before_close_and_the_slot_free_after_it(serve, headers):
    worker = serve(CLOSING.format(more="", headers=headers))
    with worker.connect() as connection:
        connection.send(request(cgi_params("POST", "/slow", b"x"))[:-8])
        answer = connection.read_until(fcgi.Answer(), lambda kind, content: (kind, content) == (STDOUT, b""))
        assert answer.body == b"hello"
        assert worker.stdout == ""  # close() waits for the body
        connection.send(record(STDIN, 1, b"x") + record(STDIN, 1))
        connection.read_until(answer, lambda kind, content: kind == END)
        assert worker.stdout == "closed /slow\n"
        assert [kind for kind, content in answer.records] == [STDOUT] * len(answer.records)
        assert connection.ask().body == b"hello"


def test_close_is_called_when_the_body_fails(serve):
    worker = serve(CLOSING.format(more="", headers="[]"))
    answer = worker.ask(path="/fail")
    assert answer.body == b"some"
    assert answer.app_status == 1 and not answer.stdout_ended
    assert worker.stdout == "closed /fail\n"
    assert "ZeroDivisionError: in the body" in worker.stderr


def test_exception_in_close_is_logged_only(serve):
    worker = serve(CLOSING.format(more="raise ValueError('in close')", headers="[]"))
    with worker.connect() as connection:
        for _ in range(2):
            answer = connection.ask(path="/closing")
            assert (answer.body, answer.app_status, answer.stdout_ended) == (b"hello", 0, True)
    assert worker.stderr.count("ValueError: in close") == 2
    assert "pyworker: 'GET' '/closing' failed:" in worker.stderr


@pytest.mark.parametrize("size", [1, 100000])
def test_nothing_is_written_behind_the_answer(serve, size):
    """It would be records behind the end of the stream, for which a gateway gives up the worker."""
    worker = serve("""
        class Body(list):
            def __iter__(self):
                return iter([b"hello"])
            def close(self):
                self.write(b"x" * %d)

        def app(environ, start_response):
            body = Body()
            body.write = start_response("200 OK", [])
            return body
    """ % size)
    with worker.connect() as connection:
        for _ in range(2):
            answer = connection.ask()
            assert (answer.body, answer.app_status) == (b"hello", 0)
    assert worker.stderr.count("RuntimeError: the answer is complete") == 2


def test_close_starts_no_other_answer_than_the_page_of_a_failure(serve):
    worker = serve("""
        import sys

        class Body:
            def __init__(self, start_response):
                self.start_response = start_response
            def __iter__(self):
                raise ZeroDivisionError("in the body")
            def close(self):
                try:
                    raise KeyError("in close")
                except KeyError:
                    self.start_response("200 OK", [], sys.exc_info())

        def app(environ, start_response):
            start_response("200 OK", [])
            return Body(start_response)
    """)
    answer = worker.ask()
    assert (answer.status, answer.body) == ("500 Internal Server Error", b"Internal Server Error\n")
    assert "ZeroDivisionError: in the body" in worker.stderr and "KeyError: 'in close'" in worker.stderr


def test_close_is_called_when_the_client_leaves(serve):
    worker = serve("""
        def app(environ, start_response):
            start_response("200 OK", [])
            return iter([b"ok"]) if environ["PATH_INFO"] == "/" else endless()

        def endless():
            try:
                while True:
                    yield b"x" * 1000
            except GeneratorExit:
                print("closed")
                raise
    """)
    with worker.connect() as connection:
        connection.send(request(cgi_params(path="/endless")))
        connection.read_exactly(5000)
    eventually(lambda: worker.stdout == "closed\n")
    assert worker.ask().body == b"ok"


@pytest.mark.parametrize("body", ["(b'x' * 65536 for _ in range(1000))", "environ['wsgi.file_wrapper'](open('/dev/zero', 'rb'))",
                                  "environ['wsgi.file_wrapper'](open('data', 'rb'))"])
def test_client_that_leaves_is_not_owed_what_content_length_promised(serve, body):
    worker = serve("""
        with open("data", "wb") as data:
            data.truncate(65536000)

        def app(environ, start_response):
            start_response("200 OK", [("Content-Length", "65536000")])
            return %s
    """ % body)
    with worker.connect() as connection:
        connection.send(request(cgi_params()))
        connection.read_exactly(5000)
    assert worker.stop() == 0
    assert worker.stderr == ""


def test_close_that_is_no_method(serve):
    worker = serve("""
        class Odd(list):
            @property
            def close(self):
                raise LookupError("no close for you")

        def app(environ, start_response):
            start_response("200 OK", [])
            return Odd([b"odd"])
    """)
    assert worker.ask().body == b"odd"
    assert "LookupError: no close for you" in worker.stderr


# --- exceptions ---

RAISING = """
    import sys

    def app(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/before":
            raise ValueError("b\\xe4fore \\u20ac \\udc80")
        if path == "/none":
            return [b"body without a head"]
        if path == "/empty":
            return []
        start_response("200 OK", [("X", "1")])
        if path == "/exit":
            sys.exit(3)
        if path == "/after":
            raise ValueError("after start_response")
        if path == "/base":
            raise BaseException("base")
        return [b"fine"]
"""


@pytest.mark.parametrize("path, text", [
    ("/before", "ValueError: b\\xe4fore \\u20ac \\udc80"),
    ("/none", "AssertionError: the app did not call start_response() before its body"),
    ("/empty", "AssertionError: the app did not call start_response() before its body"),
    ("/exit", "SystemExit: 3"),
    ("/after", "ValueError: after start_response"),
    ("/base", "BaseException: base"),
])
def test_failure_before_the_first_byte_is_a_500(serve, path, text):
    worker = serve(RAISING, environ={"PYTHONIOENCODING": "ascii:backslashreplace"})
    with worker.connect() as connection:
        answer = connection.ask(path=path)
        assert answer.status == "500 Internal Server Error"
        assert answer.headers == [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "22")]
        assert answer.body == b"Internal Server Error\n"
        assert answer.app_status == 0 and answer.stdout_ended
        assert text in worker.stderr
        assert "pyworker: 'GET' '%s' failed:" % path in worker.stderr
        assert connection.ask("HEAD", path).body == b""
        assert connection.ask(path="/").body == b"fine"


def test_debug_shows_the_traceback(serve):
    worker = serve(RAISING, options=["--debug"])
    answer = worker.ask(path="/before")
    assert answer.header("Content-Type") == "text/plain; charset=utf-8"
    assert answer.body.startswith(b"Traceback (most recent call last):\n")
    assert answer.body.endswith("ValueError: bäfore € \\udc80\n".encode())
    assert answer.header("Content-Length") == str(len(answer.body))
    assert worker.ask(path="/").body == b"fine"


def test_request_lines_in_the_log_cannot_be_forged(serve):
    worker = serve(RAISING)
    worker.ask("GE\nT", path="/before", REQUEST_URI="/x\r\nINFO all is well\x1b[2J")
    assert r"pyworker: 'GE\nT' '/x\r\nINFO all is well\x1b[2J' failed:" in worker.stderr


def test_excepthook_of_the_app_is_used(serve):
    worker = serve("""
    import sys
    sys.excepthook = lambda kind, value, trace: print("hooked", kind.__name__, trace is not None, value.__traceback__ is trace)
    """ + RAISING)
    worker.ask(path="/before")
    assert worker.stdout == "hooked ValueError True True\n"


def test_excepthook_that_fails_hides_nothing(serve):
    worker = serve("""
    import sys
    sys.excepthook = lambda kind, value, trace: 1 / 0
    """ + RAISING)
    worker.ask(path="/after")
    assert "ValueError: after start_response" in worker.stderr
    assert "ZeroDivisionError" in worker.stderr


def test_broken_stderr_and_excepthook(serve):
    worker = serve("""
    import sys
    sys.excepthook = None
    sys.stderr = None
    """ + RAISING)
    assert worker.ask(path="/before").status == "500 Internal Server Error"
    assert worker.ask().body == b"fine"


# --- file_wrapper ---

FILES = """
    import gzip, io, os, tempfile

    with open("data", "wb") as f:
        f.write(bytes(range(256)) * 4000)
    with gzip.open("data.gz", "wb") as f:
        f.write(b"unpacked" * 1000)

    class Counting(io.BytesIO):
        def close(self):
            print("closed")
            super().close()

    class Reads:
        def __init__(self):
            self.blocks = [b"one", b"two"]
        def read(self, n):
            return self.blocks.pop(0) if self.blocks else b""

    def app(environ, start_response):
        start_response("200 OK", {headers})
        file = {file}
        return environ["wsgi.file_wrapper"](file{more})
"""
DATA = bytes(range(256)) * 4000


def at(position):
    return "(lambda f: f.seek(%d) and f)(open('data', 'rb'))" % position


@pytest.mark.parametrize("file, more, body, length", [
    ("open('data', 'rb')", "", DATA, "1024000"),
    ("open('data', 'rb')", ", 100", DATA, "1024000"),
    ("open('data', 'rb', buffering=0)", "", DATA, "1024000"),
    (at(5), "", DATA[5:], "1023995"),
    (at(1024000), "", b"", "0"),
    (at(2000000), "", b"", "0"),
    ("(lambda f: f.read(7) and f)(open('data', 'rb'))", "", DATA[7:], "1023993"),
    ("open('data', 'r+b')", ", 50000", DATA, None),
    ("gzip.open('data.gz')", "", b"unpacked" * 1000, None),
    ("io.BufferedReader(gzip.open('data.gz'))", "", b"unpacked" * 1000, None),
    ("tempfile.NamedTemporaryFile()", "", b"", None),
    ("io.BytesIO(b'x' * 20000)", ", 7000", b"x" * 20000, None),
    ("Reads()", "", b"onetwo", None),
    ("os.fdopen((lambda r, w: (os.write(w, b'piped'), os.close(w), r)[2])(*os.pipe()), 'rb')", "", b"piped", None),
])
def test_file_wrapper(serve, file, more, body, length):
    worker = serve(FILES.format(headers="[]", file=file, more=more))
    with worker.connect() as connection:
        for _ in range(2):
            answer = connection.ask()
            assert answer.body == body
            assert answer.header("Content-Length") == length
            assert answer.app_status == 0
        if length is not None:
            head = connection.ask("HEAD")
            assert (head.body, head.header("Content-Length")) == (b"", length)
    assert worker.stderr == ""


def test_file_wrapper_does_not_send_more_than_content_length(serve):
    worker = serve(FILES.format(headers="[('Content-Length', '70000')]", file="open('data', 'rb')", more=""))
    assert worker.ask().body == DATA[:70000]


def test_file_wrapper_reads_no_more_than_content_length(serve):
    worker = serve("""
        with open("data", "wb") as data:
            data.truncate(10**12)

        def app(environ, start_response):
            write = start_response("206 Partial Content", [("Content-Length", "70000")])
            write(b"x" * 1000)
            return environ["wsgi.file_wrapper"](open("data", "rb"))
    """)
    assert worker.ask().body == b"x" * 1000 + bytes(69000)


def test_file_that_is_shorter_than_content_length(serve):
    worker = serve(FILES.format(headers="[('Content-Length', '2000000')]", file="open('data', 'rb')", more=""))
    answer = worker.ask()
    assert answer.body == DATA and answer.app_status == 1 and not answer.stdout_ended


def test_file_wrapper_closes(serve):
    worker = serve(FILES.format(headers="[]", file="Counting(b'x')", more=""))
    assert worker.ask().body == b"x"
    assert worker.stdout == "closed\n"


def test_file_wrapper_as_an_iterable_of_the_app(serve):
    worker = serve("""
        import io

        def app(environ, start_response):
            start_response("200 OK", [])
            wrapper = environ["wsgi.file_wrapper"](io.BytesIO(b"abcde"), 2)
            assert list(wrapper) == [b"ab", b"cd", b"e"]
            wrapper.close()
            for wrong in ((), (1, 2, 3)):
                try:
                    environ["wsgi.file_wrapper"](*wrong)
                except TypeError:
                    pass
                else:
                    raise AssertionError
            assert list(type(wrapper).__new__(type(wrapper))) == []
            return [b"ok"]
    """)
    assert worker.ask().body == b"ok"


def test_file_wrapper_with_a_text_file(serve):
    worker = serve(FILES.format(headers="[]", file="io.StringIO('text')", more=""))
    assert worker.ask().status == "500 Internal Server Error"
    assert "<class 'str'>" in worker.stderr


# --- others' tests ---


def test_wsgiref_validator(serve):
    worker = serve("""
        import warnings
        warnings.simplefilter("error")
        from wsgiref.validate import validator

        def plain(environ, start_response):
            body = environ["wsgi.input"].read(3) + environ["wsgi.input"].readline() + b"".join(environ["wsgi.input"])
            environ["wsgi.errors"].write("logged\\n")
            environ["wsgi.errors"].writelines(["more\\n"])
            environ["wsgi.errors"].flush()
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
            return [body]

        def writing(environ, start_response):
            write = start_response("200 OK", [("Content-Type", "text/plain")])
            write(b"written ")
            return [b"and returned"]

        apps = {"/": validator(plain), "/write": validator(writing)}

        def app(environ, start_response):
            return apps[environ["PATH_INFO"]](environ, start_response)
    """)
    with worker.connect() as connection:
        assert connection.ask("POST", "/", b"abcd\nef\ng").body == b"abcd\nef\ng"
        assert connection.ask(path="/write").body == b"written and returned"
    assert worker.stderr == "logged\nmore\n"


def test_two_threads_of_an_app_on_one_request(serve):
    worker = serve("""
        import threading

        def app(environ, start_response):
            write = start_response("200 OK", [])
            if environ["PATH_INFO"] == "/":
                return [b"ok"]
            texts = []
            def reader():
                try:
                    texts.append(environ["wsgi.input"].read())
                except Exception as error:
                    texts.append(error)
            first = threading.Thread(target=reader)
            first.start()
            try:
                while True:
                    write(b"")  # keeps the GIL, so that the reader never finds us inside
            except RuntimeError:
                pass
            try:
                write(b"w")
            except RuntimeError as error:
                print(error)
            first.join()
            return [repr(texts).encode()]
    """)
    with worker.connect() as connection:
        connection.send(request(cgi_params("POST", "/both", b"ab"))[:-8])
        eventually(lambda: worker.stdout == "another thread reads or writes this request\n")
        connection.send(record(STDIN, 1, b"ab") + record(STDIN, 1))
        assert connection.read_answer().body == b"[b'ab']"
        assert connection.ask().body == b"ok"


def test_a_thread_that_still_reads_when_the_answer_is_whole(serve):
    worker = serve("""
        import threading

        def app(environ, start_response):
            write = start_response("200 OK", [])
            threading.Thread(target=environ["wsgi.input"].read).start()
            while True:
                try:
                    write(b"")
                except RuntimeError:
                    print("it reads")
                    return [b"answer"]
    """)
    with worker.connect() as connection:
        connection.send(request(cgi_params("POST", "/", b"ab"))[:-8])
        eventually(lambda: worker.stdout == "it reads\n")
        eventually(worker.sleeps)
        connection.send(record(STDIN, 1, b"ab") + record(STDIN, 1))
        answer = connection.read_answer()
    assert (answer.status, answer.body, answer.app_status) == ("200 OK", b"answer", 0)
    assert worker.stderr == ""


def test_a_last_piece_that_another_thread_keeps_back_is_not_told_of(serve):
    """The piece would complete what Content-Length promises, and cannot be written while a thread reads."""
    worker = serve("""
        import threading

        def app(environ, start_response):
            write = start_response("200 OK", [("Content-Length", "8")])
            write(b"begun ")
            threading.Thread(target=environ["wsgi.input"].read).start()
            while True:
                try:
                    write(b"")
                except RuntimeError:
                    return iter([b"it"])
    """)
    with worker.connect() as connection:
        connection.send(request(cgi_params("POST", "/", b"ab"))[:-8])
        eventually(lambda: "another thread reads or writes this request" in worker.stderr)
        connection.send(record(STDIN, 1, b"ab") + record(STDIN, 1))
        answer = connection.read_answer()
    assert (answer.body, answer.stdout_ended, answer.app_status) == (b"begun ", False, 1)


@pytest.mark.parametrize("size,last", [(3_000_000, "1 / 0"), (1000, 'return iter([b"b" * 15000])')])
def test_a_thread_that_writes_has_its_bytes_to_itself(serve, size, last):
    """What the app does meanwhile, a failure or a piece of its own, cuts the answer off; the piece under way stays what it is."""
    worker = serve("""
        import threading, time

        def app(environ, start_response):
            write = start_response("200 OK", [])
            sent = [0]
            def work():
                while sent[0] < 3000000:
                    write(b"a" * %d)
                    sent[0] += %d
            threading.Thread(target=work).start()
            seen = -1
            while sent[0] != seen:  # until it waits for the client
                seen = sent[0]
                time.sleep(0.2)
            %s
    """ % (size, size, last))
    with worker.connect() as connection:
        connection.send(request(cgi_params()))
        eventually(lambda: "failed:" in worker.stderr)
        answer = connection.read_answer()
    assert answer.body.strip(b"a") == b"" and answer.app_status == 1 and not answer.stdout_ended
