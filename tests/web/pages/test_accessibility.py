"""Tests that every page is readable and accessible, in narrow and wide windows, in light and dark color schemes, and with the
longest names; that errors are pages for users and problem details for programs; and that no page violates the
Content-Security-Policy."""

from browser import (
    check_page,
    choose_password,
    cookie,
    expect_error_at,
    expect_still_signed_in,
    invalidate_form_token,
    open_sign_in,
    press,
    sign_in,
    status_of,
    submit_sign_in,
)
from harness import PASSWORD
from playwright.sync_api import expect
from waiting import wait_until

NEW_PASSWORD = "another horse battery"


def test_the_sign_in_page_is_accessible(page, origin, login):
    open_sign_in(page, origin)
    check_page(page, "sign-in")
    submit_sign_in(page, login, "not the password")
    expect_error_at(page, "Password")
    check_page(page, "sign-in-wrong")
    invalidate_form_token(page)
    submit_sign_in(page, login)
    expect(page.get_by_role("alert")).to_be_visible()
    check_page(page, "sign-in-stale")
    sign_in(page, origin, login)
    page.goto(f"{origin}/auth/login?rd=/protected")
    check_page(page, "sign-in-already")


def test_the_session_page_is_accessible(page, origin, login):
    sign_in(page, origin, login)
    check_page(page, "session")
    press(page, "Sign out")
    expect(page.get_by_text("You are signed out")).to_be_visible()
    check_page(page, "signed-out")


def test_the_longest_names_fit_on_the_narrowest_screen(page, server, origin):
    name = "w" * 64
    roles = [word for number in range(4) for word in ("--role", f"{number}" * 64)]
    server.add_user(name, *roles, "--display-name", "W" * 64, "--email", "w" * 60 + "@" + "w" * 60 + ".example.com")
    sign_in(page, origin, name)
    check_page(page, "session-long")
    page.goto(f"{origin}/auth/login")
    check_page(page, "sign-in-long")


def test_the_password_page_is_accessible(page, origin, login):
    sign_in(page, origin, login)
    page.goto(f"{origin}/auth/password")
    check_page(page, "password")
    choose_password(page, "not the password", NEW_PASSWORD)
    expect_error_at(page, "Current password")
    check_page(page, "password-wrong")
    choose_password(page, PASSWORD, NEW_PASSWORD)
    expect(page.get_by_role("status")).to_be_visible()
    check_page(page, "password-changed")


def test_the_confirmation_page_is_accessible(page, origin, login):
    sign_in(page, origin, login)
    page.goto(f"{origin}/auth/reauthenticate?rd=/protected")
    check_page(page, "confirm")
    page.get_by_label("Password").fill("not the password")
    press(page, "Confirm")
    expect_error_at(page, "Password")
    check_page(page, "confirm-wrong")


def test_errors_are_pages_for_browsers_and_json_for_programs(profile, origin, login):
    page = profile().new_page()
    assert page.goto(f"{origin}/no-such-page").status == 404
    check_page(page, "error-404")
    sign_in(page, origin, login)
    page.locator("form[action='/auth/logout/all'] [name=csrf_token]").evaluate("field => field.value = 'another'")
    with page.expect_response(lambda answer: answer.request.method == "POST") as answer:
        press(page, "Sign out everywhere")
    assert answer.value.status == 403
    assert answer.value.headers["content-type"].startswith("text/html")
    check_page(page, "error-403")
    expect_still_signed_in(page, origin, login)

    # The policy of the pages forbids scripts to send requests, so it is disabled here.
    program = profile(bypass_csp=True).new_page()
    open_sign_in(program, origin)
    fetch = """async ([method, url]) => {
        const answer = await fetch(url, { method })
        return [answer.status, answer.headers.get("Content-Type"), (await answer.json()).reason]
    }"""
    for method, path, status, reason in [
        ("GET", "/no-such-page", 404, "not-found"),
        ("GET", "/auth/status", 401, "missing"),
        ("GET", "/protected", 401, "missing"),
        ("POST", "/auth/logout/all", 403, "form-token"),
        ("DELETE", "/auth/login", 405, "method"),
    ]:
        assert program.evaluate(fetch, [method, path]) == [status, "application/problem+json", reason], path


def test_a_form_sent_after_the_session_ended_leads_to_sign_in(page, server, origin, login):
    sign_in(page, origin, login)
    page.goto(f"{origin}/auth/password")
    server.command("revoke", "--user", login)
    value = cookie(page.context)["value"]
    wait_until(lambda: status_of(server, value), lambda status: status == 401)
    choose_password(page, PASSWORD, NEW_PASSWORD)
    expect(page.get_by_role("button", name="Sign in").or_(page.get_by_role("link", name="Sign in"))).to_be_visible()
    check_page(page, "session-ended")


def test_the_policy_of_every_page_allows_no_script_and_no_frame(page, origin):
    for path in ("/auth/login", "/auth/status", "/no-such-page"):
        headers = page.goto(origin + path).headers
        policy = [part.strip() for part in headers["content-security-policy"].split(";")]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "base-uri 'none'" in policy, path
        # The origin of this server uses plain HTTP.
        policy.remove("form-action 'self' https: http:")
        assert not [part for part in policy if "unsafe" in part or "http" in part or part.startswith("script-src")], path
        assert headers["referrer-policy"] == "same-origin"
        assert "no-store" in headers["cache-control"]
    assert page.locator("script, style, [style], [onclick]").count() == 0
