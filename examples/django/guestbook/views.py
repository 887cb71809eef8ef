"""One page: the entries, a form for the next one, and how often this visitor came (kept in the session)."""

from django.forms import ModelForm
from django.shortcuts import redirect, render

from .models import Entry


class EntryForm(ModelForm):
    class Meta:
        model = Entry
        fields = ["name", "text"]


def index(request):
    form = EntryForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        return redirect("index")
    visits = request.session["visits"] = request.session.get("visits", 0) + 1
    return render(request, "guestbook/index.html", {"form": form, "entries": Entry.objects.all(), "visits": visits})
