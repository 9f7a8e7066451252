"""One Sealjar, one application, and each proxy in turn, as its file is and in each way in which the tests vary it."""

import shutil
import tempfile
from pathlib import Path

import harness
import pytest
from application import Application
from exchanges import Exchanges
from harness import HOST, OTHER_HOST, Sealjar, make_certificate
from moved_clock import MovedClock
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

# The network of a CDN is trusted, too: some proxies append its address to X-Forwarded-For.
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
    """Its clock is `clock`, which tests move forward."""
    home = tmp_path_factory.mktemp("timed")
    clock = MovedClock(home)
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
    """The same, and it speaks HTTP/2."""
    if with_http2(kind) == kind:
        yield request.getfixturevalue("proxy")
    else:
        yield from running(with_http2(kind), certificate, sealjar, app)


@pytest.fixture(scope="session")
def guarded(kind, certificate, sealjar, app):
    """Lets only staff in, and no requests from other sites but preflights."""
    yield from running(kind, certificate, sealjar, app, "role=staff/csrf=1/preflight=1")


@pytest.fixture(scope="session")
def wary(kind, certificate, sealjar, app):
    """Lets in only who signed in within the last second."""
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
    """With all recipes of its file that go together."""
    recipes = (OWN_RULE, PUBLIC, SECOND_HOST, BEHIND_CDN)
    yield from running(kind, certificate, timed_sealjar, app, recipes=recipes, other_app=other_app.port)


@pytest.fixture(scope="session")
def hub_sealjar(tmp_path_factory):
    """Signs in at one host, for all hosts of a domain."""
    settings = [f"http.public_origins=https://{harness.SIGN_IN_HOST}", "cookie.domain=example.com", TRUSTED]
    server = Sealjar(tmp_path_factory.mktemp("hub"), *settings).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def apart(kind, certificate, hub_sealjar, app):
    """With a login host of its own."""
    yield from running(kind, certificate, hub_sealjar, app, recipes=(SIGN_IN_HOST,))


@pytest.fixture(scope="session")
def misspelt(kind, certificate, sealjar, app):
    """Its operator meant `role=staff`."""
    yield from running(kind, certificate, sealjar, app, "roles=staff")


def lasting(items) -> list:
    """The tests of exchanges that last longer than a minute."""
    return [item for item in items if "exchanges" in item.fixturenames]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Moves the lasting ones to the end: by then most of their time has gone."""
    items.sort(key=lambda item: "exchanges" in item.fixturenames)


@pytest.fixture(scope="session")
def exchanges(request, certificate, tmp_path_factory):
    """Of all proxies whose lasting tests were selected."""
    kinds = {item.callspec.params["kind"] for item in lasting(request.session.items)}
    # A Sealjar of its own: that of the others is stopped now and then.
    server = Sealjar(tmp_path_factory.mktemp("lasting"), *SETTINGS).start()
    exchanges = Exchanges([kind for kind in KINDS if kind in kinds], certificate, server)
    yield exchanges
    exchanges.stop()
    server.stop()


@pytest.fixture(scope="session", autouse=True)
def begun_early(request):
    """Begins the lasting exchanges before the first test of a proxy, so that they last while the others run."""
    if lasting(request.session.items):
        request.getfixturevalue("exchanges")
