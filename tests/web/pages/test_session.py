"""Tests the pages of a signed-in user: the session page, the change of the password and the confirmation of it, and signing
out in one tab and in all browsers."""

import pytest
from browser import (
    check_page,
    choose_password,
    cookie,
    expect_error_at,
    expect_signed_in,
    expect_signed_out,
    expect_still_signed_in,
    expect_title,
    open_sign_in,
    press,
    sign_in,
    status_of,
    submit_sign_in,
)
from harness import PASSWORD
from playwright.sync_api import expect

NEW_PASSWORD = "another horse battery"


def test_the_session_page_shows_the_user_and_the_deadlines(page, origin, login):
    sign_in(page, origin, login)
    facts = dict(zip(page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts(), strict=True))
    assert (facts["Name"], facts["Email"], facts["Roles"]) == ("Somebody Else", "somebody@example.com", "staff")
    times = [page.evaluate("text => Date.parse(text)", time.get_attribute("datetime")) for time in page.locator("time").all()]
    signed_in, idle_deadline, absolute_deadline = times
    assert idle_deadline - signed_in == 30 * 60 * 1000
    assert absolute_deadline - signed_in == 12 * 3600 * 1000
    distances = [facts[label].split("\n")[0] for label in ("Signed in", "Ends if not used", "Ends at the latest")]
    assert distances == ["just now", "in 30 minutes", "in 12 hours"]
    assert all(facts[label].endswith(" UTC") for label in ("Signed in", "Ends if not used", "Ends at the latest"))


def test_a_change_of_password_ends_the_sessions_elsewhere(profile, server, origin, login):
    here = profile().new_page()
    elsewhere = profile().new_page()
    for page in (here, elsewhere):
        sign_in(page, origin, login)
    before = cookie(here.context)["value"]
    here.get_by_role("link", name="Change your password").click()

    def change(old, new):
        choose_password(here, old, new)

    change("not the password", NEW_PASSWORD)
    expect_error_at(here, "Current password")
    expect_still_signed_in(elsewhere, origin, login)
    for label in ("New password", "New password again"):
        here.get_by_label(label, exact=True).evaluate("field => field.removeAttribute('minlength')")
    change(PASSWORD, "short")
    expect_error_at(here, "New password")
    expect_still_signed_in(elsewhere, origin, login)
    change(PASSWORD, NEW_PASSWORD)
    expect(here.get_by_role("status")).to_be_visible()
    expect_still_signed_in(here, origin, login)
    assert status_of(server, before) == 401, "a copy of the previous cookie is refused"
    expect_signed_out(elsewhere, origin)
    open_sign_in(elsewhere, origin, "?rd=/auth/status")
    submit_sign_in(elsewhere, login, PASSWORD)
    expect_error_at(elsewhere, "Password")
    submit_sign_in(elsewhere, login, NEW_PASSWORD)
    expect_signed_in(elsewhere, login)


def test_a_password_set_by_an_operator_must_be_changed(page, server, origin, login):
    server.command("users", "passwd", login, "--must-change", stdin="for one day only\n")

    def choose(new):
        choose_password(page, "for one day only", new)

    open_sign_in(page, origin, "?rd=/protected")
    submit_sign_in(page, login, "for one day only")
    expect_title(page, "Choose a new password")
    check_page(page, "must-change")
    assert cookie(page.context) is None
    choose("password1")
    expect_error_at(page, "New password")
    check_page(page, "must-change-common")
    assert cookie(page.context) is None
    expect_signed_out(page, origin)
    open_sign_in(page, origin, "?rd=/protected")
    submit_sign_in(page, login, "for one day only")
    choose(NEW_PASSWORD)
    expect(page).to_have_url(f"{origin}/protected")
    expect_still_signed_in(page, origin, login)


def test_confirming_needs_the_password_and_makes_a_new_session(page, server, origin, login):
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


def test_confirming_without_a_session_needs_one_sign_in(page, origin, login):
    page.goto(f"{origin}/auth/reauthenticate?rd=/protected%3Fsafe%3D1")
    expect_title(page, "Sign in")
    submit_sign_in(page, login)
    assert page.url == f"{origin}/protected?safe=1"


# Signing out


def test_every_page_of_a_session_has_a_sign_out_button(page, server, origin, login):
    for path in ("/auth/status", "/auth/password", "/auth/reauthenticate?rd=/"):
        sign_in(page, origin, login)
        value = cookie(page.context)["value"]
        page.goto(origin + path)
        press(page, "Sign out")
        expect(page.get_by_text("You are signed out")).to_be_visible()
        assert status_of(server, value) == 401, path


def test_a_logout_in_one_tab_applies_to_all_tabs(page, server, origin, login):
    sign_in(page, origin, login)
    value = cookie(page.context)["value"]
    second_tab = page.context.new_page()
    third_tab = page.context.new_page()
    for tab in (second_tab, third_tab):
        expect_still_signed_in(tab, origin, login)
    press(page, "Sign out")
    expect(page.get_by_text("You are signed out")).to_be_visible()
    assert cookie(page.context) is None
    assert status_of(server, value) == 401, "a copy of the cookie is refused"
    second_tab.get_by_role("link", name="Change your password").click()
    expect(second_tab.get_by_label("Current password")).to_have_count(0)
    sign_in_control = second_tab.get_by_role("button", name="Sign in").or_(second_tab.get_by_role("link", name="Sign in"))
    expect(sign_in_control).to_be_visible()
    with third_tab.expect_response(lambda answer: answer.request.method == "POST") as answer:
        press(third_tab, "Sign out")
    assert answer.value.status == 303
    expect(third_tab.get_by_text("You are signed out")).to_be_visible()


def test_signing_out_everywhere_reaches_the_other_browser(profile, origin, login):
    here, elsewhere, other_user = (profile().new_page() for _ in range(3))
    for page in (here, elsewhere):
        sign_in(page, origin, login)
    sign_in(other_user, origin, "bob")
    press(here, "Sign out everywhere")
    expect(here.get_by_role("button", name="Sign in")).to_be_visible()
    for page in (here, elsewhere):
        expect_signed_out(page, origin)
    expect_still_signed_in(other_user, origin, "bob")


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
        # Times out, and so fails the test, if the browser kept the page in its back-forward cache.
        page.go_back(timeout=10_000)
        expect(page.locator("body")).not_to_contain_text(login)
        expect(page.locator("body")).not_to_contain_text("somebody@example.com")
        assert login not in page.content()
