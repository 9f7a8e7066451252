"""What a proxy tells Sealjar, in its questions and on `/auth/`: nothing that only a proxy may say comes from the client.

Another application stands in the place of Sealjar here. It answers every question with 200 and no identity."""

import http.client
import json
from contextlib import suppress

import pytest
from application import Application
from harness import HOST
from servers import running
from spoofing import ODD, PLAIN, SPELLINGS, batches

FACTS = ["X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Server", "X-Forwarded-Port", "X-Forwarded-Prefix"]
FACTS += ["X-Forwarded-Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Original-Method", "X-Original-URI", "X-Original-URL"]
FACTS += ["X-Original-Host", "Forwarded"]
# A proxy may also close the connection.
REFUSED = suppress(OSError, http.client.HTTPException)
CLAIMS = [*SPELLINGS, *ODD, *[(name, "mallory") for name in FACTS]]


@pytest.fixture(scope="session")
def stand_in():
    app = Application()
    yield app
    app.stop()


@pytest.fixture(scope="session")
def heard(kind, certificate, stand_in, app):
    yield from running(kind, certificate, stand_in, app)


def assert_no_claims(seen, fields):
    assert "mallory" not in json.dumps(seen.headers), (seen, fields)
    assert [name for name, _ in seen.headers if not PLAIN.fullmatch(name)] == []


def test_a_question_repeats_no_claim_of_the_client(heard, stand_in, app):
    for fields in batches(CLAIMS):
        before = len(stand_in.seen)
        asked = len(app.seen)
        heard("POST", "/page?a=1", [*fields, ("Cookie", "a=1")], b"body")
        (question,) = stand_in.seen[before:]
        assert question.path.startswith("/auth/verify") and question.values("Cookie") == ["a=1"]
        # It has no need of the body.
        assert question.length == 0
        assert_no_claims(question, fields)
        # An answer without identity leaves no room for the client's. Caddy's and Traefik's files take it for no yes.
        assert (app.seen[asked:] == []) == (heard.kind.folder in ("caddy", "traefik"))
        for seen in app.seen[asked:]:
            assert_no_claims(seen, fields)


def test_no_target_changes_the_path_of_the_question(heard, stand_in):
    """Sealjar refuses such a question; one that answers would be asked for a path of the client's choice."""
    before = len(stand_in.seen)
    for target in (f"http:http://{HOST}/other", f"x:http://{HOST}/other", "http:/other", "other", "*"):
        with REFUSED:
            heard("GET", target, [("Cookie", "a=1")])
    assert {seen.path.startswith("/auth/verify/") for seen in stand_in.seen[before:]} <= {True}


def test_a_question_says_how_a_browser_came(heard, stand_in):
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
        heard(method, "/page", [*said, ("Cookie", "a=1")], b"a=1" if method == "POST" else b"")
        (question,) = stand_in.seen[before:]
        assert [(name, question.values(name)) for name, _ in said] == [(name, [value]) for name, value in said]


CHANGE_PASSWORD = "/.well-known/change-password"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_password_managers_reach_sealjar_without_a_session(heard, stand_in, app, method):
    before = len(stand_in.seen)
    with app.sees_nothing():
        heard(method, f"{CHANGE_PASSWORD}?a=1", [("Cookie", "a=1"), ("Remote-User", "mallory")])
    (seen,) = stand_in.seen[before:]
    assert (seen.method, seen.path, seen.values("Host")) == (method, f"{CHANGE_PASSWORD}?a=1", [HOST])
    assert seen.values("X-Forwarded-For") == ["127.0.0.1"] and "mallory" not in json.dumps(seen.headers)


@pytest.mark.parametrize("more", ["x", "/", "/x", ";x"])
def test_no_other_path_is_open_beside_that_of_password_managers(heard, stand_in, more):
    for target in (f"{CHANGE_PASSWORD}{more}", f"/x{CHANGE_PASSWORD}", "/.well-known/", "/xwell-known/change-password"):
        before = len(stand_in.seen)
        heard("GET", target, [("Cookie", "a=1")])
        assert all(seen.path.startswith("/auth/verify") for seen in stand_in.seen[before:]), target
        assert stand_in.seen[before:], target


def test_sealjars_own_pages_are_told_no_claim_of_the_client(heard, stand_in):
    for fields in batches(CLAIMS):
        seen = heard("POST", "/auth/page?a=1", [*fields, ("Cookie", "a=1")], b"body").app_saw()
        assert (seen.path, seen.values("Host"), seen.values("Cookie")) == ("/auth/page?a=1", [HOST], ["a=1"])
        assert seen == stand_in.seen[-1]
        assert_no_claims(seen, fields)
