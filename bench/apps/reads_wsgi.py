"""Reads the whole body, as every form handler does, and says how long it was."""


def app(environ, start_response):
    expected = int(environ.get("CONTENT_LENGTH") or 0)
    length = len(environ["wsgi.input"].read(expected)) if expected else 0
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(str(length)) + 1))])
    return [b"%d\n" % length]
