"""Can be imported once $MENDED names a file that is there."""

import os

if not os.path.exists(os.environ["MENDED"]):
    raise RuntimeError("not mended yet")


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"mended\n"]
