"""A session in use is renewed, whether or not a proxy can pass the renewed cookie on."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from exchanges import answer_to, sent
from harness import HOST, NAVIGATION
from servers import KINDS, running
from waiting import until

# Minutes from the sealing of a session to its renewal in an answer. Other answers than those to GET and HEAD may be late, so they
# renew only in the last third of the idle time.
WAITS = {"GET": 5, "HEAD": 5, "POST": 20}


@pytest.mark.parametrize("method", WAITS)
def test_a_renewed_cookie_arrives_beside_the_applications_own(timed, timed_sealjar, clock, method):
    cookie = timed_sealjar.sign_in()
    clock.pass_minutes(WAITS[method] - 1)
    assert timed(method, "/set-cookie", [("Cookie", cookie)]).cookies() == ["theme=dark"]
    clock.pass_minutes(1)
    answer = timed(method, "/set-cookie", [("Cookie", cookie)])
    renewed = [value for value in answer.cookies() if value.startswith("__Host-sealjar=")]
    others = [value for value in answer.cookies() if value not in renewed]
    assert (answer.status, len(renewed), others) == (200, 1, ["theme=dark"])
    assert renewed != [cookie]
    (attributes,) = [value.split("; ")[1:] for value in answer.values("set-cookie") if value.startswith(renewed[0])]
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} == set(attributes)
    assert timed("GET", "/", [("Cookie", renewed[0])]).app_saw().values("Remote-User") == ["alice"]


def test_a_late_answer_to_an_upload_puts_no_old_cookie_back(timed, timed_sealjar, clock, app):
    """The proxy keeps the answer about the session until the application has answered."""
    cookie = timed_sealjar.sign_in()
    clock.pass_minutes(5)
    with sent(timed, "POST", "/held", ("Cookie", cookie), ("Content-Length", "4")) as connection:
        connection.sendall(b"body")
        until(lambda: app.seen[-1], lambda seen: (seen.path, seen.length) == ("/held", 4))
        for _ in range(3):
            (cookie,) = timed("GET", "/", [("Cookie", cookie)]).cookies()
            clock.pass_minutes(5)
        app.release("/held")
        answer = answer_to(connection)
    assert (answer.status, answer.getheader("Set-Cookie")) == (200, None)
    assert timed("GET", "/", [("Cookie", cookie)]).app_saw().values("Remote-User") == ["alice"]


def test_no_shared_cache_may_store_the_renewed_cookie(timed, timed_sealjar, clock, app):
    """A cache may store an answer with Set-Cookie (RFC 9111, section 7.3), and would sign others in with it."""
    cookie = timed_sealjar.sign_in()
    assert timed("GET", "/stored", [("Cookie", cookie)]).values("Cache-Control") == [app.STORED]
    clock.pass_minutes(5)
    answer = timed("GET", "/stored", [("Cookie", cookie)])
    assert answer.cookies() != []
    assert set(re.split(", ?", ",".join(answer.values("Cache-Control")))) == {"max-age=3600", "private", "public"}
    # Traefik tells its plugin by a field of the request.
    assert app.seen[-1].values("Set-Cookie") == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.folder == "caddy"], ids=lambda kind: kind.name)
def test_no_shared_cache_stores_it_where_caddy_calls_all_public(kind, certificate, timed_sealjar, clock, app):
    cookie = timed_sealjar.sign_in()
    clock.pass_minutes(5)
    edits = (("(app) {\n", f'(app) {{\n\theader Cache-Control "{app.STORED}"\n'),)
    for proxy in running(kind, certificate, timed_sealjar, app, edits=edits):
        answer = proxy("GET", "/", [("Cookie", cookie)])
        assert answer.cookies() != []
        assert sorted(answer.values("Cache-Control")) == ["private", app.STORED]


def test_a_session_that_is_not_let_in_is_not_renewed_either(timed, timed_sealjar, clock, app):
    cookie = timed_sealjar.sign_in()
    clock.pass_minutes(5)
    assert timed("GET", "/", [("Cookie", cookie)]).cookies() != []
    timed_sealjar.request("POST", "/auth/logout", [("Cookie", cookie), ("Content-Type", "application/json")])
    with app.sees_nothing():
        answer = timed("GET", "/", [*NAVIGATION, ("Cookie", cookie)])
    assert answer.status in (302, 303) and answer.cookies() == []


@pytest.fixture(params=[kind for kind in KINDS if kind.name == "traefik"], ids=["traefik"])
def renewing_by_redirect(request, certificate, timed_sealjar, app):
    yield from running(request.param, certificate, timed_sealjar, app, "renew=redirect")


def test_a_redirect_renews_where_no_cookie_can_be_passed_on(renewing_by_redirect, timed_sealjar, clock):
    """The proxy's own Set-Cookie is thrown away here, as a proxy would that cannot pass it on."""
    proxy, cookie, target = renewing_by_redirect, timed_sealjar.sign_in(), "/reports/7?year=2026&q=a%20b"
    visit = [*NAVIGATION, ("Cookie", cookie)]
    clock.pass_minutes(14)
    assert proxy("GET", target, visit).status == 200
    # Half of the idle time.
    clock.pass_minutes(2)
    answer = proxy("GET", target, visit)
    url = urlsplit(answer.location)
    assert (answer.status, url.scheme, url.netloc, url.path) == (302, "https", HOST, "/auth/renew")

    # Only pages that are opened are sent there: neither what scripts fetch, nor forms.
    assert proxy("GET", target, [("Sec-Fetch-Mode", "cors"), ("Cookie", cookie)]).status == 200
    assert proxy("POST", target, visit, b"x").status == 200

    renewed = proxy("GET", f"{url.path}?{url.query}", visit)
    assert renewed.status in (302, 303)
    (new,) = renewed.cookies()
    back = urlsplit(renewed.location)
    assert back.path == "/reports/7" and parse_qs(back.query)["year"] == ["2026"]
    assert arrive(proxy, renewed.location, new).path == target

    # A browser that keeps no cookies is let in all the same, and goes in no circle.
    assert arrive(proxy, renewed.location, cookie).path.startswith(target)


def arrive(proxy, location, cookie):
    """Follows redirects, two at most; returns what the application sees."""
    for _ in range(3):
        url = urlsplit(location)
        assert url.path != "/auth/renew"
        answer = proxy("GET", url.path + (f"?{url.query}" if url.query else ""), [*NAVIGATION, ("Cookie", cookie)])
        if answer.status == 200:
            return answer.app_saw()
        location = answer.location
    raise AssertionError(f"sent around in a circle: {location}")
