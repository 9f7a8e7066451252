"""Every page is readable and accessible, narrow and wide, in light and in dark, with the longest names; errors are pages for
people and problems for programs; and no page does what the policy forbids."""

from browser import (
    choose_password,
    cookie,
    expect_error_at,
    look,
    open_sign_in,
    press,
    sign_in,
    spoil_token,
    status_of,
    still_signed_in,
    submit_sign_in,
)
from harness import PASSWORD
from playwright.sync_api import expect
from waiting import until

NEW_PASSWORD = "another horse battery"


def test_the_sign_in_page_is_for_everybody(page, origin, login):
    open_sign_in(page, origin)
    look(page, "sign-in")
    submit_sign_in(page, login, "not the password")
    expect_error_at(page, "Password")
    look(page, "sign-in-wrong")
    spoil_token(page)
    submit_sign_in(page, login)
    expect(page.get_by_role("alert")).to_be_visible()
    look(page, "sign-in-stale")
    sign_in(page, origin, login)
    page.goto(f"{origin}/auth/login?rd=/protected")
    look(page, "sign-in-already")


def test_the_page_of_the_session_is_for_everybody(page, origin, login):
    sign_in(page, origin, login)
    look(page, "session")
    press(page, "Sign out")
    expect(page.get_by_text("You are signed out")).to_be_visible()
    look(page, "signed-out")


def test_the_longest_names_fit_on_the_narrowest_screen(page, server, origin):
    name = "w" * 64
    roles = [word for number in range(4) for word in ("--role", f"{number}" * 64)]
    server.add_user(name, *roles, "--display-name", "W" * 64, "--email", "w" * 60 + "@" + "w" * 60 + ".example.com")
    sign_in(page, origin, name)
    look(page, "session-long")
    page.goto(f"{origin}/auth/login")
    look(page, "sign-in-long")


def test_the_page_to_change_the_password_is_for_everybody(page, origin, login):
    sign_in(page, origin, login)
    page.goto(f"{origin}/auth/password")
    look(page, "password")
    choose_password(page, "not the password", NEW_PASSWORD)
    expect_error_at(page, "Current password")
    look(page, "password-wrong")
    choose_password(page, PASSWORD, NEW_PASSWORD)
    expect(page.get_by_role("status")).to_be_visible()
    look(page, "password-changed")


def test_the_page_to_confirm_is_for_everybody(page, origin, login):
    sign_in(page, origin, login)
    page.goto(f"{origin}/auth/reauthenticate?rd=/protected")
    look(page, "confirm")
    page.get_by_label("Password").fill("not the password")
    press(page, "Confirm")
    expect_error_at(page, "Password")
    look(page, "confirm-wrong")


def test_errors_are_pages_for_people_and_problems_for_programs(profile, origin, login):
    page = profile().new_page()
    assert page.goto(f"{origin}/no-such-page").status == 404
    look(page, "error-404")
    sign_in(page, origin, login)
    page.locator("form[action='/auth/logout/all'] [name=csrf_token]").evaluate("field => field.value = 'another'")
    with page.expect_response(lambda answer: answer.request.method == "POST") as answer:
        press(page, "Sign out everywhere")
    assert answer.value.status == 403
    assert answer.value.headers["content-type"].startswith("text/html")
    look(page, "error-403")
    still_signed_in(page, origin, login)

    # The policy lets no script of a page fetch anything, so here it is off.
    program = profile(bypass_csp=True).new_page()
    open_sign_in(program, origin)
    ask = """async ([method, url]) => {
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
        assert program.evaluate(ask, [method, path]) == [status, "application/problem+json", reason], path


def test_a_form_sent_after_the_session_leads_to_sign_in(page, server, origin, login):
    sign_in(page, origin, login)
    page.goto(f"{origin}/auth/password")
    server.command("revoke", "--user", login)
    value = cookie(page.context)["value"]
    until(lambda: status_of(server, value), lambda status: status == 401)
    choose_password(page, PASSWORD, NEW_PASSWORD)
    expect(page.get_by_role("button", name="Sign in").or_(page.get_by_role("link", name="Sign in"))).to_be_visible()
    look(page, "session-ended")


def test_the_policy_of_every_page_allows_no_script_and_no_frame(page, origin):
    for path in ("/auth/login", "/auth/status", "/no-such-page"):
        headers = page.goto(origin + path).headers
        policy = [part.strip() for part in headers["content-security-policy"].split(";")]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "base-uri 'none'" in policy, path
        # The origin is plain http here.
        policy.remove("form-action 'self' https: http:")
        assert not [part for part in policy if "unsafe" in part or "http" in part or part.startswith("script-src")], path
        assert headers["referrer-policy"] == "same-origin"
        assert "no-store" in headers["cache-control"]
    assert page.locator("script, style, [style], [onclick]").count() == 0
