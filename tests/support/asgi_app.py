"""The ASGI app of the worker's tests."""

# The path names a coroutine of the app; further ones are added by the tests.
FRAME = """
    import asyncio, contextvars, json, os, sys, time

    class Disconnected(Exception):
        pass

    async def whole(receive):
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected(len(body))
            body, more = body + message["body"], message["more_body"]
        return body

    def start(status=200, *headers):
        return {"type": "http.response.start", "status": status, "headers": list(headers)}

    def piece(data=b"", more=False):
        return {"type": "http.response.body", "body": data, "more_body": more}

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError("not a type that this app knows: " + scope["type"])
        await globals()[scope["path"].split("/")[1]](scope, receive, send)

    async def hello(scope, receive, send):
        await send(start(200, (b"content-type", b"text/plain")))
        await send(piece(b"hello"))

    async def scope(scope, receive, send):
        await send(start())
        await send(piece(repr(scope).encode()))

    async def child(scope, receive, send):
        await asyncio.create_task(globals()[scope["path"].split("/")[2]](scope, receive, send))

    async def echo(scope, receive, send):
        body = await whole(receive)
        await send(start(200, (b"x-length", str(len(body)).encode())))
        await send(piece(body))
"""
