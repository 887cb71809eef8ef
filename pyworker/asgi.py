"""An ASGI worker, as far as it is Python: the loop, the app's lifespan, the end. Requests are served in C (asgi.h).

The only file that imports asyncio: 60 ms and 8 MB that no other kind of worker pays for."""

import asyncio
import contextvars
import gc
import selectors
import sys
import traceback

from pyworker.load import LoadError

STARTUP, SHUTDOWN = "lifespan.startup", "lifespan.shutdown"
FORGETFUL = sys.version_info >= (3, 12)  # a fork: of the loop that is set, and of what signals wake
LAST_WORDS = 1  # seconds for an app to raise what it has called its failure
LONGEST = 2000  # characters of an error in a NOTE, whatever becomes of them in bytes


class Lifespan:
    """One call of the app that lasts as long as the worker. `mode`: auto, on, off."""

    def __init__(self, core, app, mode):
        self.core, self.app, self.mode = core, app, mode
        self.state = {}
        self.context = contextvars.copy_context()  # what the startup has set, requests see
        self.task = self.error = self.failure = None
        self.reached = {}  # STARTUP, SHUTDOWN: a future each
        self.asked = None
        self.questions = []  # an asyncio.Queue would be a tenth of a megabyte in each copy of a process
        self.waiting = []

    async def run(self):
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self.app(scope, self.receive, self.send)
        except (Exception, asyncio.CancelledError) as error:
            self.error = error
        finally:
            for event in (STARTUP, SHUTDOWN):
                self.reach(event)

    def reach(self, event):
        if not self.reached[event].done():
            self.reached[event].set_result(None)

    def ask(self, event):
        self.asked = event
        self.questions.append(event)
        for waiter in self.waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def receive(self):
        while not self.questions:
            waiter = asyncio.get_running_loop().create_future()
            self.waiting.append(waiter)
            try:
                await waiter
            finally:
                self.waiting.remove(waiter)
        return {"type": self.questions.pop(0)}

    async def send(self, message):
        event, _, outcome = message["type"].rpartition(".")
        if event != self.asked or outcome not in ("complete", "failed") or self.reached[event].done():
            raise RuntimeError("lifespan: unexpected message %r" % message["type"])
        if outcome == "failed":
            self.failure = message.get("message", "")
        elif event == STARTUP:
            self.context = contextvars.copy_context()
        self.reach(event)

    async def startup(self):
        """Return when the app is ready; LoadError when it cannot be."""
        if self.mode == "off":
            return
        loop = asyncio.get_running_loop()
        self.reached = {event: loop.create_future() for event in (STARTUP, SHUTDOWN)}
        self.ask(STARTUP)
        self.task = loop.create_task(self.run())
        await self.reached[STARTUP]
        if self.failure is not None:
            await asyncio.wait([self.task], timeout=LAST_WORDS)
            error = LoadError("the app's startup failed: %s" % (last_line(self.failure) or self.error or "it gave no reason"))
            if "\n" in self.failure.strip():
                error.details = self.failure
            raise error from self.error
        if self.error is not None and self.mode == "on":
            raise LoadError("the app's lifespan failed: %s" % describe(self.error)) from self.error
        if self.error is not None:
            self.task = None
            text = "the app has no lifespan (%s); lifespan = off spares the question" % describe(self.error)[:LONGEST]
            self.core.send(b"NOTE " + text.encode("utf-8", "backslashreplace"))

    async def shutdown(self):
        """Let the app end what its startup has begun."""
        if self.task is None or self.failure is not None:
            return  # there is no lifespan, or it never began
        if not self.task.done():
            self.ask(SHUTDOWN)
            await self.reached[SHUTDOWN]
            await asyncio.wait([self.task], timeout=LAST_WORDS)
        if self.failure is not None:
            sys.stderr.write("pyworker: the app's shutdown failed: %s\n" % self.failure.rstrip())
        elif self.error is not None:
            sys.excepthook(type(self.error), self.error, self.error.__traceback__)


def last_line(text):
    return text.strip().rpartition("\n")[2]


def describe(error):
    return " ".join(("%s: %s" % (type(error).__name__, error)).split()).rstrip(":")


