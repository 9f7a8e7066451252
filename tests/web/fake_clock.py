"""A wall clock that a test can move forward, by means of [libfaketime](https://github.com/wolfcw/libfaketime).

Only servers that are started with its environment read it. Their monotonic clocks, which measure durations, are not changed.
"""

import glob
import os
from pathlib import Path

import pytest

LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"


class FakeClock:
    """A clock that starts at the real time. `environment` has the variables for the servers that are to read it."""

    def __init__(self, directory: Path):
        self.file = directory / "clock"
        self.offset_secs = 0
        self.environment = {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        self.pass_minutes(0)

    def pass_minutes(self, minutes: int):
        """Moves the clock forward, also for running servers. The file is replaced atomically, so that no server reads a part
        of it."""
        self.offset_secs += 60 * minutes
        new = self.file.with_suffix(".new")
        new.write_text(f"+{self.offset_secs}s")
        new.rename(self.file)


def library() -> str:
    """Returns the path of the library. If it is not installed, the calling test is skipped, or fails under `CI=true`."""
    found = glob.glob(LIBRARIES)
    if not found:
        text = "NO LIBFAKETIME HERE: tests that move the clock by minutes did not run"
        pytest.fail(text) if os.environ.get("CI") == "true" else pytest.skip(text)
    return found[0]
