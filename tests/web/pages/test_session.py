"""The session of somebody who is signed in: its page, a change of the password, a confirmation; and signing out, in one tab, in
all browsers, and so that nothing is left to look at."""

import pytest
from browser import (
    choose_password,
    cookie,
    expect_error_at,
    expect_signed_in,
    expect_signed_out,
    expect_title,
    look,
    open_sign_in,
    press,
    sign_in,
    status_of,
    still_signed_in,
    submit_sign_in,
)
from harness import PASSWORD
from playwright.sync_api import expect

NEW_PASSWORD = "another horse battery"


def test_the_page_of_the_session_says_who_and_until_when(page, origin, login):
    sign_in(page, origin, login)
    facts = dict(zip(page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts(), strict=True))
    assert (facts["Name"], facts["Email"], facts["Roles"]) == ("Somebody Else", "somebody@example.com", "staff")
    times = [page.evaluate("text => Date.parse(text)", time.get_attribute("datetime")) for time in page.locator("time").all()]
    signed_in, unused, in_any_case = times
    assert unused - signed_in == 30 * 60 * 1000
    assert in_any_case - signed_in == 12 * 3600 * 1000
    distances = [facts[label].split("\n")[0] for label in ("Signed in", "Ends if not used", "Ends at the latest")]
    assert distances == ["just now", "in 30 minutes", "in 12 hours"]
    assert all(facts[label].endswith(" UTC") for label in ("Signed in", "Ends if not used", "Ends at the latest"))


def test_a_change_of_password_ends_the_sessions_elsewhere(profile, server, origin, login):
    here, elsewhere = profile().new_page(), profile().new_page()
    for page in (here, elsewhere):
        sign_in(page, origin, login)
    before = cookie(here.context)["value"]
    here.get_by_role("link", name="Change your password").click()

    def change(old, new):
        choose_password(here, old, new)

    change("not the password", NEW_PASSWORD)
    expect_error_at(here, "Current password")
    still_signed_in(elsewhere, origin, login)
    for label in ("New password", "New password again"):
        here.get_by_label(label, exact=True).evaluate("field => field.removeAttribute('minlength')")
    change(PASSWORD, "short")
    expect_error_at(here, "New password")
    still_signed_in(elsewhere, origin, login)
    change(PASSWORD, NEW_PASSWORD)
    expect(here.get_by_role("status")).to_be_visible()
    still_signed_in(here, origin, login)
    assert status_of(server, before) == 401, "a copy of the cookie from before is dead"
    expect_signed_out(elsewhere, origin)
    open_sign_in(elsewhere, origin, "?rd=/auth/status")
    submit_sign_in(elsewhere, login, PASSWORD)
    expect_error_at(elsewhere, "Password")
    submit_sign_in(elsewhere, login, NEW_PASSWORD)
    expect_signed_in(elsewhere, login)


def test_a_password_set_by_another_leads_only_to_the_change(page, server, origin, login):
    server.command("users", "passwd", login, "--must-change", stdin="for one day only\n")

    def choose(new):
        choose_password(page, "for one day only", new)

    open_sign_in(page, origin, "?rd=/protected")
    submit_sign_in(page, login, "for one day only")
    expect_title(page, "Choose a new password")
    look(page, "must-change")
    assert cookie(page.context) is None
    choose("password1")
    expect_error_at(page, "New password")
    look(page, "must-change-common")
    assert cookie(page.context) is None
    expect_signed_out(page, origin)
    open_sign_in(page, origin, "?rd=/protected")
    submit_sign_in(page, login, "for one day only")
    choose(NEW_PASSWORD)
    expect(page).to_have_url(f"{origin}/protected")
    still_signed_in(page, origin, login)


def test_confirming_takes_the_password_and_makes_a_fresh_session(page, server, origin, login):
    sign_in(page, origin, login)
    before = cookie(page.context)["value"]
    page.goto(f"{origin}/auth/reauthenticate?rd=/protected%3Fsafe%3D1")
    expect_title(page, "Confirm that it is you")
    expect(page.get_by_label("Login name")).to_have_value(login)
    page.get_by_label("Password").fill("not the password")
    press(page, "Confirm")
    expect_error_at(page, "Password")
    assert status_of(server, before) == 200
    page.get_by_label("Password").fill(PASSWORD)
    press(page, "Confirm")
    page.wait_for_url(f"{origin}/protected?safe=1")
    assert cookie(page.context)["value"] != before
    assert status_of(server, before) == 401


def test_confirming_without_a_session_takes_one_sign_in(page, origin, login):
    page.goto(f"{origin}/auth/reauthenticate?rd=/protected%3Fsafe%3D1")
    expect_title(page, "Sign in")
    submit_sign_in(page, login)
    assert page.url == f"{origin}/protected?safe=1"


# Signing out


def test_from_every_page_of_a_session_one_can_sign_out(page, server, origin, login):
    for path in ("/auth/status", "/auth/password", "/auth/reauthenticate?rd=/"):
        sign_in(page, origin, login)
        value = cookie(page.context)["value"]
        page.goto(origin + path)
        press(page, "Sign out")
        expect(page.get_by_text("You are signed out")).to_be_visible()
        assert status_of(server, value) == 401, path


def test_a_sign_out_in_one_tab_holds_in_the_other(page, server, origin, login):
    sign_in(page, origin, login)
    value = cookie(page.context)["value"]
    asking, leaving = page.context.new_page(), page.context.new_page()
    for tab in (asking, leaving):
        still_signed_in(tab, origin, login)
    press(page, "Sign out")
    expect(page.get_by_text("You are signed out")).to_be_visible()
    assert cookie(page.context) is None
    assert status_of(server, value) == 401, "a copy of the cookie is dead"
    asking.get_by_role("link", name="Change your password").click()
    expect(asking.get_by_label("Current password")).to_have_count(0)
    expect(asking.get_by_role("button", name="Sign in").or_(asking.get_by_role("link", name="Sign in"))).to_be_visible()
    with leaving.expect_response(lambda answer: answer.request.method == "POST") as answer:
        press(leaving, "Sign out")
    assert answer.value.status == 303
    expect(leaving.get_by_text("You are signed out")).to_be_visible()


def test_signing_out_everywhere_reaches_the_other_browser(profile, origin, login):
    here, elsewhere, somebody = (profile().new_page() for _ in range(3))
    for page in (here, elsewhere):
        sign_in(page, origin, login)
    sign_in(somebody, origin, "bob")
    press(here, "Sign out everywhere")
    expect(here.get_by_role("button", name="Sign in")).to_be_visible()
    for page in (here, elsewhere):
        expect_signed_out(page, origin)
    still_signed_in(somebody, origin, "bob")


@pytest.mark.parametrize("button", ["Sign out", "Sign out everywhere"])
def test_going_back_after_a_sign_out_shows_no_session(page, origin, login, button):
    sign_in(page, origin, login)
    page.goto(f"{origin}/auth/password")
    expect(page.get_by_label("Login name")).to_have_value(login)
    page.get_by_role("link", name="Back to your session").click()
    expect_signed_in(page, login)
    press(page, button)
    expect(page.get_by_text("You are signed out")).to_be_visible()
    for _ in range(3):
        # Does not come back if the page was kept in memory, which is a failure too.
        page.go_back(timeout=10_000)
        expect(page.locator("body")).not_to_contain_text(login)
        expect(page.locator("body")).not_to_contain_text("somebody@example.com")
        assert login not in page.content()
