"""The same over HTTP/2, where every browser divides its cookies into several fields, and names are lower-case."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import HOST, OTHER_HOST
from http2 import connected
from spoofing import SPELLINGS, batches

# Bytes that no name may have, upper case among them (RFC 9113, section 8.2.1), and a pseudo-header field that is none.
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
    cookie, before = ("cookie", sealjar.sign_in()), len(app.seen)

    def ask(name):
        with connected(over_http2.port, certificate) as client:
            return client.request("GET", "/", [cookie, (name, "mallory")]).status

    # All at once, since a proxy may take a second to close a connection.
    with ThreadPoolExecutor(len(MALFORMED)) as pool:
        answers = list(pool.map(ask, MALFORMED))
    assert answers.count(200) == len(app.seen[before:])
    assert "mallory" not in json.dumps([seen.headers for seen in app.seen[before:]])


def test_nobody_gets_in_without_a_session(client, app):
    with app.sees_nothing():
        assert client.request("GET", "/", [("remote-user", "alice"), ("cookie", "a=1")]).status == 401


@pytest.mark.parametrize("authority, host", [(HOST, OTHER_HOST), (OTHER_HOST, HOST)])
def test_two_names_of_the_host_lead_into_no_other(client, sealjar, app, authority, host):
    """RFC 9113, section 8.3.1: they must not differ."""
    for owner in (HOST, OTHER_HOST):
        before, cookie = len(app.seen), ("cookie", sealjar.sign_in(host=owner))
        client.request("GET", "/", [cookie, ("host", host)], authority=authority)
        for seen in app.seen[before:]:
            assert seen.values("host") == [owner]


def connect(client, authority, cookie, data: bytes):
    """Sends a CONNECT as RFC 9113 has it (section 8.5), and what would go through the tunnel; returns the status."""
    number = client.h2.get_next_available_stream_id()
    fields = [(":method", "CONNECT"), (":authority", authority), cookie]
    client.h2.send_headers(number, [(name.encode(), value.encode()) for name, value in fields])
    client.h2.send_data(number, data, end_stream=True)
    client._flush()
    while not client.streams[number].status and client.streams[number].reset is None and not client.lost:
        client._receive(wait=True)
    return client.streams[number].status


@pytest.mark.parametrize("authority", [HOST, f"{HOST}:443"])
def test_no_request_goes_through_a_tunnel(over_http2, certificate, sealjar, app, authority):
    """Go sends what follows a CONNECT as it is, and an application that opens no tunnel reads it as its next request."""
    cookie = sealjar.sign_in()
    forged = f"GET /forged HTTP/1.1\r\nHost: {HOST}\r\nRemote-User: mallory\r\n\r\n".encode()
    with app.sees_nothing():
        with connected(over_http2.port, certificate) as client:
            assert connect(client, authority, ("cookie", cookie), forged) in (400, 404, 405, 501)
        for target in (f"{HOST}:443", "/"):
            assert over_http2("CONNECT", target, [("Cookie", cookie)], forged).status in (400, 404, 405, 501), target
