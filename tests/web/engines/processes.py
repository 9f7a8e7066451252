"""The start and the end of browsers and their drivers."""

import os
import signal
import subprocess
from contextlib import contextmanager, suppress

from harness import WAIT_TIMEOUT


@contextmanager
def running(command: list, **options):
    """Runs a program in a process group of its own. In the end, also when a test fails, no process of the group is left."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)
    try:
        yield process
    finally:
        # Xvfb removes its socket and its lock only if it may end by itself.
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(WAIT_TIMEOUT)


def without_proxies() -> dict:
    """The environment without the variables that send requests through a proxy."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
