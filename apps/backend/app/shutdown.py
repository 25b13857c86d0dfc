"""The end of the process: running chats come first."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from types import FrameType

from app.chat import ChatService

logger = logging.getLogger(__name__)


def drain_before_exit(chat: ChatService) -> None:
    """On SIGTERM and SIGINT let running chats end, and only then let the server stop listening.

    The server would close its sockets first, but chats call /mcp of this very process. A second signal ends them
    at once.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # signals belong to the main thread; a program that embeds the service has its own
    loop = asyncio.get_running_loop()
    servers_own = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stopping: set[asyncio.Task[None]] = set()

    async def stop(number: int) -> None:
        await (chat.close() if chat.draining else chat.drain())
        handler = servers_own[signal.Signals(number)]
        if callable(handler):
            handler(number, None)

    def on_signal(number: int, _: FrameType | None) -> None:
        logger.info("stopping", extra={"fields": {"signal": number}})
        loop.call_soon_threadsafe(lambda: stopping.add(loop.create_task(stop(number))))

    for number in servers_own:
        signal.signal(number, on_signal)
