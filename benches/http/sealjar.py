"""Sealjar as it is run behind a proxy, and the bare server that answers the same."""

import json
import os
import subprocess
import time
from pathlib import Path

from client import ask, request
from contestants import Contestant
from processes import HOST, Child, clean_environment, free_port, until

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
APP = "app.example.com"
PASSWORD = "correct horse battery"
# A renewal comes after five minutes, and would be another answer.
FRESH_FOR = 60


def binary(profile: str, name: str) -> Path:
    return TARGET / ("debug" if profile == "dev" else profile) / name


class Sealjar:
    """A home with the account `alice`, and what it takes to serve it. What is not said here is the default."""

    def __init__(self, program: Path, home: Path):
        self.program, self.home, self.port, self.admin_port = program, home, free_port(), free_port()
        self.signed_in, self.session = -FRESH_FOR, ""
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
        """Waits until it is ready; returns what it says of itself."""
        child.listening(self.admin_port)
        question = request("/readyz", "localhost")
        ready = until(lambda: (answer := ask(self.admin_port, question)).status == 200 and answer, child.check)
        return json.loads(ready.body)

    def cookie(self) -> str:
        """A session's cookie that is not due for renewal."""
        if time.monotonic() - self.signed_in > FRESH_FOR:
            self.sign_in()
        return self.session

    def sign_in(self):
        body = json.dumps({"login": "alice", "password": PASSWORD})
        self.signed_in = time.monotonic()
        answer = ask(self.port, request("/auth/login", APP, method="POST", json=body))
        if answer.status != 200:
            raise RuntimeError(f"cannot sign in: {answer}")
        self.session = answer.cookies

    def contestant(self, path: str, has_foreign_cookies: bool = False) -> Contestant:
        return Contestant("Sealjar", self.port, path, self.cookie, APP, has_foreign_cookies)


class Bare:
    """The bare server with the answer that this contestant gives, for the same requests. It copies all fields at once, or
    is written as handlers usually are, with a route and a line for each field."""

    def __init__(self, program: Path, model: Contestant, directory: Path, is_usual: bool):
        self.model, self.port = model, free_port()
        self.answer = directory / f"{self.port}.http"
        self.answer.write_bytes(model.answer().whole)
        self.command = [program, f"{HOST}:{self.port}", self.answer, *[model.path.lstrip("/")] * is_usual]

    def start(self) -> Child:
        return Child(self.command, self.answer.with_suffix(".log"))

    def contestant(self) -> Contestant:
        """Proven to give the same answer, but for what a new request changes in ours."""
        model = self.model
        bare = Contestant("bare Salvo", self.port, model.path, model.cookie, model.host, model.has_foreign_cookies)
        ours, theirs = model.answer(), bare.answer()
        for answer in ours, theirs:
            assert answer.status == 200, answer
        assert names(ours) == names(theirs) and len(ours.body) == len(theirs.body), (ours, theirs)
        return bare


def names(answer) -> list:
    """The fields of an answer, in any order, and how long they are."""
    lines = answer.head.decode("latin-1").lower().split("\r\n")
    return sorted((line.partition(":")[0], len(line)) for line in lines)
