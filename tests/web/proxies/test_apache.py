"""Tests Apache with other modules and directives in addition to Sealjar's: none of them bypasses the guard, and none breaks
it."""

import dataclasses
import shutil
import ssl
import tempfile
from pathlib import Path

import harness
import httpx
import pytest
from application import Application
from harness import API, HOST, NAVIGATION, OTHER_HOST, connect, make_certificate
from servers import KINDS, SECOND_HOST, SIGN_IN_HOST, running

APACHE = next(kind for kind in KINDS if kind.name == "apache")
MODULES = ["access_compat", "alias", "cache", "cache_socache", "deflate", "dir", "expires", "headers", "http2", "include", "mime"]
MODULES += ["reqtimeout", "rewrite", "socache_shmcb"]
# Directives that Debian enables by default, or that many administrators add.
COMMON_DIRECTIVES = [
    "Protocols h2 http/1.1",
    "SetOutputFilter DEFLATE",
    "ExpiresActive On",
    'ExpiresDefault "access plus 1 hour"',
]
COMMON_DIRECTIVES += ["RequestReadTimeout header=20-40,minrate=500 body=20,minrate=500"]
GUARD = "Use SealjarApp http://127.0.0.1:{app}"


@pytest.fixture(scope="module")
def start(certificate, sealjar, app):
    """Returns a function that starts Apache with additional lines in the application's VirtualHost. The lines may contain
    {app}, the port of the application, and {files}, a directory. `guard` replaces the line that forwards to the application."""
    generators = []

    def start(*lines, guard=GUARD, files="", edits=()):
        old = GUARD.format(app=app.port)
        new = "\n".join([guard, *lines]).format(app=app.port, files=files)
        modules = "".join(f"LoadModule {name}_module modules/mod_{name}.so\n" for name in MODULES)
        edits = (("Define SEALJAR ", f"{modules}TypesConfig /dev/null\nDefine SEALJAR "), (old, new), *edits)
        generators.append(running(APACHE, certificate, sealjar, app, edits=edits))
        return next(generators[-1])

    yield start
    for generator in generators:
        next(generator, None)


