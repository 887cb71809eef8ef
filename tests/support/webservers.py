"""Web servers that front a worker over FastCGI, each configured as its users do it: one class a server.

They are what tests/support/need-servers has unpacked, or the machine's own.
"""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNPACKED = ROOT / "build/servers"
PATIENCE = 20
SEARCHED = f"{UNPACKED}/usr/sbin:{UNPACKED}/usr/bin:{os.environ.get('PATH', '')}:/usr/sbin"


def program(name):
    path = shutil.which(name, path=SEARCHED)
    assert path, f"{name} is missing: tests/support/need-servers build/servers"
    return path


def free_port():
    """On every address."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return probe.getsockname()[1]


class WebServer:
    """Serves http://127.0.0.1:port/ from the worker at `backend`: the path of a unix socket, or a (host, port)."""

    def __init__(self, directory, backend):
        self.directory = Path(directory)
        self.directory.mkdir()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.file = self.directory / "conf"
        self.file.write_text(self.configuration(backend))
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "LD_LIBRARY_PATH": self.libraries()}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.command(), cwd=self.directory, env=environ, stdout=log, stderr=log)
        try:
            self.wait_until_it_listens()
        except BaseException:
            self.end()
            raise

    @property
    def log(self):
        return self.directory / "output"

    @staticmethod
    def libraries():
        return ":".join(str(path) for path in (UNPACKED / "usr/lib").glob("*-linux-*"))

    def wait_until_it_listens(self):
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                text = self.log.read_text(errors="replace")
                assert self.process.poll() is None and time.monotonic() < deadline, text
                time.sleep(0.02)

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Nginx(WebServer):
    def command(self):
        return [program("nginx"), "-p", str(self.directory), "-c", str(self.file), "-e", str(self.directory / "error.log")]

    def configuration(self, backend):
        where = f"unix:{backend}" if isinstance(backend, str) else "%s:%d" % backend
        common = next(path for path in (UNPACKED / "etc/nginx/fastcgi_params", Path("/etc/nginx/fastcgi_params"))
                      if path.exists())
        return self.around(f"""
                upstream app {{ server {where}; keepalive 4; }}
                server {{
                    listen 127.0.0.1:{self.port};
                    server_name localhost;
                    client_max_body_size 64m;
                    location / {{
                        include {common};
                        fastcgi_param SCRIPT_NAME "";
                        fastcgi_param PATH_INFO $uri;
                        fastcgi_keep_conn on;
                        fastcgi_pass app;
                    }}
                }}
        """)

    def around(self, servers):
        user = "user root;" if os.geteuid() == 0 else ""  # its workers open the socket
        temporary = "\n".join(f"{kind}_temp_path {self.directory}/{kind};" for kind in
                              ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return f"""
            {user}
            daemon off;
            pid {self.directory}/pid;
            events {{ worker_connections 256; }}
            http {{
                access_log off;
                {temporary}
                {servers}
            }}
        """


class Lighttpd(WebServer):
    def command(self):
        return [program("lighttpd"), "-D", "-f", str(self.file)]

    def configuration(self, backend):
        where = f'"socket" => "{backend}"' if isinstance(backend, str) else '"host" => "%s", "port" => %d' % backend
        return f"""
            server.document-root = "{self.directory}"
            server.bind = "127.0.0.1"
            server.port = {self.port}
            server.upload-dirs = ("{self.directory}")
            server.modules = ("mod_fastcgi")
            fastcgi.server = ("/" => (({where}, "check-local" => "disable", "fix-root-scriptname" => "enable")))
        """


class Apache(WebServer):
    def command(self):
        return [program("apache2"), "-X", "-d", str(self.directory), "-f", str(self.file)]

    def configuration(self, backend):
        modules = next(path for path in (UNPACKED / "usr/lib/apache2/modules", Path("/usr/lib/apache2/modules"))
                       if path.is_dir())
        load = "\n".join(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in
                         ("mpm_event", "authz_core", "proxy", "proxy_fcgi"))
        user = "User nobody\nGroup nogroup" if os.geteuid() == 0 else ""
        where = f"unix:{backend}|fcgi://localhost/" if isinstance(backend, str) else "fcgi://%s:%d/" % backend
        return f"""
            {load}
            {user}
            ServerName localhost
            Listen 127.0.0.1:{self.port}
            PidFile {self.directory}/pid
            DefaultRuntimeDir {self.directory}
            ErrorLog {self.directory}/error.log
            ProxyPass "/" "{where}" enablereuse=on
            ProxyFCGISetEnvIf "true" SCRIPT_NAME ""
            ProxyFCGISetEnvIf "true" PATH_INFO "%{{REQUEST_URI}}"
        """


class Caddy(WebServer):
    def command(self):
        return [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(self.file)]

    def configuration(self, backend):
        where = f"unix/{backend}" if isinstance(backend, str) else "%s:%d" % backend
        return f"""
{{
    admin off
    auto_https off
}}
http://127.0.0.1:{self.port} {{
    reverse_proxy {where} {{
        transport fastcgi {{
            env SCRIPT_NAME ""
            env PATH_INFO {{http.request.uri.path}}
        }}
    }}
}}
"""


ALL = {"nginx": Nginx, "lighttpd": Lighttpd, "apache": Apache, "caddy": Caddy}
