"""The same site as in_flask.py."""

import hashlib
import json
import os

import bottle
from bottle import request, response

app = bottle.Bottle()
closed = []


@app.post("/form")
def form():
    return {key: request.forms.getunicode(key) and [value.encode("latin-1").decode() for value in request.forms.getall(key)]
            for key in request.forms}


@app.post("/upload")
def upload():
    file = request.files["file"]
    data = file.file.read()
    return {"name": file.raw_filename, "size": len(data), "sha": hashlib.sha256(data).hexdigest(), "note": request.forms["note"]}


@app.get("/cookie")
def cookie():
    response.set_cookie("seen", "once")
    response.set_cookie("other", "more")
    return request.get_cookie("seen", "never")


@app.get("/session")
def count():
    value = request.get_cookie("count", 0, secret="of a test") + 1
    response.set_cookie("count", value, secret="of a test")
    return json.dumps(value)


@app.get("/redirect")
def away():
    bottle.redirect("/cookie")


class Lines:
    def __iter__(self):
        return (f"/stream {i}\n".encode() for i in range(5))

    def close(self):
        closed.append("stream")


@app.get("/stream")
def stream():
    response.content_type = "text/plain"
    return Lines()


@app.get("/closed")
def told():
    return " ".join(closed)


@app.get("/download")
def download():
    response.content_type = "application/octet-stream"
    response.set_header("Content-Disposition", 'attachment; filename="data.bin"')
    return b"\0\1" * 100_000


@app.get("/file")
def file():
    return bottle.static_file(os.path.basename(__file__), os.path.dirname(os.path.abspath(__file__)))
