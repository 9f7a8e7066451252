"""The peers: other libraries at the same job. They are built only here."""

import os
import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from client import Answer, Connection, ask, request
from contestants import Contestant
from processes import HOST, Child, free_port
from sealjar import ROOT, TARGET

SOURCE = ROOT / "benches/peers"
BUILT = TARGET / "peers/release"
BODY = b'{"status":"ok","user":"alice"}'
SIGN_IN = request("/sign-in", HOST, method="POST")


@dataclass(frozen=True)
class Peer:
    program: str
    title: str
    # What the browser holds, or where the session is kept.
    sessions: str
    # Of these the versions are told: crates, or packages of npm.
    packages: tuple

    @property
    def is_script(self) -> bool:
        return self.program.endswith(".js")

    @property
    def needs_redis(self) -> bool:
        return self.sessions == "Redis"

    @property
    def path(self) -> Path:
        return (SOURCE if self.is_script else BUILT) / self.program

    def missing(self) -> list[str]:
        """The programs that it needs and that are not here."""
        needs = {"node 20 or later": has_node(), "npm": shutil.which("npm")} if self.is_script else {}
        needs |= {"redis-server": shutil.which("redis-server")} if self.needs_redis else {}
        return [name for name, has in needs.items() if not has]

    def is_built(self) -> bool:
        return self.path.exists() and (not self.is_script or (SOURCE / "node_modules").is_dir())


def has_node() -> bool:
    if not shutil.which("node"):
        return False
    said = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout
    return int(said.strip("v\n").split(".")[0]) >= 20


EXPRESS = ("express", "express-session", "connect-redis", "redis")
PEERS = [
    Peer("salvo-session", "Salvo's session, CookieStore", "signed cookie", ("salvo",)),
    Peer("actix-session", "actix-session, CookieSessionStore", "encrypted cookie", ("actix-web", "actix-session")),
    Peer("axum-private-cookie", "axum-extra, PrivateCookieJar", "encrypted cookie", ("axum", "axum-extra")),
    Peer("axum-tower-sessions", "axum, tower-sessions", "Redis", ("tower-sessions", "tower-sessions-redis-store")),
    Peer("iron-session.js", "iron-session on node:http", "encrypted cookie", ("iron-session",)),
    Peer("express-session.js", "express-session, connect-redis", "Redis", EXPRESS),
]


class Running:
    """A peer that runs, and its Redis if it has one."""

    def __init__(self, peer: Peer, directory: Path, stack: ExitStack):
        self.peer, self.port = peer, free_port()
        self.redis, variables = None, {}
        if peer.needs_redis:
            port = free_port()
            command = ["redis-server", "--bind", HOST, "--port", port, "--save", "", "--appendonly", "no"]
            self.redis = stack.enter_context(Child(command, directory / f"{port}.log", cwd=directory)).listening(port)
            variables["REDIS_URL"] = f"redis://{HOST}:{port}"
        command = ["node"] * peer.is_script + [peer.path, f"{HOST}:{self.port}"]
        log = directory / f"{self.port}.log"
        self.child = stack.enter_context(Child(command, log, **variables)).listening(self.port)

    def sign_in(self) -> str:
        return self.check(ask(self.port, SIGN_IN)).cookies

    def contestant(self) -> Contestant:
        session = self.sign_in()
        return Contestant(self.peer.title, self.port, "/session", lambda: session).prove(BODY)

    def begin_sessions(self, count: int, at_once: int = 32):
        """Begins so many sessions, a few at a time, each on a connection that is kept."""
        with ExitStack() as stack:
            connections = [stack.enter_context(Connection(self.port)) for _ in range(at_once)]
            for begun in range(0, count, at_once):
                busy = connections[: count - begun]
                for connection in busy:
                    connection.send(SIGN_IN)
                for connection in busy:
                    self.check(connection.answer())

    def check(self, answer: Answer) -> Answer:
        if answer.status != 200 or not answer.cookies:
            raise RuntimeError(f"{self.peer.program}: cannot sign in: {answer}")
        return answer

    def resident_bytes(self) -> tuple[int, int]:
        """Of the server, and of its Redis."""
        return self.child.resident_bytes(), self.redis.resident_bytes() if self.redis else 0


def build(cargo: str):
    """Builds those that are programs of Rust, and fetches the packages of those that are scripts, if it can."""
    manifest = ["--manifest-path", SOURCE / "Cargo.toml", "--target-dir", TARGET / "peers"]
    subprocess.run([cargo, "build", "--locked", "--release", *manifest], cwd=ROOT, check=True)
    if shutil.which("npm") and has_node():
        subprocess.run(["npm", "ci", "--silent"], cwd=SOURCE, check=True, env={**os.environ, "NODE_ENV": "production"})
