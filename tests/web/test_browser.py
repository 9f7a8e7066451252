"""What people do with the pages, in a real Chromium against the real server over http on localhost.

It proves that signing in, confirming, changing the password and signing out work by hand, with the keyboard alone and without
scripts; that cookies have in the browser's own store the attributes they should have; that other sites can do none of it in
somebody's name; that nothing of a session is left to look at afterwards; and that every page is readable and accessible,
narrow and wide, in light and in dark.
"""

import json
from itertools import count
from urllib.parse import urlencode

import browser
import pytest
from browser import (
    OtherSite,
    Profiles,
    expect_error_at,
    expect_signed_in,
    expect_signed_out,
    look,
    open_sign_in,
    press,
    sign_in,
    still_signed_in,
    submit_sign_in,
)
from harness import PASSWORD, Sealjar, free_port
from playwright.sync_api import expect
from waiting import until

NEW_PASSWORD = "another horse battery"
SESSION, FORM = "__Host-sealjar", "__Host-sealjar-form"
NUMBERS = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    sealjar = Sealjar(tmp_path_factory.mktemp("home")).start()
    yield sealjar
    sealjar.stop()


@pytest.fixture(scope="module")
def origin(server):
    return f"http://localhost:{server.port}"


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as started:
        yield started


@pytest.fixture
def profile(chromium):
    profiles = Profiles(chromium)
    yield profiles
    profiles.close()


@pytest.fixture
def page(profile):
    return profile().new_page()


@pytest.fixture
def other_site():
    site = OtherSite()
    yield site
    site.stop()


@pytest.fixture
def login(server):
    """An account of this test's own."""
    name = f"user-{next(NUMBERS)}"
    server.add_user(name, "--role", "staff", "--display-name", "Somebody Else", "--email", "somebody@example.com")
    return name


def cookie(context, name=SESSION):
    """The one cookie of that name in the browser's store, or None."""
    found = [cookie for cookie in context.cookies() if cookie["name"] == name]
    assert len(found) <= 1, found
    return found[0] if found else None


def status_of(server, value, host=None):
    """What the server says of a cookie's value."""
    host = host or f"localhost:{server.port}"
    return server.request("GET", "/auth/status", [("Cookie", f"{SESSION}={value}")], host=host).status


# Signing in


def test_signing_in_leads_back_to_where_one_wanted_to_go_also_after_a_wrong_password(page, origin, login):
    open_sign_in(page, origin, "?rd=/protected%3Fview%3Dall%26page%3D2")
    page.get_by_role("checkbox", name="Keep me signed in").check()
    submit_sign_in(page, login, "not the password")
    expect(page).to_have_title("Error: Sign in")
    expect_error_at(page, "Password")
    expect(page.get_by_label("Login name")).to_have_value(login)
    expect(page.get_by_label("Password")).to_have_value("")
    expect(page.get_by_role("checkbox", name="Keep me signed in")).to_be_checked()
    page.get_by_label("Password").fill(PASSWORD)
    press(page, "Sign in")
    page.wait_for_url(f"{origin}/protected?view=all&page=2")
    assert json.loads(page.locator("body").inner_text())["login_name"] == login


def test_what_cannot_be_seen_without_a_session_asks_for_sign_in_and_then_appears(page, origin, login):
    page.goto(f"{origin}/protected?view=all")
    expect(page).to_have_title("Sign in")
    submit_sign_in(page, login)
    assert page.url == f"{origin}/protected?view=all"


@pytest.mark.parametrize("away", ["//{}/", "/\\{}/", "http://{}/", "/\t/{}/", "\\\\{}\\", "javascript:alert(1)", "/%2f{}/"])
def test_nobody_is_led_away_to_another_site_after_signing_in(page, origin, other_site, login, away):
    other_site.pages["/"] = "<title>Elsewhere</title>"
    away = away.format(f"127.0.0.1:{other_site.port}")
    page.goto(f"{origin}/auth/login?" + page.evaluate("rd => new URLSearchParams({rd}).toString()", away))
    if page.get_by_label("Login name").count():
        submit_sign_in(page, login)
    assert page.url.startswith(origin + "/"), page.url
    still_signed = page.goto(f"{origin}/auth/login?" + page.evaluate("rd => new URLSearchParams({rd}).toString()", away))
    if still_signed.ok and (continue_link := page.get_by_role("link", name="Continue")).count():
        with page.expect_navigation():
            continue_link.click()
        assert page.url.startswith(origin + "/"), page.url


