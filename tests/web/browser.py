"""Starts a real Chromium for the tests in this folder, creates browser profiles, and checks the layout and accessibility of
pages.

If the environment variable `SCREENSHOTS` names a folder, `check_page` saves a screenshot of every page there.
"""

import os
import re
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from harness import PASSWORD
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

# Turns off every feature of Chromium that sends network requests of its own.
SWITCHES = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync""".split()
# A check that axe could not decide (`incomplete`) counts as a problem. Otherwise the tests would pass if axe stopped measuring
# contrast.
RUN_AXE = """axe.run({ resultTypes: ["violations", "incomplete"] }).then(({ violations, incomplete, passes }) => [
    [...violations, ...incomplete].flatMap(({ id, nodes }) => nodes.map(({ html }) => [id, html])),
    passes.map(({ id }) => id),
])"""
# Names of the cookies of a session and of a form.
SESSION = "__Host-sealjar"
FORM = "__Host-sealjar-form"
# Color schemes, and window widths in pixels, that `check_page` tries.
COLOR_SCHEMES_AND_WIDTHS = [(scheme, width) for scheme in ("light", "dark") for width in (320, 1280)]


@contextmanager
def chromium():
    """Yields a running Chromium. If it is not installed, the tests are skipped, or fail under `CI=true`."""
    binary = find_chromium()
    with sync_playwright() as playwright:
        # Playwright turns the back-forward cache off. The tests need it, to check that it shows no page after a logout.
        ignored_default_switches = ["--disable-back-forward-cache"]
        browser = playwright.chromium.launch(executable_path=binary, args=SWITCHES, ignore_default_args=ignored_default_switches)
        yield browser
        browser.close()


def find_chromium() -> str:
    return os.environ.get("CHROMIUM") or find_program("chromium")


def find_program(name: str) -> str:
    """Returns the path of a program. If it is not installed, the calling test is skipped, or fails under `CI=true`."""
    path = shutil.which(name)
    if not path:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"NO {name} HERE: the browser tests did not run")
    return path


class Profiles:
    """Creates isolated browser profiles and collects the messages of their consoles: script errors, policy violations, failed
    loads.

    `close` fails if a message was collected that the test did not expect.
    """

    def __init__(self, browser):
        self.browser = browser
        self.contexts = []
        self.complaints = []

    def __call__(self, **options) -> BrowserContext:
        context = self.browser.new_context(**options)
        self.contexts.append(context)
        context.on("console", lambda message: self._note(message.type, message.text))
        context.on("weberror", lambda error: self._note("error", str(error.error)))
        return context

    def _note(self, kind: str, text: str):
        # Chromium logs every response with an error status. The tests assert the statuses themselves, so these messages are
        # ignored.
        is_error_status = re.match(r"Failed to load resource: the server responded with a status of 4\d\d", text)
        if kind in ("error", "warning") and not is_error_status:
            self.complaints.append(text)

    def expect_complaint(self, pattern: str):
        """Removes the messages that match, which the test caused on purpose. Fails if there are none."""
        count_before = len(self.complaints)
        self.complaints = [text for text in self.complaints if not re.search(pattern, text)]
        assert len(self.complaints) < count_before, f"no console message matches {pattern!r}"

    def close(self):
        for context in self.contexts:
            context.close()
        assert self.complaints == []


def expect_title(page: Page, heading: str):
    """Asserts that the title of the page is this heading and the host."""
    expect(page).to_have_title(f"{heading} · {urlsplit(page.url).netloc}")


def open_sign_in(page: Page, origin: str, query: str = ""):
    page.goto(f"{origin}/auth/login{query}")
    expect_title(page, "Sign in")


def submit_sign_in(page: Page, login: str, password: str = PASSWORD):
    page.get_by_label("Login name").fill(login)
    page.get_by_label("Password").fill(password)
    press(page, "Sign in")


def invalidate_form_token(page: Page):
    """Replaces the form token of the page by an invalid one."""
    page.locator("[name=csrf_token]").evaluate("field => field.value = 'x'.repeat(90)")


def press(page: Page, button: str):
    """Presses a button and waits for the next page."""
    with page.expect_navigation():
        page.get_by_role("button", name=button, exact=True).click()


def sign_in(page: Page, origin: str, login: str):
    """Signs in. Afterwards the browser is on the page of the session."""
    open_sign_in(page, origin, "?rd=/auth/status")
    submit_sign_in(page, login)
    expect_signed_in(page, login)


def expect_signed_in(page: Page, login: str):
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed in")
    expect(page.locator("dd").first).to_have_text(login)


def expect_still_signed_in(page: Page, origin: str, login: str):
    page.goto(f"{origin}/auth/status")
    expect_signed_in(page, login)


def expect_signed_out(page: Page, origin: str):
    """Asserts that this profile has no session: the page offers a way to sign in, and none to sign out."""
    page.goto(f"{origin}/auth/status")
    expect(page.get_by_role("button", name="Sign out")).to_have_count(0)
    expect(page.get_by_role("link", name="Sign in").or_(page.get_by_role("button", name="Sign in"))).to_have_count(1)


def choose_password(page: Page, old: str, new: str, again: str | None = None):
    """Fills in and sends the form that changes the password."""
    page.get_by_label("Current password").fill(old)
    page.get_by_label("New password", exact=True).fill(new)
    page.get_by_label("New password again").fill(again or new)
    press(page, "Change password")


def expect_error_at(page: Page, label: str, text: str | None = None):
    """Asserts that the field is marked as invalid, has the focus, and is described by the only alert of the page."""
    field = page.get_by_label(label, exact=True)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    alert = page.get_by_role("alert")
    expect(alert).to_have_count(1)
    assert alert.get_attribute("id") in field.get_attribute("aria-describedby").split()
    if text:
        expect(alert).to_have_text(text)


def check_page(page: Page, name: str):
    """Asserts, in light and dark color schemes and in narrow and wide windows, that the page does not scroll sideways, that
    [axe](https://github.com/dequelabs/axe-core) finds no accessibility problem, and that buttons and links are large enough to
    touch."""
    page.evaluate(AXE_SCRIPT)
    for scheme, width in COLOR_SCHEMES_AND_WIDTHS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 720})
        variant = f"{name} in {scheme}, {width} px wide"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{variant} scrolls sideways"
        targets = page.locator("button, main a, input:not([type=hidden], [type=checkbox]), label:has(input)")
        sizes = targets.evaluate_all("all => all.map(one => [one.getBoundingClientRect().height, one.outerHTML])")
        assert [size for size in sizes if size[0] < 44] == [], f"{variant}: too small to touch"
        problems, passed = page.evaluate(RUN_AXE)
        assert problems == [], variant
        assert "color-contrast" in passed, f"{variant}: axe did not measure contrast"
        if folder := os.environ.get("SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=Path(folder, f"{name}-{scheme}-{width}.png"), full_page=True)


def cookie(context, name=SESSION):
    """Returns the cookie with this name from the browser's cookie store, or None. Fails if there are several."""
    found = [cookie for cookie in context.cookies() if cookie["name"] == name]
    assert len(found) <= 1, found
    return found[0] if found else None


def status_of(server, value, host=None, name=SESSION):
    """Returns the status of `/auth/status` for a request with this cookie value."""
    host = host or f"localhost:{server.port}"
    return server.request("GET", "/auth/status", [("Cookie", f"{name}={value}")], host=host).status


class OtherSite:
    """A web server of another site. It listens on 127.0.0.1, so every name below localhost reaches it. `pages` maps paths to
    HTML."""

    def __init__(self):
        self.pages = pages = {}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = pages.get(self.path.partition("?")[0])
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write((body or "").encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
