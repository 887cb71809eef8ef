"""A stream without end; /quick tells how many of them were closed."""

import time

closed = 0


class Stream:
    def __iter__(self):
        return self

    def __next__(self):
        time.sleep(0.01)
        return b"data: tick\n\n"

    def close(self):
        global closed
        closed += 1


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    if environ["PATH_INFO"] == "/quick":
        return [b"closed %d" % closed]
    return Stream()
