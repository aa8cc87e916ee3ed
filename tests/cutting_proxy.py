"""A proxy before a PostgreSQL server that cuts the connection at one message in turn, before or after it arrives."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import parse_qs, urlsplit

#: The messages of a client that a server answers at once: a plain query, and the end of an extended one.
_ASKS = (b"Q", b"S")


class CuttingProxy:
    """Passes on what clients and a server say to each other, and cuts once.

    Args:
        server: The server's URL, as ``tests/postgres.py`` yields it.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._left: int | None = None
        self._after = False
        #: How many messages clients have sent.
        self.seen = 0
        #: Whether it has cut.
        self.cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return int(self._listening.getsockname()[1])

    def cut_at(self, number: int, *, after: bool) -> None:
        """Cut at a message, counted from now: before the server has it, or after it has answered."""
        with self._lock:
            self._left, self._after, self.cut, self.seen = number, after, False, 0

    def close(self) -> None:
        """Take no more clients."""
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _connect(self) -> socket.socket:
        parts = urlsplit(self._server)
        folder = parse_qs(parts.query).get("host", [None])[0]
        if folder is not None and folder.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{folder}/.s.PGSQL.{parts.port or 5432}")
            return server
        return socket.create_connection((folder or parts.hostname or "127.0.0.1", parts.port or 5432))

    def _serve(self, client: socket.socket) -> None:
        server = self._connect()
        answered = threading.Event()
        cut_now = threading.Event()

        def answers() -> None:
            with contextlib.suppress(OSError):
                while data := server.recv(65536):
                    if cut_now.is_set():
                        answered.set()
                        continue
                    client.sendall(data)
            answered.set()
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

        threading.Thread(target=answers, daemon=True).start()
        with contextlib.suppress(OSError):
            self._questions(client, server, cut_now, answered)
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # a thread that still reads would keep it open
            end.close()

    def _questions(
        self, client: socket.socket, server: socket.socket, cut_now: threading.Event, answered: threading.Event
    ) -> None:
        started, rest = False, b""
        while data := client.recv(65536):
            rest += data
            while (size := _length(rest, started)) is not None:
                message, rest = rest[:size], rest[size:]
                kind = message[:1] if started else b""
                # Before the log-in comes the question whether the connection may be encrypted, which has a code.
                started = started or int.from_bytes(message[4:8], "big") not in (80877103, 80877104)
                if kind in _ASKS and self._is_next():
                    if self._after:
                        cut_now.set()
                        server.sendall(message)
                        answered.wait(5)
                    return
                server.sendall(message)

    def _is_next(self) -> bool:
        with self._lock:
            self.seen += 1
            if self._left is None:
                return False
            self._left -= 1
            if self._left:
                return False
            self._left, self.cut = None, True
            return True


def _length(data: bytes, started: bool) -> int | None:
    """Return how long the first message is, if all of it is there."""
    head = 1 if started else 0
    if len(data) < head + 4:
        return None
    size = head + int.from_bytes(data[head : head + 4], "big")
    return size if len(data) >= size else None
