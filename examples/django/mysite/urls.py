"""Where the addresses of the project lead."""

from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import path, re_path

from guestbook.views import index

urlpatterns = [
    path("", index, name="index"),
    path("admin/", admin.site.urls),
    # The admin's style sheets, straight from the installed package: good for an example, not for many visitors.
    re_path(r"^static/(?P<path>.*)$", serve, {"insecure": True}),
]
