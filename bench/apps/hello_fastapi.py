"""FastAPI with one route, answering JSON as its users do."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def hello():
    return {"hello": "world"}
