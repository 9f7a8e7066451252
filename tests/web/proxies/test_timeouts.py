"""How long a proxy waits: briefly for Sealjar and for a client's header fields, an hour for all else.

Nothing here waits for an hour. A test shortens a limit in the file, and sees that this limit decides, or that it does not.
"""

import pytest
from exchanges import UPGRADE, answer_to, sent
from harness import API, HOST, PATIENCE, head
from servers import KINDS, running
from unresponsive import is_closed, opened, silent_server

# The limits of each file, with shorter ones: of a connection to Sealjar that waits for a request, of a client that says nothing.
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
def hasty(kind, certificate, sealjar, app):
    yield from running(kind, certificate, sealjar, app, edits=SHORTENED[kind.name])


def test_a_silent_sealjar_lets_nobody_in_and_is_not_awaited(proxy, sealjar, app):
    cookie = ("Cookie", sealjar.sign_in())
    sealjar.stop()
    try:
        with silent_server(sealjar.port), app.sees_nothing(), opened(proxy) as connection:
            # Traefik by itself waits for 30 s, the others for longer.
            connection.settimeout(25)
            connection.sendall(head("GET", "/", [*API, cookie], b"", HOST))
            assert int(connection.recv(12).split()[1]) >= 500
    finally:
        sealjar.start()


@of("envoy", "traefik", "haproxy")
def test_a_client_that_sends_no_whole_request_is_not_waited_for(hasty):
    with opened(hasty) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert is_closed(connection)


@of("envoy", "traefik")
def test_an_upload_that_stands_still_is_not_waited_for(hasty, sealjar):
    with opened(hasty) as connection:
        fields = [("Cookie", sealjar.sign_in()), ("Content-Length", "10"), ("Connection", "close")]
        connection.sendall(head("GET", "/upload", fields, b"", HOST) + b"x")
        assert is_closed(connection)


@of("haproxy")
def test_a_refused_upload_that_stands_still_is_not_waited_for(hasty):
    with opened(hasty) as connection:
        connection.sendall(head("GET", "/upload", [*API, ("Content-Length", "100")], b"", HOST) + b"x")
        assert is_closed(connection)


@of("envoy")
def test_the_limit_for_a_silent_websocket_is_the_files(hasty, sealjar):
    with opened(hasty) as connection:
        fields = [*UPGRADE, ("Cookie", sealjar.sign_in())]
        connection.sendall(head("GET", "/socket", fields, b"", HOST))
        assert connection.recv(12) == b"HTTP/1.1 101"
        assert is_closed(connection)


@of("haproxy")
def test_a_silent_application_and_websocket_have_own_limits(hasty, sealjar):
    cookie = ("Cookie", sealjar.sign_in())
    with sent(hasty, "GET", "/silent", *UPGRADE, cookie) as websocket:
        assert answer_to(websocket).status == 101
        assert hasty("GET", "/slow?s=3", [cookie]).body == b"done"
        websocket.sendall(b"ping")
        assert websocket.recv(4) == b"ping"


@of("caddy", "envoy", "traefik")
def test_an_idle_connection_to_the_pages_is_closed_in_time(hasty, sealjar):
    assert_closes_its_connection(hasty, sealjar, "/auth/login")


@of("caddy")
def test_an_idle_connection_for_questions_is_closed_in_time(hasty, sealjar):
    assert_closes_its_connection(hasty, sealjar, "/")


def assert_closes_its_connection(hasty, sealjar, path):
    sealjar.stop()
    try:
        with silent_server(sealjar.port) as accepted, opened(hasty) as client:
            client.sendall(head("GET", path, API, b"", HOST))
            connection = accepted.get(timeout=PATIENCE)
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
            assert client.recv(12) == b"HTTP/1.1 401"
            assert is_closed(connection)
    finally:
        sealjar.start()
