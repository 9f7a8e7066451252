"""Measures the resident memory of servers after a start: with 100,000 live sessions, or with 100,000 revocations for Sealjar.
Also measures the CPU time of an idle Sealjar."""

import time

from contextlib import ExitStack
from pathlib import Path

from peers import Peer, Running
from processes import Child
from sealjar import Sealjar
from startup import fill

SESSIONS = 100_000


def measure_peer(peer: Peer, sessions: int, directory: Path) -> dict:
    with ExitStack() as stack:
        running = Running(peer, directory, stack)
        running.start_sessions(sessions)
        server, redis = running.resident_bytes()
        return {"server": server, "redis": redis}


def measure_sealjar(program: Path, home: Path, revocations: int, seconds: int) -> dict:
    """Measures memory and CPU time while idle, and memory after a login and thirty requests, without and with revocations."""
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
    """Returns the fraction of this time in which the process used a core."""
    before = child.cpu_seconds()
    time.sleep(seconds)
    return (child.cpu_seconds() - before) / seconds