def test_the_cookie_of_a_sign_in_is_for_this_host_alone_and_for_no_script(page, origin, login):
    sign_in(page, origin, login)
    session = cookie(page.context)
    assert {key: session[key] for key in ("domain", "path", "httpOnly", "secure", "sameSite")} == {
        "domain": "localhost",
        "path": "/",
        "httpOnly": True,
        "secure": True,
        "sameSite": "Lax",
    }
    assert session["expires"] == -1, "it ends with the browser"
    assert page.evaluate("document.cookie") == ""


def test_the_cookie_of_somebody_who_wants_to_be_remembered_outlives_the_browser(page, origin, login):
    open_sign_in(page, origin, "?rd=/auth/status")
    page.get_by_role("checkbox", name="Keep me signed in").check()
    submit_sign_in(page, login)
    expect_signed_in(page, login)
    expect(page.get_by_text("You stay signed in")).to_be_visible()
    session = cookie(page.context)
    remaining = session["expires"] - page.evaluate("Date.now() / 1000")
    assert 13.9 * 86400 < remaining <= 14 * 86400 + 1
    assert (session["httpOnly"], session["secure"], session["sameSite"]) == (True, True, "Lax")


def test_two_tabs_with_a_sign_in_form_both_work(page, origin, login):
    second = page.context.new_page()
    for tab in (page, second):
        open_sign_in(tab, origin, "?rd=/auth/status")
    for tab in (page, second):
        submit_sign_in(tab, login)
        expect_signed_in(tab, login)
    still_signed_in(page, origin, login)


def test_a_sign_in_form_that_went_stale_comes_again_with_a_message_and_then_works(page, origin, login):
    open_sign_in(page, origin, "?rd=/protected")
    assert cookie(page.context, FORM)
    page.context.clear_cookies(name=FORM)
    submit_sign_in(page, login)
    expect(page.get_by_role("alert")).to_be_visible()
    assert cookie(page.context) is None, "nobody was signed in by it"
    expect(page.get_by_label("Login name")).to_have_value(login)
    page.get_by_label("Password").fill(PASSWORD)
    press(page, "Sign in")
    page.wait_for_url(f"{origin}/protected")


def test_the_form_of_another_browser_signs_nobody_in(profile, origin, login):
    attacker, victim = profile().new_page(), profile().new_page()
    for page in (attacker, victim):
        open_sign_in(page, origin)
    token = attacker.locator("[name=csrf_token]").input_value()
    assert token != victim.locator("[name=csrf_token]").input_value()
    victim.locator("[name=csrf_token]").evaluate("(field, token) => field.value = token", token)
    submit_sign_in(victim, login)
    expect(victim.get_by_role("alert")).to_be_visible()
    assert cookie(victim.context) is None


def test_who_is_signed_in_already_is_told_so_and_may_go_on(page, origin, login):
    sign_in(page, origin, login)
    before = cookie(page.context)["value"]
    page.goto(f"{origin}/auth/login?rd=/protected")
    expect(page.locator(".notice")).to_contain_text(login)
    page.get_by_role("link", name="Continue").click()
    page.wait_for_url(f"{origin}/protected")
    assert cookie(page.context)["value"] == before


def test_signing_in_as_somebody_else_ends_the_session_before(page, server, origin, login):
    sign_in(page, origin, login)
    before = cookie(page.context)["value"]
    assert status_of(server, before) == 200
    sign_in(page, origin, "bob")
    assert status_of(server, before) == 401


def test_signing_in_needs_no_more_than_a_keyboard(page, origin, login):
    open_sign_in(page, origin, "?rd=/auth/status")
    keys = page.keyboard

    def tab_to(target):
        keys.press("Tab")
        expect(target).to_be_focused()
        assert target.evaluate("element => getComputedStyle(element).outlineStyle") == "solid", "the focus is to be seen"

    tab_to(page.get_by_label("Login name"))
    keys.type(login)
    tab_to(page.get_by_label("Password"))
    keys.type(PASSWORD)
    tab_to(page.get_by_role("checkbox"))
    keys.press("Space")
    tab_to(page.get_by_role("button", name="Sign in"))
    keys.press("Enter")
    expect_signed_in(page, login)
    expect(page.get_by_text("You stay signed in")).to_be_visible()
    tab_to(page.get_by_role("button", name="Sign out", exact=True))
    keys.press("Enter")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    expect_signed_out(page, origin)


def test_everything_works_without_scripts(profile, origin, login):
    page = profile(java_script_enabled=False).new_page()
    sign_in(page, origin, login)
    page.get_by_role("link", name="Change your password").click()
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill(NEW_PASSWORD)
    press(page, "Change password")
    still_signed_in(page, origin, login)
    page.goto(f"{origin}/auth/reauthenticate?rd=/auth/status")
    page.get_by_label("Password").fill(NEW_PASSWORD)
    press(page, "Confirm")
    expect_signed_in(page, login)
    press(page, "Sign out everywhere")
    expect_signed_out(page, origin)


