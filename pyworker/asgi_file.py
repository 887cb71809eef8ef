"""An ASGI app in a directory of scripts (kind files), which is served one request at a time: as a WSGI app that runs a loop of
its own, with the app's lifespan, for each request. A whole worker of kind asgi is asgi.c.

The client's leaving shows when a piece is sent to it that is not the last (OSError), and not by http.disconnect before the
answer's end. What follows an answer is done."""

import asyncio

from pyworker.asgi import Lifespan, end_loop

ALONE = "CONTENT_TYPE", "CONTENT_LENGTH"  # have no HTTP_; some web servers send them both ways, and empty
VERSIONS = {"2.0": "2", "3.0": "3"}  # web servers write HTTP/2.0


def header_name(name, value):
    """The name of the header that a parameter is about, or None: HTTP_ACCEPT is b"accept"."""
    if name.startswith("HTTP_"):
        name = name[5:]
        if name in ALONE:
            return None
    elif name not in ALONE or not value:
        return None
    return name.replace("_", "-").lower().encode("latin-1")


def address(environ, host, port):
    return (environ[host], int(environ.get(port) or 0)) if environ.get(host) else None


def scope_of(environ, state):
    """The scope of a request that came as a WSGI environ."""
    root = environ.get("SCRIPT_NAME", "").encode("latin-1")
    path = root + environ.get("PATH_INFO", "").encode("latin-1")
    version = environ.get("SERVER_PROTOCOL", "HTTP/1.1").rpartition("/")[2]
    named = [(header_name(name, value), value) for name, value in environ.items() if isinstance(value, str)]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": VERSIONS.get(version, version),
        "method": environ["REQUEST_METHOD"],
        "scheme": environ["wsgi.url_scheme"],
        "path": path.decode("utf-8", "replace"),
        "raw_path": environ.get("REQUEST_URI", "").partition("?")[0].encode("latin-1") or path,
        "root_path": root.decode("utf-8", "replace"),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "headers": [(name, value.encode("latin-1")) for name, value in named if name],
        "client": address(environ, "REMOTE_ADDR", "REMOTE_PORT"),
        "server": address(environ, "SERVER_NAME", "SERVER_PORT"),
        "state": state.copy(),
    }


class Silence:
    """In the place of the core: that an app has no lifespan would be told at each request."""

    def send(self, text):
        return False


class Request:
    """One request: what a WSGI app returns. Iterating it runs the app up to the end of its answer, close() to its own end."""

    def __init__(self, app, environ, start_response):
        self.app, self.environ, self.start_response = app, environ, start_response
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.life = Lifespan(Silence(), app, "auto")
        self.over = self.loop.create_future()  # the answer is
        self.start = self.write = None
        self.body_given = False
        self.task = None

    async def receive(self):
        if not self.body_given:
            self.body_given = True
            return {"type": "http.request", "body": self.environ["wsgi.input"].read(), "more_body": False}
        await asyncio.wait([self.over])
        return {"type": "http.disconnect"}

    async def send(self, message):
        if message["type"] == "http.response.start" and self.start is None:
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", ())]
            self.start = "%d " % message["status"], headers
        elif message["type"] == "http.response.body" and self.start is not None and not self.over.done():
            more, body = message.get("more_body", False), message.get("body", b"")
            self.write = self.write or self.start_response(*self.start)
            try:
                self.write(bytes(body) if isinstance(body, (bytearray, memoryview)) else body)
            except OSError:
                if more:
                    raise
            if not more:
                self.over.set_result(None)
        else:
            raise RuntimeError("unexpected message %r" % message["type"])

    async def serve(self):
        await self.life.startup()
        scope = scope_of(self.environ, self.life.state)
        self.task = self.loop.create_task(self.app(scope, self.receive, self.send))
        await asyncio.wait([self.task, self.over], return_when=asyncio.FIRST_COMPLETED)
        if not self.over.done():
            self.task.result()
            raise RuntimeError("the app ended without the end of an answer")

    def __iter__(self):
        self.loop.run_until_complete(self.serve())
        return iter(())

    async def finish(self):
        try:
            if self.over.done():
                await self.task
            else:  # it has failed, and that was told
                self.over.set_result(None)
        finally:
            await self.life.shutdown()

    def close(self):
        try:
            self.loop.run_until_complete(self.finish())
        finally:
            end_loop(self.loop)


def as_wsgi(app):
    """The WSGI app that serves an ASGI app."""
    return lambda environ, start_response: Request(app, environ, start_response)
