"""A paste bin in memory, with Bottle: upload a text, get it back under its name."""

import hashlib

import bottle

application = bottle.Bottle()

pastes = {}


@application.get("/")
def index():
    return bottle.template("""<!doctype html>
<title>pastes</title>
<h1>Pastes</h1>
<form method="post" action="/paste"><textarea name="text" rows="5" cols="60" required></textarea>
<p><button>keep</button></form>
<ul>
% for name in pastes:
  <li><a href="/{{name}}">{{name}}</a> {{len(pastes[name])}} bytes</li>
% end
</ul>""", pastes=pastes)


@application.post("/paste")
def keep():
    text = bottle.request.forms.getunicode("text") or ""
    name = hashlib.sha256(text.encode()).hexdigest()[:12]
    pastes[name] = text
    bottle.redirect(f"/{name}")


@application.get("/<name:re:[0-9a-f]{12}>")
def show(name):
    if name not in pastes:
        bottle.abort(404, "no such paste")
    bottle.response.content_type = "text/plain; charset=utf-8"
    return pastes[name]
