"""Frames of Python calls lie in one piece of memory: no depth of calls is slower than the others."""

import pytest

DEEP = 300  # calls; several of the interpreter's own pieces
CALLS = 1000

MEASURE = """
    import resource

    def faults():
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    def leaf():  # with a frame that is larger than a step, so that one of the steps is just before an end
        if not CALLS:
            a = b = c = d = e = f = g = h = i = j = k = l = m = n = o = p = q = r = s = t = u = v = w = x = y = z = 0

    def calls_at(depth):
        if depth:
            return calls_at(depth - 1)
        before = faults()
        for _ in range(CALLS):
            leaf()
        return faults() - before

    def worst():
        return max(calls_at(depth) for depth in range(DEEP))
""".replace("DEEP", str(DEEP)).replace("CALLS", str(CALLS))

WSGI = MEASURE + """
    at_import = worst()

    def app(environ, start_response):
        start_response("200 OK", [])
        return [repr((at_import, worst())).encode()]
"""

ASGI = MEASURE + """
    at_import = worst()

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": repr((at_import, worst())).encode()})
"""

SEEN = """
    import inspect, sys, traceback

    def app(environ, start_response):
        frame = sys._getframe()
        while frame.f_back is not None:
            frame = frame.f_back
        start_response("200 OK", [])
        return [repr((len(inspect.stack()), len(traceback.extract_stack()), frame.f_code.co_name)).encode()]
"""


@pytest.mark.parametrize("source, mode", [(WSGI, "persistent"), (WSGI, "fork"), (ASGI, "persistent")])
def test_calls_map_nothing_at_any_depth(serve, source, mode):
    at_import, in_request = eval(serve(source, options=["--mode", mode]).ask(flags=0).body)
    assert at_import < CALLS / 4 and in_request < CALLS / 4


def test_all_frames_can_be_seen(serve):
    """Also the one that is so large."""
    worker = serve(SEEN)
    for _ in range(2):
        inspected, extracted, outermost = eval(worker.ask().body)
        assert inspected == extracted > 5 and outermost == "<module>"
