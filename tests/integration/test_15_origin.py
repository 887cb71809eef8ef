"""Where a request comes from: the peer, what trusted proxies say of the client, PROXY headers, and sockets that
somebody else has opened."""

import json
import os
import re
import signal
import socket
import struct
import subprocess

import pytest

import rawhttp
from activated import Activated
from gateway import BINARY, WRAPPER, app, clean_environ, ini, needs_ipv6

KITCHEN = {"app:kitchen": app("kitchen")}
ALL = "x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-prefix forwarded"
SPOOFS = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.example"),
          ("X-Forwarded-Prefix", "/evil"), ("Forwarded", "for=6.6.6.6;proto=https;host=evil.example"),
          ("X-Forwarded-Port", "443"), ("x-forwarded-SERVER", "evil"), ("X_Forwarded_For", "6.6.6.6"),
          ("X-Forwarded_For", "6.6.6.6")]


def environ(gateway, fields=(), target="/environ", index=0, host="test", before=b""):
    """What the app sees of one request on a connection of its own."""
    with gateway.connect(index) as connection:
        connection.send(before)
        answer = connection.get(target, fields=fields, host=host)
    assert answer.status == 200, answer
    return json.loads(answer.text)


def forwarded(seen):
    """The variables that forwarding headers became."""
    return {name: value for name, value in seen.items() if "FORWARDED" in name}


def v2(command=0x21, family=0x11, body=None, extra=b""):
    if body is None:
        body = socket.inet_aton("192.0.2.1") + socket.inet_aton("127.0.0.1") + struct.pack("!HH", 5555, 80)
    body += extra
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes([command, family]) + struct.pack("!H", len(body)) + body


V1 = b"PROXY TCP4 192.0.2.1 127.0.0.1 5555 80\r\n"


# --- the peer alone


def test_a_plain_peer(launch):
    gateway = launch(KITCHEN)
    with gateway.connect() as connection:
        own = connection.socket.getsockname()
        seen = json.loads(connection.get("/environ").text)
    assert (seen["REMOTE_ADDR"], seen["REMOTE_PORT"]) == (own[0], str(own[1]))
    assert (seen["REQUEST_SCHEME"], seen["SERVER_PORT"]) == ("http", "80") and "HTTPS" not in seen


@pytest.mark.parametrize("field", SPOOFS, ids=[name for name, _ in SPOOFS])
def test_nobody_untrusted_is_believed(launch, field):
    gateway = launch(KITCHEN | {"gateway": {"trusted_proxies": "192.0.2.77", "forwarded": ALL}})
    seen = environ(gateway, [field])
    assert seen["REMOTE_ADDR"] == "127.0.0.1" and seen["REQUEST_SCHEME"] == "http" and seen["SCRIPT_NAME"] == ""
    assert seen["HTTP_HOST"] == seen["SERVER_NAME"] == "test" and "HTTPS" not in seen and not forwarded(seen)
    assert not re.search("6\\.6\\.6\\.6|evil|https", json.dumps(seen))


def test_one_warning_a_peer(launch):
    gateway = launch(KITCHEN | {"gateway": {"trusted_proxies": "192.0.2.77"}})
    for _ in range(3):
        environ(gateway, [("X-Forwarded-Proto", "https")])
    gateway.stop()
    assert gateway.err.text.count("X-Forwarded-Proto from 127.0.0.1 ignored: add trusted_proxies = 127.0.0.1\n") == 1
    assert gateway.err.text.count("ignored") == 1


def test_what_is_not_listed_is_not_believed(launch):
    gateway = launch(KITCHEN)
    seen = environ(gateway, [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Host", "a"), ("X-Forwarded-Prefix", "/a"),
                             ("Forwarded", "for=192.0.2.9"), ("X-Forwarded-Port", "1")])
    assert forwarded(seen) == {"HTTP_X_FORWARDED_FOR": "192.0.2.1"}
    assert (seen["REMOTE_ADDR"], seen["SERVER_NAME"], seen["SCRIPT_NAME"]) == ("192.0.2.1", "test", "")
    gateway.err.wait(r"X-Forwarded-Host from 127\.0\.0\.1 ignored: it is not in forwarded")


