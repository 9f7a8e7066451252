"""Tests the recipe for a separate login host, for applications that have `/auth/` paths of their own."""

import json
from urllib.parse import parse_qs, urlsplit

from harness import API, HOST, NAVIGATION, PASSWORD, SIGN_IN_HOST
from spoofing import SPOOFED


def sign_in(separate_login_host):
    body = json.dumps({"login": "alice", "password": PASSWORD}).encode()
    answer = separate_login_host("POST", "/auth/login", [("Content-Type", "application/json")], body, host=SIGN_IN_HOST)
    assert answer.status == 200, answer
    return answer.cookies()[0]


def test_a_browser_is_redirected_to_the_login_host_and_back(separate_login_host, app):
    with app.receives_nothing():
        for target in ("/reports?a=1", "/auth/reports"):
            answer = separate_login_host("GET", target, NAVIGATION)
            url = urlsplit(answer.location)
            assert (url.scheme, url.netloc, url.path) == ("https", SIGN_IN_HOST, "/auth/login"), answer
            assert parse_qs(url.query)["rd"] == [f"https://{HOST}{target}"]
            page = separate_login_host("GET", f"{url.path}?{url.query}", NAVIGATION, host=SIGN_IN_HOST)
            assert page.status == 200 and b"<form" in page.body


def test_the_session_of_the_login_host_opens_the_application(separate_login_host):
    cookie = sign_in(separate_login_host)
    assert cookie.startswith("__Secure-sealjar=")
    seen = separate_login_host("GET", "/", [("Cookie", f"a=1; {cookie}"), *SPOOFED]).received_by_app()
    assert (seen.values("Remote-User"), seen.values("Cookie")) == (["alice"], ["a=1"])


def test_the_application_keeps_its_own_auth_paths(separate_login_host, app):
    cookie = ("Cookie", sign_in(separate_login_host))
    for method, path in [("GET", "/auth/login"), ("POST", "/auth/logout"), ("GET", "/auth/verify/-")]:
        assert separate_login_host(method, path, [cookie]).received_by_app().path == path
    with app.receives_nothing():
        assert separate_login_host("GET", "/auth/login", API).status == 401


def test_a_logout_at_the_login_host_applies_to_all_hosts(separate_login_host, app):
    cookie = ("Cookie", sign_in(separate_login_host))
    out = separate_login_host("POST", "/auth/logout", [cookie, ("Content-Type", "application/json")], host=SIGN_IN_HOST)
    assert out.status == 200
    with app.receives_nothing():
        assert separate_login_host("GET", "/", [*API, cookie]).status == 401


def test_the_login_host_reaches_no_application(separate_login_host, app):
    cookie = ("Cookie", sign_in(separate_login_host))
    with app.receives_nothing():
        for path in ("/", "/reports", "/auth", "/auth/../reports", "//reports"):
            separate_login_host("GET", path, [cookie], host=SIGN_IN_HOST)
