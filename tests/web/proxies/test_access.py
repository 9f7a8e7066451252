"""Who gets through a proxy to the application: the owner of a live session of this host, and nobody else."""

import http.client
import json
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import pytest
from harness import API, HOST, NAVIGATION, OTHER_HOST, PASSWORD

# Old browsers send no Sec-Fetch-Mode.
OLD_NAVIGATION = [("Accept", "text/html,*/*;q=0.8")]
# What passes through a service worker of the application, in Chromium and in Firefox.
WORKER = [*OLD_NAVIGATION, ("Sec-Fetch-Dest", "empty"), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "navigate")]
FIREFOX_WORKER = [*WORKER[:-1], ("Sec-Fetch-Mode", "same-origin")]
# `<a download>` in Chromium, and a script that asks for its own origin only.
DOWNLOAD = WORKER[1:]
SCRIPT = [("Accept", "*/*"), *FIREFOX_WORKER[1:]]
# A proxy may also close the connection before it has read all of a request.
REFUSED = suppress(OSError, http.client.HTTPException)


def assert_sent_to_sign_in(answer, target):
    assert answer.status in (302, 303), answer
    url = urlsplit(answer.location)
    assert (url.scheme, url.netloc, url.path) == ("https", HOST, "/auth/login")
    assert parse_qs(url.query)["rd"] == [target]


@pytest.mark.parametrize("headers", [NAVIGATION, OLD_NAVIGATION, WORKER, FIREFOX_WORKER])
def test_a_visitor_without_a_session_is_sent_to_sign_in_and_back(proxy, app, headers):
    target = "/reports/7?year=2026&q=a%20b%26c"
    with app.sees_nothing():
        assert_sent_to_sign_in(proxy("GET", target, headers), target)


def test_a_form_sent_without_a_session_is_sent_to_sign_in_by_303(proxy, app):
    with app.sees_nothing():
        answer = proxy("POST", "/reports", NAVIGATION, b"a=1")
    assert answer.status == 303
    # What was typed is gone, and nothing says which page the form was on.
    url = urlsplit(answer.location)
    assert (url.scheme, url.netloc, url.path, url.query) == ("https", HOST, "/auth/login", "")


def test_a_form_sent_without_a_session_leads_back_to_its_page(proxy, app):
    form = [*NAVIGATION[:-1], ("Sec-Fetch-Site", "same-origin"), ("Origin", f"https://{HOST}")]
    with app.sees_nothing():
        answer = proxy("POST", "/save", [*form, ("Referer", f"https://{HOST}/form?a=1&b=%2F")], b"a=1")
        assert answer.status == 303
        assert_sent_to_sign_in(answer, "/form?a=1&b=%2F")


def test_a_password_manager_finds_the_change_of_the_password(proxy, app):
    with app.sees_nothing():
        for headers in (NAVIGATION, API):
            answer = proxy("GET", "/.well-known/change-password", headers)
            assert (answer.status, answer.location) == (302, "/auth/password")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_a_program_without_a_session_is_told_401(proxy, app, method):
    with app.sees_nothing():
        assert proxy(method, "/reports", API).status == 401


@pytest.mark.parametrize("headers", [DOWNLOAD, SCRIPT])
def test_a_download_without_a_session_is_told_401(proxy, app, headers):
    with app.sees_nothing():
        assert proxy("GET", "/report.pdf", headers).status == 401


def test_a_script_in_a_page_is_told_401_although_it_accepts_html(proxy, app):
    with app.sees_nothing():
        assert proxy("GET", "/", [("Accept", "text/html"), ("Sec-Fetch-Mode", "cors")]).status == 401


def test_a_signed_in_visitor_reaches_the_application(proxy, sealjar):
    seen = proxy("GET", "/reports/7?year=2026&q=a%20b", [("Cookie", sealjar.sign_in())]).app_saw()
    assert (seen.method, seen.path) == ("GET", "/reports/7?year=2026&q=a%20b")
    assert seen.values("host") == [HOST]


def test_a_large_body_arrives_whole(proxy, sealjar):
    seen = proxy("POST", "/upload", [("Cookie", sealjar.sign_in())], b"x" * 100_000).app_saw()
    assert (seen.method, seen.length) == ("POST", 100_000)


def test_a_large_body_without_a_session_does_not_arrive(proxy, app):
    with app.sees_nothing():
        with REFUSED:
            assert proxy("POST", "/upload", API, b"x" * 100_000).status == 401


def test_a_damaged_cookie_is_refused(proxy, sealjar, app):
    cookie = sealjar.sign_in()
    middle = len(cookie) // 2
    damaged = cookie[:middle] + ("A" if cookie[middle] != "A" else "B") + cookie[middle + 1 :]
    with app.sees_nothing():
        for refused in (damaged, cookie[:-1], cookie.lower(), cookie.split("=")[0] + "="):
            assert proxy("GET", "/", [*API, ("Cookie", refused)]).status == 401


