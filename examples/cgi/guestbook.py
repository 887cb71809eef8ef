"""A guest book as a CGI script: it keeps its entries in a file beside it and asks for nothing but the standard library."""

import fcntl
import html
import os
import sys
import time
import urllib.parse

BOOK = os.environ.get("GUESTBOOK", "guestbook.txt")
LONGEST = 500


def entries():
    try:
        with open(BOOK, encoding="utf-8") as book:
            return book.read().splitlines()
    except FileNotFoundError:
        return []


def sign(text):
    with open(BOOK, "a", encoding="utf-8") as book:
        fcntl.flock(book, fcntl.LOCK_EX)
        book.write(time.strftime("%Y-%m-%d %H:%M ") + " ".join(text.split())[:LONGEST] + "\n")


if os.environ["REQUEST_METHOD"] == "POST":
    form = urllib.parse.parse_qs(sys.stdin.buffer.read().decode("utf-8", "replace"))
    if form.get("text", [""])[0].strip():
        sign(form["text"][0])
    print("Status: 303 See Other")
    print("Location: " + (os.environ["SCRIPT_NAME"] or "/"))
    print()
    sys.exit()

print("Content-Type: text/html; charset=utf-8")
print()
print("<!doctype html><title>Guest book</title><h1>Guest book</h1>")
print('<form method="post"><input name="text" size="60" maxlength="%d"> <button>Sign</button></form><ul>' % LONGEST)
for entry in reversed(entries()):
    print("<li>" + html.escape(entry))
print("</ul>")
