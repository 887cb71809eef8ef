"""A file that binds `application` is called as a WSGI app, not run as a script."""


def application(environ, start_response):
    item = environ["PATH_INFO"].strip("/") or "nothing"
    body = ("In the cart: %s\n" % item).encode("latin-1")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
