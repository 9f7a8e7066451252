"""Functions that poll until a condition holds, for effects that depend on the server's clock."""

import time

from harness import WAIT_TIMEOUT


def wait_until(read, is_expected):
    """Calls `read` until `is_expected` accepts its result, and returns that result. Fails after a timeout."""
    deadline = time.monotonic() + WAIT_TIMEOUT
    while not is_expected(result := read()):
        assert time.monotonic() < deadline, result
    return result


def wait_until_logged(sealjar, message: str, times: int = 1) -> dict:
    """Waits until this number of log lines contain `message` in their message, and returns the last of them."""
    lines = lambda: [line for line in list(sealjar.log) if message in str(line.get("message"))]
    return wait_until(lines, lambda found: len(found) >= times)[times - 1]
