"""Tests of features that only the files of nginx have: they override settings of the `http` block, and send a fixed set of
header fields to Sealjar."""

import json
import time
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from application import Application
from harness import API, HOST, NAVIGATION, OTHER_HOST, head
from servers import KINDS, running
from spoofing import IDENTITY, SEPARATORS
from unresponsive import ProxyWithoutBackend, UnresponsivePort

(NGINX,) = [kind for kind in KINDS if kind.name == "nginx"]
# Settings that an administrator may have made for all hosts. Each would break Sealjar's files if these did not override it.
ADVERSE = replace(
    NGINX,
    main=NGINX.main.replace(
        "access_log off;",
        "access_log off; underscores_in_headers on; ignore_invalid_headers off; client_max_body_size 1k; expires 1h;"
        " proxy_connect_timeout 61s; proxy_read_timeout 1s; proxy_send_timeout 1s; proxy_http_version 1.0;",
    ),
)
# Seconds: more than the limits above.
LATE = 2.5
PRINCIPAL = ["Remote-User", "X-Auth-Request-User"]
FORWARDED = ["For", "Proto", "Host", "Method", "Uri", "Port", "Prefix", "Scheme", "Server", "Ssl", "User", "Groups", "Email"]
STRIPPED = [
    *IDENTITY,
    "Forwarded",
    *(f"X-Forwarded-{suffix}" for suffix in [*FORWARDED, "Preferred-Username"]),
    *(f"X-Original-{suffix}" for suffix in ("Method", "URL", "URI", "Host")),
]


class SlowApplication(Application):
    """An application that reads the body of `/late` late, responds to `/401` with 401, and counts its connections.

    It can also take Sealjar's place: it responds to verify requests with 200 and no body, after which nginx keeps the connection
    open.
    """

    def __init__(self):
        super().__init__()
        self.connections = 0
        accept, body = self.server.process_request, self.server.RequestHandlerClass.body

        def count(*arguments):
            self.connections += 1
            accept(*arguments)

        def late_body(handler, trailers):
            if handler.path == "/late":
                self.stopped.wait(LATE)
            yield from body(handler, trailers)

        self.server.process_request, self.server.RequestHandlerClass.body = count, late_body

    def answer_path(self, handler) -> bool:
        answers = {"/auth/verify/-": (200, b""), "/401": (401, b"mine")}
        if handler.path not in answers:
            return super().answer_path(handler)
        status, body = answers[handler.path]
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
        return True


@pytest.fixture(scope="module")
def slow():
    app = SlowApplication()
    yield app
    app.stop()


@pytest.fixture(scope="module")
def adverse(certificate, sealjar, slow):
    yield from running(ADVERSE, certificate, sealjar, slow)


def test_no_listed_field_of_the_client_is_forwarded(adverse, sealjar):
    spoofed = [(name, "mallory") for name in STRIPPED]
    spoofed += [(name.replace("-", separator), "mallory") for name in PRINCIPAL for separator in SEPARATORS]
    seen = adverse("GET", "/", [*spoofed, ("Cookie", sealjar.sign_in())]).received_by_app()
    assert "mallory" not in json.dumps(seen.headers)


def test_a_large_upload_arrives_completely(adverse, sealjar):
    cookie = ("Cookie", sealjar.sign_in())
    assert adverse("POST", "/upload", [cookie], b"x" * 3_000_000).received_by_app().length == 3_000_000
    chunked = [cookie, ("Transfer-Encoding", "chunked"), ("Connection", "close")]
    body = b"100000\r\n" + b"x" * 0x100000 + b"\r\n0\r\n\r\n"
    assert adverse.client.raw(head("GET", "/upload", chunked, b"", HOST) + body).startswith(b"HTTP/1.1 200")


def test_an_application_may_answer_late_and_read_an_upload_late(adverse, sealjar):
    cookie = ("Cookie", sealjar.sign_in())
    assert adverse("GET", f"/slow?s={LATE}", [cookie]).body == b"done"
    assert adverse("POST", "/late", [cookie], b"x" * 30_000_000).received_by_app().length == 30_000_000


@pytest.mark.parametrize("headers", [API, NAVIGATION])
def test_redirects_and_refusals_are_not_cached(adverse, headers):
    answer = adverse("GET", "/", headers)
    assert answer.status == (303 if headers is NAVIGATION else 401)
    assert answer.values("Cache-Control") == ["no-store"] and answer.values("Expires") == []


def test_responses_of_the_app_are_cached_as_it_says(adverse, sealjar):
    assert "no-store" not in adverse("GET", "/", [("Cookie", sealjar.sign_in())]).values("Cache-Control")


def test_a_program_gets_the_url_of_the_sign_in_page(adverse):
    assert urlsplit(adverse("GET", "/reports", API).location).path == "/auth/login"