def awaited(step):
    """What a suspended coroutine, generator or other awaitable waits for, or None."""
    for name in ("cr_await", "gi_yieldfrom", "ag_await"):
        if hasattr(step, name):
            return getattr(step, name)
    inner = [one for one in gc.get_referents(step) if hasattr(one, "cr_await") or hasattr(one, "ag_await")]
    return inner[0] if inner else None


def show_stack(task):
    """Write to stderr where a task stands: the chain of what awaits what."""
    lines = ["pyworker: %s stands at\n" % task.get_name()]
    step = task.get_coro()
    while step is not None:
        frame = getattr(step, "cr_frame", None) or getattr(step, "gi_frame", None) or getattr(step, "ag_frame", None)
        if frame is not None:
            lines += traceback.format_list([(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name, None)])
        step = awaited(step)
    sys.stderr.write("".join(lines))


def cancel(loop, tasks):
    """Cancel tasks and wait for their ends."""
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


def end_loop(loop):
    """Close it, and end what still runs there."""
    cancel(loop, asyncio.all_tasks(loop))
    loop.run_until_complete(loop.shutdown_asyncgens())
    if hasattr(loop, "shutdown_default_executor"):
        loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def selector_of(loop):
    """What asyncio's own loop waits with; None for another loop, which has to be content with add_reader()."""
    selector = getattr(loop, "_selector", None)
    return selector if type(selector) is selectors.EpollSelector else None


def loop_for_copies():
    """The event loop of the copies of this process, and the descriptors that they cannot share with it; None where the app wants
    another than asyncio's own. Making one in each copy would cost it a quarter of a megabyte, setting it as such a twentieth."""
    policy = getattr(asyncio.events, "_event_loop_policy", None)
    if policy is not None and type(policy) is not asyncio.DefaultEventLoopPolicy:
        return None, ()
    loop = asyncio.new_event_loop()
    if type(loop) is asyncio.SelectorEventLoop and selector_of(loop) is not None:
        if not FORGETFUL:
            asyncio.set_event_loop(loop)
        return loop, (loop._selector.fileno(), loop._ssock.fileno(), loop._csock.fileno())
    loop.close()
    return None, ()


def run(core, loop, life, *arguments):
    """Serve requests until told to stop; those under way are finished, or at Ctrl-C cancelled."""
    def pause(ms):
        return loop.call_later(ms / 1000, core.asgi_resume)

    plain = type(loop).create_task is asyncio.BaseEventLoop.create_task and loop.get_task_factory() is None
    hooks = show_stack, pause, asyncio.CancelledError, asyncio.Task if plain else None
    watched = core.asgi_open(life.app, loop, life.state, *arguments, *hooks)
    selector = selector_of(loop)
    if selector is None:
        life.context.run(loop.add_reader, watched, core.asgi_poll)
    else:
        core.asgi_wait(selector.select, selector.fileno())
        selector.select = core.asgi_select
    try:
        life.context.run(loop.run_forever)
    except BaseException as error:
        core.asgi_left(error)  # in a child what would be taken down here is its parent's
        if isinstance(error, KeyboardInterrupt):
            cancel(loop, asyncio.all_tasks(loop) - {life.task})
        raise
    finally:
        if selector is None:
            loop.remove_reader(watched)
        else:
            del selector.select
        core.asgi_close()


def serve(core, app, lifespan, ready, debug, concurrency, loop=None):
    """Start the app, tell `ready`, serve, and let it end. `loop`: of loop_for_copies()."""
    if loop is None:
        loop = asyncio.new_event_loop()  # uvloop's where the app has installed its policy
        asyncio.set_event_loop(loop)
    elif FORGETFUL:
        asyncio.set_event_loop(loop)
    life = Lifespan(core, app, lifespan)
    try:
        try:
            loop.run_until_complete(life.startup())
        except SystemExit as error:  # which goes through the loop, whoever waits for the startup
            raise LoadError("the app's startup failed: %s" % describe(error)) from error
        try:
            run(core, loop, life, ready, debug, concurrency)
            tasks = asyncio.all_tasks(loop) - {life.task}
            if tasks:
                from pyworker.live import tell

                tell(core, tasks)
        finally:
            loop.run_until_complete(life.shutdown())
    finally:
        end_loop(loop)
