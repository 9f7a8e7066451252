"""What is special to the files of HAProxy."""

import pytest
from harness import HOST
from http2 import connected
from servers import KINDS, running

(HAPROXY,) = [kind for kind in KINDS if kind.name == "haproxy"]


@pytest.fixture(scope="module")
def same_site(certificate, sealjar, app):
    yield from running(HAPROXY, certificate, sealjar, app, "csrf=1")


def websocket(proxy, *headers) -> int:
    """Asks for a WebSocket as RFC 8441 says; returns the status."""
    pseudo = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", HOST), (":path", "/socket")]
    fields = [*pseudo, ("sec-websocket-version", "13"), *headers]
    with connected(proxy.port, proxy.certificate) as client:
        number = client.h2.get_next_available_stream_id()
        client.h2.send_headers(number, [(name.encode(), value.encode()) for name, value in fields])
        client._flush()
        while not client.streams[number].status and not client.lost:
            client._receive(wait=True)
        return client.streams[number].status


def test_a_websocket_of_another_site_over_http2_is_refused(same_site, sealjar, app):
    """Such a request has no Sec-WebSocket-Key, and not all browsers send Sec-Fetch-Mode."""
    cookie = ("cookie", sealjar.sign_in())
    with app.sees_nothing():
        assert websocket(same_site, cookie, ("origin", "https://evil.example.com")) == 403
    before = len(app.seen)
    websocket(same_site, cookie, ("origin", f"https://{HOST}"))
    assert app.seen[before:]
