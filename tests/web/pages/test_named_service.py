"""Tests the pages of a service with a title and a logo, and the pages for users who cannot continue: at a host that is not
configured, without the required role, and after the session has ended."""

import pytest
from browser import check_page, cookie, expect_signed_in, status_of, submit_sign_in
from harness import Sealjar
from playwright.sync_api import expect
from waiting import wait_until

TITLE = "Café & Söhne"
# An SVG image with a size, a style and a script, as drawing programs write it.
LOGO = """<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="120" height="40" viewBox="0 0 120 40">
<style>.jar { fill: #b4461e }</style>
<rect class="jar" width="120" height="40" rx="8"/>
<script>document.title = "a script of the logo"</script>
</svg>"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    (home / "logo.svg").write_text(LOGO)
    sealjar = Sealjar(home).start(f"pages.title={TITLE}", "pages.logo=logo.svg", "pages.home=/protected")
    yield sealjar
    sealjar.stop()


def natural_width(image) -> int:
    return image.evaluate("image => image.complete && image.naturalWidth")


def test_every_page_shows_the_title_the_logo_and_the_host(page, server, origin):
    page.goto(f"{origin}/auth/login")
    expect(page).to_have_title(f"Sign in · {TITLE}")
    main = page.get_by_role("main")
    for text in (TITLE, f"localhost:{server.port}"):
        expect(main.get_by_text(text, exact=True)).to_be_visible()
    assert natural_width(main.locator("img")) == 120
    assert page.locator("link[rel=icon]").get_attribute("href") == main.locator("img").get_attribute("src")
    check_page(page, "sign-in-named")


def test_a_long_title_is_shown_below_a_wide_logo(page, tmp_path):
    """Next to the logo, a narrow window would have space for three letters only. So the title is below the logo."""
    (tmp_path / "logo.svg").write_text(LOGO.replace("120", "400"))
    title = "The intranet of Example Incorporated"
    sealjar = Sealjar(tmp_path).start(f"pages.title={title}", "pages.logo=logo.svg")
    try:
        page.set_viewport_size({"width": 320, "height": 800})
        page.goto(f"http://localhost:{sealjar.port}/auth/login")
        main = page.get_by_role("main")
        logo, text = main.locator("img").bounding_box(), main.get_by_text(title, exact=True).bounding_box()
        assert text["y"] >= logo["y"] + logo["height"] and text["height"] < 60, (logo, text)
        check_page(page, "sign-in-wide-logo")
    finally:
        sealjar.stop()


def test_a_logo_that_is_opened_directly_runs_no_script(profile, origin):
    page = profile().new_page()
    page.goto(f"{origin}/auth/logo")
    assert page.title() == ""
    assert page.evaluate("getComputedStyle(document.querySelector('rect')).fill") == "rgb(180, 70, 30)"
    # Chromium reports that it blocked the script.
    profile.expect_complaint(r"Blocked script execution|Content Security Policy")


def test_the_page_for_an_unknown_host_names_the_host(page, server):
    address = f"other.localhost:{server.port}"
    assert page.goto(f"http://{address}/auth/login").status == 421
    expect(page.get_by_role("heading")).to_have_text("This address is not set up")
    expect(page.get_by_role("main").get_by_text(address, exact=True)).to_be_visible()
    expect(page.get_by_text("http.public_origins")).to_be_visible()
    assert natural_width(page.locator("img")) == 120, "the style and the logo are there for this host, too"
    check_page(page, "error-421")


def test_the_sign_in_page_explains_why_the_session_ended(page, server, origin, login):
    page.goto(f"{origin}/auth/login?rd=/auth/status")
    submit_sign_in(page, login)
    expect_signed_in(page, login)
    value = cookie(page.context)["value"]
    server.command("revoke", "--user", login)
    wait_until(lambda: status_of(server, value), lambda status: status == 401)
    page.goto(f"{origin}/protected")
    expect(page.get_by_role("status")).to_contain_text("your account was changed")
    check_page(page, "sign-in-ended")
    submit_sign_in(page, login)
    assert page.url == f"{origin}/protected"


def test_a_sign_in_without_a_return_url_leads_home(page, origin, login):
    page.goto(f"{origin}/auth/login")
    submit_sign_in(page, login)
    assert page.url == f"{origin}/protected"
    page.goto(f"{origin}/no-such-page")
    page.get_by_role("link", name="Go to the home page").click()
    page.wait_for_url(f"{origin}/protected")
