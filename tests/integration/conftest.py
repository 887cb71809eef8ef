"""The fixtures of all integration tests. What the gateway is, and what is looked at when it ends, is in
tests/support/gateway.py."""

import os

import pytest

from gateway import SLOW, Gateway

# How the caller's machine is set up must not change whether bytecode is written or output is buffered.
for name in [name for name in os.environ if name.startswith("PYTHON")]:
    del os.environ[name]


def pytest_collection_modifyitems(config, items):
    if SLOW:
        left_out = [item for item in items if item.get_closest_marker("release")]
        items[:] = [item for item in items if not item.get_closest_marker("release")]
        config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        item.failed = report.failed
    return report


@pytest.fixture
def launch(request, tmp_path):
    """launch(sections, ...): a gateway on a port of its own, in a private directory; the arguments are Gateway's.

    At the end of a test that passed every gateway that still runs is stopped with SIGTERM, and all of them are held
    to a clean end."""
    gateways = []

    def start(sections=None, *, wait=True, **more):
        if sections is not None:
            sections = {"gateway": {"listen": "127.0.0.1:0"} | sections.get("gateway", {})} | \
                {name: keys for name, keys in sections.items() if name != "gateway"}
        directory = tmp_path / f"g{len(gateways)}"
        directory.mkdir()
        gateway = Gateway(directory, sections, **more)
        gateways.append(gateway)
        return gateway.start(wait)

    yield start
    try:
        if not getattr(request.node, "failed", True):
            for gateway in gateways:
                gateway.finish()
    finally:
        for gateway in gateways:
            gateway.kill()
            if getattr(request.node, "failed", True):
                print(f"--- stdout\n{gateway.out.text}--- stderr\n{gateway.err.text}")
