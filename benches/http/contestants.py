"""What is measured: a request to a running server, and the proof that it is answered as it must be."""

from dataclasses import dataclass
from typing import Callable

from client import Answer, ask, request

# About a kilobyte of what other scripts leave in a browser, half of it on either side of the session's cookie.
FOREIGN = [f"_tracker_{number}=" + f"GA1.{number}.1694512345.".ljust(90, "7") for number in range(10)]


@dataclass(frozen=True)
class Contestant:
    """A request that a server answers again and again. The cookie is asked for each time, because sessions end."""

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

    def prove(self, body: bytes | None = None) -> "Contestant":
        """It lets in whoever has a session, and nobody else."""
        expect(self, self.ask("").status == 401, "no cookie")
        expect(self, self.ask(changed(self.cookie())).status == 401, "a changed cookie")
        answer = self.answer()
        if body is not None:
            expect(self, answer.body == body, answer)
            expect(self, answer.fields("content-type")[0].startswith("application/json"), answer)
        return self


def expect(contestant: Contestant, holds: bool, what: object):
    if not holds:
        raise AssertionError(f"{contestant.name} {contestant.path} does not do what it must: {what}")


def changed(cookie: str) -> str:
    """The cookie with one character of its value changed, far from any padding."""
    start = cookie.index("=") + 1
    place = next(at for at in range((start + len(cookie)) // 2, len(cookie)) if cookie[at].isalpha())
    other = "A" if cookie[place] != "A" else "B"
    return cookie[:place] + other + cookie[place + 1 :]
