"""What the tests in this folder do with a browser, in the same way for each engine.

`chromium.py`, `firefox.py` and `webkit.py` implement this with the protocol of their engine. Each has a context manager that
starts one browser for all tests, and makes a `Profile` for each test.
"""

import json
from itertools import count

from waiting import wait_until

MARKS = count(1)


class Gone(Exception):
    """The page was left while the browser evaluated a script in it."""


class Profile:
    """Cookies and tabs of their own."""

    def new_tab(self) -> "Tab":
        raise NotImplementedError

    def clear_cookies(self):
        raise NotImplementedError

    def close(self):
        raise NotImplementedError


class Tab:
    """One tab. `open`, `click` and `back` return when the next page is loaded."""

    def open(self, url: str):
        raise NotImplementedError

    def evaluate(self, expression: str):
        """Returns the value of a JavaScript expression. The value must be representable in JSON."""
        raise NotImplementedError

    def press(self, css: str):
        """Clicks on an element without waiting for what the click causes."""
        raise NotImplementedError

    def start_back(self):
        """Presses the back button without waiting for the page."""
        raise NotImplementedError

    def click(self, css: str):
        self._leave_page(lambda: self.press(css))

    def back(self):
        self._leave_page(self.start_back)

    def url(self) -> str:
        return self.evaluate("location.href")

    def heading(self) -> str:
        """Returns the text of the first heading, or an empty string."""
        return self.evaluate("document.querySelector('h1')?.innerText ?? ''")

    def fill(self, css: str, text: str):
        self.evaluate(f"document.querySelector({json.dumps(css)}).value = {json.dumps(text)}")

    def _leave_page(self, act):
        """Marks the page's window, acts, and waits for a loaded page whose window does not have this mark. Load events are not
        enough: there is none for a page that comes from the back-forward cache."""
        mark = next(MARKS)
        self.evaluate(f"window.mark = {mark}")
        act()
        # Before a page of another origin, an engine may show an empty one for a moment.
        arrived = f"window.mark !== {mark} && location.href !== 'about:blank' && document.readyState === 'complete'"

        def ask():
            try:
                return self.evaluate(arrived)
            except Gone as gone:
                return gone

        wait_until(ask, lambda answer: answer is True)
