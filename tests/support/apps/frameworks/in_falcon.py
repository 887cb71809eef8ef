"""The same site as in_flask.py."""

import hashlib

import falcon

app = falcon.App()
app.req_options.strip_url_path_trailing_slash = True
closed = []


class Form:
    def on_post(self, req, resp):
        media = req.get_media()
        resp.media = {key: value if isinstance(value, list) else [value] for key, value in media.items()}


class Upload:
    def on_post(self, req, resp):
        told = {}
        for part in req.get_media():
            if part.name == "file":
                data = part.stream.read()
                told.update(name=part.filename, size=len(data), sha=hashlib.sha256(data).hexdigest())
            else:
                told[part.name] = part.text
        resp.media = told


class Cookie:
    def on_get(self, req, resp):
        resp.set_cookie("seen", "once", secure=False)
        resp.set_cookie("other", "more", secure=False)
        resp.text = req.cookies.get("seen", "never")


class Session:
    def on_get(self, req, resp):
        value = int(req.cookies.get("count", "0")) + 1
        resp.set_cookie("count", str(value), secure=False)
        resp.text = str(value)


class Redirect:
    def on_get(self, req, resp):
        raise falcon.HTTPFound("/cookie")


class Lines:
    def __init__(self):
        self.left = iter(range(5))

    def __iter__(self):
        return self

    def __next__(self):
        return b"/stream %d\n" % next(self.left)

    def close(self):
        closed.append("stream")


class Stream:
    def on_get(self, req, resp):
        resp.content_type = "text/plain"
        resp.stream = Lines()


class Closed:
    def on_get(self, req, resp):
        resp.text = " ".join(closed)


class Download:
    def on_get(self, req, resp):
        resp.content_type = "application/octet-stream"
        resp.downloadable_as = "data.bin"
        resp.data = b"\0\1" * 100_000


class File:
    def on_get(self, req, resp):
        resp.content_type = "text/plain"
        resp.stream = open(__file__, "rb")


for path, resource in {"/form": Form, "/upload": Upload, "/cookie": Cookie, "/session": Session, "/redirect": Redirect,
                       "/stream": Stream, "/closed": Closed, "/download": Download, "/file": File}.items():
    app.add_route(path, resource())
