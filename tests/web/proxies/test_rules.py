"""The rules of a route, added as each file shows it, and that no client can loosen them."""

from urllib.parse import parse_qs, urlsplit

import pytest
from harness import API, HOST, NAVIGATION, OTHER_HOST
from waiting import until

LOOSER = "role=staff&max_age=999999&csrf=0&role=&csrf="
CROSS_SITE = [
    [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example.com")],
    [("Sec-Fetch-Site", "same-site"), ("Origin", f"https://{OTHER_HOST}")],
    [("Sec-Fetch-Site", "cross-site")],
    [("Origin", "https://evil.example.com")],
    [("Origin", "null")],
]


def test_the_role_lets_in(guarded, sealjar):
    seen = guarded("GET", "/reports?role=admin&max_age=0", [("Cookie", sealjar.sign_in("alice"))]).app_saw()
    assert seen.path == "/reports?role=admin&max_age=0"


def test_a_query_of_the_client_makes_no_rules(proxy, sealjar):
    path = "/?role=nobody&max_age=0&csrf=x"
    assert proxy("GET", path, [("Cookie", sealjar.sign_in())]).app_saw().path == path


@pytest.mark.parametrize("headers", [API, NAVIGATION])
def test_without_the_role_nobody_gets_in(guarded, sealjar, app, headers):
    cookie = ("Cookie", sealjar.sign_in("bob"))
    with app.sees_nothing():
        for path in ("/", f"/?{LOOSER}", f"/#?{LOOSER}", f"/-/?{LOOSER}", f"/;{LOOSER}", f"/%3F{LOOSER}"):
            assert guarded("GET", path, [*headers, cookie]).status in (400, 403, 404), path


def test_rules_do_not_let_in_who_has_no_session(guarded, app):
    with app.sees_nothing():
        assert guarded("GET", f"/?{LOOSER}", API).status == 401
        assert "/auth/login?" in guarded("GET", f"/?{LOOSER}", NAVIGATION).location


def test_a_request_of_another_site_is_refused(guarded, sealjar, app):
    cookie = ("Cookie", sealjar.sign_in())
    with app.sees_nothing():
        for headers in CROSS_SITE:
            for method in ("POST", "PUT", "DELETE"):
                assert guarded(method, f"/?{LOOSER}", [cookie, *headers], b"x").status == 403, (method, headers)


def test_a_client_cannot_say_that_its_request_is_safe(guarded, sealjar, app):
    cookie = ("Cookie", sealjar.sign_in())
    said = ["X-Forwarded-Method", "x-forwarded-method", "X-Original-Method", "X-HTTP-Method-Override", "X_Forwarded_Method"]
    with app.sees_nothing():
        for name in said:
            assert guarded("POST", "/", [cookie, (name, "GET"), *CROSS_SITE[0]], b"x").status == 403, name


@pytest.mark.parametrize(
    "headers", [[("Sec-Fetch-Site", "same-origin"), ("Origin", f"https://{HOST}")], [("Origin", f"https://{HOST}")], []]
)
def test_a_request_of_the_same_origin_or_a_program_passes(guarded, sealjar, headers):
    seen = guarded("POST", "/reports", [("Cookie", sealjar.sign_in()), *headers], b"x" * 100_000).app_saw()
    assert (seen.method, seen.length) == ("POST", 100_000)


def test_a_link_from_another_site_may_be_followed(guarded, sealjar):
    headers = [*NAVIGATION[:-1], ("Sec-Fetch-Site", "cross-site"), ("Cookie", sealjar.sign_in())]
    assert guarded("GET", "/", headers).status == 200


def test_without_the_rule_requests_of_other_sites_pass(proxy, sealjar):
    headers = [("Cookie", sealjar.sign_in("bob")), *CROSS_SITE[0]]
    assert proxy("POST", "/", headers, b"x").app_saw().values("Sec-Fetch-Site") == ["cross-site"]


def test_who_signed_in_too_long_ago_is_sent_to_prove_it_again(wary, sealjar, app):
    cookie = ("Cookie", sealjar.sign_in())
    target = "/transfer?max_age=999999"
    answer = until(lambda: wary("GET", target, [*NAVIGATION, cookie]), lambda answer: answer.status != 200)
    assert answer.status in (302, 303)
    url = urlsplit(answer.location)
    assert (url.scheme, url.netloc, url.path) == ("https", HOST, "/auth/reauthenticate")
    assert parse_qs(url.query)["rd"] == [target]
    with app.sees_nothing():
        assert wary("GET", target, [*API, cookie]).status == 401
        assert wary("GET", "/", [*API, cookie, ("X-Forwarded-Uri", "/public")]).status == 401


def test_a_websocket_of_another_site_is_refused(guarded, sealjar, app):
    """Browsers send cookies along with it, and let any site ask."""
    cookie, websocket = ("Cookie", sealjar.sign_in()), ("Sec-Fetch-Mode", "websocket")
    with app.sees_nothing():
        for headers in CROSS_SITE:
            status, _ = guarded.client.upgrade("/socket", [cookie, websocket, *headers])
            assert status == 403, headers
    own = [("Sec-Fetch-Site", "same-origin"), ("Origin", f"https://{HOST}")]
    assert guarded.client.upgrade("/socket", [cookie, websocket, *own]) == (101, b"HELLOping")


def test_an_old_browsers_websocket_of_another_site_is_refused(guarded, sealjar, app):
    """It sends no Sec-Fetch-Mode. Only what asks for a WebSocket tells its request from a link's."""
    with app.sees_nothing():
        status, _ = guarded.client.upgrade("/socket", [("Cookie", sealjar.sign_in()), ("Origin", "https://evil.example.com")])
        assert status == 403
