"""Tests that a proxy lets only requests with a live session of its host reach the application."""

import http.client
import json
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import pytest
from harness import API, HOST, NAVIGATION, OTHER_HOST, PASSWORD

# Old browsers send no Sec-Fetch-Mode.
OLD_NAVIGATION = [("Accept", "text/html,*/*;q=0.8")]
# A navigation that a service worker of the application forwards, in Chromium and in Firefox.
WORKER = [*OLD_NAVIGATION, ("Sec-Fetch-Dest", "empty"), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "navigate")]
FIREFOX_WORKER = [*WORKER[:-1], ("Sec-Fetch-Mode", "same-origin")]
# `<a download>` in Chromium, and a request of a script to its own origin.
DOWNLOAD = WORKER[1:]
SCRIPT = [("Accept", "*/*"), *FIREFOX_WORKER[1:]]
# A proxy may close the connection before it has read the whole request.
REFUSED = suppress(OSError, http.client.HTTPException)


def assert_sent_to_sign_in(answer, target):
    assert answer.status in (302, 303), answer
    url = urlsplit(answer.location)
    assert (url.scheme, url.netloc, url.path) == ("https", HOST, "/auth/login")
    assert parse_qs(url.query)["rd"] == [target]


@pytest.mark.parametrize("headers", [NAVIGATION, OLD_NAVIGATION, WORKER, FIREFOX_WORKER])
def test_a_browser_without_a_session_is_redirected_to_sign_in(proxy, app, headers):
    target = "/reports/7?year=2026&q=a%20b%26c"
    with app.receives_nothing():
        assert_sent_to_sign_in(proxy("GET", target, headers), target)


def test_a_form_without_a_session_is_redirected_with_303(proxy, app):
    with app.receives_nothing():
        answer = proxy("POST", "/reports", NAVIGATION, b"a=1")
    assert answer.status == 303
    # The input of the user is lost, and the request does not say which page had the form.
    url = urlsplit(answer.location)
    assert (url.scheme, url.netloc, url.path, url.query) == ("https", HOST, "/auth/login", "")


def test_a_form_without_a_session_leads_back_to_its_page(proxy, app):
    form = [*NAVIGATION[:-1], ("Sec-Fetch-Site", "same-origin"), ("Origin", f"https://{HOST}")]
    with app.receives_nothing():
        answer = proxy("POST", "/save", [*form, ("Referer", f"https://{HOST}/form?a=1&b=%2F")], b"a=1")
        assert answer.status == 303
        assert_sent_to_sign_in(answer, "/form?a=1&b=%2F")


def test_the_change_password_url_redirects_to_the_page(proxy, app):
    with app.receives_nothing():
        for headers in (NAVIGATION, API):
            answer = proxy("GET", "/.well-known/change-password", headers)
            assert (answer.status, answer.location) == (302, "/auth/password")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_a_program_without_a_session_gets_401(proxy, app, method):
    with app.receives_nothing():
        assert proxy(method, "/reports", API).status == 401


@pytest.mark.parametrize("headers", [DOWNLOAD, SCRIPT])
def test_a_download_without_a_session_gets_401(proxy, app, headers):
    with app.receives_nothing():
        assert proxy("GET", "/report.pdf", headers).status == 401


def test_a_script_that_accepts_html_gets_401(proxy, app):
    with app.receives_nothing():
        assert proxy("GET", "/", [("Accept", "text/html"), ("Sec-Fetch-Mode", "cors")]).status == 401


def test_a_signed_in_user_reaches_the_application(proxy, sealjar):
    seen = proxy("GET", "/reports/7?year=2026&q=a%20b", [("Cookie", sealjar.sign_in())]).received_by_app()
    assert (seen.method, seen.path) == ("GET", "/reports/7?year=2026&q=a%20b")
    assert seen.values("host") == [HOST]


def test_a_large_body_arrives_completely(proxy, sealjar):
    seen = proxy("POST", "/upload", [("Cookie", sealjar.sign_in())], b"x" * 100_000).received_by_app()
    assert (seen.method, seen.length) == ("POST", 100_000)


def test_a_large_body_without_a_session_does_not_arrive(proxy, app):
    with app.receives_nothing():
        with REFUSED:
            assert proxy("POST", "/upload", API, b"x" * 100_000).status == 401


def test_a_damaged_cookie_is_refused(proxy, sealjar, app):
    cookie = sealjar.sign_in()
    middle = len(cookie) // 2
    damaged = cookie[:middle] + ("A" if cookie[middle] != "A" else "B") + cookie[middle + 1 :]
    with app.receives_nothing():
        for refused in (damaged, cookie[:-1], cookie.lower(), cookie.split("=")[0] + "="):
            assert proxy("GET", "/", [*API, ("Cookie", refused)]).status == 401


