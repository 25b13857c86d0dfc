from importlib.metadata import entry_points, version

from fastapi import FastAPI
from shared import fruits

app = FastAPI(version=version("orchard-api"))


def names() -> list[str]:
    return sorted(fruits.KINDS)


@app.get("/health")
def health() -> dict[str, object]:
    command = next(iter(entry_points(group="console_scripts", name="orchard")))
    return {"status": "ok", "version": app.version, "shared": version("shared"), "fruits": command.load()()}
