"""An HTTP/1.1 client on a raw socket, with persistent connections. It sends no header field that the caller does not give."""

import socket
from dataclasses import dataclass

from processes import HOST, WAIT_TIMEOUT


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
        """Returns the cookies that the response sets, as the value of a `Cookie` field."""
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
    """One connection. Responses arrive in the order of the requests."""

    def __init__(self, port: int):
        self.socket = socket.create_connection((HOST, port), timeout=WAIT_TIMEOUT)
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
    """Sends one request over a new connection, and returns the response."""
    with Connection(port) as connection:
        return connection.ask(request)