# --- what a trusted proxy says


@pytest.mark.parametrize("value, address, port", [
    ("192.0.2.1", "192.0.2.1", None),
    ("192.0.2.1:4711", "192.0.2.1", "4711"),
    ("2001:db8::9", "2001:db8::9", None),
    ("[2001:db8::9]:1", "2001:db8::9", "1"),
    ("6.6.6.6, 192.0.2.1", "192.0.2.1", None),
    ("6.6.6.6, 192.0.2.1, 10.1.2.3, 127.0.0.1", "192.0.2.1", None),
    ("10.1.2.3, ::1", "10.1.2.3", None),
    ("garbage, 192.0.2.1", "192.0.2.1", None),
])
def test_the_client_of_a_chain(launch, value, address, port):
    gateway = launch(KITCHEN | {"gateway": {"trusted_proxies": "127.0.0.1 ::1 10.0.0.0/8"}})
    seen = environ(gateway, [("X-Forwarded-For", value)])
    assert (seen["REMOTE_ADDR"], seen.get("REMOTE_PORT")) == (address, port)
    assert seen["HTTP_X_FORWARDED_FOR"] == value
    gateway.out.wait(rf'^{re.escape(address + (":" + port if port else ""))} - "GET /environ HTTP/1.1" 200')


@pytest.mark.valgrind
def test_scheme_and_host(launch):
    gateway = launch(KITCHEN | {"gateway": {"forwarded": ALL}})
    seen = environ(gateway, [("X-Forwarded-Proto", "https")])
    assert (seen["REQUEST_SCHEME"], seen["HTTPS"], seen["SERVER_PORT"]) == ("https", "on", "443")
    assert seen["wsgi.url_scheme"] == "https"
    seen = environ(gateway, [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "www.example.com:8443")])
    assert (seen["HTTP_HOST"], seen["SERVER_NAME"], seen["SERVER_PORT"]) == \
        ("www.example.com:8443", "www.example.com", "8443")
    seen = environ(gateway, [("Forwarded", 'for="[2001:db8::9]:80";proto=https;host=www.example.com')])
    assert (seen["REMOTE_ADDR"], seen["REMOTE_PORT"], seen["SERVER_NAME"], seen["SERVER_PORT"]) == \
        ("2001:db8::9", "80", "www.example.com", "443")


def test_the_host_decides_the_route(launch):
    sections = {"app:inner": app("hello", domain="www.example.com"), "app:kitchen": app("kitchen")}
    gateway = launch(sections | {"gateway": {"forwarded": ALL}})
    assert gateway.get("/environ", fields=[("X-Forwarded-Host", "www.example.com")]).text != \
        gateway.get("/environ", host="www.other.org").text
    gateway.out.wait(r" inner (cold|warm)")
    gateway = launch(sections)
    gateway.get("/environ", fields=[("X-Forwarded-Host", "www.example.com")])
    gateway.out.wait(r" kitchen (cold|warm)")


def test_the_prefix(launch):
    gateway = launch({"gateway": {"forwarded": ALL}, "app:kitchen": app("kitchen", path="/k", root_path="/static")})
    assert environ(gateway, target="/k/environ")["SCRIPT_NAME"] == "/static/k"
    for value in ("/outer", "/outer/"):
        seen = environ(gateway, [("X-Forwarded-Prefix", value)], "/k/environ")
        assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/outer/k", "/environ")


