"""The same site as in_flask.py."""

import hashlib

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPFound
from pyramid.response import FileResponse, Response
from pyramid.session import SignedCookieSessionFactory

closed = []


def form(request):
    return Response(json_body={key: request.POST.getall(key) for key in request.POST})


def upload(request):
    file = request.POST["file"]
    data = file.file.read()
    return Response(json_body={"name": file.filename, "size": len(data), "sha": hashlib.sha256(data).hexdigest(),
                               "note": request.POST["note"]})


def cookie(request):
    answer = Response(request.cookies.get("seen", "never"))
    answer.set_cookie("seen", "once")
    answer.set_cookie("other", "more")
    return answer


def session(request):
    request.session["count"] = request.session.get("count", 0) + 1
    return Response(str(request.session["count"]))


def redirect(request):
    return HTTPFound("/cookie")


class Lines:
    def __iter__(self):
        return (b"/stream %d\n" % i for i in range(5))

    def close(self):
        closed.append("stream")


def stream(request):
    return Response(app_iter=Lines(), content_type="text/plain")


def told(request):
    return Response(" ".join(closed))


def download(request):
    return Response(b"\0\1" * 100_000, content_type="application/octet-stream",
                    content_disposition='attachment; filename="data.bin"')


def file(request):
    return FileResponse(__file__, request)


with Configurator() as config:
    config.set_session_factory(SignedCookieSessionFactory("of a test"))
    for view in form, upload, cookie, session, redirect, stream, download, file:
        config.add_route(view.__name__, "/" + view.__name__)
        config.add_view(view, route_name=view.__name__)
    config.add_route("closed", "/closed")
    config.add_view(told, route_name="closed")
    app = config.make_wsgi_app()
