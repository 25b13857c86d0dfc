import os

from fastapi import FastAPI
from redis.asyncio import Redis

app = FastAPI()
redis = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)


@app.get("/health")
async def health():
    return "ok"


@app.post("/parcels")
async def send():
    return {"queued": await redis.lpush("queue", "parcel")}


@app.get("/parcels")
async def parcels():
    return {"queued": await redis.llen("queue"), "delivered": int(await redis.get("delivered") or 0)}


@app.get("/sweeps")
async def sweeps():
    """What the job wrote: a line when it begins, and one when it ends."""
    return await redis.lrange("sweeps", 0, -1)
