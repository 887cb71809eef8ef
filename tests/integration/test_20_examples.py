"""The examples, as they are shipped, with real clients: each by the program's own rules and its one line."""

import os
import re
import shutil
import subprocess
import sys

import httpx
import pytest

from gateway import ROOT, Gateway, wait_until

EXAMPLES = ROOT / "examples"


@pytest.fixture
def example(tmp_path):
    """example(name, app): its directory is copied, the app named on the command line, as its README says."""
    gateways = []

    def start(name, spec, **environ):
        directory = tmp_path / name
        shutil.copytree(EXAMPLES / name, directory)
        gateway = Gateway(directory, args=[spec, "--bind", "127.0.0.1:0"],
                          environ={"LEANGATE_PYTHON": sys.executable} | environ)
        gateways.append(gateway)
        gateway.start()
        client = httpx.Client(base_url=gateway.urls[0], timeout=60, follow_redirects=True)
        return gateway, client

    yield start
    for gateway in gateways:
        gateway.kill()


def command_of(name):
    """What a README's sh block runs last: `leangate ...`."""
    block = re.search(r"```sh\n(.*?)```", (EXAMPLES / name / "README.md").read_text(), re.S)[1]
    return re.search(r"leangate (\S+)\s*$", block)[1]


def test_hello(example):
    gateway, client = example("hello", command_of("hello"))
    with client:
        answer = client.post("/a/path", content=b"12345")
    assert "Hello from Python." in answer.text and "POST /a/path" in answer.text and "body: 5 bytes" in answer.text
    gateway.stop()


def test_shipped_configuration(tmp_path):
    """Only the address is another one here."""
    gateway = Gateway(tmp_path, args=["-c", str(ROOT / "gateway.ini"), "--listen", "127.0.0.1:0"],
                      environ={"LEANGATE_PYTHON": sys.executable})
    try:
        gateway.start()
        assert "Hello from Python." in gateway.get("/").text
        gateway.stop()
    finally:
        gateway.kill()


def test_flask(example):
    gateway, client = example("flask", command_of("flask"))
    with client:
        assert "none yet" in client.get("/").text
        assert "<li>buy &lt;milk&gt;</li>" in client.post("/", data={"text": "buy <milk>"}).text
        assert client.get("/notes.json").json() == {"notes": ["buy <milk>"]}
        assert client.get("/nowhere").status_code == 404
        assert client.post("/", data={}).status_code == 400
        with client.stream("GET", "/countdown") as stream:
            assert list(stream.iter_lines()) == ["3", "2", "1", "done"]
    gateway.stop()


def test_fastapi(example):
    gateway, client = example("fastapi", command_of("fastapi"))
    with client, client.stream("GET", "/events") as events:
        lines = events.iter_lines()
        assert next(lines) == "data: []"
        assert "Shopping list" in client.post("/items", data={"item": "milk & honey"}).text
        assert [next(lines), next(lines)] == ["", 'data: ["milk & honey"]']
        client.post("/import", files={"file": ("list.txt", "bread\n\nkäse\n".encode())})
        assert client.get("/items").json() == ["milk & honey", "bread", "käse"]
        assert client.get("/items/1").json() == "bread" and client.get("/items/9").status_code == 404
        assert client.post("/items", data={}).status_code == 422
        assert "url: '/openapi.json'" in client.get("/docs").text
    wait_until(lambda: "added: milk & honey" in gateway.out.text, "the task after the answer")
    gateway.stop()
    assert "3 items forgotten" in gateway.out.text


def test_bottle(example):
    gateway, client = example("bottle", command_of("bottle"))
    with client:
        text = "übergrößenträger\n" * 2000
        paste = client.post("/paste", data={"text": text})
        assert paste.text == text and re.fullmatch("/[0-9a-f]{12}", paste.url.path)
        assert paste.url.path in client.get("/").text
        assert client.get("/000000000000").status_code == 404
    gateway.stop()


def test_django(example, tmp_path):
    """Admin, sessions and SQLite, and all of it still there after the worker has slept."""
    shutil.copytree(EXAMPLES / "django", tmp_path / "prepared")
    data = tmp_path / "data"
    data.mkdir()
    environ = {"DJANGO_DATA": str(data), "DJANGO_SUPERUSER_PASSWORD": "secret", "LEANGATE_IDLE_TIMEOUT": "1s"}

    def manage(*words):
        subprocess.run([sys.executable, "manage.py", *words], cwd=tmp_path / "prepared", check=True,
                       capture_output=True, env=dict(os.environ, **environ))

    manage("migrate")
    manage("makemigrations", "--check", "--dry-run")
    manage("createsuperuser", "--noinput", "--username", "root", "--email", "root@example.com")
    gateway, client = example("django", command_of("django"), **environ)

    def token():
        return client.cookies["csrftoken"]

    with client:
        assert "You have been here 1 time." in client.get("/").text
        page = client.post("/", data={"name": "Ada", "text": "<b>hello</b>", "csrfmiddlewaretoken": token()})
        assert "&lt;b&gt;hello&lt;/b&gt;" in page.text and "You have been here 2 times." in page.text
        assert client.post("/", data={"name": "Eve", "text": "x"}).status_code == 403
        client.get("/admin/")
        home = client.post("/admin/login/?next=/admin/", data={
            "username": "root", "password": "secret", "csrfmiddlewaretoken": token()})
        assert "Site administration" in home.text
        assert "color" in client.get(re.search(r'href="(/static/admin/css/base\S*\.css)"', home.text)[1]).text
        gateway.no_worker()
        assert "Ada" in client.get("/admin/guestbook/entry/").text
        assert "You have been here 3 times." in client.get("/").text
    gateway.stop()


def test_cgi(example, tmp_path):
    gateway, client = example("cgi", command_of("cgi"), GUESTBOOK=str(tmp_path / "book"))
    with client:
        assert "<li>" not in client.get("/").text
        for text in "first & <b>", "second":
            answer = client.post("/", data={"text": text})
            assert answer.history[0].status_code == 303 and answer.status_code == 200
        first, second = re.findall(r"<li>[-\d]+ [:\d]+ (.*)", client.get("/").text)
        assert (first, second) == ("second", "first &amp; &lt;b&gt;")
        script = tmp_path / "cgi" / "guestbook.py"
        script.write_text(script.read_text().replace("Guest book", "Visitors"))
        assert "<h1>Visitors</h1>" in client.get("/").text
    gateway.stop()


def test_files(example, tmp_path):
    gateway, client = example("files", command_of("files"))
    with client:
        assert "<h1>Files</h1>" in client.get("/").text
        assert re.fullmatch(r"Python \d\.\d+ says:\nLinux \S+\nThat was uname.\n", client.get("/report").text)
        assert client.get("/shop/cart/7").text == "In the cart: 7\n"
        assert client.get("/style.css").headers["content-type"].startswith("text/css")
        assert client.get("/new").status_code == 404
        (tmp_path / "files/site/new.py").write_text("print('Content-Type: text/plain\\n\\nnew')")
        assert client.get("/new").text == "new\n"
    gateway.stop()
