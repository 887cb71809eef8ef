"""A shared shopping list with FastAPI: a page that follows along by server-sent events, a JSON interface with its docs page,
an upload, and a task that runs after its answer."""

import asyncio
import contextlib
import json

from fastapi import BackgroundTasks, FastAPI, Form, HTTPException, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

PAGE = """<!doctype html>
<title>shopping</title>
<h1>Shopping list</h1>
<form method="post" action="items"><input name="item" autofocus required> <button>add</button></form>
<form method="post" action="import" enctype="multipart/form-data"><input type="file" name="file" required> <button>add lines</button></form>
<ul id="list"></ul>
<script>
  new EventSource("events").onmessage = event => {
    const items = JSON.parse(event.data).map(text => Object.assign(document.createElement("li"), {textContent: text}));
    document.getElementById("list").replaceChildren(...items);
  };
</script>
"""


class Shopping:
    """The list, and who follows it. It lives as long as the worker; what is to last belongs into a database."""

    def __init__(self):
        self.items = []
        self.changed = asyncio.Condition()

    async def add(self, items):
        async with self.changed:
            self.items.extend(items)
            self.changed.notify_all()


@contextlib.asynccontextmanager
async def lifespan(app):
    shopping = Shopping()
    yield {"shopping": shopping}
    print(f"{len(shopping.items)} items forgotten")


app = FastAPI(title="Shopping", lifespan=lifespan)


@app.get("/", response_class=HTMLResponse, include_in_schema=False)
async def index():
    return PAGE


@app.get("/items")
async def items(request: Request) -> list[str]:
    return request.state.shopping.items


@app.get("/items/{number}")
async def item(request: Request, number: int) -> str:
    shopping = request.state.shopping
    if not 0 <= number < len(shopping.items):
        raise HTTPException(404, "there is no such item")
    return shopping.items[number]


@app.post("/items")
async def add(request: Request, tasks: BackgroundTasks, item: str = Form(min_length=1)):
    await request.state.shopping.add([item])
    tasks.add_task(print, f"added: {item}")
    return RedirectResponse(request.url_for("index"), 303)


@app.post("/import")
async def import_lines(request: Request, file: UploadFile):
    lines = (await file.read()).decode(errors="replace").splitlines()
    await request.state.shopping.add([line for line in lines if line.strip()])
    return RedirectResponse(request.url_for("index"), 303)


@app.get("/events", include_in_schema=False)
async def events(request: Request):
    shopping = request.state.shopping

    async def follow():
        seen = None
        while True:
            async with shopping.changed:
                await shopping.changed.wait_for(lambda: shopping.items != seen)
                seen = list(shopping.items)
            yield f"data: {json.dumps(seen)}\n\n"

    return StreamingResponse(follow(), media_type="text/event-stream")
