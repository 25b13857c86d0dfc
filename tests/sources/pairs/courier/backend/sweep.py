import os
import time

from redis import Redis

redis = Redis.from_url(os.environ["REDIS_URL"])
due, release = os.environ["JOB_DUE"], os.environ["APP_VERSION"]
redis.rpush("sweeps", f"begin {due} {release} {time.time():.1f}")
time.sleep(float(os.environ["SECONDS"]))
redis.rpush("sweeps", f"end {due} {release} {time.time():.1f}")
