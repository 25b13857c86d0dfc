import os

from fastapi import Body, FastAPI
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]


def create_app() -> FastAPI:
    engine = create_engine(os.environ["DATABASE_URL"])
    Base.metadata.create_all(engine)
    app = FastAPI()

    @app.get("/healthz")
    def healthz():
        return "alive"

    @app.get("/v1/notes")
    def notes():
        with Session(engine) as session:
            return [note.title for note in session.scalars(select(Note))]

    @app.post("/v1/notes")
    def add(title: str = Body(embed=True)):
        with Session(engine) as session:
            session.add(Note(title=title))
            session.commit()
        return title

    return app
