"""Fixture with a server for each test."""

from harness import Sealjar

import pytest


@pytest.fixture
def sealjar(tmp_path):
    """Returns a server that is not started. If a test starts it, it is stopped after the test."""
    home = tmp_path / "home"
    home.mkdir()
    sealjar = Sealjar(home)
    yield sealjar
    sealjar.stop()
