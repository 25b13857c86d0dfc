from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Response, UploadFile
from sqlalchemy import LargeBinary, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from gallery.settings import DATABASE_URL, MAX_UPLOAD_BYTES

engine = create_engine(DATABASE_URL, pool_pre_ping=True)


class Base(DeclarativeBase):
    pass


class Photo(Base):
    __tablename__ = "photo"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    content: Mapped[bytes] = mapped_column(LargeBinary)


@asynccontextmanager
async def lifespan(_: FastAPI):
    Base.metadata.create_all(engine)
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
def health():
    return {"status": "ok"}


@app.post("/photos", status_code=201)
def upload(file: UploadFile):
    if (file.size or 0) > MAX_UPLOAD_BYTES:
        raise HTTPException(413, "too large")
    with Session(engine) as session:
        photo = Photo(name=file.filename or "photo", content=file.file.read())
        session.add(photo)
        session.commit()
        return {"id": photo.id, "size": file.size}


@app.get("/photos/{number}")
def download(number: int):
    with Session(engine) as session:
        if not (photo := session.get(Photo, number)):
            raise HTTPException(404)
        return Response(photo.content, media_type="application/octet-stream")
