"""Tests several hosts with separate sessions or with a common session, and plain HTTP for development."""

import pytest
from browser import (
    check_page,
    cookie,
    expect_signed_in,
    expect_signed_out,
    expect_still_signed_in,
    open_sign_in,
    press,
    sign_in,
    status_of,
    submit_sign_in,
)
from harness import Sealjar, free_port
from playwright.sync_api import expect


@pytest.fixture
def two_hosts(tmp_path):
    """Returns a function that starts a server for two hosts, and returns the server and the two origins."""
    sealjar = Sealjar(tmp_path)
    sealjar.port = free_port()
    origins = [f"http://{name}.test.localhost:{sealjar.port}" for name in "ab"]

    def start(*settings):
        return sealjar.start(f"http.public_origins={','.join(origins)}", *settings), *origins

    yield start
    sealjar.stop()


def test_a_session_is_valid_on_its_host_only(page, two_hosts):
    server, a, b = two_hosts()
    sign_in(page, a, "alice")
    session = cookie(page.context)
    assert session["domain"] == "a.test.localhost"
    expect_signed_out(page, b)
    hosts = [origin.removeprefix("http://") for origin in (a, b)]
    assert [status_of(server, session["value"], host) for host in hosts] == [200, 401], "not even a copy of the cookie"
    expect_still_signed_in(page, a, "alice")


def test_a_cookie_domain_gives_both_hosts_one_session(page, two_hosts):
    _, a, b = two_hosts("cookie.domain=test.localhost")
    sign_in(page, a, "alice")
    session = cookie(page.context, "__Secure-sealjar")
    assert (session["domain"], session["secure"], session["httpOnly"]) == (".test.localhost", True, True)
    assert cookie(page.context) is None
    expect_still_signed_in(page, b, "alice")
    press(page, "Sign out")
    expect(page.get_by_text("You are signed out")).to_be_visible()
    assert cookie(page.context, "__Secure-sealjar") is None
    for origin in (a, b):
        expect_signed_out(page, origin)


def test_a_cookie_domain_allows_return_urls_on_the_other_host(page, two_hosts, other_site):
    """The `form-action` of the Content-Security-Policy also applies to redirects after a form, so it must permit the other
    host."""
    _, a, b = two_hosts("cookie.domain=test.localhost")
    open_sign_in(page, a, f"?rd={b}/protected")
    submit_sign_in(page, "alice")
    assert page.url == f"{b}/protected"
    other_site.pages["/"] = "<title>Elsewhere</title>"
    open_sign_in(page, a, f"?rd=http://evil.localhost:{other_site.port}/")
    submit_sign_in(page, "alice")
    assert page.url.startswith(a + "/")


@pytest.mark.parametrize("partitioned", ["", "; Partitioned"])
def test_cookies_of_a_sibling_host_hide_no_session(page, two_hosts, other_site, partitioned):
    """Chromium sends cookies with longer paths first, so all cookies of the sibling host precede the session's cookie."""
    server, a, _ = two_hosts("cookie.domain=test.localhost")
    sign_in(page, a, "alice")
    session = cookie(page.context, "__Secure-sealjar")["value"]
    other_site.pages["/"] = f"""<title>Sibling</title><script>
        for (const path of ["/auth", "/auth/", "/auth/logout", "/auth/status", "/auth/logout/"])
            document.cookie = `__Secure-sealjar={session[:12]}{"A" * 60}; Domain=test.localhost; Path=${{path}}; Secure{partitioned}`;
    </script>"""
    page.goto(f"http://evil.test.localhost:{other_site.port}/")
    planted = [found for found in page.context.cookies() if found["name"] == "__Secure-sealjar"]
    assert len(planted) == 6, planted
    host = a.removeprefix("http://")
    assert status_of(server, session, host, "__Secure-sealjar") == 200
    expect_still_signed_in(page, a, "alice")
    press(page, "Sign out")
    expect(page.get_by_text("You are signed out")).to_be_visible()
    assert status_of(server, session, host, "__Secure-sealjar") == 401, "a copy of the cookie is refused, too"


def test_over_plain_http_the_pages_warn_and_work(profile, tmp_path):
    server = Sealjar(tmp_path).start("cookie.plain_http=true")
    try:
        page = profile().new_page()
        origin = f"http://localhost:{server.port}"
        open_sign_in(page, origin, "?rd=/auth/status")
        expect(page.get_by_role("banner")).to_contain_text("Never use this outside your own machine")
        check_page(page, "plain-http")
        submit_sign_in(page, "alice")
        expect_signed_in(page, "alice")
        session = cookie(page.context, "sealjar-insecure")
        assert (session["secure"], session["httpOnly"], session["sameSite"]) == (False, True, "Lax")
        press(page, "Sign out")
        expect_signed_out(page, origin)
    finally:
        server.stop()
