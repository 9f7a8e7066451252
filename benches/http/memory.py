"""What servers hold of memory, freshly started: with 100,000 live sessions, or for Sealjar as many that were ended. And what an
idle Sealjar uses of a core."""

import time

from contextlib import ExitStack
from pathlib import Path

from peers import Peer, Running
from processes import Child
from sealjar import Sealjar
from startup import fill

SESSIONS = 100_000


def of_peer(peer: Peer, sessions: int, directory: Path) -> dict:
    with ExitStack() as stack:
        running = Running(peer, directory, stack)
        running.begin_sessions(sessions)
        server, redis = running.resident_bytes()
        return {"server": server, "redis": redis}


def of_sealjar(program: Path, home: Path, revocations: int, seconds: int) -> dict:
    """Idle; and after a sign-in and thirty requests, with no revocation, and with so many."""
    sealjar = Sealjar(program, home)
    figures = {}
    for key, count in ("used", 0), ("server", revocations):
        fill(sealjar.database, count)
        with sealjar.start() as child:
            assert sealjar.ready(child)["revocations"] == count
            if not count:
                figures |= {"idle": child.resident_bytes(), "idle_cpu": share_of_a_core(child, seconds)}
            sealjar.sign_in()
            for path in ("/auth/status", "/auth/verify", "/protected") * 10:
                sealjar.contestant(path).answer()
            figures[key] = child.resident_bytes()
    return figures


def share_of_a_core(child: Child, seconds: int) -> float:
    """For how much of this time it runs."""
    before = child.cpu_seconds()
    time.sleep(seconds)
    return (child.cpu_seconds() - before) / seconds
