"""The figures that are promised (DESIGN section 2), for the release build. `make bench-memory` prints them."""

import contextlib
import os
import resource
import time

import pytest

import rawhttp
from gateway import app, proc_file, proc_state, wait_until
from measure import memory, switches

pytestmark = pytest.mark.release

MB = 1024  # in the kB that /proc speaks

# What a hello worker must not have loaded: each costs memory and time at every start.
HEAVY = {"asyncio", "typing", "logging", "email", "http", "re", "socket", "threading", "traceback", "json", "runpy"}

NOISE = 32  # kB: a few pages more or less, as the allocator happens to lay things out

IDLE_SECONDS = 130 if os.environ.get("LEANGATE_LONG") else 12

THREE_APPS = {f"app:app{n}": app("hello", path=f"/app{n}") for n in range(3)}


def settled(pid):
    """Its memory once the gateway has come to rest: three looks in a row at RSS and private dirty agree."""
    looks = []

    def at_rest():
        time.sleep(0.1)
        looks.append(memory(pid))
        return len({(rss, dirty) for rss, _, dirty in looks[-3:]}) == 1 and len(looks) > 2

    wait_until(at_rest, "memory comes to rest")
    return looks[-1]


def in_chroot():
    """There libc has few users and PSS counts nearly all of it. A root that no mount stands on gives it away."""
    with open("/proc/self/mountinfo") as mounts:
        return not any(line.split()[4] == "/" for line in mounts)


@pytest.fixture(scope="module", autouse=True)
def written_out():
    """Pages of a program that was just built count as dirty until then."""
    os.sync()


