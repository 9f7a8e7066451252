"""Interface of browser profiles and tabs, which is the same for each engine.

`chromium.py`, `firefox.py` and `webkit.py` implement this with the protocol of their engine. Each has a context manager that
starts one browser for all tests, and makes a `Profile` for each test.
"""

import json
from itertools import count

from waiting import wait_until

MARKS = count(1)


class PageLeft(Exception):
    """Error for a script whose page was left while the browser evaluated it."""


class Profile:
    """Profile with its own cookies and tabs."""

    def new_tab(self) -> "Tab":
        raise NotImplementedError

    def clear_cookies(self):
        raise NotImplementedError

    def close(self):
        raise NotImplementedError


class Tab:
    """Browser tab. `open`, `click` and `back` return when the next page is loaded."""

    def open(self, url: str):
        raise NotImplementedError

    def evaluate(self, expression: str):
        """Returns the value of a JavaScript expression. The value must be representable in JSON."""
        raise NotImplementedError

    def press(self, css: str):
        """Clicks on an element, and does not wait for the result."""
        raise NotImplementedError

    def start_back(self):
        """Presses the back button, and does not wait for the page."""
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
        """Marks the window of the page, calls `act`, and waits for a loaded page whose window does not have this mark. A load event
        would not be enough, because a page from the back-forward cache has none."""
        mark = next(MARKS)
        self.evaluate(f"window.mark = {mark}")
        act()
        # An engine may briefly show an empty page before a page of another origin.
        is_new_page = f"window.mark !== {mark} && location.href !== 'about:blank' && document.readyState === 'complete'"

        def evaluate():
            try:
                return self.evaluate(is_new_page)
            except PageLeft as error:
                return error

        wait_until(evaluate, lambda value: value is True)
