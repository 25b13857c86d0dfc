import os

import httpx
from fastapi import FastAPI

app = FastAPI()


@app.get("/health")
async def health():
    return "ok"


@app.get("/ask")
async def ask():
    async with httpx.AsyncClient() as client:
        answer = await client.post(os.environ["TOOLS_URL"], json={"jsonrpc": "2.0", "id": 1, "method": "tools/call"})
    return {"answer": answer.json()["result"]}
