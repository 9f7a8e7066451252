"""Tests that no proxy upgrades a connection to a protocol other than WebSocket, or opens a tunnel (CONNECT). Over such a
connection, a client could send requests to the application without verification."""

import socket
import threading
from contextlib import suppress

import pytest
from harness import HOST, head
from servers import running
from unresponsive import opened

KEY = [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
H2C = [("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")]


@pytest.mark.parametrize("connection", ["Upgrade, HTTP2-Settings", "upgrade", "close, Upgrade", "HTTP2-Settings"])
def test_no_upgrade_to_another_protocol_reaches_the_application(proxy, sealjar, connection):
    seen = proxy("GET", "/", [("Cookie", sealjar.sign_in()), ("Connection", connection), *H2C]).received_by_app()
    assert seen.values("Upgrade") == [] and "upgrade" not in "".join(seen.values("Connection")).lower()


@pytest.mark.parametrize("protocol", ["TLS/1.0", "tcp"])
def test_no_upgrade_to_a_rare_protocol_reaches_the_application(proxy, sealjar, app, protocol):
    before = len(app.seen)
    fields = [("Cookie", sealjar.sign_in()), ("Connection", "Upgrade"), ("Upgrade", protocol)]
    # Envoy refuses such a request.
    assert proxy("GET", "/", fields).status in (200, 403)
    assert [seen.values("Upgrade") for seen in app.seen[before:]] in ([[]], [])


def test_an_upgrade_without_connection_removes_no_header(proxy, sealjar, app):
    """Some proxies treat it as an upgrade, and some do not."""
    fields = [("Cookie", sealjar.sign_in()), ("Connection", "close, Remote-User"), ("Upgrade", "websocket"), *KEY]
    proxy.client.raw(head("GET", "/", fields, b"", HOST))
    assert app.seen[-1].values("Upgrade") in ([], ["websocket"])
    assert app.seen[-1].values("Remote-User") == ["alice"]


@pytest.mark.parametrize(
    "upgrades", [["h2c", "websocket"], ["websocket", "h2c"], ["websocket, h2c"], ["WebSocket"]], ids=" + ".join
)
def test_only_a_websocket_upgrade_is_forwarded(proxy, sealjar, app, upgrades):
    before = len(app.seen)
    fields = [("Cookie", sealjar.sign_in()), ("Connection", "Upgrade"), *KEY, *(("Upgrade", upgrade) for upgrade in upgrades)]
    status = int(proxy.client.raw(head("GET", "/socket", fields, b"", HOST)).split()[1])
    asked = [value.lower() for seen in app.seen[before:] for value in seen.values("Upgrade")]
    # If a client names another protocol as well, some proxies reject the request, or do not forward the upgrade.
    assert asked == (["websocket"] if status == 101 else [])
    assert status == 101 or "h2c" in "".join(upgrades)


class AlwaysOkServer:
    """A server that answers 200 to every input."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.received = b""
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=(self.server.accept()[0],), daemon=True).start()

    def _answer(self, connection):
        with suppress(OSError):
            while data := connection.recv(65536):
                self.received += data
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.mark.parametrize("target", [f"{HOST}:443", "/page"])
def test_connect_opens_no_tunnel_to_the_application(kind, certificate, sealjar, target):
    app = AlwaysOkServer()
    proxies = running(kind, certificate, sealjar, app)
    with opened(next(proxies)) as connection, suppress(OSError):
        connection.sendall(head("CONNECT", target, [("Cookie", sealjar.sign_in())], b"", HOST))
        connection.recv(65536)
        connection.sendall(head("GET", "/", [("Remote-User", "mallory")], b"", HOST))
        connection.recv(65536)
    assert list(proxies) == []
    app.server.close()
    assert b"mallory" not in app.received
