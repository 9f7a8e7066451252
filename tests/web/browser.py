"""A real Chromium for the tests in this folder: its start, its profiles, and a look at a page as its users see it.

`SCREENSHOTS` names a folder for pictures of every page that is looked at.
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

# Everything that would reach out to the network by itself is off.
SWITCHES = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync""".split()
# What axe could not decide counts as a problem too: else nobody would notice that contrast is no longer measured.
RUN_AXE = """axe.run({ resultTypes: ["violations", "incomplete"] }).then(({ violations, incomplete, passes }) => [
    [...violations, ...incomplete].flatMap(({ id, nodes }) => nodes.map(({ html }) => [id, html])),
    passes.map(({ id }) => id),
])"""
SESSION, FORM = "__Host-sealjar", "__Host-sealjar-form"
LOOKS = [(scheme, width) for scheme in ("light", "dark") for width in (320, 1280)]


@contextmanager
def chromium():
    """Chromium; without one the tests are skipped, but not where all must run."""
    binary = find_chromium()
    with sync_playwright() as playwright:
        # Playwright turns the back-forward cache off, and what that keeps after a sign-out is to be seen here.
        off = ["--disable-back-forward-cache"]
        browser = playwright.chromium.launch(executable_path=binary, args=SWITCHES, ignore_default_args=off)
        yield browser
        browser.close()


def find_chromium() -> str:
    return os.environ.get("CHROMIUM") or find_program("chromium")


def find_program(name: str) -> str:
    """Returns the path of a program. Without it, the tests that need it are skipped, but fail where all must run."""
    path = shutil.which(name)
    if not path:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"NO {name} HERE: the browser tests did not run")
    return path


class Profiles:
    """Browser profiles that share nothing, and what their pages complained about: scripts, violated policies, failed loads."""

    def __init__(self, browser):
        self.browser, self.contexts, self.complaints = browser, [], []

    def __call__(self, **options) -> BrowserContext:
        context = self.browser.new_context(**options)
        self.contexts.append(context)
        context.on("console", lambda message: self._note(message.type, message.text))
        context.on("weberror", lambda error: self._note("error", str(error.error)))
        return context

    def _note(self, kind: str, text: str):
        # Chromium writes a line for every answer that is no success; the tests look at the statuses themselves.
        a_status = re.match(r"Failed to load resource: the server responded with a status of 4\d\d", text)
        if kind in ("error", "warning") and not a_status:
            self.complaints.append(text)

    def expected(self, pattern: str):
        """What a test provokes, and so is no complaint; it must have come."""
        before = len(self.complaints)
        self.complaints = [text for text in self.complaints if not re.search(pattern, text)]
        assert len(self.complaints) < before, f"nothing said {pattern!r}"

    def close(self):
        for context in self.contexts:
            context.close()
        assert self.complaints == []


def expect_title(page: Page, heading: str):
    """The page has this heading, and its title the host as well."""
    expect(page).to_have_title(f"{heading} · {urlsplit(page.url).netloc}")


def open_sign_in(page: Page, origin: str, query: str = ""):
    page.goto(f"{origin}/auth/login{query}")
    expect_title(page, "Sign in")


def submit_sign_in(page: Page, login: str, password: str = PASSWORD):
    page.get_by_label("Login name").fill(login)
    page.get_by_label("Password").fill(password)
    press(page, "Sign in")


def spoil_token(page: Page):
    """Makes the form's token invalid."""
    page.locator("[name=csrf_token]").evaluate("field => field.value = 'x'.repeat(90)")


def press(page: Page, button: str):
    """Presses a button and waits for the page that comes of it."""
    with page.expect_navigation():
        page.get_by_role("button", name=button, exact=True).click()


def sign_in(page: Page, origin: str, login: str):
    """Signs in and ends on the page of the session."""
    open_sign_in(page, origin, "?rd=/auth/status")
    submit_sign_in(page, login)
    expect_signed_in(page, login)


def expect_signed_in(page: Page, login: str):
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed in")
    expect(page.locator("dd").first).to_have_text(login)


def still_signed_in(page: Page, origin: str, login: str):
    page.goto(f"{origin}/auth/status")
    expect_signed_in(page, login)


def expect_signed_out(page: Page, origin: str):
    """No session is left in this profile, whatever the page that says so."""
    page.goto(f"{origin}/auth/status")
    expect(page.get_by_role("button", name="Sign out")).to_have_count(0)
    expect(page.get_by_role("link", name="Sign in").or_(page.get_by_role("button", name="Sign in"))).to_have_count(1)


def choose_password(page: Page, old: str, new: str, again: str | None = None):
    """Fills in the form for a change of the password, and sends it."""
    page.get_by_label("Current password").fill(old)
    page.get_by_label("New password", exact=True).fill(new)
    page.get_by_label("New password again").fill(again or new)
    press(page, "Change password")


def expect_error_at(page: Page, label: str, text: str | None = None):
    """The field is marked as wrong, has the focus, and is described by an alert."""
    field = page.get_by_label(label, exact=True)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    alert = page.get_by_role("alert")
    expect(alert).to_have_count(1)
    assert alert.get_attribute("id") in field.get_attribute("aria-describedby").split()
    if text:
        expect(alert).to_have_text(text)


def look(page: Page, name: str):
    """Looks at a page in light and dark, narrow and wide: nothing to scroll sideways, nothing that axe finds, targets large
    enough for a thumb."""
    page.evaluate(AXE_SCRIPT)
    for scheme, width in LOOKS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 720})
        what = f"{name} in {scheme}, {width} px wide"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{what} scrolls sideways"
        targets = page.locator("button, main a, input:not([type=hidden], [type=checkbox]), label:has(input)")
        sizes = targets.evaluate_all("all => all.map(one => [one.getBoundingClientRect().height, one.outerHTML])")
        assert [size for size in sizes if size[0] < 44] == [], f"{what}: too small for a thumb"
        problems, passed = page.evaluate(RUN_AXE)
        assert problems == [], what
        assert "color-contrast" in passed, f"{what}: axe measured no contrast"
        if folder := os.environ.get("SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=Path(folder, f"{name}-{scheme}-{width}.png"), full_page=True)


def cookie(context, name=SESSION):
    """The one cookie of that name in the browser's store, or None."""
    found = [cookie for cookie in context.cookies() if cookie["name"] == name]
    assert len(found) <= 1, found
    return found[0] if found else None


def status_of(server, value, host=None, name=SESSION):
    """What the server says of a cookie's value."""
    host = host or f"localhost:{server.port}"
    return server.request("GET", "/auth/status", [("Cookie", f"{name}={value}")], host=host).status


class OtherSite:
    """A site of somebody else, on 127.0.0.1 and so on every name of localhost too. `pages` are by path."""

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
