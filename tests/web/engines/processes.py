"""The start and the end of browsers and their drivers."""

import os
import signal
import subprocess
from contextlib import contextmanager, suppress

from harness import PATIENCE


@contextmanager
def running(command: list, **options):
    """Runs a program in a process group of its own. In the end, the whole group is killed, also when a test fails: profiles are
    temporary, so there is nothing to save."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)


def without_proxies() -> dict:
    """The environment without the variables that send requests through a proxy."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
