"""One endpoint per container: the size of its image, and the memory of its cgroup before any request, under 100 requests/s and some
time after (`make bench-containers`).

Runs where podman or docker does, as root; elsewhere it says so and is left out. Every image is built from a plain Debian 12 made with
debootstrap, as a Dockerfile for production would do it: compilers and package managers stay in a stage of their own. With podman each
image is one layer, so that no two share a file: what a container reads is billed to it alone. All containers run at the same time, each in its
own cgroup.

`current` is what the kernel bills (memory.current), page cache included; `working` is what could not be given back: anonymous memory
and the kernel's own (without the page cache). Nothing is put into containers but the apps in bench/apps/.
"""

import argparse
import contextlib
import hashlib
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import curves
import peers
import record
import resident
from serving import ROOT, Failed, free_port, leave_out, wait_to_listen

HOME = ROOT / "build/containers"
NAME = "leangate-bench"
CERTIFICATES = "etc/ssl/of-the-host.crt"
LIMITS = ("--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000", "--memory", "512m")
PINNED = dict(line.split("==") for file in ("requirements.txt", "requirements-peers.txt")
              for line in (ROOT / "bench" / file).read_text().split() if "==" in line)


def apt(*packages):
    return (f"RUN apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends {' '.join(packages)} "
            "&& rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb\n")


# What others are made from: an interpreter that can make a venv, and the gateway as `make install` leaves it in /out.
PARENTS = {
    "venv": f"FROM {NAME}-base\n" + apt("python3", "python3-venv"),
    "out": f"FROM {NAME}-base\n" +
           apt("gcc", "libc6-dev", "pkg-config", "libev-dev", "libinih-dev", "libfcgi-dev", "python3", "python3-dev", "make") +
           "COPY source /source\nRUN make -s -C /source all && make -s -C /source install DESTDIR=/out PREFIX=/usr/local\n",
}


def python(*packages, more="", system=()):
    """The system's interpreter and a venv with pinned packages; pip stays in the other stage."""
    pins = " ".join(f"{package}=={PINNED[package]}" for package in packages)
    return (f"FROM {NAME}-venv AS venv\n"
            f"RUN python3 -m venv /venv && /venv/bin/pip install -q --no-cache-dir {pins} && /venv/bin/pip uninstall -q -y pip setuptools\n"
            f"FROM {NAME}-base\n" + apt("python3", *system) + f"COPY --from=venv /venv /venv\n{more}COPY apps /srv\n")


def gateway(*packages):
    return python(*packages, more=f"COPY --from={NAME}-out /out /\n", system=("libfcgi0ldbl",))


EXPRESS = (f"FROM {NAME}-base AS npm\n" + apt("nodejs", "npm") +
           "WORKDIR /srv\nCOPY apps/express /srv\nRUN npm install --silent --no-fund --no-audit express@5.3.0\n"
           f"FROM {NAME}-base\n" + apt("nodejs") + "COPY --from=npm /srv /srv\n")
GO = f"FROM {NAME}-base\nCOPY hello-go /usr/local/bin/hello-go\n"
PHP = (f"FROM {NAME}-base\n" + apt("nginx-light", "php-fpm") + "COPY apps /srv\nCOPY php.sh /php.sh\n")
PHP_START = r"""#!/bin/sh
# nginx before php-fpm with pm = ondemand
mkdir -p /run/php
cat >/fpm.conf <<FPM
[global]
daemonize = yes
error_log = /dev/stderr
[www]
user = www-data
group = www-data
listen = /run/php/fpm.sock
listen.owner = www-data
pm = ondemand
pm.max_children = 4
pm.process_idle_timeout = ${2}s
FPM
cat >/nginx.conf <<NGINX
user www-data; daemon off; worker_processes 1; pid /run/nginx.pid; error_log stderr; events {}
http { access_log off; server { listen 127.0.0.1:$1; location / {
    fastcgi_pass unix:/run/php/fpm.sock; fastcgi_param SCRIPT_FILENAME /srv/hello.php; fastcgi_param REQUEST_METHOD \$request_method; } } }
NGINX
$(ls /usr/sbin/php-fpm*) -y /fpm.conf && exec nginx -c /nginx.conf
"""


def uvicorn(*more):
    return lambda port, idle: ["/venv/bin/uvicorn", "--host", "127.0.0.1", "--port", port, "--loop", "uvloop", "--http", "httptools",
                               "--no-access-log", *more, "hello_fastapi:app"]