def test_a_copied_cookie_is_refused_after_the_sign_out(proxy, sealjar, app):
    cookie = sealjar.sign_in()
    assert proxy("GET", "/", [("Cookie", cookie)]).status == 200
    signed_out = proxy("POST", "/auth/logout", [("Cookie", cookie), ("Content-Type", "application/json")])
    assert signed_out.status == 200
    with app.receives_nothing():
        assert proxy("GET", "/", [*API, ("Cookie", cookie)]).status == 401


def test_a_cookie_of_another_host_is_refused(proxy, sealjar, app):
    cookie = sealjar.sign_in(host=OTHER_HOST)
    with app.receives_nothing():
        assert proxy("GET", "/", [*API, ("Cookie", cookie)]).status == 401


def test_another_host_name_reaches_no_application(proxy, sealjar, app):
    """Neither a host that the proxy does not serve, nor another host's name with the session of this host."""
    session_of_other_host = [("Cookie", sealjar.sign_in(host=OTHER_HOST))]
    session = [("Cookie", sealjar.sign_in())]
    with app.receives_nothing():
        for headers in (session_of_other_host, session):
            proxy("GET", "/", headers, host="evil.example.com", sni=HOST)
            proxy("GET", "/", [*headers, ("Host", "evil.example.com")])
        proxy("GET", "/", session, host=OTHER_HOST, sni=HOST)


def test_signing_in_and_out_works_through_the_proxy(proxy, app):
    page = proxy("GET", "/auth/login?rd=%2Freports", NAVIGATION)
    assert page.status == 200 and b"<form" in page.body

    body = b'{"login":"alice","password":"%s"}' % PASSWORD.encode()
    signed_in = proxy("POST", "/auth/login", [("Content-Type", "application/json")], body)
    assert signed_in.status == 200
    (cookie,) = signed_in.cookies()
    assert cookie.startswith("__Host-sealjar=") and "Secure" in signed_in.values("set-cookie")[0]
    assert proxy("GET", "/", [("Cookie", cookie)]).received_by_app().values("Remote-User") == ["alice"]

    signed_out = proxy("POST", "/auth/logout", [("Cookie", cookie), ("Content-Type", "application/json")])
    assert signed_out.status == 200 and "Max-Age=0" in signed_out.values("set-cookie")[0]
    with app.receives_nothing():
        assert proxy("GET", "/", [*API, ("Cookie", cookie)]).status == 401


def test_a_wrong_password_is_refused_through_the_proxy(proxy):
    body = b'{"login":"alice","password":"wrong horse"}'
    refused = proxy("POST", "/auth/login", [("Content-Type", "application/json")], body)
    assert refused.status == 401 and refused.values("set-cookie") == []


def test_an_identity_is_not_kept_for_the_next_request(proxy, sealjar):
    alice, bob = ([*API, ("Cookie", sealjar.sign_in(login))] for login in ("alice", "bob"))
    requests = [alice, API, bob, API, alice, bob, API]
    answers = proxy.client.in_sequence(*[("GET", "/", headers) for headers in requests])
    assert [answer.status for answer in answers] == [401 if headers is API else 200 for headers in requests]
    seen = [answer.received_by_app() for answer in answers if answer.status == 200]
    assert [request.values("Remote-User") for request in seen] == [["alice"], ["bob"], ["alice"], ["bob"]]
    assert [request.values("Remote-Groups") or [""] for request in seen] == [["staff"], [""], ["staff"], [""]]


def test_a_websocket_is_opened_with_a_session_only(proxy, sealjar, app):
    assert proxy.client.upgrade("/socket", [("Cookie", sealjar.sign_in())]) == (101, b"HELLOping")
    with app.receives_nothing():
        status, _ = proxy.client.upgrade("/socket", API)
        assert status == 401


def test_failed_logins_count_for_the_client_not_the_proxy(proxy, kind, sealjar):
    login = f"guessed-{kind.name}"
    sealjar.add_user(login)

    def sign_in(password, source, claimed_address="192.0.2.1"):
        body = json.dumps({"login": login, "password": password}).encode()
        fields = [("Content-Type", "application/json"), ("X-Forwarded-For", claimed_address)]
        return proxy("POST", "/auth/login", fields, body, source=source).status

    for number in range(10):
        # The client sends a different X-Forwarded-For each time.
        assert sign_in("not the password", "127.0.0.7", f"203.0.113.{number}") == 401, number
    assert sign_in(PASSWORD, "127.0.0.7", "203.0.113.99") == 429
    assert sign_in(PASSWORD, "127.0.0.8") == 200
