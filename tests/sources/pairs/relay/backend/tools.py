from fastapi import FastAPI, Request

app = FastAPI()


@app.get("/up")
async def up():
    return True


@app.post("/rpc")
async def rpc(request: Request):
    return {"jsonrpc": "2.0", "id": (await request.json())["id"], "result": 42}
