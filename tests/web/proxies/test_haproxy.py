"""Tests of features that only the files of HAProxy have: WebSockets over HTTP/2, paths of rules, and the run time of Lua code."""

import pytest
from harness import API, HOST, OTHER_HOST
from http2 import connected
from servers import BEHIND_CDN, CDN, KINDS, OWN_RULE, PUBLIC, SECOND_HOST, running

(HAPROXY,) = [kind for kind in KINDS if kind.name == "haproxy"]
# Bytes of a long header field. HAProxy accepts a request head that is a few hundred bytes larger.
LONG = 14_500


@pytest.fixture(scope="module")
def same_site(certificate, sealjar, app):
    yield from running(HAPROXY, certificate, sealjar, app, "csrf=1")


def websocket(proxy, *headers) -> int:
    """Requests a WebSocket over HTTP/2 (RFC 8441). Returns the status."""
    pseudo = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/socket"),
    ]
    fields = [*pseudo, ("sec-websocket-version", "13"), *headers]
    with connected(proxy.port, proxy.certificate) as client:
        number = client.h2.get_next_available_stream_id()
        client.h2.send_headers(number, [(name.encode(), value.encode()) for name, value in fields])
        client._flush()
        while not client.streams[number].status and not client.lost:
            client._receive(wait=True)
        return client.streams[number].status


def test_a_websocket_of_another_site_over_http2_is_refused(same_site, sealjar, app):
    """Such a request has no Sec-WebSocket-Key, and some browsers do not send Sec-Fetch-Mode with it."""
    cookie = ("cookie", sealjar.sign_in())
    with app.receives_nothing():
        assert websocket(same_site, cookie, ("origin", "https://evil.example.com")) == 403
    before = len(app.seen)
    websocket(same_site, cookie, ("origin", f"https://{HOST}"))
    assert app.seen[before:]


@pytest.mark.parametrize("path", ["/admin/", "//Admin", "/%61dmin", "admin"])
def test_a_rule_applies_to_every_spelling_of_its_path(certificate, sealjar, app, path):
    edits = (("sealjar_path /admin ", f"sealjar_path {path} "),)
    for proxy in running(HAPROXY, certificate, sealjar, app, recipes=(OWN_RULE,), edits=edits):
        with app.receives_nothing():
            for target in ("/admin", "/admin/x"):
                assert proxy("GET", target, [*API, ("Cookie", sealjar.sign_in())]).status == 403
        assert proxy("GET", "/administrator", [("Cookie", sealjar.sign_in())]).status == 200


@pytest.mark.parametrize(
    "below", ["    # Refuses every request that Sealjar has not allowed", "    # The application of each host"]
)
def test_a_misplaced_rule_rejects_all_requests(certificate, sealjar, app, below):
    rule = "    http-request lua.sealjar_path /admin role=admin\n"
    edits = ((rule, ""), (below, rule + below))
    for proxy in running(HAPROXY, certificate, sealjar, app, recipes=(OWN_RULE,), edits=edits):
        with app.receives_nothing():
            for target in ("/admin", "/page"):
                assert proxy("GET", target, [*API, ("Cookie", sealjar.sign_in())]).status == 503


def test_a_rule_for_the_root_applies_to_all_paths(certificate, sealjar, app):
    edits = (("sealjar_path /admin ", "sealjar_path / "),)
    for proxy in running(HAPROXY, certificate, sealjar, app, recipes=(OWN_RULE,), edits=edits):
        with app.receives_nothing():
            assert proxy("GET", "/x", [*API, ("Cookie", sealjar.sign_in())]).status == 403


def test_long_fields_of_blanks_and_addresses_change_nothing(certificate, sealjar, app):
    for proxy in running(HAPROXY, certificate, sealjar, app, recipes=(PUBLIC, BEHIND_CDN)):
        blanks = " " * LONG
        assert proxy("GET", "/public/x", [("Cookie", f"a{blanks}b")]).received_by_app().values("Cookie") == [f"a{blanks}b"]
        seen = proxy("GET", "/public/x", [("X-Forwarded-For", f"198.51.100.7,{blanks}{CDN}")], source=CDN).received_by_app()
        assert seen.values("X-Forwarded-For") == ["198.51.100.7"]
        cdn_addresses = ",".join(["198.51.100.7", *[CDN] * (LONG // len(f"{CDN},") - 2)])
        seen = proxy("GET", "/public/x", [("X-Forwarded-For", cdn_addresses)], source=CDN).received_by_app()
        assert seen.values("X-Forwarded-For") == ["198.51.100.7"]


@pytest.mark.parametrize("names", [f"{HOST},{OTHER_HOST}", f"{OTHER_HOST}, {HOST}", f"{HOST}:443,,{OTHER_HOST}"])
def test_a_list_of_hosts_makes_nothing_public(certificate, sealjar, app, names):
    """In HAProxy, a condition is true if one element of a comma-separated list meets it."""
    public = "lua.sealjar_public /public if { req.hdr(host),host_only -i "
    edits = ((public + HOST, public + OTHER_HOST),)
    for proxy in running(HAPROXY, certificate, sealjar, app, recipes=(PUBLIC, SECOND_HOST), edits=edits):
        with app.receives_nothing():
            assert proxy("GET", "/public/x", API).status == 401
            assert proxy("GET", "/public/x", API, host=names, sni=HOST).status == 400
            with connected(proxy.port, certificate) as client:
                client.request("GET", "/public/x", authority=names)
