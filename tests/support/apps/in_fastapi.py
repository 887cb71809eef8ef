"""A FastAPI app that uses what ASGI frameworks use: lifespan state, middleware of both kinds, dependencies, uploads, forms,
background tasks, streams, server-sent events, files, mounts, exceptions."""

import asyncio
import contextlib
import contextvars
import gc
import hashlib
import os
from pathlib import Path

from fastapi import BackgroundTasks, Depends, FastAPI, File, Form, HTTPException, Request, UploadFile
from fastapi.responses import FileResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.applications import Starlette
from starlette.routing import Route

HERE = Path(__file__).parent
told = []
var = contextvars.ContextVar("var", default="unset")


def tell(text):
    told.append(text)
    print(text, flush=True)


@contextlib.asynccontextmanager
async def lifespan(app):
    tell("startup")
    var.set("startup")
    yield {"pool": ["shared"]}
    tell("shutdown")


app = FastAPI(lifespan=lifespan, root_path=os.environ.get("ROOT_PATH", ""))
# Without a middleware of Starlette's own kind, which ends an answer only after its background tasks, ends one cleanly that
# was cut, and hides that a client has left.
bare = FastAPI(lifespan=lifespan)


@app.middleware("http")
async def tag(request, call_next):
    answer = await call_next(request)
    answer.headers["X-Tag"] = request.url.path
    return answer


class Plain:
    """A middleware that is nothing but ASGI."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def tagged(message):
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-plain", b"yes"))
            await send(message)
        await self.app(scope, receive, tagged if scope["type"] == "http" else send)


app.add_middleware(Plain)


async def dependency():
    yield "dependency"
    tell("dependency closed")


@app.get("/")
async def root(name: str = "world", value: str = Depends(dependency)):
    return {"hello": name, "with": value}


@app.get("/sync")
def sync():
    return {"var": var.get()}


@app.get("/scope", name="scope")
async def scope(request: Request):
    return {"url": str(request.url), "base": str(request.base_url), "path": request.scope["path"], "client": list(request.client),
            "root_path": request.scope["root_path"], "scheme": request.url.scheme, "for": str(request.url_for("scope")),
            "pool": request.state.pool, "http_version": request.scope["http_version"]}


@app.post("/json")
async def json(data: dict):
    return data


@app.post("/form")
async def form(one: str = Form(), many: list[str] = Form()):
    return {"one": one, "many": many}


@app.post("/upload")
async def upload(file: UploadFile = File(), note: str = Form()):
    data = await file.read()
    return {"name": file.filename, "size": len(data), "sha": hashlib.sha256(data).hexdigest(), "note": note}


@app.post("/count")
async def count(request: Request):
    size = pieces = 0
    async for piece in request.stream():
        size, pieces = size + len(piece), pieces + 1
    return {"size": size, "pieces": pieces}


@bare.get("/background")
async def background(tasks: BackgroundTasks):
    async def later():
        while not os.path.exists(os.environ["TMPDIR"] + "/go"):
            await asyncio.sleep(0.005)
        os.unlink(os.environ["TMPDIR"] + "/go")
        tell("background")
    tasks.add_task(later)
    return {"answered": True}


@bare.get("/told")
@app.get("/told")
async def what_was_told():
    gc.collect()  # which closes generators that were given up between two pieces
    return told


@app.get("/stream")
async def stream(lines: int = 5):
    async def pieces():
        for i in range(lines):
            yield "line %d\n" % i
            await asyncio.sleep(0.001)
    return StreamingResponse(pieces(), media_type="text/plain")


@app.get("/events")
async def events():
    async def pieces():
        try:
            for i in range(10**9):
                yield "data: %d\n\n" % i
                await asyncio.sleep(0.05)
        finally:
            tell("events closed")
    return StreamingResponse(pieces(), media_type="text/event-stream")


@bare.get("/watch")
async def watch(request: Request):
    while not await request.is_disconnected():
        await asyncio.sleep(0.005)
    tell("left")


@app.get("/file")
async def file():
    return FileResponse(__file__, media_type="text/x-python", filename="in_fastapi.py")


@app.get("/large")
async def large():
    return PlainTextResponse("0123456789abcdef" * 200_000)


@app.get("/redirect")
async def redirect(request: Request):
    response = RedirectResponse(request.url_for("scope"), 303)
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


@app.get("/missing")
async def missing():
    raise HTTPException(404, "not here", {"X-Why": "test"})


@app.get("/fail")
async def fail():
    raise KeyError("before the head")


@bare.get("/cut")
async def cut():
    async def pieces():
        yield "begun"
        raise KeyError("after the head")
    return StreamingResponse(pieces())


async def inside(request):
    return PlainTextResponse("%s %s" % (request.scope["root_path"], request.url))


app.mount("/static", StaticFiles(directory=HERE / "frameworks"), "static")
app.mount("/sub", Starlette(routes=[Route("/in/{name}", inside)]))