@pytest.fixture
def many_descriptors():
    """As many as this process may have."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_idle_memory(launch):
    gateway = launch(THREE_APPS)
    rss, pss, dirty = settled(gateway.pid)
    print(f"idle: RSS {rss} kB, PSS {pss} kB, private dirty {dirty} kB")
    assert dirty <= 0.2 * MB and rss <= 2 * MB
    if not in_chroot():
        assert pss <= 0.4 * MB


def test_memory_comes_back_after_work(launch):
    """A burst leaves little behind: the first requests pay for tables that stay, the next ones for nothing."""
    gateway = launch(THREE_APPS)

    def burst():
        connections = [gateway.connect() for _ in range(100)]
        for connection in connections:
            assert connection.get("/app0").status == 200
        for connection in connections:
            connection.close()
        return settled(gateway.pid)[2]

    burst()
    first = burst()
    assert burst() <= first + 64


def test_who_looked_leaves_nothing_behind(launch):
    """The status listener costs what a listener costs, and a look at everything is given back."""
    sections = THREE_APPS | {"status": {"listen": "127.0.0.1:0"}}
    gateway = launch(sections)
    url = gateway.err.wait(r"^  status on http://127\.0\.0\.1:(\d+)$")
    before = settled(gateway.pid)
    for _ in range(10):
        with rawhttp.Connection(("127.0.0.1", int(url[1]))) as connection:
            for path in ("/", "/status.json", "/metrics", "/readyz"):
                assert connection.get(path).status == 200
    time.sleep(1.5)  # it gives back at most once a second
    after = settled(gateway.pid)
    print(f"RSS, PSS, private dirty before {before}, after forty looks {after}")
    assert before[2] <= 0.2 * MB and after[2] <= before[2] + NOISE
    calm = switches(gateway.pid)
    time.sleep(2)
    assert switches(gateway.pid) == calm


@pytest.mark.parametrize("ask", [None, "/-/health", "/nowhere"])
def test_who_wakes_nobody_leaves_nothing_behind(launch, ask):
    """A connection and what is answered without Python: after it the gateway is as before the first one."""
    gateway = launch(THREE_APPS)
    before = settled(gateway.pid)
    for _ in range(3):
        with gateway.connect() as connection:
            if ask:
                connection.get(ask)
    time.sleep(1.5)  # it gives back at most once a second
    after = settled(gateway.pid)
    print(f"{ask}: RSS, PSS, private dirty before {before}, after {after}")
    assert after[1] <= before[1] + NOISE and after[2] <= before[2] + NOISE
    calm = switches(gateway.pid)
    time.sleep(2)
    assert switches(gateway.pid) == calm


def test_a_thousand_apps(launch):
    few = settled(launch(THREE_APPS).pid)
    many = settled(launch({f"app:app{n}": app("hello", path=f"/app{n}") for n in range(1000)}).pid)
    print(f"1,000 apps: {many[2] - few[2]} kB more private dirty, {many[0] - few[0]} kB more RSS")
    assert many[0] - few[0] <= 1.5 * MB and many[2] - few[2] <= 1.5 * MB


def test_a_thousand_apps_serve_at_once(launch, tmp_path):
    """From exec to the first answer; the best of some, for a busy machine says nothing about the program."""
    def start(n):
        sections = {"gateway": {"listen": f"unix:{tmp_path}/{n}"}} | \
            {f"app:app{n}": app("hello", path=f"/app{n}") for n in range(1000)}
        began = time.monotonic()
        launch(sections, wait=False)
        while True:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                with rawhttp.Connection(f"{tmp_path}/{n}") as connection:
                    assert connection.get("/-/ready").status == 200
                    return time.monotonic() - began

    seconds = min(start(n) for n in range(5))
    print(f"1,000 apps: {seconds * 1e3:.0f} ms from exec to the first answer")
    assert seconds < 0.1


def test_ten_of_a_thousand_awake_cost_what_ten_cost(launch):
    """Of the gateway; their workers know nothing of the other apps."""
    def growth(count):
        gateway = launch({f"app:app{n}": app("hello", path=f"/app{n}", idle_timeout="off") for n in range(count)})
        before = settled(gateway.pid)[2]
        for n in range(0, count, count // 10):
            assert gateway.get(f"/app{n}").status == 200
        assert len(gateway.workers) == 10
        return settled(gateway.pid)[2] - before

    ten, thousand = growth(10), growth(1000)
    print(f"ten apps awake: {ten} kB, ten of a thousand {thousand} kB")
    assert thousand <= ten + NOISE


def test_no_wake_up_while_idle(launch):
    gateway = launch(THREE_APPS)
    time.sleep(1)
    before = switches(gateway.pid)
    time.sleep(IDLE_SECONDS)
    assert switches(gateway.pid) == before


def test_no_wake_up_while_asleep_again(launch):
    """Once a worker was there and is gone, nothing is left that ticks."""
    gateway = launch({"app:hello": app("hello", idle_timeout="200ms")})
    gateway.get("/")
    gateway.no_worker()
    time.sleep(1.5)
    before = switches(gateway.pid)
    time.sleep(5)
    assert switches(gateway.pid) == before


def test_modules_of_a_hello_worker(launch):
    gateway = launch({"app:modules": app("modules")})
    loaded = set(gateway.get("/").text.split("\n"))
    assert not HEAVY & loaded
    assert not [name for name in loaded if name.partition(".")[0] in HEAVY]


def test_memory_comes_back_beside_a_warm_worker(launch):
    """Heads that never end, of a thousand clients: when they are gone, so is what they cost, though the app goes on."""
    gateway = launch({"app:hello": app("hello", idle_timeout="off")})
    assert gateway.get("/").status == 200
    before = memory(gateway.pid)[2]
    connections = [gateway.connect() for _ in range(1000)]
    for connection in connections:
        connection.send(b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 20_000)
    wait_until(lambda: memory(gateway.pid)[2] > before + 20 * MB, "all heads are held")
    for connection in connections:
        connection.close()
    wait_until(lambda: memory(gateway.pid)[2] <= before + 256, "what they cost comes back", 5)
    assert gateway.get("/").status == 200


def test_ten_thousand_idle_connections(launch, many_descriptors):
    """What an idle kept connection costs, libev's share included; that it comes back; and that a second burst of them
    finds all that it needs."""
    count = 10_000
    gateway = launch({"gateway": {"backlog": "4096"}, "app:hello": app("hello"),
                      "limits": {"connections": str(count + 10)}, "timeouts": {"keepalive": "10m"}})

    def burst():
        """Private dirty in kB with all of them open and idle, and when they are gone."""
        connections = []
        for number in range(count):
            connection = gateway.connect(source=f"127.0.0.{2 + number % 50}")
            assert connection.get("/-/health").status == 200
            connections.append(connection)
        open_now = memory(gateway.pid)[2]
        for connection in connections:
            connection.close()
        wait_until(lambda: len(gateway.descriptors()) <= base, "all are closed")
        wait_until(lambda: memory(gateway.pid)[2] <= before + 256, "what they cost comes back", 5)
        return open_now, memory(gateway.pid)[2]

    assert gateway.get("/-/health").status == 200
    base = len(gateway.descriptors())
    before = memory(gateway.pid)[2]
    open_first, after_first = burst()
    open_second, after_second = burst()
    print(f"before {before} kB; {count} open {open_first} kB, that is {(open_first - before) * 1024 / count:.0f} bytes each; "
          f"closed {after_first} kB; again {open_second} and {after_second} kB")
    assert (open_first - before) * 1024 <= 512 * count
    assert open_second - open_first <= NOISE and after_second - after_first <= NOISE


def test_the_sleep_of_an_idle_gateway_has_no_end(launch):
    """None that the tests above would wait for: libev alone wakes up once a minute."""
    gateway = launch(THREE_APPS)
    wait_until(lambda: proc_state(gateway.pid) == "S", "sleep")
    try:
        call = proc_file(gateway.pid, "syscall").split()
        timeout_ms = int(call[4], 16) & 0xffffffff
    except (IndexError, ValueError):
        pytest.skip("its system call cannot be seen")
    assert timeout_ms > 130_000, call
