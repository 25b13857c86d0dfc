import magic
from fastapi import FastAPI

app = FastAPI()


@app.get("/api/health")
async def health():
    return "fine"


@app.get("/api/kind")
async def kind():
    return magic.from_buffer(b"some words\n", mime=True)
