"""The peers: other session libraries, with which Sealjar is compared. Only this benchmark builds them."""

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
    # The kind of cookie, or the store of the sessions.
    sessions: str
    # Crates or npm packages whose versions the report names.
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
        """Returns the required programs that are not installed."""
        needs = {"node 20 or later": has_node(), "npm": shutil.which("npm")} if self.is_script else {}
        needs |= {"redis-server": shutil.which("redis-server")} if self.needs_redis else {}
        return [name for name, has in needs.items() if not has]

    def is_built(self) -> bool:
        return self.path.exists() and (not self.is_script or (SOURCE / "node_modules").is_dir())


def has_node() -> bool:
    if not shutil.which("node"):
        return False
    version = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout
    return int(version.strip("v\n").split(".")[0]) >= 20


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
    """A running peer, and its Redis server if it needs one."""

    def __init__(self, peer: Peer, directory: Path, stack: ExitStack):
        self.peer = peer
        self.port = free_port()
        self.redis = None
        variables = {}
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
        return Contestant(self.peer.title, self.port, "/session", lambda: session).check(BODY)

    def start_sessions(self, count: int, concurrency: int = 32):
        """Starts this number of sessions by logins on `concurrency` persistent connections."""
        with ExitStack() as stack:
            connections = [stack.enter_context(Connection(self.port)) for _ in range(concurrency)]
            for started in range(0, count, concurrency):
                busy = connections[: count - started]
                for connection in busy:
                    connection.send(SIGN_IN)
                for connection in busy:
                    self.check(connection.answer())

    def check(self, answer: Answer) -> Answer:
        if answer.status != 200 or not answer.cookies:
            raise RuntimeError(f"{self.peer.program}: login failed: {answer}")
        return answer

    def resident_bytes(self) -> tuple[int, int]:
        """Returns the resident memory of the server, and of its Redis server (0 without one)."""
        return self.child.resident_bytes(), self.redis.resident_bytes() if self.redis else 0


def build(cargo: str):
    """Builds the peers in Rust. Downloads the npm packages of the scripts, if npm is installed."""
    manifest = ["--manifest-path", SOURCE / "Cargo.toml", "--target-dir", TARGET / "peers"]
    subprocess.run([cargo, "build", "--locked", "--release", *manifest], cwd=ROOT, check=True)
    if shutil.which("npm") and has_node():
        subprocess.run(["npm", "ci", "--silent"], cwd=SOURCE, check=True, env={**os.environ, "NODE_ENV": "production"})