def leangate(spec):
    return lambda port, idle: ["leangate", spec, "--bind", f"127.0.0.1:{port}", "--log-access", "off", "--python", "/venv",
                               "--idle-timeout", f"{idle}s"]


# name: (image, Dockerfile, command)
ROWS = {
    "leangate, FastAPI": ("leangate-fastapi", gateway("fastapi", "starlette", "pydantic"), leangate("hello_fastapi:app")),
    "leangate, Flask": ("leangate-flask", gateway("flask"), leangate("hello_flask:app")),
    "uvicorn, FastAPI": ("uvicorn", python("fastapi", "starlette", "pydantic", "uvicorn", "uvloop", "httptools"), uvicorn()),
    "uvicorn, 4 workers, FastAPI": ("uvicorn", python("fastapi", "starlette", "pydantic", "uvicorn", "uvloop", "httptools"),
                                    uvicorn("--workers", "4")),
    "Granian, FastAPI": ("granian", python("fastapi", "starlette", "pydantic", "granian"), lambda port, idle: [
        "/venv/bin/granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", port, "hello_fastapi:app"]),
    "gunicorn, Flask": ("gunicorn", python("flask", "gunicorn"), lambda port, idle: [
        "/venv/bin/gunicorn", "--bind", f"127.0.0.1:{port}", "hello_flask:app"]),
    "Express": ("express", EXPRESS, lambda port, idle: ["node", "server.js", port]),
    "nginx + php-fpm ondemand": ("php", PHP, lambda port, idle: ["sh", "/php.sh", port, str(idle)]),
    "Go net/http": ("go", GO, lambda port, idle: ["hello-go", port]),
}


# --- images


class Refused(Exception):
    """Something that cannot be made or run here."""


def engine():
    """The command of podman or docker, and what it is called."""
    if os.geteuid() != 0:
        raise Refused("not root")
    for name in "podman", "docker":
        if shutil.which(name):
            command = [name, *(["--runtime", "runc"] if name == "podman" and shutil.which("runc") else [])]
            if subprocess.run([*command, "info"], capture_output=True).returncode == 0:
                return command, subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    raise Refused("neither podman nor docker runs here (apt-get install podman runc)")


def run(*command, seconds=900, **options):
    """Its output; Refused with the end of what it said."""
    try:
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, **options)
    except subprocess.TimeoutExpired as late:
        raise Refused(f"{' '.join(map(str, command[:4]))} takes longer than {seconds} s") from late
    if done.returncode != 0:
        raise Refused(f"{' '.join(map(str, command[:6]))}: {' / '.join(done.stdout.strip().splitlines()[-4:])}")
    return done.stdout


