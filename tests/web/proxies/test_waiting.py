"""How long Caddy and HAProxy wait: briefly for Sealjar and for a client's next request, an hour for all else.

Nothing here waits for an hour. A test shortens the other limits of the file, and sees that they do not decide.
"""

import pytest
from exchanges import UPGRADE, answer_to, sent
from harness import API, HOST, head
from servers import KINDS, running
from test_timeouts import is_closed, opened, silent_server

SHORTENED = {
    "caddy-debian": (("keepalive 60s", "keepalive 100ms"),),
    "caddy-current": (("keepalive 60s", "keepalive 100ms"),),
    "haproxy": (("timeout client 60s", "timeout client 1s"), ("timeout http-request 10s", "timeout http-request 1s")),
}
these = [kind for kind in KINDS if kind.name in SHORTENED]
of_these = pytest.mark.parametrize("kind", these, indirect=True, ids=lambda kind: kind.name)
of_haproxy = pytest.mark.parametrize("kind", [kind for kind in these if kind.name == "haproxy"], indirect=True, ids=["haproxy"])
of_caddy = pytest.mark.parametrize("kind", [kind for kind in these if kind.folder == "caddy"], indirect=True, ids=lambda kind: kind.name)


@pytest.fixture(scope="module")
def hasty(kind, certificate, sealjar, app):
    yield from running(kind, certificate, sealjar, app, edits=SHORTENED[kind.name])


@of_these
def test_a_sealjar_that_does_not_answer_lets_nobody_in_and_is_not_waited_for(proxy, sealjar, app):
    cookie = ("Cookie", sealjar.sign_in())
    sealjar.stop()
    try:
        with silent_server(sealjar.port), app.sees_nothing(), opened(proxy) as connection:
            connection.settimeout(8)
            connection.sendall(head("GET", "/", [*API, cookie], b"", HOST))
            assert int(connection.recv(12).split()[1]) >= 500
    finally:
        sealjar.start()


@of_caddy
@pytest.mark.parametrize("path", ["/", "/auth/login"])
def test_a_connection_to_sealjar_that_waits_is_closed_by_the_files_limit(hasty, sealjar, path):
    sealjar.stop()
    try:
        with silent_server(sealjar.port) as accepted, opened(hasty) as client:
            client.sendall(head("GET", path, API, b"", HOST))
            while not accepted:
                pass
            accepted[0].recv(65536)
            accepted[0].sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
            assert client.recv(12) == b"HTTP/1.1 401"
            assert is_closed(accepted[0])
    finally:
        sealjar.start()


@of_haproxy
def test_a_client_that_sends_no_whole_request_is_not_waited_for(hasty):
    with opened(hasty) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert is_closed(connection)


@of_haproxy
def test_a_refused_upload_that_stands_still_is_not_waited_for(hasty):
    with opened(hasty) as connection:
        connection.sendall(head("GET", "/upload", [*API, ("Content-Length", "100")], b"", HOST) + b"x")
        assert is_closed(connection)


@of_haproxy
def test_a_silent_application_and_a_silent_websocket_have_limits_of_their_own(hasty, sealjar):
    cookie = ("Cookie", sealjar.sign_in())
    with sent(hasty, "GET", "/silent", *UPGRADE, cookie) as websocket:
        assert answer_to(websocket).status == 101
        assert hasty("GET", "/slow?s=3", [cookie]).body == b"done"
        websocket.sendall(b"ping")
        assert websocket.recv(4) == b"ping"
