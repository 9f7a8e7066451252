"""A client on a raw socket: keep-alive, and nothing in a request that was not asked for."""

import socket
from dataclasses import dataclass

from processes import HOST, PATIENCE


@dataclass(frozen=True)
class Answer:
    head: bytes
    body: bytes

    @property
    def status(self) -> int:
        return int(self.head[9:12])

    def fields(self, name: str) -> list[str]:
        pairs = (line.split(":", 1) for line in self.head.decode("latin-1").split("\r\n")[1:])
        return [value.strip() for key, value in pairs if key.lower() == name]

    @property
    def cookies(self) -> str:
        """What was set, as a browser sends it back."""
        return "; ".join(field.partition(";")[0] for field in self.fields("set-cookie"))

    @property
    def whole(self) -> bytes:
        return self.head + b"\r\n\r\n" + self.body


def request(path: str, host: str, cookie: str = "", method: str = "GET", json: str = "") -> bytes:
    fields = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    if cookie:
        fields.append(f"Cookie: {cookie}")
    if json:
        fields.append("Content-Type: application/json")
    if method != "GET":
        fields.append(f"Content-Length: {len(json)}")
    return ("\r\n".join(fields) + f"\r\n\r\n{json}").encode()


class Connection:
    """One connection, on which answers come in the order of the requests."""

    def __init__(self, port: int):
        self.socket = socket.create_connection((HOST, port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = b""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, request: bytes) -> Answer:
        self.send(request)
        return self.answer()

    def send(self, requests: bytes):
        self.socket.sendall(requests)

    def answer(self) -> Answer:
        while (end := self.unread.find(b"\r\n\r\n")) < 0:
            self._read()
        head, self.unread = self.unread[:end], self.unread[end + 4 :]
        length = int(next(iter(Answer(head, b"").fields("content-length")), 0))
        while len(self.unread) < length:
            self._read()
        body, self.unread = self.unread[:length], self.unread[length:]
        return Answer(head, body)

    def _read(self):
        more = self.socket.recv(1 << 16)
        if not more:
            raise ConnectionError("the server closed the connection")
        self.unread += more


def ask(port: int, request: bytes) -> Answer:
    """One question on a connection of its own."""
    with Connection(port) as connection:
        return connection.ask(request)
