"""What servers hold of memory, freshly started: with 100,000 live sessions, or for Sealjar as many that were ended."""

from contextlib import ExitStack
from pathlib import Path

from peers import Peer, Running
from sealjar import Sealjar
from startup import fill

SESSIONS = 100_000


def of_peer(peer: Peer, sessions: int, directory: Path) -> dict:
    with ExitStack() as stack:
        running = Running(peer, directory, stack)
        running.begin_sessions(sessions)
        server, redis = running.resident_bytes()
        return {"server": server, "redis": redis}


def of_sealjar(program: Path, home: Path, revocations: int) -> dict:
    """After a sign-in and thirty requests: with no revocation, and with so many."""
    sealjar = Sealjar(program, home)
    figures = {}
    for key, count in ("idle", 0), ("server", revocations):
        fill(sealjar.database, count)
        with sealjar.start() as child:
            assert sealjar.ready(child)["revocations"] == count
            sealjar.sign_in()
            for path in ("/auth/status", "/auth/verify", "/protected") * 10:
                sealjar.contestant(path).answer()
            figures[key] = child.resident_bytes()
    return figures
