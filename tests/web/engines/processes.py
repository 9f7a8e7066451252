"""Starts and stops browsers and their drivers."""

import os
import signal
import subprocess
from contextlib import contextmanager, suppress

from harness import WAIT_TIMEOUT


@contextmanager
def running(command: list, **options):
    """Runs a program in its own process group. At the end, all processes of the group are stopped, even if a test fails."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)
    try:
        yield process
    finally:
        # Xvfb removes its socket and its lock file only if it handles SIGTERM.
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(WAIT_TIMEOUT)


def without_proxies() -> dict:
    """Returns the environment without the variables that configure a proxy."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