def mirror(pattern, default):
    """The first configured Debian mirror that matches."""
    text = "\n".join(file.read_text() for file in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")] if file.is_file())
    found = re.findall(r"^URIs:\s*(\S+)|^deb\s+(?:\[[^]]*\]\s*)?(\S+)", text, re.M)
    return next((one or other for one, other in found if re.search(pattern, one or other)), default)


def network_of_the_host(root):
    """What reaching the network takes here, and no more: names, certificates, a proxy, a package index."""
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    for certificates in root / CERTIFICATES, root / "etc/ssl/certs/ca-certificates.crt":  # Debian's package makes the second anew
        certificates.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", certificates)
    for file in Path("/etc/apt/apt.conf.d").glob("*"):
        if re.search(r"^Acquire::(http|https)::", file.read_text(), re.M):
            shutil.copy(file, root / "etc/apt/apt.conf.d")
    index = record.output("python3", "-m", "pip", "config", "get", "global.index-url")
    (root / "etc/pip.conf").write_text(f"[global]\ncert = /{CERTIFICATES}\n" + (f"index-url = {index}\n" if index else ""))
    registry = record.output("npm", "config", "get", "registry")
    (root / "root/.npmrc").write_text(f"cafile=/{CERTIFICATES}\n" + (f"registry={registry}\n" if registry.startswith("http") else ""))


def make_base(podman):
    if subprocess.run([*podman, "image", "inspect", f"{NAME}-base"], capture_output=True).returncode == 0:
        return
    if not shutil.which("debootstrap"):
        raise Refused("debootstrap is missing (apt-get install debootstrap)")
    print("  a plain Debian 12 ...", flush=True)
    debian = mirror(r"/debian/?$", "http://deb.debian.org/debian")
    with tempfile.TemporaryDirectory(dir=HOME) as directory:
        root = Path(directory)
        run("debootstrap", "--variant=minbase", "bookworm", directory, debian)
        (root / "etc/apt/sources.list").write_text(
            f"deb {debian} bookworm main\ndeb {debian} bookworm-updates main\n"
            f"deb {mirror('/debian-security/?$', 'http://deb.debian.org/debian-security')} bookworm-security main\n")
        network_of_the_host(root)
        shutil.rmtree(root / "var/cache/apt/archives")
        with subprocess.Popen(["tar", "-C", directory, "-c", "."], stdout=subprocess.PIPE) as tar:
            run(*podman, "import", "-", f"{NAME}-base", stdin=tar.stdout)
        if tar.returncode != 0:
            raise Refused("tar failed")


def context():
    """What images are built from."""
    shutil.rmtree(HOME / "context", ignore_errors=True)
    there = HOME / "context"
    shutil.copytree(peers.APPS, there / "apps", ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    (there / "source").mkdir()
    with subprocess.Popen(["git", "archive", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE) as archive:
        run("tar", "-x", "-C", str(there / "source"), stdin=archive.stdout)
    (there / "php.sh").write_text(PHP_START)
    return there


def make_image(podman, image, dockerfile, there):
    """Its size in bytes. One that was made before from the same text and, where it has the gateway, the same commit is taken as it is."""
    if image == "go":
        resident.go(0, None)
        shutil.copy(resident.PREPARED / "hello-go", there)
    commit = record.output("git", "rev-parse", "HEAD") if f"{NAME}-out" in dockerfile or image == "out" else ""
    apps = "".join(file.read_text() for file in sorted((there / "apps").rglob("*")) if file.is_file())
    made_of = hashlib.sha256(f"{dockerfile}{PHP_START}{commit}{apps}".encode()).hexdigest()
    label = subprocess.run([*podman, "image", "inspect", "--format", '{{index .Config.Labels "made-of"}}', f"{NAME}-{image}"],
                           capture_output=True, text=True)
    if label.stdout.strip() != made_of:
        file = there / f"Dockerfile.{image}"
        file.write_text(dockerfile)
        squash = ["--squash-all"] if podman[0] == "podman" and image not in PARENTS else []
        run(*podman, "build", *squash, "--network=host", "--ulimit", "nofile=1000:1000", "--label", f"made-of={made_of}",
            "-t", f"{NAME}-{image}", "-f", str(file), str(there))
    return int(run(*podman, "image", "inspect", "--format", "{{.Size}}", f"{NAME}-{image}"))


def needed(podman, dockerfile, there):
    """Makes the images that it names, unless they are there."""
    for parent, text in PARENTS.items():
        if f"{NAME}-{parent}" in dockerfile:
            make_image(podman, parent, text, there)


def make_images(podman, names):
    """{name: bytes} of those that can be made."""
    HOME.mkdir(parents=True, exist_ok=True)
    make_base(podman)
    sizes, made, there = {}, {}, context()
    for name in names:
        image, dockerfile, _ = ROWS[name]
        try:
            begun = time.monotonic()
            if image not in made:
                needed(podman, dockerfile, there)
                made[image] = make_image(podman, image, dockerfile, there)
            sizes[name] = made[image]
            print(f"  {name:<28} image {sizes[name] / 1e6:>6.0f} MB, after {time.monotonic() - begun:.0f} s", flush=True)
        except (Refused, OSError, SystemExit, subprocess.CalledProcessError) as error:
            leave_out(name, error)
    return sizes


# --- containers


def cgroup(pid):
    """The directory of the memory controller that a process is billed to."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return Path("/sys/fs/cgroup/memory") / path.lstrip("/")
        if number == "0" and Path("/sys/fs/cgroup/cgroup.controllers").exists():
            return Path("/sys/fs/cgroup") / path.lstrip("/")
    raise Refused("no memory controller")


def billed(group):
    """(current, anonymous, kernel) in bytes, of cgroup v2 or v1."""
    stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    if (group / "memory.current").exists():
        return int((group / "memory.current").read_text()), int(stat["anon"]), int(stat["kernel"])
    return (int((group / "memory.usage_in_bytes").read_text()), int(stat["total_rss"]),
            int((group / "memory.kmem.usage_in_bytes").read_text()))


@contextlib.contextmanager
def container(podman, name, idle):
    """(port, cgroup) of a container that listens."""
    image, _, command = ROWS[name]
    port, own = free_port(), f"{NAME}-{image}-{os.getpid()}-{time.monotonic_ns()}"
    run(*podman, "run", "-d", "--name", own, "--network=host", *LIMITS, "--workdir", "/srv", f"{NAME}-{image}", *command(str(port), idle))
    try:
        try:
            wait_to_listen(port)
        except Failed:
            raise Refused(f"does not listen: {run(*podman, 'logs', own)[-500:]}") from None
        yield port, cgroup(run(*podman, "inspect", "--format", "{{.State.Pid}}", own).strip())
    finally:
        subprocess.run([*podman, "rm", "-f", own], capture_output=True, timeout=60)


def look(started, phase, found):
    for name, (_, group) in started.items():
        try:
            found.setdefault(name, {})[phase] = billed(group)
        except FileNotFoundError:
            raise SystemExit(f"the container of {name} ended before its memory was read ({phase})") from None


def one_round(podman, names, options, failures):
    """{name: {phase: [current, anonymous, kernel], "rate": requests/s}}; all of them at the same time."""
    found, idle = {}, min(60, max(1, options.after // 2))
    with contextlib.ExitStack() as running:
        started = {}
        for name in names:
            try:
                started[name] = running.enter_context(container(podman, name, idle))
            except (Refused, OSError) as error:
                leave_out(name, error)
        time.sleep(options.before)
        look(started, "before", found)
        until, ports = time.monotonic() + options.load, {port: name for name, (port, _) in started.items()}
        wrong, rates = [], {}
        clients = [threading.Thread(target=curves.ask, args=(port, until, wrong, rates)) for port in ports]
        for client in clients:
            client.start()
        time.sleep(max(0, until - 0.5 - time.monotonic()))
        look(started, "load", found)
        for client in clients:
            client.join()
        failures += [ports[port] for port in wrong]
        for port, name in ports.items():
            found[name]["rate"] = rates[port]
        time.sleep(options.after)
        look(started, "after", found)
    return found


def tell(samples, sizes):
    print(f"\n{'MB billed / without page cache':<32}{'image':>8}{'before':>16}{'100 requests/s':>18}{'after':>16}")
    for name, runs in samples.items():
        cells = [" / ".join(f"{statistics.median(value) / 1e6:.1f}" for value in (
            [run[phase][0] for run in runs], [run[phase][1] + run[phase][2] for run in runs])) for phase in ("before", "load", "after")]
        print(f"{name:<32}{sizes[name] / 1e6:>8.0f}{cells[0]:>16}{cells[1]:>18}{cells[2]:>16}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--before", type=int, default=10, help="seconds until the first look")
    parser.add_argument("--load", type=int, default=30, help="seconds")
    parser.add_argument("--after", type=int, default=120, help="seconds until the last look; idle workers go after half of them")
    parser.add_argument("--keep-caches", action="store_true", help="do not drop the page cache before each round")
    parser.add_argument("--only", action="append", choices=ROWS)
    options = parser.parse_args()
    try:
        podman, version = engine()
        print(version)
        sizes = make_images(podman, options.only or ROWS)
    except Refused as reason:
        print(f"left out: no container here: {reason}")
        return 0
    samples, failures = {name: [] for name in sizes}, []
    for number in range(options.rounds):
        if not options.keep_caches:
            os.sync()
            Path("/proc/sys/vm/drop_caches").write_text("3")
        for name, phases in one_round(podman, list(sizes)[:: 1 if number % 2 else -1], options, failures).items():
            samples[name].append(phases)
        print(f"round {number + 1} of {options.rounds}", flush=True)
    samples = {name: runs for name, runs in samples.items() if len(runs) == options.rounds}
    tell(samples, sizes)
    return record.keep("containers", {"unit": "B", "columns": ["current", "anonymous", "kernel"], "engine": version, "after": options.after,
                                      "images": {name: sizes[name] for name in samples}, "samples": samples},
                       [f"{name}: {failures.count(name)} requests failed" for name in sorted(set(failures))])


if __name__ == "__main__":
    raise SystemExit(main())
