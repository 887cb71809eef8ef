"""Answers with the names of all modules that are loaded; loads none itself (sys is built in)."""

import sys


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return ["\n".join(sorted(sys.modules)).encode()]
