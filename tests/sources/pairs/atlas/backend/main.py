from backend.settings import engine
from fastapi import FastAPI

api = FastAPI()


@api.get("/livez")
def livez():
    return True


@api.get("/places")
def places():
    with engine.connect() as connection:
        return [row[0] for row in connection.exec_driver_sql("select name from place")]
