"""A login host of its own: for applications with `/auth/` paths of their own."""

import json
from urllib.parse import parse_qs, urlsplit

from harness import API, HOST, NAVIGATION, PASSWORD, SIGN_IN_HOST
from spoofing import SPOOFED


def sign_in(apart):
    body = json.dumps({"login": "alice", "password": PASSWORD}).encode()
    answer = apart("POST", "/auth/login", [("Content-Type", "application/json")], body, host=SIGN_IN_HOST)
    assert answer.status == 200, answer
    return answer.cookies()[0]


def test_a_visitor_is_sent_to_the_sign_in_host_and_back(apart, app):
    with app.sees_nothing():
        for target in ("/reports?a=1", "/auth/reports"):
            answer = apart("GET", target, NAVIGATION)
            url = urlsplit(answer.location)
            assert (url.scheme, url.netloc, url.path) == ("https", SIGN_IN_HOST, "/auth/login"), answer
            assert parse_qs(url.query)["rd"] == [f"https://{HOST}{target}"]
            page = apart("GET", f"{url.path}?{url.query}", NAVIGATION, host=SIGN_IN_HOST)
            assert page.status == 200 and b"<form" in page.body


def test_the_sign_in_hosts_session_lets_in_at_the_application(apart):
    cookie = sign_in(apart)
    assert cookie.startswith("__Secure-sealjar=")
    seen = apart("GET", "/", [("Cookie", f"a=1; {cookie}"), *SPOOFED]).app_saw()
    assert (seen.values("Remote-User"), seen.values("Cookie")) == (["alice"], ["a=1"])


def test_the_application_keeps_its_own_auth_paths(apart, app):
    cookie = ("Cookie", sign_in(apart))
    for method, path in [("GET", "/auth/login"), ("POST", "/auth/logout"), ("GET", "/auth/verify/-")]:
        assert apart(method, path, [cookie]).app_saw().path == path
    with app.sees_nothing():
        assert apart("GET", "/auth/login", API).status == 401


def test_a_sign_out_at_the_sign_in_host_holds_everywhere(apart, app):
    cookie = ("Cookie", sign_in(apart))
    out = apart("POST", "/auth/logout", [cookie, ("Content-Type", "application/json")], host=SIGN_IN_HOST)
    assert out.status == 200
    with app.sees_nothing():
        assert apart("GET", "/", [*API, cookie]).status == 401


def test_the_sign_in_host_leads_to_no_application(apart, app):
    cookie = ("Cookie", sign_in(apart))
    with app.sees_nothing():
        for path in ("/", "/reports", "/auth", "/auth/../reports", "//reports"):
            apart("GET", path, [cookie], host=SIGN_IN_HOST)
