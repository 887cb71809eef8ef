"""The fixtures of the worker's tests. The worker process is in tests/support/worker.py, the client in fcgi_client.py."""

import pytest

from asgi_app import FRAME
from worker import PRELOAD, REPORTS, Worker


def pytest_collection_modifyitems(config, items):
    if PRELOAD:
        left_out = [item for item in items if item.get_closest_marker("release")]
        items[:] = [item for item in items if not item.get_closest_marker("release")]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True)
def no_report(tmp_path):
    """Whatever comes of a test: no process of it has made ASan or UBSan speak."""
    yield
    texts = [file.read_text(errors="replace") for file in tmp_path.glob("*/err") if PRELOAD]
    texts = [text for text in texts if "runtime error:" in text]
    for report in REPORTS.glob("sanitiser.*") if PRELOAD else ():
        texts.append(report.read_text())
        report.rename(report.with_name(f"told-{report.name}"))
    assert not texts, "\n".join(texts)


@pytest.fixture
def spawn(tmp_path):
    """spawn(source, ...): a worker that has just been started; the arguments are Worker's."""
    workers = []

    def start(*arguments, **named):
        workers.append(Worker(tmp_path / ("w%d" % len(workers)), *arguments, **named))
        return workers[-1]

    yield start
    for worker in workers:
        worker.end()


@pytest.fixture
def serve(spawn):
    """serve(source, ...): a worker that is ready."""
    return lambda *arguments, **named: spawn(*arguments, **named).ready()


@pytest.fixture
def asgi(serve):
    """asgi(source, ...): a worker with the ASGI app of asgi_app.py and what the source adds to it, ready."""
    return lambda source="", *arguments, **named: serve(FRAME + source, *arguments, **named)
