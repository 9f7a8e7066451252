"""Fixtures: a server per file, a real Chromium with a separate profile per test, another site, and an account per test."""

from itertools import count

import browser
import pytest
from browser import OtherSite, Profiles
from harness import Sealjar

NUMBERS = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    sealjar = Sealjar(tmp_path_factory.mktemp("home")).start()
    yield sealjar
    sealjar.stop()


@pytest.fixture(scope="module")
def origin(server):
    return f"http://localhost:{server.port}"


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as started:
        yield started


@pytest.fixture
def profile(chromium):
    profiles = Profiles(chromium)
    yield profiles
    profiles.close()


@pytest.fixture
def page(profile):
    return profile().new_page()


@pytest.fixture
def other_site():
    site = OtherSite()
    yield site
    site.stop()


@pytest.fixture
def login(server):
    """Creates an account for this test, and returns its login name."""
    name = f"user-{next(NUMBERS)}"
    server.add_user(name, "--role", "staff", "--display-name", "Somebody Else", "--email", "somebody@example.com")
    return name
