"""Upgrades to protocols other than WebSockets. Over such a connection (h2c) a client could send requests that Sealjar is not
asked about."""

import pytest
from harness import HOST, head
from servers import KINDS

these = [kind for kind in KINDS if kind.name in ("caddy-debian", "caddy-current", "haproxy")]
of_these = pytest.mark.parametrize("kind", these, indirect=True, ids=lambda kind: kind.name)
KEY = [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
H2C = [("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")]


@of_these
@pytest.mark.parametrize("connection", ["Upgrade, HTTP2-Settings", "upgrade", "close, Upgrade", "HTTP2-Settings"])
def test_no_upgrade_to_another_protocol_reaches_the_application(proxy, sealjar, connection):
    seen = proxy("GET", "/", [("Cookie", sealjar.sign_in()), ("Connection", connection), *H2C]).app_saw()
    assert seen.values("Upgrade") == [] and "upgrade" not in "".join(seen.values("Connection")).lower()


@of_these
def test_an_upgrade_that_connection_does_not_list_is_none(proxy, sealjar):
    fields = [("Cookie", sealjar.sign_in()), ("Connection", "close"), ("Upgrade", "websocket"), *KEY]
    assert proxy("GET", "/", fields).app_saw().values("Upgrade") == []


@of_these
@pytest.mark.parametrize("upgrades", [["h2c", "websocket"], ["websocket", "h2c"], ["WebSocket"]], ids=" + ".join)
def test_the_application_is_asked_for_a_websocket_only(proxy, sealjar, app, upgrades):
    fields = [("Cookie", sealjar.sign_in()), ("Connection", "Upgrade"), *KEY, *(("Upgrade", upgrade) for upgrade in upgrades)]
    assert proxy.client.raw(head("GET", "/socket", fields, b"", HOST)).startswith(b"HTTP/1.1 101")
    assert app.seen[-1].values("Upgrade") == ["websocket"]
