"""Tests the timeouts of the proxies: short ones for Sealjar and for the header fields of a client, an hour for everything else.

The tests do not wait for an hour. They shorten a timeout in the file, and check that it applies, or that it does not.
"""

import pytest
from exchanges import UPGRADE, answer_to, sent
from harness import API, HOST, WAIT_TIMEOUT, head
from servers import KINDS, running
from unresponsive import is_closed, opened, silent_server

# Timeouts of each file, and shorter ones: for an idle connection to Sealjar, and for a client that sends nothing.
SHORTENED = {
    "caddy-debian": (("keepalive 60s", "keepalive 100ms"),),
    "caddy-current": (("keepalive 60s", "keepalive 100ms"),),
    "haproxy": (("timeout client 60s", "timeout client 1s"), ("timeout http-request 10s", "timeout http-request 1s")),
    "envoy": (
        ("common_http_protocol_options: {idle_timeout: 60s}", "common_http_protocol_options: {idle_timeout: 0.1s}"),
        ("stream_idle_timeout: 3600s", "stream_idle_timeout: 1s"),
        ("request_headers_timeout: 30s", "request_headers_timeout: 1s"),
    ),
    "traefik": (("idleConnTimeout: 60s", "idleConnTimeout: 100ms"), ("readTimeout: 1h", "readTimeout: 1s")),
}


def of(*folders):
    kinds = [kind for kind in KINDS if kind.folder in folders]
    return pytest.mark.parametrize("kind", kinds, indirect=True, ids=lambda kind: kind.name)


@pytest.fixture(scope="module")
def short_timeouts(kind, certificate, sealjar, app):
    yield from running(kind, certificate, sealjar, app, edits=SHORTENED[kind.name])


def test_a_silent_sealjar_makes_requests_fail_in_time(proxy, sealjar, app):
    cookie = ("Cookie", sealjar.sign_in())
    sealjar.stop()
    try:
        with silent_server(sealjar.port), app.receives_nothing(), opened(proxy) as connection:
            # By default, Traefik waits for 30 s, and the other proxies for longer.
            connection.settimeout(25)
            connection.sendall(head("GET", "/", [*API, cookie], b"", HOST))
            assert int(connection.recv(12).split()[1]) >= 500
    finally:
        sealjar.start()


@of("envoy", "traefik", "haproxy")
def test_an_incomplete_request_times_out(short_timeouts):
    with opened(short_timeouts) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert is_closed(connection)


@of("envoy", "traefik")
def test_a_stalled_upload_times_out(short_timeouts, sealjar):
    with opened(short_timeouts) as connection:
        fields = [("Cookie", sealjar.sign_in()), ("Content-Length", "10"), ("Connection", "close")]
        connection.sendall(head("GET", "/upload", fields, b"", HOST) + b"x")
        assert is_closed(connection)


@of("haproxy")
def test_a_stalled_refused_upload_times_out(short_timeouts):
    with opened(short_timeouts) as connection:
        connection.sendall(head("GET", "/upload", [*API, ("Content-Length", "100")], b"", HOST) + b"x")
        assert is_closed(connection)


@of("envoy")
def test_the_file_sets_the_timeout_of_a_silent_websocket(short_timeouts, sealjar):
    with opened(short_timeouts) as connection:
        fields = [*UPGRADE, ("Cookie", sealjar.sign_in())]
        connection.sendall(head("GET", "/socket", fields, b"", HOST))
        assert connection.recv(12) == b"HTTP/1.1 101"
        assert is_closed(connection)


@of("haproxy")
def test_silent_applications_and_websockets_have_own_timeouts(short_timeouts, sealjar):
    cookie = ("Cookie", sealjar.sign_in())
    with sent(short_timeouts, "GET", "/silent", *UPGRADE, cookie) as websocket:
        assert answer_to(websocket).status == 101
        assert short_timeouts("GET", "/slow?s=3", [cookie]).body == b"done"
        websocket.sendall(b"ping")
        assert websocket.recv(4) == b"ping"


@of("caddy", "envoy", "traefik")
def test_an_idle_connection_to_the_pages_is_closed_in_time(short_timeouts, sealjar):
    assert_closes_its_connection(short_timeouts, sealjar, "/auth/login")


@of("caddy")
def test_an_idle_verify_connection_is_closed_in_time(short_timeouts, sealjar):
    assert_closes_its_connection(short_timeouts, sealjar, "/")


def assert_closes_its_connection(short_timeouts, sealjar, path):
    sealjar.stop()
    try:
        with silent_server(sealjar.port) as accepted, opened(short_timeouts) as client:
            client.sendall(head("GET", path, API, b"", HOST))
            connection = accepted.get(timeout=WAIT_TIMEOUT)
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
            assert client.recv(12) == b"HTTP/1.1 401"
            assert is_closed(connection)
    finally:
        sealjar.start()
