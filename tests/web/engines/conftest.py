"""Fixtures with one browser of each engine, and with the sites for all tests of this directory."""

import signal
import tempfile
from pathlib import Path

import chromium
import firefox
import pytest
import webkit
from sites import proxied_site, served

ENGINES = {"chromium": chromium, "firefox": firefox, "webkitgtk": webkit}


def pytest_configure():
    """Handles SIGTERM like Ctrl-C, so that the browsers are stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session", params=ENGINES)
def browser(request):
    """Returns a new profile when called. WebKitGTK is not Safari: see `webkit.py`."""
    with tempfile.TemporaryDirectory(prefix="sealjar-browser-", ignore_cleanup_errors=True) as directory:
        with ENGINES[request.param].start(Path(directory)) as new_profile:
            yield new_profile


@pytest.fixture
def profile(browser):
    profile = browser()
    yield profile
    profile.close()


@pytest.fixture
def tab(profile):
    return profile.new_tab()


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Returns a site: the application behind Caddy and Sealjar."""
    with proxied_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """Returns the origin of a Sealjar server without a proxy. It uses TLS, because WebKitGTK drops `Secure` cookies of http://localhost."""
    with served(tmp_path_factory.mktemp("alone") / "home", "tls.self_signed=true") as sealjar:
        yield f"https://localhost:{sealjar.port}"
