"""What a container reaches, tried from inside its network namespace by the host's Python: it needs no program of the image's.

Linux; needs root, and the engine on this host.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar, cast

CLONE_NEWNET = 0x40000000
Target = tuple[str, int]
T = TypeVar("T")


def enter(pid: int) -> None:
    """Put the calling thread, and no other, into the network namespace of process `pid`."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/proc/{pid}/ns/net") as namespace:
        if libc.setns(namespace.fileno(), CLONE_NEWNET):
            error = ctypes.get_errno()
            raise OSError(error, f"cannot enter the network of process {pid}: {os.strerror(error)}")


def accepted(targets: Iterable[Target], seconds: float) -> set[Target]:
    """The targets (address, TCP port) that accept a connection within `seconds`, all tried at once."""
    found: set[Target] = set()
    with selectors.DefaultSelector() as waiting:
        for target in targets:
            attempt = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            attempt.setblocking(False)
            # 115 EINPROGRESS: on its way. Anything else, such as no route, is an answer already.
            if attempt.connect_ex(target) in (0, 115):
                waiting.register(attempt, selectors.EVENT_WRITE, target)
            else:
                attempt.close()
        deadline = time.monotonic() + seconds
        while waiting.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in waiting.select(left):
                attempt = cast(socket.socket, key.fileobj)
                if attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    found.add(key.data)
                waiting.unregister(attempt)
                attempt.close()
        for key in list(waiting.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
    return found


def _inside(pid: int, act: Callable[[], T]) -> T | None:
    """What `act` returns in the network namespace of `pid`; None where this host does not let us in."""
    found: list[T | None] = [None]

    def inside() -> None:
        # A thread of its own: it ends with the namespace that it entered.
        try:
            enter(pid)
        except OSError:
            return
        found[0] = act()

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    return found[0]


def reached(pid: int, targets: Iterable[Target], seconds: float = 1.0) -> set[Target] | None:
    """`accepted`, tried from inside the network namespace of `pid`; None where this host does not let us in."""
    tried = list(targets)
    return _inside(pid, lambda: accepted(tried, seconds))


def answered(pid: int, target: Target, request: bytes, seconds: float = 5.0) -> bytes | None:
    """The first bytes of the answer to `request`, sent from inside the network namespace of `pid`; empty where the connection is closed."""

    def ask() -> bytes:
        try:
            with socket.create_connection(target, seconds) as connection:
                connection.sendall(request)
                return connection.recv(100)
        except OSError:
            return b""

    return _inside(pid, ask)
