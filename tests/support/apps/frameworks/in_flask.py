"""One of the same small site in four frameworks: forms, uploads, cookies, sessions, redirects, streams, downloads."""

import hashlib
import io

from flask import Flask, Response, jsonify, make_response, redirect, request, send_file, session, stream_with_context

app = Flask(__name__)
app.secret_key = "of a test"
closed = []


@app.post("/form")
def form():
    return jsonify(request.form.to_dict(flat=False))


@app.post("/upload")
def upload():
    file = request.files["file"]
    data = file.read()
    return jsonify(name=file.filename, size=len(data), sha=hashlib.sha256(data).hexdigest(), note=request.form["note"])


@app.get("/cookie")
def cookie():
    answer = make_response(request.cookies.get("seen", "never"))
    answer.set_cookie("seen", "once")
    answer.set_cookie("other", "more")
    return answer


@app.get("/session")
def count():
    session["count"] = session.get("count", 0) + 1
    return str(session["count"])


@app.get("/redirect")
def away():
    return redirect("/cookie")


@app.get("/stream")
def stream():
    def lines():
        for i in range(5):
            yield f"{request.path} {i}\n"

    answer = Response(stream_with_context(lines()), mimetype="text/plain")
    answer.call_on_close(lambda: closed.append("stream"))
    return answer


@app.get("/closed")
def told():
    return " ".join(closed)


@app.get("/download")
def download():
    return send_file(io.BytesIO(b"\0\1" * 100_000), download_name="data.bin", as_attachment=True)


@app.get("/file")
def file():
    return send_file(__file__, conditional=True)
