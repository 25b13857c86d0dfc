from importlib.metadata import version
from importlib.util import find_spec

import labels
import uvloop
from fastapi import FastAPI

app = FastAPI()


@app.get("/health")
def health() -> dict[str, object]:
    return {"version": version("depot"), "label": labels.LABEL, "loop": uvloop.__name__, "pytest": find_spec("pytest") is not None}