@pytest.mark.parametrize("name, value", [
    ("X-Forwarded-For", "not an address"), ("X-Forwarded-For", "192.0.2.1, 192.0.2.256"),
    ("X-Forwarded-For", "192.0.2.1:70000"), ("X-Forwarded-Proto", "javascript"), ("X-Forwarded-Host", "a b"),
    ("X-Forwarded-Host", "user@evil"), ("X-Forwarded-Prefix", "//evil"), ("X-Forwarded-Prefix", "/a/../b"),
    ("Forwarded", "for=192.0.2.1;proto"), ("Forwarded", "for=192.0.2.1;for=192.0.2.2"),
])
def test_broken_values_are_ignored_as_a_whole(launch, name, value):
    gateway = launch(KITCHEN | {"gateway": {"forwarded": ALL}})
    for _ in range(2):
        seen = environ(gateway, [(name, value)])
        assert not forwarded(seen) and seen["REMOTE_ADDR"] == "127.0.0.1" and seen["REQUEST_SCHEME"] == "http"
        assert seen["HTTP_HOST"] == "test" and seen["SCRIPT_NAME"] == ""
    gateway.stop()
    assert gateway.err.text.count(f"{name} from 127.0.0.1 ignored: its value is broken\n") == 1


@pytest.mark.valgrind
def test_facts_end_with_their_request(launch):
    gateway = launch(KITCHEN | {"gateway": {"forwarded": ALL}})
    with gateway.connect() as connection:
        connection.request("GET", "/environ", fields=[(name, value) for name, value in SPOOFS if "_" not in name])
        assert json.loads(connection.answer().text)["REMOTE_ADDR"] == "6.6.6.6"
        seen = json.loads(connection.get("/environ").text)
    assert seen["REMOTE_ADDR"] == "127.0.0.1" and "HTTPS" not in seen and seen["HTTP_HOST"] == "test"
    assert seen["SCRIPT_NAME"] == "" and not forwarded(seen) and seen["REMOTE_PORT"]


def test_everybody_is_trusted_with_a_star(launch):
    gateway = launch(KITCHEN, environ={"FORWARDED_ALLOW_IPS": "*"})
    gateway.err.wait(r"trusted_proxies = \*: ")
    seen = environ(gateway, [("X-Forwarded-For", "192.0.2.1, 192.0.2.2")])
    assert seen["REMOTE_ADDR"] == "192.0.2.1"


def test_allow_ips_of_the_environment(launch):
    gateway = launch(KITCHEN, environ={"FORWARDED_ALLOW_IPS": "192.0.2.9,192.0.2.8"})
    assert environ(gateway, [("X-Forwarded-For", "192.0.2.1")])["REMOTE_ADDR"] == "127.0.0.1"


@pytest.mark.parametrize("trusted, address", [("unix", "192.0.2.1"), ("127.0.0.1 ::1", "")])
def test_a_unix_socket_as_a_peer(launch, tmp_path, trusted, address):
    gateway = launch(KITCHEN | {"gateway": {"listen": f"unix:{tmp_path}/s", "trusted_proxies": trusted}})
    assert environ(gateway, [("X-Forwarded-For", "192.0.2.1")])["REMOTE_ADDR"] == address


@needs_ipv6
def test_ipv6_peers(launch):
    gateway = launch(KITCHEN | {"gateway": {"listen": ":0", "trusted_proxies": "::1"}})
    port = gateway.address()[1]
    for host, expected in [("::1", "192.0.2.1"), ("127.0.0.1", "127.0.0.1")]:
        with rawhttp.Connection((host, port)) as connection:
            answer = connection.get("/environ", fields=[("X-Forwarded-For", "192.0.2.1")])
        assert json.loads(answer.text)["REMOTE_ADDR"] == expected


# --- ids


@pytest.mark.parametrize("values, taken", [
    (["Root=1-67891233-abcdef012345678912345678"], True), (["x"], True), (["a" * 64], True),
    (["a" * 65], False), (["a b"], False), (['a"b'], False), (["a\\b"], False), (["\u00e4"], False), ([""], False),
    (["a", "b"], False),
])
def test_request_ids(launch, values, taken):
    gateway = launch(KITCHEN)
    answer = gateway.get("/environ", fields=[("X-Request-ID", value) for value in values])
    given = answer.get("X-Request-ID")
    assert (given == values[0]) if taken else re.fullmatch("[0-9a-f]{32}", given)
    assert json.loads(answer.text)["HTTP_X_REQUEST_ID"] == given