def test_a_script_of_this_site_signs_in_and_out_with_json_and_no_token(profile, origin, login):
    # The policy of the pages lets no script fetch anything, so here it is off; an app has one of its own.
    page = profile(bypass_csp=True).new_page()
    open_sign_in(page, origin)
    ask = """async ([path, body]) => {
        const headers = { "Content-Type": "application/json" }
        return (await fetch(path, { method: "POST", headers, body: body && JSON.stringify(body) })).status
    }"""
    assert page.evaluate(ask, ["/auth/login", {"login": login, "password": "not the password"}]) == 401
    assert page.evaluate(ask, ["/auth/login", {"login": login, "password": PASSWORD}]) == 200
    still_signed_in(page, origin, login)
    assert page.evaluate(ask, ["/auth/logout", None]) == 200
    assert cookie(page.context) is None
    expect_signed_out(page, origin)


# The session


def test_the_page_of_the_session_says_who_and_until_when(page, origin, login):
    sign_in(page, origin, login)
    facts = dict(zip(page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts(), strict=True))
    assert (facts["Name"], facts["Email"], facts["Roles"]) == ("Somebody Else", "somebody@example.com", "staff")
    times = [page.evaluate("text => Date.parse(text)", time.get_attribute("datetime")) for time in page.locator("time").all()]
    signed_in, unused, in_any_case = times
    assert unused - signed_in == 30 * 60 * 1000
    assert in_any_case - signed_in == 12 * 3600 * 1000


def test_a_change_of_password_ends_the_sessions_elsewhere_and_goes_on_here(profile, server, origin, login):
    here, elsewhere = profile().new_page(), profile().new_page()
    for page in (here, elsewhere):
        sign_in(page, origin, login)
    before = cookie(here.context)["value"]
    here.get_by_role("link", name="Change your password").click()

    def change(old, new):
        here.get_by_label("Current password").fill(old)
        here.get_by_label("New password").fill(new)
        press(here, "Change password")

    change("not the password", NEW_PASSWORD)
    expect_error_at(here, "Current password")
    still_signed_in(elsewhere, origin, login)
    here.get_by_label("New password").evaluate("field => field.removeAttribute('minlength')")
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


def test_confirming_takes_the_password_and_makes_a_fresh_session(page, server, origin, login):
    sign_in(page, origin, login)
    before = cookie(page.context)["value"]
    page.goto(f"{origin}/auth/reauthenticate?rd=/protected%3Fsafe%3D1")
    expect(page).to_have_title("Confirm that it is you")
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


def test_confirming_without_a_session_takes_one_sign_in_and_no_second_password(page, origin, login):
    page.goto(f"{origin}/auth/reauthenticate?rd=/protected%3Fsafe%3D1")
    expect(page).to_have_title("Sign in")
    submit_sign_in(page, login)
    assert page.url == f"{origin}/protected?safe=1"


# Signing out


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


def test_signing_out_everywhere_ends_the_session_in_the_other_browser(profile, origin, login):
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
def test_going_back_after_a_sign_out_shows_nothing_of_the_session(page, origin, login, button):
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


# Other sites

TARGETS = ["/auth/login", "/auth/logout", "/auth/logout/all", "/auth/password", "/auth/reauthenticate"]
ATTACKS = {
    # A name for the attacker: where its page is, what the browser says of it, and whether it sends the session's cookie along.
    "another address": ("http://127.0.0.1:{}", "cross-site", False),
    "another name": ("http://evil.localhost:{}", "cross-site", False),
    "another port": ("http://localhost:{}", "same-site", True),
}


# Everything that a form of ours could hold, with the right password even, but for a token.
FIELDS = {
    "login": "bob",
    "password": PASSWORD,
    "old_password": PASSWORD,
    "new_password": NEW_PASSWORD,
    "rd": "/auth/status",
    "csrf_token": "x" * 86,
}


def attack_form(target):
    hidden = "".join(f"<input type=hidden name={name} value='{value}'>" for name, value in FIELDS.items())
    return f"<form method=post action='{target}'>{hidden}<button>Win</button></form>"


