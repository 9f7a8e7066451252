"""Tests with the oldest versions of Traefik and Envoy that their files name. The other tests use current versions."""

import json
from dataclasses import replace

import pytest
from harness import API, HOST, NAVIGATION
from http2 import connected
from servers import KINDS, OWN_RULE, PRIVATE, PUBLIC, WHEELS, running, with_http2
from spoofing import SPOOFED
from test_failures import Impostor
from test_http2 import connect

OLDEST = [
    replace(kind, name=f"{kind.name}-oldest", where=str(WHEELS.parent / "oldest/bin"))
    for kind in KINDS
    if kind.name in ("traefik", "envoy")
]


@pytest.fixture(scope="module", params=OLDEST, ids=lambda kind: kind.name)
def oldest(request, certificate, timed_sealjar, app):
    yield from running(with_http2(request.param), certificate, timed_sealjar, app, recipes=(OWN_RULE, PUBLIC, PRIVATE))


def test_requests_without_a_session_are_refused(oldest, app):
    with app.receives_nothing():
        assert oldest("GET", "/", [*API, *SPOOFED]).status == 401
        assert oldest("GET", "/", NAVIGATION).status in (302, 303)


def test_the_app_receives_the_identity_but_not_the_cookie(oldest, timed_sealjar):
    cookie = timed_sealjar.sign_in()
    lists = ("Connection", "close, Remote-User")
    seen = oldest("GET", "/a%2Fb", [*SPOOFED, lists, ("Cookie", f"a=1; {cookie}")]).received_by_app()
    assert (seen.path, seen.values("Remote-User"), seen.values("Cookie")) == ("/a%2Fb", ["alice"], ["a=1"])
    assert "mallory" not in json.dumps(seen.headers)


@pytest.mark.parametrize("target", ["/admin", "/ADMIN/x", "//admin/x", "/%61dmin", "/x/../admin", "/x/..%2fadmin", "/admin;x"])
def test_a_path_with_a_rule_requires_it_in_every_spelling(oldest, timed_sealjar, app, target):
    with app.receives_nothing():
        assert oldest("GET", target, [*API, ("Cookie", timed_sealjar.sign_in())]).status == 403
    assert oldest("GET", target, [("Cookie", timed_sealjar.sign_in("carol"))]).status == 200


@pytest.mark.parametrize("target", ["/public/../x", "/public/..%2fx", "/public/%2e%2e/x", "/public/..;/x", "/public/..%5cx"])
def test_a_public_path_opens_no_other(oldest, app, target):
    assert oldest("GET", "/public/x", SPOOFED).received_by_app().values("Remote-User") == []
    with app.receives_nothing():
        assert oldest("GET", target, API).status in (400, 401)


def test_the_back_button_shows_no_private_page(oldest, timed_sealjar, app):
    cookie = ("Cookie", timed_sealjar.sign_in())
    cached = {path: oldest("GET", path, [cookie]).values("Cache-Control") for path in ("/html", "/script")}
    assert cached == {"/html": ["no-store"], "/script": [app.STORED]}


def test_the_change_password_url_needs_no_session(oldest, app):
    with app.receives_nothing():
        answer = oldest("GET", "/.well-known/change-password", NAVIGATION)
    assert (answer.status, answer.location) == (302, "/auth/password")


@pytest.mark.parametrize("kind", OLDEST, ids=lambda kind: kind.name)
def test_no_request_is_forwarded_through_a_tunnel(kind, certificate, app):
    """Even if the verify request succeeds. Traefik 3.4.1 by default forwards the data after a CONNECT."""
    forged = f"GET /forged HTTP/1.1\r\nHost: {HOST}\r\nRemote-User: mallory\r\n\r\n".encode()
    with Impostor(0) as impostor:
        for proxy in running(with_http2(kind), certificate, impostor, app):
            with app.receives_nothing(), connected(proxy.port, certificate) as client:
                assert connect(client, HOST, ("cookie", "a=1"), forged) in (400, 404, 405)
            assert proxy("GET", "/", API).received_by_app().values("Remote-User") == ["root"]
