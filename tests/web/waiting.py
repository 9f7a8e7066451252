"""Waiting for what only the server's clock brings about."""

import time

from harness import PATIENCE


def until(ask, wanted):
    """Asks again until the answer is what a test waits for."""
    patience = time.monotonic() + PATIENCE
    while not wanted(answer := ask()):
        assert time.monotonic() < patience, answer
    return answer


def until_logged(sealjar, message: str, times: int = 1) -> dict:
    """The line of the log that is the last of so many with this in its message, once it is there."""
    lines = lambda: [line for line in list(sealjar.log) if message in str(line.get("message"))]
    return until(lines, lambda found: len(found) >= times)[times - 1]