@pytest.mark.parametrize("attacker", ATTACKS)
def test_a_form_of_another_site_does_nothing_in_somebodys_name(page, origin, other_site, login, attacker):
    site, says, with_cookie = ATTACKS[attacker]
    sign_in(page, origin, login)
    before = cookie(page.context)["value"]
    for target in TARGETS:
        other_site.pages["/win"] = attack_form(origin + target)
        page.goto(site.format(other_site.port) + "/win")
        with page.expect_response(origin + target) as answer:
            page.get_by_role("button", name="Win").click()
        sent = answer.value.request.all_headers()
        assert sent["sec-fetch-site"] == says
        assert ("cookie" in sent) == with_cookie
        assert answer.value.status == 403, target
        assert SESSION + "=" not in answer.value.all_headers().get("set-cookie", ""), target
        page.wait_for_url(origin + target)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert cookie(page.context)["value"] == before
        still_signed_in(page, origin, login)
    open_sign_in(page, origin, "?rd=/auth/status")
    submit_sign_in(page, login, PASSWORD)
    expect_signed_in(page, login)


def test_nobody_is_signed_in_by_a_form_of_another_site(page, origin, other_site):
    other_site.pages["/win"] = attack_form(origin + "/auth/login")
    page.goto(f"http://evil.localhost:{other_site.port}/win")
    with page.expect_response(origin + "/auth/login") as answer:
        page.get_by_role("button", name="Win").click()
    assert answer.value.status == 403
    assert cookie(page.context) is None


def test_a_sandboxed_frame_whose_origin_is_null_does_nothing_in_somebodys_name(page, origin, other_site, login):
    sign_in(page, origin, login)
    before = cookie(page.context)["value"]
    for target in TARGETS:
        form = attack_form(origin + target).replace("<form", "<form target=_top").replace('"', "&quot;")
        sandbox = "allow-forms allow-top-navigation"
        # Another port of the same host: from there the session's cookie would come along.
        other_site.pages["/win"] = f'<iframe sandbox="{sandbox}" srcdoc="{form}"></iframe>'
        page.goto(f"http://localhost:{other_site.port}/win")
        with page.expect_response(origin + target) as answer:
            page.frame_locator("iframe").get_by_role("button", name="Win").click()
        assert answer.value.request.all_headers()["origin"] == "null"
        assert answer.value.status == 403, target
        page.wait_for_url(origin + target)
        assert cookie(page.context)["value"] == before
        still_signed_in(page, origin, login)


def test_scripts_of_another_origin_can_neither_act_nor_read(profile, page, server, origin, other_site, login):
    sign_in(page, origin, login)
    before = cookie(page.context)["value"]
    other_site.pages["/"] = "<title>Elsewhere</title>"
    page.goto(f"http://localhost:{other_site.port}/")
    ask = """async ([url, options]) => {
        try { const answer = await fetch(url, options); return [answer.type, answer.status, await answer.text()] }
        catch (error) { return [error.name] }
    }"""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    post = {"method": "POST", "credentials": "include", "mode": "no-cors", "headers": form, "body": urlencode(FIELDS)}
    for target in TARGETS:
        page.evaluate(ask, [origin + target, post])
        assert cookie(page.context)["value"] == before, target
        assert status_of(server, before) == 200, target
    # To send JSON, a script must be let in by CORS first.
    json_post = {"method": "POST", "credentials": "include", "headers": {"Content-Type": "application/json"}, "body": "{}"}
    assert page.evaluate(ask, [origin + "/auth/logout", json_post]) == ["TypeError"]
    assert page.evaluate(ask, [origin + "/auth/status", {"credentials": "include"}]) == ["TypeError"]
    still_signed_in(page, origin, login)
    refused = [text for text in profile.complaints if "CORS" in text or "Failed to load resource" in text]
    assert len(refused) >= 2 and refused == profile.complaints
    profile.complaints.clear()


def test_no_page_can_be_put_into_a_frame(profile, page, origin, other_site, login):
    sign_in(page, origin, login)
    for path in ("/auth/login", "/auth/status", "/auth/password", "/auth/reauthenticate?rd=/", "/no-such-page"):
        other_site.pages["/"] = f"<iframe src='{origin}{path}'></iframe>"
        with page.expect_response(origin + path) as answer:
            page.goto(f"http://localhost:{other_site.port}/")
        assert "cookie" in answer.value.request.all_headers(), "the page would have been one of the session's"
        (frame,) = page.main_frame.child_frames
        assert frame.url.startswith("chrome-error:"), path
        assert "frame-ancestors" in profile.complaints.pop()
        assert profile.complaints == []


# Several hosts


@pytest.fixture
def two_hosts(tmp_path):
    """Starts a server for two hosts; returns it and their origins."""
    sealjar = Sealjar(tmp_path)
    sealjar.port = free_port()
    origins = [f"http://{name}.test.localhost:{sealjar.port}" for name in "ab"]

    def start(*settings):
        return sealjar.start(f"http.public_origins={','.join(origins)}", *settings), *origins

    yield start
    sealjar.stop()


