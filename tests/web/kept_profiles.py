"""Chromium with profiles that are kept in a directory, so that one can be copied with the cookies in it, and what its users do
with a session for hours."""

import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from browser import SWITCHES, cookie, find_chromium, open_sign_in, press
from harness import PASSWORD
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

# The requests of one page at the same time.
PARTS = 50
REQUEST_PARTS = """([path, count]) => {
    window.parts = Promise.all([...Array(count).keys()].map(async number => (await fetch(`${path}?part=${number}`)).status));
}"""
# Chromium's locks: a copy of a profile must not have them.
LOCKS = shutil.ignore_patterns("Singleton*")


class KeptProfiles:
    """Starts Chromium on a profile's directory below `here`, and ends it. `switches` are more of its own."""

    def __init__(self, playwright, here: Path, *switches: str):
        self.playwright, self.here, self.switches, self.contexts = playwright, here, switches, []

    def start(self, name: str) -> BrowserContext:
        options = {"executable_path": find_chromium(), "args": [*SWITCHES, *self.switches], "ignore_https_errors": True}
        context = self.playwright.chromium.launch_persistent_context(self.here / name, **options)
        self.contexts.append(context)
        return context

    def signed_in(self, name: str, origin: str, login: str = "alice"):
        """Makes a profile with a remembered session, and closes it."""
        context = self.start(name)
        remember(context.pages[0], origin, login)
        context.close()

    def copy(self, name: str, copy: str):
        shutil.copytree(self.here / name, self.here / copy, ignore=LOCKS)

    def close(self):
        for context in self.contexts:
            with suppress(Exception):  # closed already
                context.close()


@contextmanager
def kept_profiles(here: Path, *switches: str):
    with sync_playwright() as playwright:
        profiles = KeptProfiles(playwright, here, *switches)
        yield profiles
        profiles.close()


def remember(page: Page, origin: str, login: str = "alice"):
    """Signs in for longer than the browser runs."""
    open_sign_in(page, origin, "?rd=/auth/status")
    page.get_by_label("Login name").fill(login)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Keep me signed in").check()
    press(page, "Sign in")


def opens(page: Page, url: str) -> bool:
    """Whether the page at this address opens, and not the one to sign in at or one that says that there is no session."""
    answer = page.goto(url)
    return answer.ok and urlsplit(page.url).path == urlsplit(url).path


def renewals_until_noticed(pages: list, url: str, clock) -> int:
    """Opens a page in each browser whenever the session is due for renewal, until one of them is signed out."""
    for renewal in range(1, 6):
        clock.pass_minutes(5)
        if not all([opens(page, url) for page in pages]):
            return renewal
    raise AssertionError("a copied cookie was not noticed")


def expect_both_signed_out(pages: list, url: str):
    for page in pages:
        assert not opens(page, url)
        expect(page.get_by_role("link", name="Sign in").or_(page.get_by_role("button", name="Sign in"))).to_have_count(1)


def browse_for_two_hours(tabs: list, path: str, url: str, clock):
    """At each renewal, one tab sends many requests at the same time, and the others open pages meanwhile."""
    busy, *others = tabs
    for _ in range(12):
        # Read first: requests that a page sends by itself may renew the session at once.
        before = cookie(busy.context)["value"]
        clock.pass_minutes(10)
        busy.evaluate(REQUEST_PARTS, [path, PARTS])
        for tab in others:
            assert opens(tab, url)
        assert busy.evaluate("window.parts") == [200] * PARTS
        assert cookie(busy.context)["value"] != before, "the session was not renewed"
