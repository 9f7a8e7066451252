"""Tests that other sites cannot act in the name of a user: with forms, from frames, with scripts, or by showing Sealjar's
pages in a frame."""

from urllib.parse import urlencode

import pytest
from browser import (
    SESSION,
    cookie,
    expect_signed_in,
    expect_still_signed_in,
    open_sign_in,
    sign_in,
    status_of,
    submit_sign_in,
)
from harness import PASSWORD
from playwright.sync_api import expect

NEW_PASSWORD = "another horse battery"


TARGETS = ["/auth/login", "/auth/logout", "/auth/logout/all", "/auth/password", "/auth/reauthenticate"]
ATTACKS = {
    # The attacker's page: its origin, the value of Sec-Fetch-Site that the browser sends, and whether the browser sends the
    # session's cookie.
    "another address": ("http://127.0.0.1:{}", "cross-site", False),
    "another name": ("http://evil.localhost:{}", "cross-site", False),
    "another port": ("http://localhost:{}", "same-site", True),
}


# Every field that a form of Sealjar has, with the correct password, but without a valid form token.
FIELDS = {
    "login": "bob",
    "password": PASSWORD,
    "old_password": PASSWORD,
    "new_password": NEW_PASSWORD,
    "rd": "/auth/status",
    "csrf_token": "x" * 86,
}


def attack_form(target, token=FIELDS["csrf_token"]):
    fields = {**FIELDS, "csrf_token": token}
    hidden = "".join(f"<input type=hidden name={name} value='{value}'>" for name, value in fields.items())
    return f"<form method=post action='{target}'>{hidden}<button>Win</button></form>"


@pytest.mark.parametrize("attacker", ATTACKS)
def test_a_form_of_another_site_cannot_act_for_a_user(page, origin, other_site, login, attacker):
    site, sec_fetch_site, with_cookie = ATTACKS[attacker]
    sign_in(page, origin, login)
    before = cookie(page.context)["value"]
    for target in TARGETS:
        other_site.pages["/win"] = attack_form(origin + target)
        page.goto(site.format(other_site.port) + "/win")
        with page.expect_response(origin + target) as answer:
            page.get_by_role("button", name="Win").click()
        sent = answer.value.request.all_headers()
        assert sent["sec-fetch-site"] == sec_fetch_site
        assert ("cookie" in sent) == with_cookie
        assert answer.value.status == 403, target
        assert SESSION + "=" not in answer.value.all_headers().get("set-cookie", ""), target
        page.wait_for_url(origin + target)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert cookie(page.context)["value"] == before
        expect_still_signed_in(page, origin, login)
    open_sign_in(page, origin, "?rd=/auth/status")
    submit_sign_in(page, login, PASSWORD)
    expect_signed_in(page, login)


def sign_in_token(page, origin):
    open_sign_in(page, origin)
    return page.locator("input[name=csrf_token]").first.input_value()


@pytest.mark.parametrize("attacker", ATTACKS)
def test_a_form_of_another_site_signs_nobody_in(profile, origin, other_site, attacker):
    """The form of the attacker has the form token of a sign-in page that the attacker opened."""
    token = sign_in_token(profile().new_page(), origin)
    visitor = profile().new_page()
    sign_in_token(visitor, origin)
    other_site.pages["/win"] = attack_form(origin + "/auth/login", token)
    visitor.goto(ATTACKS[attacker][0].format(other_site.port) + "/win")
    with visitor.expect_response(origin + "/auth/login") as answer:
        visitor.get_by_role("button", name="Win").click()
    assert answer.value.status == 403
    assert cookie(visitor.context) is None


def test_three_sign_in_pages_opened_together_all_work(profile, origin, login):
    """Each page has its own form token, and the browser keeps only the cookie of the last page."""
    context = profile()
    pages = []
    for _ in range(3):
        context.clear_cookies()
        pages.append(context.new_page())
        open_sign_in(pages[-1], origin, "?rd=/auth/status")
    submit_sign_in(pages[0], login, PASSWORD)
    expect_signed_in(pages[0], login)


