"""Behind a proxy that is configured as docs/DEPLOYING.md shows it, without TLS: that is the proxy's alone."""

import hashlib
import json
import os
import re

import pytest

import webservers
from gateway import ROOT, SANITISED, WRAPPER, app
from rawhttp import Connection

pytestmark = pytest.mark.skipif(bool(SANITISED or WRAPPER), reason="nothing of ours that other tests do not do")


def shown(language, number=0):
    """A block of the page's."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "docs/DEPLOYING.md").read_text(), re.M | re.S)[number]


class Nginx(webservers.Nginx):
    def configuration(self, backend):
        text = re.sub(r"^ *ssl_certificate.*\n", "", shown("nginx"), flags=re.M)
        assert "listen 443 ssl;" in text and "127.0.0.1:8000;" in text
        return self.around(text.replace("443 ssl", f"127.0.0.1:{self.port}").replace("127.0.0.1:8000", "%s:%d" % backend))


class Caddy(webservers.Caddy):
    def configuration(self, backend):
        text = shown("")
        assert text.startswith("example.com {") and " 127.0.0.1:8000\n" in text
        return "{\n    admin off\n    auto_https off\n}\n" + text.replace(
            "127.0.0.1:8000", "%s:%d" % backend).replace("example.com", f"http://example.com:{self.port}")


@pytest.mark.parametrize("kind", [Nginx, Caddy])
def test_what_the_page_shows(launch, tmp_path, kind):
    gateway = launch({"app:kitchen": app("kitchen")})
    proxy = kind(tmp_path / "proxy", gateway.address())
    try:
        with Connection(("127.0.0.1", proxy.port), source="127.0.0.9") as client:
            spoofed = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "https")]
            for fields in [], spoofed:
                seen = json.loads(client.get("/environ", host="example.com", fields=fields).text)
                assert (seen["REMOTE_ADDR"], seen["REQUEST_SCHEME"], seen["HTTP_HOST"]) == ("127.0.0.9", "http", "example.com")
            body = os.urandom(3_000_000)
            assert client.post("/checksum", body, host="example.com").text == f"{len(body)} {hashlib.sha256(body).hexdigest()}"
            client.request("GET", f"/drip?file={tmp_path}/go", host="example.com")
            pieces = client.pieces(client.head())
            assert next(pieces) == b"first"  # the second one waits for a file
            (tmp_path / "go").touch()
            assert b"".join(pieces) == b"second"
    finally:
        proxy.end()
    assert gateway.err.text.count("X-Forwarded-Host from 127.0.0.1 ignored") == (kind is Caddy)
