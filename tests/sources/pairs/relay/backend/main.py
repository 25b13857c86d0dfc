import os

import httpx
from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

app = FastAPI()
# The public name only, as the edge passes it on: so probes must ask for it.
app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost"])


@app.get("/health")
async def health():
    return "ok"


@app.get("/ask")
async def ask():
    async with httpx.AsyncClient() as client:
        answer = await client.post(os.environ["TOOLS_URL"], json={"jsonrpc": "2.0", "id": 1, "method": "tools/call"})
    return {"answer": answer.json()["result"]}
