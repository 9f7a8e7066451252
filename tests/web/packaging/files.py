"""What the tests in this folder have in common: the files, the program, and running a command."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness import WAIT_TIMEOUT, ROOT, Sealjar

DEPLOY = ROOT / "deploy"


def path_of(program) -> str:
    """The path of a program, which may also be one that a package of Python's brought."""
    found = shutil.which(program, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        missing = f"NO {program} HERE: what it checks was not checked"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    return found


def run(program, *arguments, **options) -> subprocess.CompletedProcess:
    """Runs a program."""
    return subprocess.run([path_of(program), *arguments], capture_output=True, text=True, timeout=WAIT_TIMEOUT, **options)


def sealjar(*arguments) -> str:
    """Runs a command that must succeed; returns its standard output."""
    done = run(Sealjar.program(), *arguments, env=Sealjar.without_settings())
    assert done.returncode == 0, done.stderr
    return done.stdout
