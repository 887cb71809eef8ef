"""What of the app still lives when its worker is told to stop: imported only where there may be something."""

import sys


def is_own(thread):
    """Whether a thread does the app's work by itself: pools wait for somebody to give them some."""
    threading = sys.modules["threading"]
    target = getattr(thread, "_target", None)
    pool = type(thread).__module__.startswith("anyio.") or getattr(target, "__module__", "") == "concurrent.futures.thread"
    return not pool and not isinstance(thread, threading._DummyThread) and thread is not threading.main_thread()


def tell(core, tasks=()):
    """Tell the gateway of the app's threads and tasks, by their names."""
    threading = sys.modules.get("threading")
    found = ['thread "%s"' % thread.name for thread in threading.enumerate() if is_own(thread)] if threading else []
    found += ['task "%s"' % task.get_name() for task in tasks]
    if found:
        core.send(("LIVE " + ", ".join(sorted(found)))[:4096].encode("utf-8", "backslashreplace"))
