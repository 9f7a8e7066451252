"""How long Envoy and Traefik wait: briefly for Sealjar and for a client's header fields, an hour for all else.

Nothing here waits for an hour. A test shortens a limit in the file, and sees that this limit decides.
"""

import socket
import threading
from contextlib import contextmanager

import pytest
from harness import API, HOST, PATIENCE, connect, head
from servers import KINDS, running

# The limits of each file, with shorter ones: of a connection to Sealjar that waits for a request, of a client that says nothing.
SHORTENED = {
    "envoy": (
        ("common_http_protocol_options: {idle_timeout: 60s}", "common_http_protocol_options: {idle_timeout: 0.1s}"),
        ("stream_idle_timeout: 3600s", "stream_idle_timeout: 1s"),
        ("request_headers_timeout: 30s", "request_headers_timeout: 1s"),
    ),
    "traefik": (("idleConnTimeout: 60s", "idleConnTimeout: 100ms"), ("readTimeout: 1h", "readTimeout: 1s")),
}
of_these = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name in SHORTENED], indirect=True, ids=lambda kind: kind.name)


@pytest.fixture(scope="module")
def hasty(kind, certificate, sealjar, app):
    yield from running(kind, certificate, sealjar, app, edits=SHORTENED[kind.name])


def is_closed(connection) -> bool:
    """Reads until the proxy closes the connection."""
    connection.settimeout(PATIENCE)
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return True


def opened(proxy):
    return connect("127.0.0.1", proxy.port, proxy.client.context, HOST)


@of_these
def test_the_limit_for_a_client_that_says_nothing_is_the_files(hasty):
    with opened(hasty) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert is_closed(connection)


@of_these
def test_the_limit_for_an_upload_that_stands_still_is_the_files(hasty, sealjar):
    with opened(hasty) as connection:
        fields = [("Cookie", sealjar.sign_in()), ("Content-Length", "10"), ("Connection", "close")]
        connection.sendall(head("GET", "/upload", fields, b"", HOST) + b"x")
        assert is_closed(connection)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name == "envoy"], indirect=True, ids=["envoy"])
def test_the_limit_for_a_silent_websocket_is_the_files(hasty, sealjar):
    """Traefik has none."""
    fields = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
    fields += [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Cookie", sealjar.sign_in())]
    with opened(hasty) as connection:
        connection.sendall(head("GET", "/socket", fields, b"", HOST))
        assert connection.recv(12) == b"HTTP/1.1 101"
        assert is_closed(connection)


@contextmanager
def silent_server(port: int):
    """A server in Sealjar's place that accepts connections, and answers none. Yields how many it accepted."""
    with socket.create_server(("127.0.0.1", port)) as server:
        accepted = []

        def accept():
            while True:
                try:
                    accepted.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield accepted
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)
            for connection in accepted:
                connection.close()


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


@of_these
def test_a_connection_to_sealjar_that_waits_is_closed_by_the_files_limit(hasty, sealjar):
    sealjar.stop()
    try:
        with silent_server(sealjar.port) as accepted, opened(hasty) as client:
            client.sendall(head("GET", "/auth/login", API, b"", HOST))
            while not accepted:
                pass
            accepted[0].recv(65536)
            accepted[0].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert client.recv(12) == b"HTTP/1.1 200"
            assert is_closed(accepted[0])
    finally:
        sealjar.start()