@pytest.fixture(scope="module")
def site():
    """A directory of files that Apache serves itself. Apache's user cannot read the temporary directories of pytest."""
    with tempfile.TemporaryDirectory(prefix="sealjar-site-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "index.html").write_text("the index")
        (directory / "refused.html").write_text("the page for refusals")
        (directory / "page.shtml").write_text('[<!--#echo var="HTTP_REMOTE_USER" -->]')
        yield directory


BYPASS_ATTEMPTS = {
    "Satisfy Any": ["<Location />", "Satisfy Any", "</Location>"],
    "an error document of the application's": ["ErrorDocument 401 /private", "ErrorDocument 303 /private"],
    "a handler that is a proxy": ["<Location /private>", 'SetHandler "proxy:http://127.0.0.1:{app}"', "</Location>"],
    "a rewriting proxy": ["RewriteEngine On", "RewriteRule ^/private http://127.0.0.1:{app}/private [P]"],
    "a second ProxyPass": ["ProxyPass /private http://127.0.0.1:{app}/private"],
    "a ProxyPass in a Location": ["<Location /private>", "ProxyPass http://127.0.0.1:{app}/private", "</Location>"],
}


@pytest.mark.parametrize("attempt", BYPASS_ATTEMPTS)
def test_no_other_directive_bypasses_the_guard(start, sealjar, app, attempt):
    proxy = start(*BYPASS_ATTEMPTS[attempt])
    with app.receives_nothing():
        assert proxy("GET", "/private", API).status == 401
        assert proxy("GET", "/private", NAVIGATION).status == 303
    assert proxy("GET", "/private", [("Cookie", sealjar.sign_in())]).received_by_app().values("Remote-User") == ["alice"]


CACHE = ["CacheEnable socache /", "CacheSocache shmcb", "CacheIgnoreNoLastMod On", "CacheDefaultExpire 3600"]


def test_a_cache_stores_nothing_that_needs_a_session(start, sealjar, app):
    """A cache responds before any check, so it must not have responses that need a session."""
    proxy = start(*CACHE, "<Location /public/>", "Use SealjarPublic", "</Location>")
    for path in ("/report", "/public/../report", "/public/a;b"):
        assert proxy("GET", path, [("Cookie", sealjar.sign_in())]).received_by_app().path == path
        assert proxy("GET", path, API).status == 401
    before = len(app.seen)
    assert proxy("GET", "/public/a", API).status == proxy("GET", "/public/a", API).status == 200
    assert len(app.seen) == before + 1


def test_rules_inside_a_public_path_apply(start, sealjar, app):
    public = ["<Location /public/>", "Use SealjarPublic", "</Location>"]
    proxy = start(*public, "<Location /public/staff>", "Use SealjarRules role=staff", "</Location>")
    assert proxy("GET", "/public/a", API).status == 200
    with app.receives_nothing():
        assert proxy("GET", "/public/staff", API).status == 401
        assert proxy("GET", "/public/staff", [*API, ("Cookie", sealjar.sign_in("bob"))]).status == 403
    assert proxy("GET", "/public/staff", [("Cookie", sealjar.sign_in())]).status == 200


# Each path is below /public/ for Apache or for an application, but not for both. test_paths.py has more of them.
NOT_PUBLIC = ["/public/../a", "/public/%2e%2e/a", "/a/../public/b", "//public/a", "/public/..;/a", f"https://{HOST}/public/../a"]


def test_an_ambiguous_path_is_not_public(start, sealjar, app):
    """The rules of its VirtualHost apply to it as well."""
    public = ["<Location /public/>", "Use SealjarPublic", "</Location>"]
    proxy = start("Use SealjarRules role=staff", *public)
    for path in ("/public/", "/public/a%20b", "/public/.well-known/a..b", "/public/a?b=//../;c"):
        assert proxy("GET", path, [("Remote-User", "mallory")]).received_by_app().values("Remote-User") == []
    with app.receives_nothing():
        for path in NOT_PUBLIC:
            assert proxy("GET", path, API).status == 401, path
            assert proxy("GET", path, [*API, ("Cookie", sealjar.sign_in("bob"))]).status == 403, path


# Each path is below /staff for Apache or for most applications.
STAFF = ["/staff", "/staff/", "/staff/a", "/x/../staff/", "/x/..%2Fstaff", "//staff/", "/%73taff/", "/staff%2Fa", "/./staff"]


def test_the_rules_of_a_path_apply_to_every_spelling(start, sealjar, app):
    proxy = start("<Location /staff>", "Use SealjarRules role=staff", "</Location>")
    bob = ("Cookie", sealjar.sign_in("bob"))
    with app.receives_nothing():
        for path in STAFF:
            assert proxy("GET", path, [*API, bob]).status == 403, path
    for path in ("/", "/staffing", "/x/staff", "/?/staff"):
        assert proxy("GET", path, [bob]).status == 200, path


FIRST = """ServerName first.example.com
    SSLEngine on
    SSLCertificateFile /etc/sealjar/tls/cert.pem
    SSLCertificateKeyFile /etc/sealjar/tls/key.pem
</VirtualHost>
<VirtualHost *:{port}>
    ServerName app.example.com"""


@pytest.fixture
def second(certificate, sealjar, app):
    """The application's VirtualHost comes after another one. Apache uses the first one for all host names that no VirtualHost
    has."""
    kind = dataclasses.replace(APACHE, replaced=(("ServerName app.example.com", FIRST), *APACHE.replaced))
    yield from running(kind, certificate, sealjar, app)


def test_the_virtual_host_is_chosen_by_name(second, sealjar, app):
    assert second("GET", "/", [("Cookie", sealjar.sign_in())]).received_by_app().values("Remote-User") == ["alice"]
    with app.receives_nothing():
        assert second("GET", "/", [("Cookie", sealjar.sign_in())], host="first.example.com", sni=HOST).status != 200


# Paths as the client sends them, and as the application receives them if that differs. Python's http.server merges leading
# slashes.
SENT = {"/a%2Fb%3Bc;d//e/%2e?f=%2F": "", "/%61/../b\\c|d": "", "//a//b": "/a//b", "/@first.example.com/:80": ""}


def test_no_path_is_changed(start, sealjar):
    proxy = start()
    for path, seen in SENT.items():
        assert proxy("GET", path, [("Cookie", sealjar.sign_in())]).received_by_app().path == (seen or path)
    # Apache itself parses a request target with a scheme and a host.
    whole = proxy("GET", f"https://{HOST}/a%20b", [("Cookie", sealjar.sign_in())])
    assert whole.received_by_app().path == "/a%20b"


TWO_HOSTS = [(SECOND_HOST, OTHER_HOST, "sealjar"), (SIGN_IN_HOST, harness.SIGN_IN_HOST, "hub_sealjar")]


@pytest.fixture(params=TWO_HOSTS, ids=["second", "sign-in"])
def two_certificates(request, certificate, app):
    """A proxy with a recipe whose host has another certificate than the application. Yields the proxy and the certificate of
    each host."""
    recipe, host, server = request.param
    with tempfile.TemporaryDirectory(prefix="sealjar-tls-") as name:
        directory = Path(name)
        other = directory / "other"
        other.mkdir()
        make_certificate(other)
        # The tests' client trusts the certificates in this file.
        trusted = directory / "cert.pem"
        trusted.write_text(certificate.read_text() + (other / "cert.pem").read_text())
        shutil.copy(certificate.parent / "key.pem", directory)
        block = "ServerName {}\n    SSLEngine on\n    SSLCertificateFile {}/cert.pem\n    SSLCertificateKeyFile {}/key.pem"
        edits = ((block.format(host, directory, directory), block.format(host, other, other)),)
        certificates = {HOST: certificate, host: other / "cert.pem"}
        for proxy in running(APACHE, trusted, request.getfixturevalue(server), app, recipes=(recipe,), edits=edits):
            yield proxy, certificates


def test_each_host_shows_its_own_certificate(two_certificates):
    proxy, certificates = two_certificates
    for host, path in certificates.items():
        with connect("127.0.0.1", proxy.port, proxy.client.context, host) as connection:
            assert connection.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(path.read_text())


@pytest.fixture
def stand_in():
    """A server that takes Sealjar's place, and answers every request with 200."""
    stand_in = Application()
    yield stand_in
    stand_in.stop()


@pytest.fixture
def asking(certificate, stand_in, app):
    yield from running(APACHE, certificate, stand_in, app)


def test_a_verify_request_describes_the_request(asking, stand_in):
    asked = {"X-Forwarded-For": "127.0.0.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": HOST}
    asked |= {"X-Forwarded-Method": "PUT", "X-Forwarded-Uri": "/a%2Fb//c;d?e=%2F"}
    sent = {"Accept": "*/*", "Origin": "null", "Cookie": "a=1", "Access-Control-Request-Method": "PUT"}
    sent |= {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-WebSocket-Key": "x"}
    sent |= {"Referer": f"https://{HOST}/form", "Sec-Fetch-Dest": "document"}
    assert asking("PUT", asked["X-Forwarded-Uri"], [*sent.items(), ("Other", "1")], source="127.0.0.9").status == 200
    question = stand_in.seen[-1]
    assert (question.method, question.path) == ("GET", "/auth/verify/-")
    assert {name: question.values(name) for name in asked} == {name: [value] for name, value in asked.items()}
    assert {name: question.values(name) for name in sent} == {name: [value] for name, value in sent.items()}
    assert question.values("Other") == []


def test_files_that_apache_serves_itself_are_guarded(start, sealjar, site):
    proxy = start('DocumentRoot "{files}"', "DirectoryIndex index.html", guard="Use SealjarGuard", files=site)
    for path in ("/", "/index.html"):
        assert proxy("GET", path, API).status == 401
        answer = proxy("GET", path, [("Cookie", sealjar.sign_in())])
        assert (answer.status, answer.body) == (200, b"the index")


FILES = ['DocumentRoot "{files}"', "ProxyPass /files/ !", 'Alias /files/ "{files}/"']


def test_an_error_document_may_be_a_file(start, sealjar, app, site):
    proxy = start(guard="\n".join([*FILES, "ErrorDocument 401 /files/refused.html", GUARD]), files=site)
    with app.receives_nothing():
        answer = proxy("GET", "/", API)
    assert (answer.status, answer.body) == (401, b"the page for refusals")
    assert answer.values("Cache-Control") == ["no-store"]


def test_a_page_with_includes_receives_the_user(start, sealjar, app, site):
    """An error document does not receive the user, because no verify request was sent for it."""
    denied = ["<Location /denied>", "Require all denied", "</Location>", "ErrorDocument 403 /files/page.shtml"]
    includes = ["<Location /files/>", "Options +Includes", "AddOutputFilter INCLUDES .shtml", "</Location>"]
    proxy = start(guard="\n".join([*FILES, *includes, *denied, GUARD]), files=site)
    spoofed = ("Remote-User", "mallory")
    assert proxy("GET", "/files/page.shtml", [("Cookie", sealjar.sign_in()), spoofed]).body == b"[alice]"
    assert proxy("GET", "/denied", [spoofed]).body == b"[(none)]"


def test_common_directives_do_not_break_the_guard(start, sealjar, app, certificate):
    """Over HTTP/2, which browsers use."""
    proxy = start(*COMMON_DIRECTIVES)
    cookie = sealjar.sign_in()
    context = ssl.create_default_context(cafile=certificate)
    with httpx.Client(http1=False, http2=True, verify=context) as client:

        def send(method, path, *headers, **options):
            url, sni = f"https://127.0.0.1:{proxy.port}{path}", {"sni_hostname": HOST}
            return client.request(method, url, headers=[("Host", HOST), *headers], extensions=sni, **options)

        for headers, status in (API, 401), (NAVIGATION, 303):
            with app.receives_nothing():
                answer = send("GET", "/", *headers)
            assert (answer.http_version, answer.status_code) == ("HTTP/2", status)
            # mod_expires may add a max-age. no-store overrules it.
            assert "no-store" in answer.headers["Cache-Control"].split(", ")
        # Apache responds before the whole body was sent. httpx cannot read the response while it sends, so the body is small.
        with app.receives_nothing():
            assert send("POST", "/", *API, content=b"x" * 10_000).status_code == 401
        spoofed = [("remote.user", "mallory"), ("remote_user", "mallory"), ("x-forwarded-for", "192.0.2.66")]
        for _ in range(20):
            seen = send("POST", "/a%2Fb", ("cookie", "a=1"), ("cookie", cookie), *spoofed, content=b"x" * 100_000).json()
            fields = {name.lower(): value for name, value in seen["headers"]}
            assert (seen["path"], seen["length"], fields["remote-user"], fields["cookie"]) == ("/a%2Fb", 100_000, "alice", "a=1")
            assert "mallory" not in fields.values() and fields["x-forwarded-for"] == "127.0.0.1"
        assert send("GET", "/auth/login", *NAVIGATION).headers["Cache-Control"].startswith("no-store")
    assert proxy.client.upgrade("/socket", [("Cookie", cookie)]) == (101, b"HELLOping")


def test_a_thread_loads_the_lua_file_once(start, sealjar):
    proxy = start(edits=[("local http =", 'io.stderr:write("loaded\\n") local http =')])
    requests = [("GET", "/", [("Cookie", sealjar.sign_in())])] * 100
    for _ in range(3):
        assert {answer.status for answer in proxy.client.in_sequence(*requests)} == {200}
    threads = 4 * 25  # Apache starts this number of threads by default, to have 75 idle ones
    assert proxy.log.read_text().count("loaded") <= threads


def test_an_old_client_may_keep_its_connection(start, sealjar):
    head = f"GET / HTTP/1.0\r\nHost: {HOST}\r\nCookie: {sealjar.sign_in()}\r\n"
    proxy = start()
    assert b"\r\nConnection: Keep-Alive\r\n" in proxy.client.raw(f"{head}Connection: Keep-Alive, Remote-User\r\n\r\n".encode())
    assert b"\r\nConnection: close\r\n" in proxy.client.raw(f"{head}\r\n".encode())


def test_sealjar_is_used_again_as_soon_as_it_is_available(start, sealjar, app):
    proxy = start()
    sealjar.stop()
    assert proxy("GET", "/auth/login", API).status == 503
    sealjar.start()
    assert proxy("GET", "/auth/login", NAVIGATION).status == 200