def test_request_ids_of_the_untrusted(launch):
    gateway = launch(KITCHEN | {"gateway": {"trusted_proxies": ""}})
    answer = gateway.get("/environ", fields=[("X-Request-ID", "forged")])
    assert re.fullmatch("[0-9a-f]{32}", answer.get("X-Request-ID")) and "forged" not in answer.text


# --- PROXY headers

PROXY = {"gateway": {"proxy_protocol": "on"}}


@pytest.mark.parametrize("header, address, port", [
    (V1, "192.0.2.1", "5555"),
    (b"PROXY TCP6 2001:db8::9 ::1 1 2\r\n", "2001:db8::9", "1"),
    (v2(), "192.0.2.1", "5555"),
    (v2(extra=b"\x04\0\x03abc" * 20), "192.0.2.1", "5555"),
    (v2(family=0x21, body=socket.inet_pton(socket.AF_INET6, "2001:db8::9") * 2 + b"\0\x01\0\x02"), "2001:db8::9", "1"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1", None),
    (v2(command=0x20, family=0), "127.0.0.1", None),
    (v2(family=0, body=b""), "127.0.0.1", None),
], ids=["v1", "v1-tcp6", "v2", "v2-extensions", "v2-tcp6", "unknown", "local", "unspec"])
def test_proxy_headers(launch, header, address, port):
    gateway = launch(KITCHEN | PROXY)
    seen = environ(gateway, before=header)
    assert seen["REMOTE_ADDR"] == address and port in (None, seen["REMOTE_PORT"])
    with gateway.connect() as connection:  # the header counts for the whole connection
        connection.send(header)
        for _ in range(2):
            assert json.loads(connection.get("/environ").text)["REMOTE_ADDR"] == address


@pytest.mark.parametrize("header", [V1, v2(extra=b"\x04\0\x03abc")], ids=["v1", "v2"])
def test_proxy_header_at_every_split(launch, header):
    gateway = launch(KITCHEN | PROXY)
    request = b"GET /environ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for split in range(1, len(header) + 1):
        with gateway.connect() as connection:
            connection.send(header[:split])
            connection.send(header[split:] + request)
            assert json.loads(connection.answer().text)["REMOTE_ADDR"] == "192.0.2.1"


@pytest.mark.valgrind
def test_proxy_header_byte_by_byte(launch):
    gateway = launch(KITCHEN | PROXY)
    with gateway.connect() as connection:
        for byte in V1 + b"GET /environ HTTP/1.1\r\nHost: x\r\n\r\n":
            connection.send(bytes([byte]))
        assert json.loads(connection.answer().text)["REMOTE_ADDR"] == "192.0.2.1"


@pytest.mark.parametrize("start", [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"PROXY TCP4 1.2.3.4\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n",
    b"PROXY TCP9 a b 1 2\r\n", b"PROXY UNKNOWN " + b"x" * 200, v2(command=0x31), v2(family=0x12), v2(body=b"short"),
    v2(extra=b"x" * 60000), b"\x16\x03\x01\x02\0\x01", b"\0" * 5000,
])
def test_a_connection_without_a_proxy_header_is_closed(launch, start):
    gateway = launch(KITCHEN | PROXY)
    with gateway.connect() as connection:
        try:
            connection.send(start)
        except OSError:
            pass
        assert connection.ended()
    gateway.err.wait(r"connections from 127\.0\.0\.1 are closed: they do not begin with a PROXY header")
    assert environ(gateway, before=V1)["REMOTE_ADDR"] == "192.0.2.1"
    assert "GET / HTTP" not in gateway.out.text


@pytest.mark.valgrind
def test_a_second_proxy_header_is_no_http(launch):
    gateway = launch(KITCHEN | PROXY)
    with gateway.connect() as connection:
        connection.send(V1 + V1)
        assert connection.answer().status == 400


@pytest.mark.parametrize("start", [b"", V1[:20], v2()[:20]])
def test_waiting_for_a_proxy_header_ends(launch, start):
    gateway = launch(KITCHEN | PROXY | {"timeouts": {"header": "300ms"}})
    with gateway.connect() as connection:
        connection.send(start)
        assert connection.ended()


def test_a_connection_may_wait_behind_its_proxy_header(launch):
    """It is then as idle as any: `header` does not run, and it makes room at the limit of connections."""
    gateway = launch(KITCHEN | PROXY | {"timeouts": {"header": "1s"}, "limits": {"connections": "1"}})
    with gateway.connect() as first:
        first.send(V1)
        assert first.silent(1.5)
        assert environ(gateway, before=V1)["REMOTE_ADDR"] == "192.0.2.1"
        assert first.ended()


def test_proxy_header_of_the_untrusted(launch):
    gateway = launch(KITCHEN | {"gateway": {"proxy_protocol": "on", "trusted_proxies": "192.0.2.77"}})
    assert environ(gateway, before=V1)["REMOTE_ADDR"] == "127.0.0.1"
    gateway.err.wait(r"PROXY header from 127\.0\.0\.1 ignored: add trusted_proxies = 127\.0\.0\.1")


def test_headers_are_judged_by_the_client_of_the_proxy_header(launch):
    gateway = launch(KITCHEN | {"gateway": {"proxy_protocol": "on", "trusted_proxies": "127.0.0.1 10.0.0.0/8"}})
    fields = [("X-Forwarded-For", "198.51.100.1")]
    assert environ(gateway, fields, before=V1)["REMOTE_ADDR"] == "192.0.2.1"
    assert environ(gateway, fields, before=V1.replace(b"192.0.2.1", b"10.0.0.1"))["REMOTE_ADDR"] == "198.51.100.1"


def test_without_the_key_a_proxy_header_is_no_http(launch):
    gateway = launch(KITCHEN)
    with gateway.connect() as connection:
        connection.send(V1 + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.answer().status == 400


# --- sockets that somebody else has opened

@pytest.fixture
def activate(tmp_path):
    """activate(listen, sockets): a gateway that has inherited them; held to a clean end."""
    gateways = []

    def start(listen, sockets, wait=True, names="", pid=""):
        directory = tmp_path / f"a{len(gateways)}"
        directory.mkdir()
        gateway = Activated(directory, {"gateway": {"listen": listen}} | KITCHEN)
        gateways.append(gateway.pass_sockets(sockets, names, pid))
        return gateway.start(wait)

    yield start
    try:
        for gateway in gateways:
            gateway.finish()
    finally:
        for gateway in gateways:
            gateway.kill()


@pytest.fixture
def listening():
    """listening(): a TCP socket that listens; listening(path): a unix one."""
    sockets = []

    def make(path=None, listen=True):
        family = socket.AF_INET if path is None else socket.AF_UNIX
        sock = socket.socket(family)
        sockets.append(sock)
        sock.bind(("127.0.0.1", 0) if path is None else str(path))
        if listen:
            sock.listen()
        return sock

    yield make
    for sock in sockets:
        sock.close()


def url(sock):
    return "http://%s:%d" % sock.getsockname()


def test_systemd_sockets(activate, listening, tmp_path):
    tcp, unix = listening(), listening(tmp_path / "s")
    gateway = activate("systemd", [tcp, unix])
    assert gateway.urls == [url(tcp), f"unix:{tmp_path}/s"]
    tcp.close(), unix.close()
    for index in (0, 1):
        assert environ(gateway, index=index)["PATH_INFO"] == "/environ"
    answer = gateway.get("/process-environ")
    assert "LISTEN_" not in answer.text
    gateway.stop()
    assert (tmp_path / "s").is_socket(), "the file of an inherited socket is not ours to remove"


@pytest.mark.valgrind
def test_systemd_sockets_by_name(activate, listening):
    one, two, other = listening(), listening(), listening()
    gateway = activate("systemd:web 127.0.0.1:0", [one, other, two], names="web:metrics:web")
    assert gateway.urls[:2] == [url(one), url(two)] and len(gateway.urls) == 3
    for index in range(3):
        assert gateway.get("/x").status == 200
    assert gateway.urls[2] not in (url(other), url(one))


def test_descriptors_by_number(activate, listening):
    one, two = listening(), listening()
    gateway = activate("fd:4 fd:3", [one, two], pid="-")
    assert gateway.urls == [url(two), url(one)]
    assert environ(gateway)["SERVER_PORT"] == "80" and gateway.get("/x").status == 200


def test_inherited_sockets_do_not_reach_workers(activate, listening):
    gateway = activate("systemd", [listening(), listening()])
    seen = json.loads(gateway.get("/descriptors").text)
    inside = {os.readlink(f"/proc/{gateway.pid}/fd/{number}") for number in (3, 4)}
    assert not inside & set(seen.values())


def test_an_activated_connection_waits_for_the_start(activate, listening):
    sock = listening()
    with rawhttp.Connection(sock.getsockname()) as early:
        early.request("GET", "/x")
        activate("systemd", [sock])
        assert early.answer().text == "GET /x"


@pytest.mark.parametrize("listen, kind, pid, names, message", [
    ("systemd", "tcp", "-", "", r"cannot listen on systemd: no sockets were passed \(LISTEN_FDS is not set\)"),
    ("systemd", "none", "", "", r"cannot listen on systemd: no sockets were passed \(LISTEN_FDS is \"0\"\)"),
    ("systemd", "tcp", "1", "", r"cannot listen on systemd: the sockets were passed to process 1, this one is \d+"),
    ("systemd", "tcp", "x", "", r"cannot listen on systemd: no sockets were passed \(LISTEN_PID is not set\)"),
    ("systemd:web", "tcp", "", "", r"cannot listen on systemd:web: no socket of that name was passed"),
    ("systemd:web", "tcp", "", "webx", r'no socket of that name was passed \(LISTEN_FDNAMES is "webx"\)'),
    ("systemd", "bound", "", "", r"descriptor 3 is not listening"),
    ("systemd", "udp", "", "", r"descriptor 3 is not a stream socket"),
    ("fd:3", "file", "-", "", r"cannot listen on fd:3: descriptor 3 is not a socket"),
    ("fd:999", "tcp", "-", "", r"cannot listen on fd:999: descriptor 999 is not open"),
    ("systemd fd:3", "tcp", "", "", r"descriptor 3 is listened on already"),
])
def test_what_cannot_be_inherited(activate, listening, tmp_path, listen, kind, pid, names, message):
    given = {"tcp": lambda: [listening()], "none": lambda: [], "bound": lambda: [listening(listen=False)],
             "udp": lambda: [socket.socket(socket.AF_INET, socket.SOCK_DGRAM)],
             "file": lambda: [open(tmp_path / "file", "w")]}[kind]()
    gateway = activate(listen, given, wait=False, names=names, pid=pid)
    assert gateway.wait() == 3
    assert re.search(message, gateway.err.text), gateway.err.text
    gateway.check_end()


def test_a_descriptor_that_a_reload_has_closed_is_told(activate, listening):
    """Where another address cannot be had the whole reload is undone, and the descriptor closed. Its number is soon another's."""
    one, two, other = listening(), listening(), listening()
    gateway = activate("fd:3", [one, two], pid="-")

    def reload(listen, words):
        start = len(gateway.err.text)
        gateway.config.write_text(ini({"gateway": {"listen": listen}} | KITCHEN))
        gateway.send_signal(signal.SIGHUP)
        gateway.err.wait(r"^error: the old configuration goes on: \S+ \[gateway\] listen: cannot listen on " + words, start)

    reload("fd:3 fd:4 %s:%d" % other.getsockname(), r"127\.0\.0\.1:\d+: address in use")
    with gateway.connect() as connection:
        assert connection.get("/x").status == 200
        reload("fd:3 fd:4", "fd:4: descriptor 4 is listened on already, or a reload has closed it: restart leangate$")


# --- files of unix sockets


def test_a_stale_socket_is_replaced(launch, tmp_path):
    path = tmp_path / "s"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    gateway = launch(KITCHEN | {"gateway": {"listen": f"unix:{path}"}})
    assert environ(gateway)["PATH_INFO"] == "/environ"
    gateway.stop()
    assert not path.exists()


def test_a_socket_that_answers_is_left_alone(listening, tmp_path):
    path = tmp_path / "s"
    other = listening(path)
    (tmp_path / "gateway.ini").write_text(ini({"gateway": {"listen": f"unix:{path}"}} | KITCHEN))
    result = subprocess.run([*WRAPPER, BINARY], cwd=tmp_path, env=clean_environ(), capture_output=True, text=True)
    assert result.returncode == 3 and "address in use" in result.stderr
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        assert other.accept()[0]


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "s"
    path.write_text("precious")
    (tmp_path / "gateway.ini").write_text(ini({"gateway": {"listen": f"unix:{path}"}} | KITCHEN))
    result = subprocess.run([*WRAPPER, BINARY], cwd=tmp_path, env=clean_environ(), capture_output=True, text=True)
    assert result.returncode == 3 and "a file of that name is there, and it is no socket" in result.stderr
    assert path.read_text() == "precious"


def test_a_directory_that_takes_no_socket_is_named_as_the_reason(tmp_path):
    """Neither is a port below 1024 meant, nor has anybody to stop listening. Root is without its power over files here."""
    place = tmp_path / "place"
    place.mkdir()
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(f"{place}/stale")
    stale.close()
    place.chmod(0o555)
    powerless = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"] if os.getuid() == 0 else []
    for name, words in [("fresh", r"permission denied \(this user may make no file in its directory\)"),
                        ("stale", "nobody listens on the socket of that name, and it cannot be removed: Permission denied")]:
        (tmp_path / "gateway.ini").write_text(ini({"gateway": {"listen": f"unix:{place}/{name}"}} | KITCHEN))
        result = subprocess.run([*powerless, *WRAPPER, BINARY], cwd=tmp_path, env=clean_environ(), capture_output=True, text=True)
        assert result.returncode == 3
        assert re.search(rf"\[gateway\] listen: cannot listen on unix:{place}/{name}: {words}$", result.stderr, re.M), result.stderr


# --- other names of ids


def test_no_request_ids(launch):
    """What the client says of it is a header as any other."""
    gateway = launch(KITCHEN | {"log": {"request_id": "off"}})
    for fields, seen in ([], None), ([("X-Request-ID", "own")], "own"):
        answer = gateway.get("/environ", fields=fields)
        assert answer.get("X-Request-ID") is None and json.loads(answer.text).get("HTTP_X_REQUEST_ID") == seen


def test_request_ids_of_another_name(launch):
    gateway = launch(KITCHEN | {"log": {"request_id": "X-Trace"}})
    answer = gateway.get("/environ", fields=[("X-Trace", "given"), ("X-Request-ID", "own")])
    seen = json.loads(answer.text)
    assert (answer.get("X-Trace"), answer.get("X-Request-ID")) == ("given", None)
    assert (seen["HTTP_X_TRACE"], seen["HTTP_X_REQUEST_ID"]) == ("given", "own")
    answer = gateway.get("/environ")
    assert answer.get("X-Trace") == json.loads(answer.text)["HTTP_X_TRACE"] != "given"
