"""A wall clock that a test moves, by libfaketime. Servers that are started with its environment read it; everything else keeps
the true time, as do the clocks of these servers that measure spans."""

import glob
import os
from pathlib import Path

import pytest

LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"


class MovedClock:
    """Goes on from the true time. `environment` is for the servers that read it."""

    def __init__(self, directory: Path):
        self.file, self.passed = directory / "clock", 0
        self.environment = {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        self.pass_minutes(0)

    def pass_minutes(self, minutes: int):
        """Moves the clock forward. The file changes at once as a whole, and running servers read it again."""
        self.passed += 60 * minutes
        new = self.file.with_suffix(".new")
        new.write_text(f"+{self.passed}s")
        new.rename(self.file)


def library() -> str:
    """A missing one is skipped loudly, and fails where everything has to be tested."""
    found = glob.glob(LIBRARIES)
    if not found:
        text = "NO LIBFAKETIME HERE: nothing was tested that takes the server minutes"
        pytest.fail(text) if os.environ.get("CI") == "true" else pytest.skip(text)
    return found[0]
