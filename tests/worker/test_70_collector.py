"""The collector stays out of the way of an import, and is afterwards what it was, or what the app has made of it."""

import subprocess

import pytest

from worker import PYTHON, Worker

TELL = """
    import gc
    at_import = gc.get_threshold()
    {setting}

    def app(environ, start_response):
        start_response("200 OK", [])
        return [repr((at_import, gc.get_threshold(), gc.isenabled(), gc.get_freeze_count())).encode()]
"""


def usual():
    """The thresholds of a plain interpreter."""
    return eval(subprocess.run([PYTHON, "-c", "import gc; print(gc.get_threshold())"], capture_output=True,
                               env=Worker.environ({})).stdout)


@pytest.mark.parametrize("mode", ["persistent", "fork"])
def test_thresholds_are_raised_for_the_import_alone(serve, mode):
    worker = serve(TELL.format(setting=""), options=["--mode", mode])
    at_import, after, enabled, frozen = eval(worker.ask(flags=0).body)
    assert at_import[0] >= 20 * usual()[0]
    assert after == usual() and enabled and frozen > 1000


def test_thresholds_of_an_incremental_collector(serve, tmp_path):
    """Stands in for CPython 3.14.0 to 3.14.4, whose collector has no third one: it is 0, whatever was set."""
    (tmp_path / "sitecustomize.py").write_text("import gc\nreal = gc.get_threshold\ngc.get_threshold = lambda: (*real()[:2], 0)\n")
    worker = serve(TELL.format(setting=""), environ={"PYTHONPATH": str(tmp_path)})
    at_import, after, _, _ = eval(worker.ask().body)
    assert at_import == (100000, 50, 0)
    assert after == (*usual()[:2], 0)


@pytest.mark.parametrize("setting, threshold, enabled", [
    ("gc.set_threshold(5000, 7, 9)", (5000, 7, 9), True), ("gc.set_threshold(0)", (0,), True), ("gc.disable()", None, False)])
def test_what_the_app_sets_stays(serve, setting, threshold, enabled):
    _, after, is_enabled, _ = eval(serve(TELL.format(setting=setting)).ask().body)
    expected = threshold or usual()
    assert after[: len(expected)] == expected and is_enabled == enabled


def test_a_failing_import_is_told_as_ever(spawn):
    summary, details = spawn("import gc\nraise ValueError(gc.get_threshold()[0])").failed()
    assert "ValueError: 100000" in summary


def test_temporary_files_of_the_import_go_with_the_worker(serve):
    """They are frozen, and found all the same; a copy leaves them alone."""
    source = """
        import tempfile
        held = tempfile.NamedTemporaryFile(dir=".", prefix="held")
        held.cycle = held

        def app(environ, start_response):
            start_response("200 OK", [])
            own = tempfile.NamedTemporaryFile(dir=".", prefix="own")
            globals()["kept"] = own
            return [b"x"]
    """
    for mode in "persistent", "fork":
        worker = serve(source, options=["--mode", mode])
        worker.ask(flags=0)
        if mode == "fork":
            worker.ask(flags=0)
            assert len(list(worker.directory.glob("held*"))) == 1
        assert worker.stop() == 0
        assert not [*worker.directory.glob("held*"), *worker.directory.glob("own*")]