def test_the_session_of_one_host_is_none_on_another(page, two_hosts):
    server, a, b = two_hosts()
    sign_in(page, a, "alice")
    session = cookie(page.context)
    assert session["domain"] == "a.test.localhost"
    expect_signed_out(page, b)
    hosts = [origin.removeprefix("http://") for origin in (a, b)]
    assert [status_of(server, session["value"], host) for host in hosts] == [200, 401], "not even a copy of the cookie"
    still_signed_in(page, a, "alice")


def test_with_a_cookie_domain_one_session_is_good_on_both_hosts_and_ends_on_both(page, two_hosts):
    _, a, b = two_hosts("cookie.domain=test.localhost")
    sign_in(page, a, "alice")
    session = cookie(page.context, "__Secure-sealjar")
    assert (session["domain"], session["secure"], session["httpOnly"]) == (".test.localhost", True, True)
    assert cookie(page.context) is None
    still_signed_in(page, b, "alice")
    press(page, "Sign out")
    expect(page.get_by_text("You are signed out")).to_be_visible()
    assert cookie(page.context, "__Secure-sealjar") is None
    for origin in (a, b):
        expect_signed_out(page, origin)


def test_with_a_cookie_domain_a_sign_in_on_one_host_leads_back_to_the_other(page, two_hosts, other_site):
    """The pages' policy covers where forms lead to in the end, and must let them go there."""
    _, a, b = two_hosts("cookie.domain=test.localhost")
    open_sign_in(page, a, f"?rd={b}/protected")
    submit_sign_in(page, "alice")
    assert page.url == f"{b}/protected"
    other_site.pages["/"] = "<title>Elsewhere</title>"
    open_sign_in(page, a, f"?rd=http://evil.localhost:{other_site.port}/")
    submit_sign_in(page, "alice")
    assert page.url.startswith(a + "/")


def test_over_plain_http_the_pages_warn_and_work(profile, tmp_path):
    server = Sealjar(tmp_path).start("cookie.plain_http=true")
    try:
        page = profile().new_page()
        origin = f"http://localhost:{server.port}"
        open_sign_in(page, origin, "?rd=/auth/status")
        expect(page.get_by_role("banner")).to_contain_text("Never use this outside your own machine")
        look(page, "plain-http")
        submit_sign_in(page, "alice")
        expect_signed_in(page, "alice")
        session = cookie(page.context, "sealjar-insecure")
        assert (session["secure"], session["httpOnly"], session["sameSite"]) == (False, True, "Lax")
        press(page, "Sign out")
        expect_signed_out(page, origin)
    finally:
        server.stop()


# What everything looks like, and errors


def test_the_sign_in_page_is_for_everybody(page, origin, login):
    open_sign_in(page, origin)
    look(page, "sign-in")
    submit_sign_in(page, login, "not the password")
    expect_error_at(page, "Password")
    look(page, "sign-in-wrong")
    page.context.clear_cookies(name=FORM)
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
    page.get_by_label("Current password").fill("not the password")
    page.get_by_label("New password").fill(NEW_PASSWORD)
    press(page, "Change password")
    expect_error_at(page, "Current password")
    look(page, "password-wrong")
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill(NEW_PASSWORD)
    press(page, "Change password")
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


def test_a_form_sent_after_the_session_has_ended_gets_a_page_that_leads_to_sign_in(page, server, origin, login):
    sign_in(page, origin, login)
    page.goto(f"{origin}/auth/password")
    server.command("revoke", "--user", login)
    value = cookie(page.context)["value"]
    until(lambda: status_of(server, value), lambda status: status == 401)
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill(NEW_PASSWORD)
    press(page, "Change password")
    expect(page.get_by_role("button", name="Sign in").or_(page.get_by_role("link", name="Sign in"))).to_be_visible()
    look(page, "session-ended")


def test_the_policy_of_every_page_allows_no_script_and_no_frame(page, origin):
    for path in ("/auth/login", "/auth/status", "/no-such-page"):
        headers = page.goto(origin + path).headers
        policy = [part.strip() for part in headers["content-security-policy"].split(";")]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "base-uri 'none'" in policy, path
        assert not [part for part in policy if "unsafe" in part or "http" in part or part.startswith("script-src")], path
        assert headers["referrer-policy"] == "same-origin"
        assert "no-store" in headers["cache-control"]
    assert page.locator("script, style, [style], [onclick]").count() == 0
