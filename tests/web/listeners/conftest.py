from harness import Sealjar

import pytest


@pytest.fixture
def sealjar(tmp_path):
    """A home without a running server; a server that a test starts is stopped after it."""
    home = tmp_path / "home"
    home.mkdir()
    sealjar = Sealjar(home)
    yield sealjar
    sealjar.stop()
