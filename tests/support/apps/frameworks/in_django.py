"""The same site as in_flask.py."""

import hashlib

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import FileResponse, HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    SECRET_KEY="of a test", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], DEBUG=False,
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"])
django.setup()
closed = []


def form(request):
    return JsonResponse(dict(request.POST.lists()))


def upload(request):
    file = request.FILES["file"]
    data = file.read()
    return JsonResponse({"name": file.name, "size": len(data), "sha": hashlib.sha256(data).hexdigest(),
                         "note": request.POST["note"]})


def cookie(request):
    answer = HttpResponse(request.COOKIES.get("seen", "never"))
    answer.set_cookie("seen", "once")
    answer.set_cookie("other", "more")
    return answer


def session(request):
    request.session["count"] = request.session.get("count", 0) + 1
    return HttpResponse(request.session["count"])


def redirect(request):
    return HttpResponseRedirect("/cookie")


class Lines:
    def __iter__(self):
        return (b"/stream %d\n" % i for i in range(5))

    def close(self):
        closed.append("stream")


def stream(request):
    return StreamingHttpResponse(Lines(), content_type="text/plain")


def told(request):
    return HttpResponse(" ".join(closed))


def download(request):
    return HttpResponse(b"\0\1" * 100_000, content_type="application/octet-stream",
                        headers={"Content-Disposition": 'attachment; filename="data.bin"'})


def file(request):
    return FileResponse(open(__file__, "rb"))


views = {"closed": told} | {view.__name__: view for view in (form, upload, cookie, session, redirect, stream, download, file)}
urlpatterns = [path(name, view) for name, view in views.items()]
app = WSGIHandler()
