"""Tests the rules of a route, enabled as each file shows it. No client can weaken them."""

from urllib.parse import parse_qs, urlsplit

import pytest
from harness import API, HOST, NAVIGATION, OTHER_HOST
from waiting import wait_until

WEAKER_RULES = "role=staff&max_age=999999&csrf=0&role=&csrf="
CROSS_SITE = [
    [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example.com")],
    [("Sec-Fetch-Site", "same-site"), ("Origin", f"https://{OTHER_HOST}")],
    [("Sec-Fetch-Site", "cross-site")],
    [("Origin", "https://evil.example.com")],
    [("Origin", "null")],
]


def test_a_user_with_the_role_is_admitted(staff_only, sealjar):
    seen = staff_only("GET", "/reports?role=admin&max_age=0", [("Cookie", sealjar.sign_in("alice"))]).received_by_app()
    assert seen.path == "/reports?role=admin&max_age=0"


def test_the_query_of_a_request_has_no_effect_on_the_rules(proxy, sealjar):
    path = "/?role=nobody&max_age=0&csrf=x"
    assert proxy("GET", path, [("Cookie", sealjar.sign_in())]).received_by_app().path == path


@pytest.mark.parametrize("headers", [API, NAVIGATION])
def test_a_user_without_the_role_is_refused(staff_only, sealjar, app, headers):
    cookie = ("Cookie", sealjar.sign_in("bob"))
    with app.receives_nothing():
        for path in (
            "/",
            f"/?{WEAKER_RULES}",
            f"/#?{WEAKER_RULES}",
            f"/-/?{WEAKER_RULES}",
            f"/;{WEAKER_RULES}",
            f"/%3F{WEAKER_RULES}",
        ):
            assert staff_only("GET", path, [*headers, cookie]).status in (400, 403, 404), path


def test_rules_do_not_replace_a_session(staff_only, app):
    with app.receives_nothing():
        assert staff_only("GET", f"/?{WEAKER_RULES}", API).status == 401
        assert "/auth/login?" in staff_only("GET", f"/?{WEAKER_RULES}", NAVIGATION).location


def test_a_request_of_another_site_is_refused(staff_only, sealjar, app):
    cookie = ("Cookie", sealjar.sign_in())
    with app.receives_nothing():
        for headers in CROSS_SITE:
            for method in ("POST", "PUT", "DELETE"):
                assert staff_only(method, f"/?{WEAKER_RULES}", [cookie, *headers], b"x").status == 403, (method, headers)


def test_a_client_cannot_claim_a_safe_method(staff_only, sealjar, app):
    cookie = ("Cookie", sealjar.sign_in())
    names = ["X-Forwarded-Method", "x-forwarded-method", "X-Original-Method", "X-HTTP-Method-Override", "X_Forwarded_Method"]
    with app.receives_nothing():
        for name in names:
            assert staff_only("POST", "/", [cookie, (name, "GET"), *CROSS_SITE[0]], b"x").status == 403, name


@pytest.mark.parametrize(
    "headers", [[("Sec-Fetch-Site", "same-origin"), ("Origin", f"https://{HOST}")], [("Origin", f"https://{HOST}")], []]
)
def test_a_request_of_the_same_origin_or_a_program_passes(staff_only, sealjar, headers):
    seen = staff_only("POST", "/reports", [("Cookie", sealjar.sign_in()), *headers], b"x" * 100_000).received_by_app()
    assert (seen.method, seen.length) == ("POST", 100_000)


def test_a_link_from_another_site_may_be_followed(staff_only, sealjar):
    headers = [*NAVIGATION[:-1], ("Sec-Fetch-Site", "cross-site"), ("Cookie", sealjar.sign_in())]
    assert staff_only("GET", "/", headers).status == 200


def test_without_the_rule_cross_site_requests_pass(proxy, sealjar):
    headers = [("Cookie", sealjar.sign_in("bob")), *CROSS_SITE[0]]
    assert proxy("POST", "/", headers, b"x").received_by_app().values("Sec-Fetch-Site") == ["cross-site"]


def test_an_old_login_is_redirected_to_confirmation(recent_login_only, sealjar, app):
    cookie = ("Cookie", sealjar.sign_in())
    target = "/transfer?max_age=999999"
    answer = wait_until(lambda: recent_login_only("GET", target, [*NAVIGATION, cookie]), lambda answer: answer.status != 200)
    assert answer.status in (302, 303)
    url = urlsplit(answer.location)
    assert (url.scheme, url.netloc, url.path) == ("https", HOST, "/auth/reauthenticate")
    assert parse_qs(url.query)["rd"] == [target]
    with app.receives_nothing():
        assert recent_login_only("GET", target, [*API, cookie]).status == 401
        assert recent_login_only("GET", "/", [*API, cookie, ("X-Forwarded-Uri", "/public")]).status == 401


def test_a_websocket_of_another_site_is_refused(staff_only, sealjar, app):
    """Browsers let any site request a WebSocket, and send cookies with the request."""
    cookie = ("Cookie", sealjar.sign_in())
    websocket = ("Sec-Fetch-Mode", "websocket")
    with app.receives_nothing():
        for headers in CROSS_SITE:
            status, _ = staff_only.client.upgrade("/socket", [cookie, websocket, *headers])
            assert status == 403, headers
    own = [("Sec-Fetch-Site", "same-origin"), ("Origin", f"https://{HOST}")]
    assert staff_only.client.upgrade("/socket", [cookie, websocket, *own]) == (101, b"HELLOping")


def test_an_old_browsers_websocket_of_another_site_is_refused(staff_only, sealjar, app):
    """An old browser sends no Sec-Fetch-Mode. Only the fields of the WebSocket handshake distinguish its request from a link."""
    with app.receives_nothing():
        status, _ = staff_only.client.upgrade("/socket", [("Cookie", sealjar.sign_in()), ("Origin", "https://evil.example.com")])
        assert status == 403