def test_a_sandboxed_frame_of_origin_null_cannot_act(page, origin, other_site, login):
    sign_in(page, origin, login)
    before = cookie(page.context)["value"]
    for target in TARGETS:
        form = attack_form(origin + target).replace("<form", "<form target=_top").replace('"', "&quot;")
        sandbox = "allow-forms allow-top-navigation"
        # The page is on another port of the same host, so the browser would send the session's cookie with the form.
        other_site.pages["/win"] = f'<iframe sandbox="{sandbox}" srcdoc="{form}"></iframe>'
        page.goto(f"http://localhost:{other_site.port}/win")
        with page.expect_response(origin + target) as answer:
            page.frame_locator("iframe").get_by_role("button", name="Win").click()
        assert answer.value.request.all_headers()["origin"] == "null"
        assert answer.value.status == 403, target
        page.wait_for_url(origin + target)
        assert cookie(page.context)["value"] == before
        expect_still_signed_in(page, origin, login)


def test_scripts_of_another_origin_can_neither_act_nor_read(profile, page, server, origin, other_site, login):
    sign_in(page, origin, login)
    before = cookie(page.context)["value"]
    other_site.pages["/"] = "<title>Elsewhere</title>"
    page.goto(f"http://localhost:{other_site.port}/")
    send = """async ([url, options]) => {
        try { const answer = await fetch(url, options); return [answer.type, answer.status, await answer.text()] }
        catch (error) { return [error.name] }
    }"""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    post = {"method": "POST", "credentials": "include", "mode": "no-cors", "headers": form, "body": urlencode(FIELDS)}
    for target in TARGETS:
        page.evaluate(send, [origin + target, post])
        assert cookie(page.context)["value"] == before, target
        assert status_of(server, before) == 200, target
    # A script of another origin can send JSON only if a CORS preflight permits it.
    json_post = {"method": "POST", "credentials": "include", "headers": {"Content-Type": "application/json"}, "body": "{}"}
    assert page.evaluate(send, [origin + "/auth/logout", json_post]) == ["TypeError"]
    assert page.evaluate(send, [origin + "/auth/status", {"credentials": "include"}]) == ["TypeError"]
    expect_still_signed_in(page, origin, login)
    refused = [text for text in profile.complaints if "CORS" in text or "Failed to load resource" in text]
    assert len(refused) >= 2 and refused == profile.complaints
    profile.complaints.clear()


def test_no_page_can_be_put_into_a_frame(profile, page, origin, other_site, login):
    sign_in(page, origin, login)
    for path in ("/auth/login", "/auth/status", "/auth/password", "/auth/reauthenticate?rd=/", "/no-such-page"):
        other_site.pages["/"] = f"<iframe src='{origin}{path}'></iframe>"
        with page.expect_response(origin + path) as answer:
            page.goto(f"http://localhost:{other_site.port}/")
        assert "cookie" in answer.value.request.all_headers(), "the browser must send the session's cookie"
        (frame,) = page.main_frame.child_frames
        assert frame.url.startswith("chrome-error:"), path
        assert "frame-ancestors" in profile.complaints.pop()
        assert profile.complaints == []


# Elements by which a page embeds a resource of another origin.
EMBEDDED = {
    "image": "<img src='{}'>",
    "script": "<script src='{}'></script>",
    "stylesheet": "<link rel=stylesheet href='{}'>",
    "media": "<video src='{}'></video>",
    "object": "<object data='{}'></object>",
}


@pytest.mark.parametrize("element", EMBEDDED)
def test_no_page_of_another_origin_can_load_a_session(profile, page, origin, other_site, login, element):
    sign_in(page, origin, login)
    for path in ("/auth/status", "/protected", "/auth/renew", "/auth/verify", "/auth/style.css"):
        other_site.pages["/"] = EMBEDDED[element].format(origin + path)
        # The page is on another port of the same host, so the browser sends the session's cookie.
        with page.expect_event("requestfailed", lambda request: request.url == origin + path) as failed:
            page.goto(f"http://localhost:{other_site.port}/")
        # For an object, Chromium reports the policy for frames instead.
        suffix = "" if element == "object" else ".NotSameOrigin"
        assert failed.value.failure == "net::ERR_BLOCKED_BY_RESPONSE" + suffix, path
    expect_still_signed_in(page, origin, login)
    expected = ("ERR_BLOCKED_BY_RESPONSE", "frame-ancestors", "X-Frame-Options")
    assert [text for text in profile.complaints if not any(word in text for word in expected)] == []
    profile.complaints.clear()
