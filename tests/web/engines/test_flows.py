"""Signing in and out as a browser does it, in each engine: what is asked, what is kept, and where the browser is in the end."""

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
    """As when a browser restores its tabs: no request has a form cookie yet, so each answer sets another one."""
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


def test_the_url_comes_back_whole_after_signing_in(profile, tab, site):
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
    """Only Chromium tells a download (`Sec-Fetch-Dest: empty`, no `Accept`) from a page. Firefox sends for it what it sends for a
    link, and WebKitGTK no `Sec-Fetch-Mode`. Both follow the redirect, and save the sign-in page."""
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
def test_another_site_signs_nobody_in_through_a_worker(profile, tab, site, head):
    """The application's service worker passes the form on, and the browser then says that the form has the same origin. Chromium
    registers no worker over a certificate that it does not trust."""
    sign_in_at(tab, f"{site.origin}/worker")
    wait_until(tab.heading, lambda heading: heading == "Registered")
    profile.clear_cookies()
    tab.open(site.write_attack(head))
    tab.click("button")
    assert tab.heading() in ("Sign in", "Request refused")
    tab.open(f"{site.origin}/auth/status")
    assert tab.heading() == "You are not signed in"
    # In WebKitGTK all tests have one store of workers.
    gone = "document.title = 'No worker'"
    tab.evaluate(f"(navigator.serviceWorker.getRegistration('/').then(one => one.unregister()).then(() => {{ {gone} }}), true)")
    wait_until(lambda: tab.evaluate("document.title"), lambda title: title == "No worker")
