from collections import defaultdict

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
rooms: dict[str, set[WebSocket]] = defaultdict(set)


@app.get("/health")
async def health():
    return {"status": "ok", "talking": sum(map(len, rooms.values()))}


@app.websocket("/ws/rooms/{room}")
async def talk(socket: WebSocket, room: str):
    await socket.accept()
    rooms[room].add(socket)
    try:
        async for text in socket.iter_text():
            for other in set(rooms[room]):
                await other.send_text(f"{room}: {text}")
    except WebSocketDisconnect:
        pass
    finally:
        rooms[room].discard(socket)
