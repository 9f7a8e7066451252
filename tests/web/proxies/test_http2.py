"""Tests of cookies and identity headers over HTTP/2, where browsers send each cookie in a field of its own and names are
lower-case."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import HOST, OTHER_HOST
from http2 import connected
from spoofing import SPELLINGS, batches

# Field names that HTTP/2 does not allow: with forbidden bytes or upper case (RFC 9113, section 8.2.1), and an unknown
# pseudo-header field.
MALFORMED = ["remote user", "remote\tuser", "remote/user", "remote\x7fuser", "remote\xffuser", "remote:user"]
MALFORMED += ["Remote-User", "REMOTE_USER", ":remote-user", "remote-user "]


@pytest.fixture
def client(over_http2, certificate):
    with connected(over_http2.port, certificate) as client:
        yield client


def values(seen: dict, name: str) -> list:
    return [value for key, value in seen["headers"] if key.lower() == name]


def test_only_other_cookies_reach_the_application(client, sealjar):
    cookie = sealjar.sign_in()
    fields = ["a=1", cookie, "b=2", "__Host-sealjar-form=secret", "c=3", cookie]
    seen = client.request("GET", "/", [("cookie", field) for field in fields]).json()
    assert "; ".join(values(seen, "cookie")).split("; ") == ["a=1", "b=2", "c=3"]
    assert cookie.partition("=")[2] not in json.dumps(seen)


def test_no_identity_of_the_client_reaches_the_application(client, sealjar):
    cookie = ("cookie", sealjar.sign_in())
    for fields in batches([(name.lower(), value) for name, value in SPELLINGS]):
        seen = client.request("GET", "/", [cookie, *fields]).json()
        assert "mallory" not in json.dumps(seen), fields
        assert values(seen, "remote-user") == ["alice"]


def test_a_malformed_name_is_refused_or_dropped(over_http2, certificate, sealjar, app):
    cookie = ("cookie", sealjar.sign_in())
    before = len(app.seen)

    def status_of(name):
        with connected(over_http2.port, certificate) as client:
            return client.request("GET", "/", [cookie, (name, "mallory")]).status

    # All requests at the same time, because a proxy may take a second to close a connection.
    with ThreadPoolExecutor(len(MALFORMED)) as pool:
        statuses = list(pool.map(status_of, MALFORMED))
    assert statuses.count(200) == len(app.seen[before:])
    assert "mallory" not in json.dumps([seen.headers for seen in app.seen[before:]])


def test_requests_without_a_session_are_refused(client, app):
    with app.receives_nothing():
        assert client.request("GET", "/", [("remote-user", "alice"), ("cookie", "a=1")]).status == 401


@pytest.mark.parametrize("authority, host", [(HOST, OTHER_HOST), (OTHER_HOST, HOST)])
def test_contradicting_host_names_reach_no_other_host(client, sealjar, app, authority, host):
    """`:authority` and `Host` must not differ (RFC 9113, section 8.3.1)."""
    for owner in (HOST, OTHER_HOST):
        before = len(app.seen)
        cookie = ("cookie", sealjar.sign_in(host=owner))
        client.request("GET", "/", [cookie, ("host", host)], authority=authority)
        for seen in app.seen[before:]:
            assert seen.values("host") == [owner]


def connect(client, authority, cookie, data: bytes):
    """Sends a CONNECT request (RFC 9113, section 8.5) and data for the tunnel. Returns the status."""
    number = client.h2.get_next_available_stream_id()
    fields = [(":method", "CONNECT"), (":authority", authority), cookie]
    client.h2.send_headers(number, [(name.encode(), value.encode()) for name, value in fields])
    client.h2.send_data(number, data, end_stream=True)
    client._flush()
    while not client.streams[number].status and client.streams[number].reset is None and not client.lost:
        client._receive(wait=True)
    return client.streams[number].status


@pytest.mark.parametrize("authority", [HOST, f"{HOST}:443"])
def test_no_request_is_forwarded_through_a_tunnel(over_http2, certificate, sealjar, app, authority):
    """Go's HTTP client forwards the data after a CONNECT unchanged. An application that does not open a tunnel would read it
    as a request."""
    cookie = sealjar.sign_in()
    forged = f"GET /forged HTTP/1.1\r\nHost: {HOST}\r\nRemote-User: mallory\r\n\r\n".encode()
    with app.receives_nothing():
        with connected(over_http2.port, certificate) as client:
            assert connect(client, authority, ("cookie", cookie), forged) in (400, 404, 405, 501)
        for target in (f"{HOST}:443", "/"):
            assert over_http2("CONNECT", target, [("Cookie", cookie)], forged).status in (400, 404, 405, 501), target
