"""The requests that are measured, and the checks that a server responds to them correctly."""

from dataclasses import dataclass
from typing import Callable

from client import Answer, ask, request

# About a kilobyte of cookies of other scripts. Half of them are before the session's cookie, and half after it.
FOREIGN = [f"_tracker_{number}=" + f"GA1.{number}.1694512345.".ljust(90, "7") for number in range(10)]


@dataclass(frozen=True)
class Contestant:
    """A request that is sent to a server repeatedly. `cookie` is called for each measurement, because a session expires."""

    name: str
    port: int
    path: str
    cookie: Callable[[], str]
    host: str = "127.0.0.1"
    has_foreign_cookies: bool = False

    def cookie_field(self) -> str:
        cookie = self.cookie()
        return "; ".join([*FOREIGN[:5], cookie, *FOREIGN[5:]]) if self.has_foreign_cookies else cookie

    def ask(self, cookie: str) -> Answer:
        return ask(self.port, request(self.path, self.host, cookie))

    def answer(self) -> Answer:
        answer = self.ask(self.cookie_field())
        expect(self, answer.status == 200, answer)
        expect(self, not answer.cookies, answer)
        return answer

    def check(self, body: bytes | None = None) -> "Contestant":
        """Checks that the server accepts a session, and rejects requests without a cookie or with a changed cookie."""
        expect(self, self.ask("").status == 401, "no cookie")
        expect(self, self.ask(changed(self.cookie())).status == 401, "a changed cookie")
        answer = self.answer()
        if body is not None:
            expect(self, answer.body == body, answer)
            expect(self, answer.fields("content-type")[0].startswith("application/json"), answer)
        return self


def expect(contestant: Contestant, is_correct: bool, details: object):
    if not is_correct:
        raise AssertionError(f"{contestant.name} {contestant.path} does not respond correctly: {details}")


def changed(cookie: str) -> str:
    """Returns the cookie with one character changed, in the middle of its value, so that no padding is affected."""
    start = cookie.index("=") + 1
    index = next(at for at in range((start + len(cookie)) // 2, len(cookie)) if cookie[at].isalpha())
    replacement = "A" if cookie[index] != "A" else "B"
    return cookie[:index] + replacement + cookie[index + 1 :]
