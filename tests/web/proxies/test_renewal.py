"""Tests that a session in use is renewed, also if a proxy cannot forward the renewed cookie."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from exchanges import answer_to, sent
from harness import HOST, NAVIGATION
from servers import KINDS, running
from waiting import wait_until

# Minutes until a response to this method renews the session. Responses to methods other than GET and HEAD may arrive late, so
# they renew only in the last third of the idle timeout.
RENEWAL_MINUTES = {"GET": 5, "HEAD": 5, "POST": 20}


@pytest.mark.parametrize("method", RENEWAL_MINUTES)
def test_renewed_and_application_cookies_both_arrive(timed, timed_sealjar, clock, method):
    cookie = timed_sealjar.sign_in()
    clock.pass_minutes(RENEWAL_MINUTES[method] - 1)
    assert timed(method, "/set-cookie", [("Cookie", cookie)]).cookies() == ["theme=dark"]
    clock.pass_minutes(1)
    answer = timed(method, "/set-cookie", [("Cookie", cookie)])
    renewed = [value for value in answer.cookies() if value.startswith("__Host-sealjar=")]
    others = [value for value in answer.cookies() if value not in renewed]
    assert (answer.status, len(renewed), others) == (200, 1, ["theme=dark"])
    assert renewed != [cookie]
    (attributes,) = [value.split("; ")[1:] for value in answer.values("set-cookie") if value.startswith(renewed[0])]
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} == set(attributes)
    assert timed("GET", "/", [("Cookie", renewed[0])]).received_by_app().values("Remote-User") == ["alice"]


def test_a_late_upload_response_restores_no_old_cookie(timed, timed_sealjar, clock, app):
    """The proxy keeps the verify response until the application has responded, which may be after other renewals."""
    cookie = timed_sealjar.sign_in()
    clock.pass_minutes(5)
    with sent(timed, "POST", "/held", ("Cookie", cookie), ("Content-Length", "4")) as connection:
        connection.sendall(b"body")
        wait_until(lambda: app.seen[-1], lambda seen: (seen.path, seen.length) == ("/held", 4))
        for _ in range(3):
            (cookie,) = timed("GET", "/", [("Cookie", cookie)]).cookies()
            clock.pass_minutes(5)
        app.release("/held")
        answer = answer_to(connection)
    assert (answer.status, answer.getheader("Set-Cookie")) == (200, None)
    assert timed("GET", "/", [("Cookie", cookie)]).received_by_app().values("Remote-User") == ["alice"]


def test_no_shared_cache_may_store_the_renewed_cookie(timed, timed_sealjar, clock, app):
    """A shared cache may store a response with Set-Cookie (RFC 9111, section 7.3). It would send the session's cookie to other
    users."""
    cookie = timed_sealjar.sign_in()
    assert timed("GET", "/stored", [("Cookie", cookie)]).values("Cache-Control") == [app.STORED]
    clock.pass_minutes(5)
    answer = timed("GET", "/stored", [("Cookie", cookie)])
    assert answer.cookies() != []
    assert set(re.split(", ?", ",".join(answer.values("Cache-Control")))) == {"max-age=3600", "private", "public"}
    # In Traefik, the plugin receives the cookie in a field of the request, which must not reach the application.
    assert app.seen[-1].values("Set-Cookie") == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.folder == "caddy"], ids=lambda kind: kind.name)
def test_no_shared_cache_stores_it_if_caddy_sets_public(kind, certificate, timed_sealjar, clock, app):
    cookie = timed_sealjar.sign_in()
    clock.pass_minutes(5)
    edits = (("(app) {\n", f'(app) {{\n\theader Cache-Control "{app.STORED}"\n'),)
    for proxy in running(kind, certificate, timed_sealjar, app, edits=edits):
        answer = proxy("GET", "/", [("Cookie", cookie)])
        assert answer.cookies() != []
        assert sorted(answer.values("Cache-Control")) == ["private", app.STORED]


def test_a_refused_session_is_not_renewed(timed, timed_sealjar, clock, app):
    cookie = timed_sealjar.sign_in()
    clock.pass_minutes(5)
    assert timed("GET", "/", [("Cookie", cookie)]).cookies() != []
    timed_sealjar.request("POST", "/auth/logout", [("Cookie", cookie), ("Content-Type", "application/json")])
    with app.receives_nothing():
        answer = timed("GET", "/", [*NAVIGATION, ("Cookie", cookie)])
    assert answer.status in (302, 303) and answer.cookies() == []


@pytest.fixture(params=[kind for kind in KINDS if kind.name == "traefik"], ids=["traefik"])
def renewing_by_redirect(request, certificate, timed_sealjar, app):
    yield from running(request.param, certificate, timed_sealjar, app, "renew=redirect")


def test_a_redirect_renews_if_no_cookie_can_be_forwarded(renewing_by_redirect, timed_sealjar, clock):
    """The test ignores Set-Cookie in the proxy's responses, like a proxy that cannot forward it."""
    proxy = renewing_by_redirect
    cookie = timed_sealjar.sign_in()
    target = "/reports/7?year=2026&q=a%20b"
    visit = [*NAVIGATION, ("Cookie", cookie)]
    clock.pass_minutes(14)
    assert proxy("GET", target, visit).status == 200
    # More than half of the idle timeout has passed.
    clock.pass_minutes(2)
    answer = proxy("GET", target, visit)
    url = urlsplit(answer.location)
    assert (answer.status, url.scheme, url.netloc, url.path) == (302, "https", HOST, "/auth/renew")

    # Only navigations are redirected, and neither requests of scripts nor forms.
    assert proxy("GET", target, [("Sec-Fetch-Mode", "cors"), ("Cookie", cookie)]).status == 200
    assert proxy("POST", target, visit, b"x").status == 200

    renewed = proxy("GET", f"{url.path}?{url.query}", visit)
    assert renewed.status in (302, 303)
    (new,) = renewed.cookies()
    back = urlsplit(renewed.location)
    assert back.path == "/reports/7" and parse_qs(back.query)["year"] == ["2026"]
    assert arrive(proxy, renewed.location, new).path == target

    # A browser that does not store the new cookie is let in all the same, without a redirect loop.
    assert arrive(proxy, renewed.location, cookie).path.startswith(target)


def arrive(proxy, location, cookie):
    """Follows at most two redirects. Returns the request that the application received."""
    for _ in range(3):
        url = urlsplit(location)
        assert url.path != "/auth/renew"
        answer = proxy("GET", url.path + (f"?{url.query}" if url.query else ""), [*NAVIGATION, ("Cookie", cookie)])
        if answer.status == 200:
            return answer.received_by_app()
        location = answer.location
    raise AssertionError(f"redirect loop: {location}")
