"""Imported by the pages beside it."""


def page(title, body):
    print("Content-Type: text/html; charset=utf-8")
    print()
    print('<!doctype html><title>%s</title><link rel="stylesheet" href="/style.css"><h1>%s</h1>' % (title, title))
    print(body, flush=True)
