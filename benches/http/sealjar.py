"""Starts Sealjar as behind a proxy, and the bare server, which sends the same responses."""

import json
import os
import subprocess
import time
from pathlib import Path

from client import ask, request
from contestants import Contestant
from processes import HOST, Child, clean_environment, free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
APP = "app.example.com"
PASSWORD = "correct horse battery"
# Seconds for which a session is used. Responses after five minutes would also renew the session, which is more work.
MAX_SESSION_AGE = 60


def binary(profile: str, name: str) -> Path:
    return TARGET / ("debug" if profile == "dev" else profile) / name


class Sealjar:
    """A home directory with the account `alice`, and a server for it. Settings that are not set here have their defaults."""

    def __init__(self, program: Path, home: Path):
        self.program = program
        self.home = home
        self.port = free_port()
        self.admin_port = free_port()
        # Time of the last login, and its cookie.
        self.signed_in_at = -MAX_SESSION_AGE
        self.session = ""
        self._run("keys", "init")
        self._run("users", "add", "alice", "--role", "staff", stdin=PASSWORD + "\n")

    @property
    def database(self) -> Path:
        return self.home / "sealjar.db"

    def _run(self, *arguments: str, stdin: str = ""):
        run = {"cwd": self.home, "env": clean_environment(), "capture_output": True, "text": True}
        done = subprocess.run([self.program, *arguments], input=stdin, **run)
        if done.returncode:
            raise RuntimeError(f"sealjar {' '.join(arguments)}: {done.stderr}")

    def command(self) -> list:
        listen = ["--listen", f"{HOST}:{self.port}", "--admin-listen", f"{HOST}:{self.admin_port}"]
        proxy = ["--public-origin", f"https://{APP}", "--set", f"http.trusted_proxies={HOST}"]
        return [self.program, "serve", *listen, *proxy]

    def start(self) -> Child:
        return Child(self.command(), self.home / "log", cwd=self.home)

    def ready(self, child: Child) -> dict:
        """Waits until the server is ready, and returns its status report (`/readyz`)."""
        child.listening(self.admin_port)
        message = request("/readyz", "localhost")
        ready = wait_until(lambda: (answer := ask(self.admin_port, message)).status == 200 and answer, child.check)
        return json.loads(ready.body)

    def cookie(self) -> str:
        """Returns the cookie of a session that is not due for renewal."""
        if time.monotonic() - self.signed_in_at > MAX_SESSION_AGE:
            self.sign_in()
        return self.session

    def sign_in(self):
        body = json.dumps({"login": "alice", "password": PASSWORD})
        self.signed_in_at = time.monotonic()
        answer = ask(self.port, request("/auth/login", APP, method="POST", json=body))
        if answer.status != 200:
            raise RuntimeError(f"login failed: {answer}")
        self.session = answer.cookies

    def contestant(self, path: str, has_foreign_cookies: bool = False) -> Contestant:
        return Contestant("Sealjar", self.port, path, self.cookie, APP, has_foreign_cookies)


class Bare:
    """The bare server, which sends the same response as a contestant of Sealjar, the model.

    It has two variants: an ordinary handler, with a route and one statement per header field, or a minimal handler, which copies
    all fields at once.
    """

    def __init__(self, program: Path, model: Contestant, directory: Path, is_ordinary: bool):
        self.model = model
        self.port = free_port()
        self.answer = directory / f"{self.port}.http"
        self.answer.write_bytes(model.answer().whole)
        self.command = [program, f"{HOST}:{self.port}", self.answer, *[model.path.lstrip("/")] * is_ordinary]

    def start(self) -> Child:
        return Child(self.command, self.answer.with_suffix(".log"))

    def contestant(self) -> Contestant:
        """Returns the contestant, after a check that its response has the same fields and lengths as the response of the
        model."""
        model = self.model
        bare = Contestant("bare Salvo", self.port, model.path, model.cookie, model.host, model.has_foreign_cookies)
        expected = model.answer()
        actual = bare.answer()
        for answer in expected, actual:
            assert answer.status == 200, answer
        assert shape(expected) == shape(actual) and len(expected.body) == len(actual.body), (expected, actual)
        return bare


def shape(answer) -> list:
    """Returns name and length of each header field of a response, sorted."""
    lines = answer.head.decode("latin-1").lower().split("\r\n")
    return sorted((line.partition(":")[0], len(line)) for line in lines)
