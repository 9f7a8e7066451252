"""Helpers of the tests in this folder: the directory `deploy`, and functions that run programs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness import WAIT_TIMEOUT, ROOT, Sealjar

DEPLOY = ROOT / "deploy"


def path_of(program) -> str:
    """Returns the path of a program. Programs of installed Python packages are found, too."""
    path = shutil.which(program, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if path is None:
        skip_or_fail = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        skip_or_fail(f"{program} is not installed, so its checks were not made")
    return path


def run(program, *arguments, **options) -> subprocess.CompletedProcess:
    """Runs a program, and returns its exit code and output."""
    return subprocess.run([path_of(program), *arguments], capture_output=True, text=True, timeout=WAIT_TIMEOUT, **options)


def sealjar(*arguments) -> str:
    """Runs a command of Sealjar that must succeed, and returns its standard output."""
    done = run(Sealjar.program(), *arguments, env=Sealjar.without_settings())
    assert done.returncode == 0, done.stderr
    return done.stdout
