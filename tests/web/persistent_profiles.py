"""Chromium with persistent profiles: each is stored in a directory, so that it can be copied together with its cookies. Also
the steps of tests in which users browse with a session for hours."""

import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from browser import SWITCHES, cookie, find_chromium, open_sign_in, press
from harness import PASSWORD
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

# Number of concurrent requests of one page.
PARTS = 50
REQUEST_PARTS = """([path, count]) => {
    window.parts = Promise.all([...Array(count).keys()].map(async number => (await fetch(`${path}?part=${number}`)).status));
}"""
# Chromium's lock files, which a copy of a profile must not have.
LOCKS = shutil.ignore_patterns("Singleton*")


class PersistentProfiles:
    """Starts Chromium with profiles that are stored below `directory`. `switches` are additional command-line switches."""

    def __init__(self, playwright, directory: Path, *switches: str):
        self.playwright = playwright
        self.directory = directory
        self.switches = switches
        self.contexts = []

    def start(self, name: str) -> BrowserContext:
        options = {"executable_path": find_chromium(), "args": [*SWITCHES, *self.switches], "ignore_https_errors": True}
        context = self.playwright.chromium.launch_persistent_context(self.directory / name, **options)
        self.contexts.append(context)
        return context

    def create_signed_in(self, name: str, origin: str, login: str = "alice"):
        """Creates a profile with a session that outlives the browser, and closes the browser."""
        context = self.start(name)
        sign_in_persistently(context.pages[0], origin, login)
        context.close()

    def copy(self, name: str, copy: str):
        shutil.copytree(self.directory / name, self.directory / copy, ignore=LOCKS)

    def close(self):
        for context in self.contexts:
            with suppress(Exception):  # closed already
                context.close()


@contextmanager
def persistent_profiles(directory: Path, *switches: str):
    with sync_playwright() as playwright:
        profiles = PersistentProfiles(playwright, directory, *switches)
        yield profiles
        profiles.close()


def sign_in_persistently(page: Page, origin: str, login: str = "alice"):
    """Signs in with "Keep me signed in", so that the session outlives the browser."""
    open_sign_in(page, origin, "?rd=/auth/status")
    page.get_by_label("Login name").fill(login)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Keep me signed in").check()
    press(page, "Sign in")


def can_open(page: Page, url: str) -> bool:
    """Opens a URL. Returns whether it was shown, and not the sign-in page or an error page instead."""
    answer = page.goto(url)
    return answer.ok and urlsplit(page.url).path == urlsplit(url).path


def renewals_until_noticed(pages: list, url: str, clock) -> int:
    """Opens a page in each browser whenever the session is due for renewal. Returns the number of renewals until one of them
    is signed out."""
    for renewal in range(1, 6):
        clock.pass_minutes(5)
        if not all([can_open(page, url) for page in pages]):
            return renewal
    raise AssertionError("the copied cookie was not detected")


def expect_both_signed_out(pages: list, url: str):
    for page in pages:
        assert not can_open(page, url)
        expect(page.get_by_role("link", name="Sign in").or_(page.get_by_role("button", name="Sign in"))).to_have_count(1)


def browse_for_two_hours(tabs: list, path: str, url: str, clock):
    """For two hours, at each renewal, one tab sends many concurrent requests while the other tabs open pages. All must
    succeed."""
    busy, *others = tabs
    for _ in range(12):
        # Read before the clock moves: requests that the page sends in the background may renew the session immediately.
        before = cookie(busy.context)["value"]
        clock.pass_minutes(10)
        busy.evaluate(REQUEST_PARTS, [path, PARTS])
        for tab in others:
            assert can_open(tab, url)
        assert busy.evaluate("window.parts") == [200] * PARTS
        assert cookie(busy.context)["value"] != before, "the session was not renewed"
