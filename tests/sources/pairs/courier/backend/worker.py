import os
import signal
import sys

from redis import Redis

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
redis = Redis.from_url(os.environ["REDIS_URL"])
while True:
    if redis.brpop("queue", timeout=2):
        redis.incr("delivered")
