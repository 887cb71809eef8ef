"""Takes $SECONDS to import."""

import os
import time

time.sleep(float(os.environ["SECONDS"]))


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"at last\n"]
