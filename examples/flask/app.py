"""Notes in memory, with Flask: a page, a form, a JSON view of it, and an answer that is streamed."""

import time

from flask import Flask, jsonify, redirect, render_template_string, request, url_for

app = Flask(__name__)

# The worker's memory: it goes when the worker goes to sleep. What is to last belongs into a database.
notes = []

PAGE = """<!doctype html>
<title>notes</title>
<h1>Notes</h1>
<form method="post"><input name="text" autofocus required> <button>add</button></form>
<ul>{% for note in notes %}<li>{{ note }}</li>{% else %}<li>none yet</li>{% endfor %}</ul>
"""


@app.get("/")
def index():
    return render_template_string(PAGE, notes=notes)


@app.post("/")
def add():
    notes.append(request.form["text"])
    return redirect(url_for("index"))


@app.get("/notes.json")
def as_json():
    return jsonify(notes=notes)


@app.get("/countdown")
def countdown():
    def lines():
        for left in range(3, 0, -1):
            yield f"{left}\n"
            time.sleep(0.2)
        yield "done\n"

    return lines(), {"Content-Type": "text/plain"}
