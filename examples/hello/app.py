"""A WSGI application and nothing else: no framework, nothing to install.

    curl http://127.0.0.1:8000/some/path
    curl -d 'hello there' http://127.0.0.1:8000/
"""

import os


def application(environ, start_response):
    body = environ["wsgi.input"].read()
    lines = [
        "Hello from Python.",
        "",
        f"{environ['REQUEST_METHOD']} {environ['SCRIPT_NAME']}{environ['PATH_INFO']}",
        f"body: {len(body)} bytes",
        f"worker: process {os.getpid()}, gone again after a while without requests",
    ]
    answer = "\n".join(lines).encode() + b"\n"
    start_response("200 OK", [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(answer))),
    ])
    return [answer]
