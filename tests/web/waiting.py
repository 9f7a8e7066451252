"""Waiting for what only the server's clock brings about."""

import time

from harness import PATIENCE


def until(ask, wanted):
    """Asks again until the answer is what a test waits for."""
    patience = time.monotonic() + PATIENCE
    while not wanted(answer := ask()):
        assert time.monotonic() < patience, answer
    return answer
