"""Other sites can do nothing in somebody's name: with forms, from frames, with scripts, or by showing our pages in a frame."""

from urllib.parse import urlencode

import pytest
from browser import SESSION, cookie, expect_signed_in, open_sign_in, sign_in, status_of, still_signed_in, submit_sign_in
from harness import PASSWORD
from playwright.sync_api import expect

NEW_PASSWORD = "another horse battery"


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


def attack_form(target, token=FIELDS["csrf_token"]):
    fields = {**FIELDS, "csrf_token": token}
    hidden = "".join(f"<input type=hidden name={name} value='{value}'>" for name, value in fields.items())
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


def sign_in_token(page, origin):
    open_sign_in(page, origin)
    return page.locator("input[name=csrf_token]").first.input_value()


@pytest.mark.parametrize("attacker", ATTACKS)
def test_nobody_is_signed_in_by_a_form_of_another_site(profile, origin, other_site, attacker):
    """The form has a token of a sign-in page that the attacker opened."""
    token = sign_in_token(profile().new_page(), origin)
    visitor = profile().new_page()
    sign_in_token(visitor, origin)
    other_site.pages["/win"] = attack_form(origin + "/auth/login", token)
    visitor.goto(ATTACKS[attacker][0].format(other_site.port) + "/win")
    with visitor.expect_response(origin + "/auth/login") as answer:
        visitor.get_by_role("button", name="Win").click()
    assert answer.value.status == 403
    assert cookie(visitor.context) is None


def test_three_sign_in_pages_that_were_opened_at_once_work(profile, origin, login):
    """Each has its own token, and the browser keeps the cookie of the last."""
    context = profile()
    pages = []
    for _ in range(3):
        context.clear_cookies()
        pages.append(context.new_page())
        open_sign_in(pages[-1], origin, "?rd=/auth/status")
    submit_sign_in(pages[0], login, PASSWORD)
    expect_signed_in(pages[0], login)


def test_a_sandboxed_frame_of_origin_null_does_nothing(page, origin, other_site, login):
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


# How a page takes in something of another origin.
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
        # Another port of the same host: from there the session's cookie comes along.
        with page.expect_event("requestfailed", lambda request: request.url == origin + path) as failed:
            page.goto(f"http://localhost:{other_site.port}/")
        # Of an object it is the policy on frames that is heard first.
        why = "" if element == "object" else ".NotSameOrigin"
        assert failed.value.failure == "net::ERR_BLOCKED_BY_RESPONSE" + why, path
    still_signed_in(page, origin, login)
    expected = ("ERR_BLOCKED_BY_RESPONSE", "frame-ancestors", "X-Frame-Options")
    assert [text for text in profile.complaints if not any(word in text for word in expected)] == []
    profile.complaints.clear()
