"""Tests of signing in and out with a real browser of each engine: requests, cookies, and the final page."""

import pytest
from harness import PASSWORD
from waiting import wait_until

SIGN_OUT = "[action='/auth/logout'] button"


def submit_sign_in(tab):
    assert tab.heading() == "Sign in"
    tab.fill("[name=login]", "alice")
    tab.fill("[name=password]", PASSWORD)
    tab.click("form button")


def sign_in_at(tab, url: str):
    """Opens a page without a session, and signs in."""
    tab.open(url)
    submit_sign_in(tab)
    assert tab.url() == url


def test_signing_in_can_end_at_another_origin(tab, site):
    tab.open(f"{site.origin}/hop")
    submit_sign_in(tab)
    assert (tab.url(), tab.heading()) == (f"{site.elsewhere}/", "Elsewhere")


def test_three_sign_in_pages_that_open_at_once_all_work(profile, site):
    """This happens when a browser restores its tabs. No request has a form cookie, so each response sets another one."""
    tabs = [profile.new_tab() for _ in range(3)]
    for tab in tabs:
        tab.open(f"{site.origin}/page")
        if tab is not tabs[-1]:
            profile.clear_cookies()
    for tab in tabs:
        submit_sign_in(tab)
        assert (tab.url(), tab.heading()) == (f"{site.origin}/page", "Page")


def test_signing_in_works_without_the_form_cookie(profile, tab, site):
    tab.open(f"{site.origin}/page")
    profile.clear_cookies()
    submit_sign_in(tab)
    assert (tab.url(), tab.heading()) == (f"{site.origin}/page", "Page")


def test_signing_in_keeps_the_whole_url(profile, tab, site):
    for target in ("/page?text=a%0D%0Ab", "/page?path=C:\\dir", "/page?a=1&b=%20%22#part"):
        sign_in_at(tab, site.origin + target)
        assert site.app.requests("/page")[-1] == ("GET", target.partition("#")[0])
        profile.clear_cookies()


def test_a_post_without_a_session_ends_at_its_form(profile, tab, site):
    sign_in_at(tab, f"{site.origin}/form?id=7")
    profile.clear_cookies()
    tab.click("button")
    submit_sign_in(tab)
    assert (tab.url(), tab.heading()) == (f"{site.origin}/form?id=7", "Form")
    assert site.app.requests("/save") == []


@pytest.mark.parametrize("browser", ["chromium"], indirect=True)
def test_a_download_without_a_session_saves_no_page(profile, tab, site):
    """Only requests of Chromium show that they are downloads (`Sec-Fetch-Dest: empty`, no `Accept`). Firefox sends the same fields as
    for a link, and WebKitGTK sends no `Sec-Fetch-Mode`. Both follow the redirect and save the sign-in page."""
    sign_in_at(tab, f"{site.origin}/files")
    assert tab.download("a")
    profile.clear_cookies()
    assert not tab.download("a")
    assert len(site.app.requests("/report")) == 1


def test_going_back_after_a_sign_out_shows_no_private_page(tab, site):
    sign_in_at(tab, f"{site.origin}/private")
    tab.click("a")
    tab.click(SIGN_OUT)
    for _ in range(2):
        tab.back()
        assert tab.heading() != "Private"
    assert tab.heading() == "Sign in"


def test_a_sign_in_after_a_sign_out_ends_at_the_home_page(tab, site):
    sign_in_at(tab, f"{site.origin}/page")
    tab.open(f"{site.origin}/auth/status")
    tab.click(SIGN_OUT)
    submit_sign_in(tab)
    assert (tab.url(), tab.heading()) == (f"{site.origin}/", "Home")


def test_without_a_proxy_the_session_page_is_the_home(profile, tab, alone):
    for path in ("/", "/auth/"):
        tab.open(alone + path)
        assert tab.heading() == "You are not signed in"
        tab.click("main a")
        submit_sign_in(tab)
        assert (tab.url(), tab.heading()) == (f"{alone}/auth/status", "You are signed in")
        tab.open(alone + path)
        assert (tab.url(), tab.heading()) == (f"{alone}/auth/status", "You are signed in")
        profile.clear_cookies()


def test_the_well_known_url_leads_to_the_password_page(tab, alone):
    """A password manager opens this URL: https://www.w3.org/TR/change-password-url/"""
    tab.open(f"{alone}/.well-known/change-password")
    submit_sign_in(tab)
    assert (tab.url(), tab.heading()) == (f"{alone}/auth/password", "Change your password")


@pytest.mark.parametrize("browser", ["firefox", "webkitgtk"], indirect=True)
@pytest.mark.parametrize("head", ["", '<meta name="referrer" content="no-referrer">'], ids=["referrer", "no-referrer"])
def test_a_service_worker_does_not_permit_login_csrf(profile, tab, site, head):
    """The service worker of the application forwards the form of another site, and the browser then marks the request as same-origin.
    Chromium does not register a service worker if it does not trust the certificate."""
    sign_in_at(tab, f"{site.origin}/worker")
    wait_until(tab.heading, lambda heading: heading == "Registered")
    profile.clear_cookies()
    tab.open(site.write_attack(head))
    tab.click("button")
    assert tab.heading() in ("Sign in", "Request refused")
    tab.open(f"{site.origin}/auth/status")
    assert tab.heading() == "You are not signed in"
    # In WebKitGTK, all tests share the registered service workers, so this one is removed.
    set_title = "document.title = 'No worker'"
    tab.evaluate(f"(navigator.serviceWorker.getRegistration('/').then(worker => worker.unregister()).then(() => {{ {set_title} }}), true)")
    wait_until(lambda: tab.evaluate("document.title"), lambda title: title == "No worker")
