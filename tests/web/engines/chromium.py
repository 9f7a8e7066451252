"""Controls Chromium with Playwright."""

from contextlib import contextmanager

import browser
import tab
from playwright.sync_api import BrowserContext, Error, Page


@contextmanager
def start(here):
    """Starts Chromium. Playwright keeps its files in its own temporary directory, not in `here`."""
    with browser.chromium() as chromium:
        yield lambda: Profile(chromium.new_context(ignore_https_errors=True))


class Profile(tab.Profile):
    def __init__(self, context: BrowserContext):
        self.context = context

    def new_tab(self):
        return Tab(self.context.new_page())

    def clear_cookies(self):
        self.context.clear_cookies()

    def close(self):
        self.context.close()


class Tab(tab.Tab):
    def __init__(self, page: Page):
        self.page = page

    def open(self, url):
        self.page.goto(url)

    def evaluate(self, expression):
        try:
            return self.page.evaluate(expression)
        except Error as error:
            if "Execution context was destroyed" in error.message:
                raise tab.PageLeft(error.message) from error
            raise

    def press(self, css):
        self.page.locator(css).click(no_wait_after=True)

    def start_back(self):
        # Playwright's `go_back` waits for a load event, and there is none for a page from the back-forward cache.
        self.page.evaluate("void setTimeout(() => history.back())")

    def download(self, css: str) -> bool:
        """Clicks on a link that starts a download. Returns whether a file was saved."""
        with self.page.expect_download() as download:
            self.press(css)
        return download.value.failure() is None
