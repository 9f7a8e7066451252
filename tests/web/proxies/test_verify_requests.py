"""Tests the header fields that Sealjar receives from a proxy, in verify requests and on `/auth/`: the fields that only a proxy
may set never come from the client.

An application takes Sealjar's place. It answers every verify request with 200 and no identity.
"""

import http.client
import json
from contextlib import suppress

import pytest
from application import Application
from harness import HOST
from servers import running
from spoofing import ODD, PLAIN, SPELLINGS, batches

FORWARDED = ["X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Server", "X-Forwarded-Port", "X-Forwarded-Prefix"]
FORWARDED += ["X-Forwarded-Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Original-Method", "X-Original-URI", "X-Original-URL"]
FORWARDED += ["X-Original-Host", "Forwarded"]
# A proxy may close the connection instead of responding.
REFUSED = suppress(OSError, http.client.HTTPException)
CLAIMS = [*SPELLINGS, *ODD, *[(name, "mallory") for name in FORWARDED]]


@pytest.fixture(scope="session")
def stand_in():
    app = Application()
    yield app
    app.stop()


@pytest.fixture(scope="session")
def proxy_of_stand_in(kind, certificate, stand_in, app):
    yield from running(kind, certificate, stand_in, app)


def assert_no_claims(seen, fields):
    assert "mallory" not in json.dumps(seen.headers), (seen, fields)
    assert [name for name, _ in seen.headers if not PLAIN.fullmatch(name)] == []


def test_a_verify_request_has_no_claim_of_the_client(proxy_of_stand_in, stand_in, app):
    for fields in batches(CLAIMS):
        before = len(stand_in.seen)
        before_app = len(app.seen)
        proxy_of_stand_in("POST", "/page?a=1", [*fields, ("Cookie", "a=1")], b"body")
        (question,) = stand_in.seen[before:]
        assert question.path.startswith("/auth/verify") and question.values("Cookie") == ["a=1"]
        # Verify requests have no body.
        assert question.length == 0
        assert_no_claims(question, fields)
        # If the response has no identity, the application must not receive the client's. The files of Caddy and Traefik reject
        # the request.
        assert (app.seen[before_app:] == []) == (proxy_of_stand_in.kind.folder in ("caddy", "traefik"))
        for seen in app.seen[before_app:]:
            assert_no_claims(seen, fields)


def test_no_request_target_changes_the_verify_path(proxy_of_stand_in, stand_in):
    """Sealjar rejects such a request. A server that answers it would let clients choose the path of the verify request."""
    before = len(stand_in.seen)
    for target in (f"http:http://{HOST}/other", f"x:http://{HOST}/other", "http:/other", "other", "*"):
        with REFUSED:
            proxy_of_stand_in("GET", target, [("Cookie", "a=1")])
    assert {seen.path.startswith("/auth/verify/") for seen in stand_in.seen[before:]} <= {True}


def test_a_verify_request_has_the_fetch_metadata(proxy_of_stand_in, stand_in):
    """By this, Sealjar knows whether to redirect, and where a form of a page leads after the login."""
    said = [
        ("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"),
        ("Referer", f"https://{HOST}/form?a=1&b=%2F"),
        ("Origin", f"https://{HOST}"),
        ("Sec-Fetch-Dest", "document"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Site", "same-origin"),
    ]
    for method in ("GET", "POST"):
        before = len(stand_in.seen)
        proxy_of_stand_in(method, "/page", [*said, ("Cookie", "a=1")], b"a=1" if method == "POST" else b"")
        (question,) = stand_in.seen[before:]
        assert [(name, question.values(name)) for name, _ in said] == [(name, [value]) for name, value in said]


CHANGE_PASSWORD = "/.well-known/change-password"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_the_change_password_url_needs_no_session(proxy_of_stand_in, stand_in, app, method):
    before = len(stand_in.seen)
    with app.receives_nothing():
        proxy_of_stand_in(method, f"{CHANGE_PASSWORD}?a=1", [("Cookie", "a=1"), ("Remote-User", "mallory")])
    (seen,) = stand_in.seen[before:]
    assert (seen.method, seen.path, seen.values("Host")) == (method, f"{CHANGE_PASSWORD}?a=1", [HOST])
    assert seen.values("X-Forwarded-For") == ["127.0.0.1"] and "mallory" not in json.dumps(seen.headers)


@pytest.mark.parametrize("more", ["x", "/", "/x", ";x"])
def test_only_the_exact_change_password_url_is_open(proxy_of_stand_in, stand_in, more):
    for target in (f"{CHANGE_PASSWORD}{more}", f"/x{CHANGE_PASSWORD}", "/.well-known/", "/xwell-known/change-password"):
        before = len(stand_in.seen)
        proxy_of_stand_in("GET", target, [("Cookie", "a=1")])
        assert all(seen.path.startswith("/auth/verify") for seen in stand_in.seen[before:]), target
        assert stand_in.seen[before:], target


def test_sealjars_own_pages_receive_no_claim_of_the_client(proxy_of_stand_in, stand_in):
    for fields in batches(CLAIMS):
        seen = proxy_of_stand_in("POST", "/auth/page?a=1", [*fields, ("Cookie", "a=1")], b"body").received_by_app()
        assert (seen.path, seen.values("Host"), seen.values("Cookie")) == ("/auth/page?a=1", [HOST], ["a=1"])
        assert seen == stand_in.seen[-1]
        assert_no_claims(seen, fields)