@pytest.mark.parametrize("headers", [API, NAVIGATION])
def test_a_401_of_the_application_is_forwarded_unchanged(adverse, sealjar, headers):
    answer = adverse("GET", "/401", [*headers, ("Cookie", sealjar.sign_in())])
    assert (answer.status, answer.body) == (401, b"mine")
    assert answer.values("Location") == answer.values("Cache-Control") == []


def test_four_groups_of_our_cookies_are_removed(adverse, sealjar):
    cookie = sealjar.sign_in()
    runs = "; ".join(f"{cookie}; {cookie}; c{number}={number}" for number in range(4))
    assert adverse("GET", "/", [("Cookie", runs)]).received_by_app().values("Cookie") == ["c0=0; c1=1; c2=2; c3=3"]
    assert adverse("GET", "/", [("Cookie", f"{runs}; {cookie}")]).received_by_app().values("Cookie") == []


@pytest.fixture(scope="module")
def stand_in():
    """A server in Sealjar's place that records the requests it receives."""
    stand_in = SlowApplication()
    yield stand_in
    stand_in.stop()


@pytest.fixture(scope="module")
def proxy_of_stand_in(certificate, stand_in, slow):
    yield from running(ADVERSE, certificate, stand_in, slow)


def test_sealjar_receives_only_the_listed_fields(proxy_of_stand_in, stand_in):
    forwarded = {
        "Cookie": "__Host-sealjar=a; b=c",
        "Origin": f"https://{OTHER_HOST}",
        "Accept": "text/html",
        "Referer": f"https://{OTHER_HOST}/form",
        "Sec-Fetch-Site": "same-site",
        "Sec-Fetch-Mode": "cors",
        "Sec-Fetch-Dest": "empty",
        "Sec-WebSocket-Key": "x",
        "Access-Control-Request-Method": "PUT",
    }
    other = [(name, "mallory") for name in [*STRIPPED, "X-Other", "Authorization"]]
    body = b"x" * 100_000
    proxy_of_stand_in("POST", "/a%2Fb//%2e?c=d", [*forwarded.items(), *other, ("Connection", "close, Cookie")], body)
    seen = stand_in.seen[-1]
    assert (seen.method, seen.path, seen.length) == ("GET", "/auth/verify/-", 0)
    assert dict(seen.headers) == {
        **forwarded,
        "Host": HOST,
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": HOST,
        "X-Forwarded-Method": "POST",
        "X-Forwarded-Uri": "/a%2Fb//%2e?c=d",
    }
    assert len(seen.headers) == len(dict(seen.headers))


def test_sealjars_own_pages_get_forwarded_headers_of_the_proxy(proxy_of_stand_in, stand_in):
    cookie = "__Host-sealjar=a; b=c; __Host-sealjar-form=d"
    spoofed = [(name, "mallory") for name in STRIPPED]
    spoofed += [("X" + separator + "Forwarded-For", "mallory") for separator in SEPARATORS]
    proxy_of_stand_in("GET", "/auth/status", [*spoofed, ("Cookie", cookie), ("Connection", "X-Forwarded-For, close")])
    seen = stand_in.seen[-1]
    assert seen.path == "/auth/status" and "mallory" not in json.dumps(seen.headers)
    assert seen.values("Cookie") == [cookie] and seen.values("X-Forwarded-For") == ["127.0.0.1"]


def test_the_internal_verify_location_is_not_reachable(adverse, sealjar):
    for path in ("/.sealjar/-", "/.sealjar/role=staff/-", "/%2esealjar/-"):
        answer = adverse("GET", path, [("Cookie", sealjar.sign_in())])
        assert answer.status == 404 and answer.values("Remote-User") == []


def test_verify_requests_share_connections(proxy_of_stand_in, stand_in):
    before = stand_in.connections
    for _ in range(10):
        assert proxy_of_stand_in("GET", "/", API).status == 200
    assert stand_in.connections - before <= 1


def test_a_websocket_is_opened(adverse, sealjar, slow):
    assert adverse.client.upgrade("/socket", [("Cookie", sealjar.sign_in())]) == (101, b"HELLOping")
    assert [slow.seen[-1].values(name) for name in ("Connection", "Upgrade")] == [["upgrade"], ["websocket"]]


def test_a_sealjar_that_accepts_no_connection_times_out(certificate, slow):
    before = len(slow.seen)
    with UnresponsivePort(full=True) as mute:
        proxy = ProxyWithoutBackend(ADVERSE, certificate, mute.port, slow.port)
        begun = time.monotonic()
        try:
            assert proxy("GET", "/", API).status == 500
            assert time.monotonic() - begun < 25, "nginx itself waits for 60 s"
        finally:
            proxy.stop()
    assert slow.seen[before:] == []
