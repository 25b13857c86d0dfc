import os
from warnings import deprecated  # Python 3.13

from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

engine = create_async_engine(os.environ["DATABASE_URL"])
app = FastAPI()


class Entry(BaseModel):
    text: str


@app.get("/health")
async def health() -> dict[str, str]:
    async with engine.connect() as connection:
        await connection.execute(text("select 1"))
    return {"status": "ok"}


@app.get("/api/old", deprecated=True)
@deprecated("use /api/entries")
async def old() -> list[str]:
    return []


@app.get("/api/entries")
async def entries() -> list[str]:
    async with engine.connect() as connection:
        return list((await connection.execute(text("select text from entry order by id"))).scalars())


@app.post("/api/entries", status_code=201)
async def add(entry: Entry) -> Entry:
    async with engine.begin() as connection:
        await connection.execute(text("insert into entry (text) values (:text)"), {"text": entry.text})
    return entry