def test_a_copied_cookie_is_refused_after_the_sign_out(proxy, sealjar, app):
    cookie = sealjar.sign_in()
    assert proxy("GET", "/", [("Cookie", cookie)]).status == 200
    signed_out = proxy("POST", "/auth/logout", [("Cookie", cookie), ("Content-Type", "application/json")])
    assert signed_out.status == 200
    with app.sees_nothing():
        assert proxy("GET", "/", [*API, ("Cookie", cookie)]).status == 401


def test_a_cookie_of_another_host_is_refused(proxy, sealjar, app):
    cookie = sealjar.sign_in(host=OTHER_HOST)
    with app.sees_nothing():
        assert proxy("GET", "/", [*API, ("Cookie", cookie)]).status == 401


def test_another_host_name_leads_nowhere(proxy, sealjar, app):
    """Neither a host that the proxy does not know, nor the other one's session under its name."""
    elsewhere = [("Cookie", sealjar.sign_in(host=OTHER_HOST))]
    here = [("Cookie", sealjar.sign_in())]
    with app.sees_nothing():
        for headers in (elsewhere, here):
            proxy("GET", "/", headers, host="evil.example.com", sni=HOST)
            proxy("GET", "/", [*headers, ("Host", "evil.example.com")])
        proxy("GET", "/", here, host=OTHER_HOST, sni=HOST)


def test_signing_in_and_out_works_through_the_proxy(proxy, app):
    page = proxy("GET", "/auth/login?rd=%2Freports", NAVIGATION)
    assert page.status == 200 and b"<form" in page.body

    body = b'{"login":"alice","password":"%s"}' % PASSWORD.encode()
    signed_in = proxy("POST", "/auth/login", [("Content-Type", "application/json")], body)
    assert signed_in.status == 200
    (cookie,) = signed_in.cookies()
    assert cookie.startswith("__Host-sealjar=") and "Secure" in signed_in.values("set-cookie")[0]
    assert proxy("GET", "/", [("Cookie", cookie)]).app_saw().values("Remote-User") == ["alice"]

    signed_out = proxy("POST", "/auth/logout", [("Cookie", cookie), ("Content-Type", "application/json")])
    assert signed_out.status == 200 and "Max-Age=0" in signed_out.values("set-cookie")[0]
    with app.sees_nothing():
        assert proxy("GET", "/", [*API, ("Cookie", cookie)]).status == 401


def test_a_wrong_password_is_refused_through_the_proxy(proxy):
    body = b'{"login":"alice","password":"wrong horse"}'
    refused = proxy("POST", "/auth/login", [("Content-Type", "application/json")], body)
    assert refused.status == 401 and refused.values("set-cookie") == []


def test_nothing_is_left_for_the_next_request_on_a_connection(proxy, sealjar):
    alice, bob = ([*API, ("Cookie", sealjar.sign_in(login))] for login in ("alice", "bob"))
    asked = [alice, API, bob, API, alice, bob, API]
    answers = proxy.client.in_turn(*[("GET", "/", headers) for headers in asked])
    assert [answer.status for answer in answers] == [401 if headers is API else 200 for headers in asked]
    seen = [answer.app_saw() for answer in answers if answer.status == 200]
    assert [request.values("Remote-User") for request in seen] == [["alice"], ["bob"], ["alice"], ["bob"]]
    assert [request.values("Remote-Groups") or [""] for request in seen] == [["staff"], [""], ["staff"], [""]]


def test_a_websocket_is_opened_with_a_session_only(proxy, sealjar, app):
    assert proxy.client.upgrade("/socket", [("Cookie", sealjar.sign_in())]) == (101, b"HELLOping")
    with app.sees_nothing():
        status, _ = proxy.client.upgrade("/socket", API)
        assert status == 401


def test_failed_sign_ins_count_for_the_visitor_not_the_proxy(proxy, kind, sealjar):
    login = f"guessed-{kind.name}"
    sealjar.add_user(login)

    def sign_in(password, visitor, claims="192.0.2.1"):
        body = json.dumps({"login": login, "password": password}).encode()
        fields = [("Content-Type", "application/json"), ("X-Forwarded-For", claims)]
        return proxy("POST", "/auth/login", fields, body, source=visitor).status

    for number in range(10):
        # Whatever the visitor says of itself.
        assert sign_in("not the password", "127.0.0.7", f"203.0.113.{number}") == 401, number
    assert sign_in(PASSWORD, "127.0.0.7", "203.0.113.99") == 429
    assert sign_in(PASSWORD, "127.0.0.8") == 200
