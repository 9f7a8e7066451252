"""Fixtures: Sealjar, an application, and each reverse proxy between them. One fixture starts the proxy with its file as it is
shipped, and the others with variations of that file."""

import shutil
import tempfile
from pathlib import Path

import harness
import pytest
from application import Application
from exchanges import Exchanges
from fake_clock import FakeClock
from harness import HOST, OTHER_HOST, Sealjar, make_certificate
from servers import (
    BEHIND_CDN,
    CDN,
    KINDS,
    OWN_RULE,
    PUBLIC,
    SECOND_HOST,
    SIGN_IN_HOST,
    running,
    with_http2,
)

# The network of the CDN is trusted too, because some proxies append its address to X-Forwarded-For.
TRUSTED = f"http.trusted_proxies=127.0.0.1,{CDN}"
SETTINGS = [f"http.public_origins=https://{HOST},https://{OTHER_HOST}", TRUSTED]


@pytest.fixture(scope="session")
def certificate():
    with tempfile.TemporaryDirectory(prefix="sealjar-tls-") as directory:
        certificate, key = make_certificate(Path(directory))
        shutil.copy(key, directory + "/cert.pem.key")  # where HAProxy looks for it
        yield certificate


@pytest.fixture(scope="session")
def sealjar(tmp_path_factory):
    server = Sealjar(tmp_path_factory.mktemp("sealjar"), *SETTINGS).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def timed_sealjar(tmp_path_factory):
    """A Sealjar whose clock the tests move forward, by the fixture `clock`."""
    home = tmp_path_factory.mktemp("timed")
    clock = FakeClock(home)
    server = Sealjar(home, *SETTINGS, environment=clock.environment).start()
    server.clock = clock
    server.add_user("carol", "--role", "admin")
    yield server
    server.stop()


@pytest.fixture
def clock(timed_sealjar):
    return timed_sealjar.clock


@pytest.fixture(scope="session")
def app():
    app = Application()
    yield app
    app.stop()


@pytest.fixture(scope="session", params=KINDS, ids=lambda kind: kind.name)
def kind(request):
    return request.param


@pytest.fixture(scope="session")
def proxy(kind, certificate, sealjar, app):
    yield from running(kind, certificate, sealjar, app)


@pytest.fixture(scope="session")
def over_http2(request, kind, certificate, sealjar, app):
    """The proxy, with HTTP/2 enabled."""
    if with_http2(kind) == kind:
        yield request.getfixturevalue("proxy")
    else:
        yield from running(with_http2(kind), certificate, sealjar, app)


@pytest.fixture(scope="session")
def staff_only(kind, certificate, sealjar, app):
    """The proxy with rules: requires the role `staff`, and rejects cross-site requests except CORS preflights."""
    yield from running(kind, certificate, sealjar, app, "role=staff/csrf=1/preflight=1")


@pytest.fixture(scope="session")
def recent_login_only(kind, certificate, sealjar, app):
    """The proxy with a rule that requires a login within the last second."""
    yield from running(kind, certificate, sealjar, app, "max_age=1")


@pytest.fixture(scope="session")
def timed(kind, certificate, timed_sealjar, app):
    yield from running(kind, certificate, timed_sealjar, app)


@pytest.fixture(scope="session")
def other_app():
    app = Application()
    yield app
    app.stop()


@pytest.fixture(scope="session")
def extended(kind, certificate, timed_sealjar, app, other_app):
    """The proxy with all recipes of its file that can be combined."""
    recipes = (OWN_RULE, PUBLIC, SECOND_HOST, BEHIND_CDN)
    yield from running(kind, certificate, timed_sealjar, app, recipes=recipes, other_app=other_app.port)


@pytest.fixture(scope="session")
def hub_sealjar(tmp_path_factory):
    """A Sealjar with one login host for all hosts of a domain."""
    settings = [f"http.public_origins=https://{harness.SIGN_IN_HOST}", "cookie.domain=example.com", TRUSTED]
    server = Sealjar(tmp_path_factory.mktemp("hub"), *settings).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def separate_login_host(kind, certificate, hub_sealjar, app):
    """The proxy with the recipe for a separate login host."""
    yield from running(kind, certificate, hub_sealjar, app, recipes=(SIGN_IN_HOST,))


@pytest.fixture(scope="session")
def misspelt(kind, certificate, sealjar, app):
    """The proxy with a misspelt rule: `roles=staff` instead of `role=staff`."""
    yield from running(kind, certificate, sealjar, app, "roles=staff")


def long_running(items) -> list:
    """Returns the tests that use an exchange of more than a minute."""
    return [item for item in items if "exchanges" in item.fixturenames]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Moves the long-running tests to the end. Their exchanges run while the other tests do."""
    items.sort(key=lambda item: "exchanges" in item.fixturenames)


@pytest.fixture(scope="session")
def exchanges(request, certificate, tmp_path_factory):
    """The long exchanges through all proxies whose long-running tests were selected."""
    kinds = {item.callspec.params["kind"] for item in long_running(request.session.items)}
    # A separate Sealjar, because other tests stop the shared one.
    server = Sealjar(tmp_path_factory.mktemp("exchanges"), *SETTINGS).start()
    exchanges = Exchanges([kind for kind in KINDS if kind in kinds], certificate, server)
    yield exchanges
    exchanges.stop()
    server.stop()


@pytest.fixture(scope="session", autouse=True)
def start_exchanges_early(request):
    """Starts the long exchanges before the first test of a proxy, so that they run concurrently with all tests."""
    if long_running(request.session.items):
        request.getfixturevalue("exchanges")
