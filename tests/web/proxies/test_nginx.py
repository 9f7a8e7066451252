"""What is special to the files of nginx: settings of its `http` block that these have to override, and what exactly Sealjar is
asked."""

import json
import time
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from application import Application
from harness import API, HOST, NAVIGATION, OTHER_HOST, head
from servers import KINDS, running
from spoofing import IDENTITY, SEPARATORS
from unresponsive import Impatient, Mute

(NGINX,) = [kind for kind in KINDS if kind.name == "nginx"]
# What an administrator may have set for all hosts of an nginx. Each would break ours if it reached them.
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
    *(f"X-Forwarded-{what}" for what in [*FORWARDED, "Preferred-Username"]),
    *(f"X-Original-{what}" for what in ("Method", "URL", "URI", "Host")),
]


class Sluggish(Application):
    """Reads `/late` late, and says 401 to `/401`. It counts its connections, and can stand in Sealjar's place: it lets everybody
    in, with an answer without a body, after which nginx keeps the connection."""

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
    app = Sluggish()
    yield app
    app.stop()


@pytest.fixture(scope="module")
def adverse(certificate, sealjar, slow):
    yield from running(ADVERSE, certificate, sealjar, slow)


def test_the_client_sends_no_listed_field_to_the_application(adverse, sealjar):
    spoofed = [(name, "mallory") for name in STRIPPED]
    spoofed += [(name.replace("-", separator), "mallory") for name in PRINCIPAL for separator in SEPARATORS]
    seen = adverse("GET", "/", [*spoofed, ("Cookie", sealjar.sign_in())]).app_saw()
    assert "mallory" not in json.dumps(seen.headers)


def test_a_large_upload_arrives_whole(adverse, sealjar):
    cookie = ("Cookie", sealjar.sign_in())
    assert adverse("POST", "/upload", [cookie], b"x" * 3_000_000).app_saw().length == 3_000_000
    chunked = [cookie, ("Transfer-Encoding", "chunked"), ("Connection", "close")]
    body = b"100000\r\n" + b"x" * 0x100000 + b"\r\n0\r\n\r\n"
    assert adverse.client.raw(head("GET", "/upload", chunked, b"", HOST) + body).startswith(b"HTTP/1.1 200")


def test_an_application_may_answer_late_and_read_an_upload_late(adverse, sealjar):
    cookie = ("Cookie", sealjar.sign_in())
    assert adverse("GET", f"/slow?s={LATE}", [cookie]).body == b"done"
    assert adverse("POST", "/late", [cookie], b"x" * 30_000_000).app_saw().length == 30_000_000


@pytest.mark.parametrize("headers", [API, NAVIGATION])
def test_redirects_and_refusals_are_not_stored(adverse, headers):
    answer = adverse("GET", "/", headers)
    assert answer.status == (303 if headers is NAVIGATION else 401)
    assert answer.values("Cache-Control") == ["no-store"] and answer.values("Expires") == []


def test_the_applications_own_answers_are_stored_as_it_says(adverse, sealjar):
    assert "no-store" not in adverse("GET", "/", [("Cookie", sealjar.sign_in())]).values("Cache-Control")


def test_a_program_is_told_where_to_sign_in(adverse):
    assert urlsplit(adverse("GET", "/reports", API).location).path == "/auth/login"


@pytest.mark.parametrize("headers", [API, NAVIGATION])
def test_an_applications_own_401_passes_unchanged(adverse, sealjar, headers):
    answer = adverse("GET", "/401", [*headers, ("Cookie", sealjar.sign_in())])
    assert (answer.status, answer.body) == (401, b"mine")
    assert answer.values("Location") == answer.values("Cache-Control") == []


def test_four_runs_of_our_cookies_leave_the_others(adverse, sealjar):
    cookie = sealjar.sign_in()
    runs = "; ".join(f"{cookie}; {cookie}; c{number}={number}" for number in range(4))
    assert adverse("GET", "/", [("Cookie", runs)]).app_saw().values("Cookie") == ["c0=0; c1=1; c2=2; c3=3"]
    assert adverse("GET", "/", [("Cookie", f"{runs}; {cookie}")]).app_saw().values("Cookie") == []


@pytest.fixture(scope="module")
def asked():
    """Stands in Sealjar's place, and keeps what it is asked."""
    asked = Sluggish()
    yield asked
    asked.stop()


@pytest.fixture(scope="module")
def heard(certificate, asked, slow):
    yield from running(ADVERSE, certificate, asked, slow)


def test_sealjar_is_told_the_request_and_nothing_else(heard, asked):
    told = {
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
    heard("POST", "/a%2Fb//%2e?c=d", [*told.items(), *other, ("Connection", "close, Cookie")], body)
    seen = asked.seen[-1]
    assert (seen.method, seen.path, seen.length) == ("GET", "/auth/verify/-", 0)
    assert dict(seen.headers) == {
        **told,
        "Host": HOST,
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": HOST,
        "X-Forwarded-Method": "POST",
        "X-Forwarded-Uri": "/a%2Fb//%2e?c=d",
    }
    assert len(seen.headers) == len(dict(seen.headers))


def test_sealjars_own_pages_hear_only_the_proxys_facts(heard, asked):
    cookie = "__Host-sealjar=a; b=c; __Host-sealjar-form=d"
    spoofed = [(name, "mallory") for name in STRIPPED]
    spoofed += [("X" + separator + "Forwarded-For", "mallory") for separator in SEPARATORS]
    heard("GET", "/auth/status", [*spoofed, ("Cookie", cookie), ("Connection", "X-Forwarded-For, close")])
    seen = asked.seen[-1]
    assert seen.path == "/auth/status" and "mallory" not in json.dumps(seen.headers)
    assert seen.values("Cookie") == [cookie] and seen.values("X-Forwarded-For") == ["127.0.0.1"]


def test_the_question_is_no_page_of_its_own(adverse, sealjar):
    for path in ("/.sealjar/-", "/.sealjar/role=staff/-", "/%2esealjar/-"):
        answer = adverse("GET", path, [("Cookie", sealjar.sign_in())])
        assert answer.status == 404 and answer.values("Remote-User") == []


def test_questions_share_connections(heard, asked):
    before = asked.connections
    for _ in range(10):
        assert heard("GET", "/", API).status == 200
    assert asked.connections - before <= 1


def test_a_websocket_is_opened(adverse, sealjar, slow):
    assert adverse.client.upgrade("/socket", [("Cookie", sealjar.sign_in())]) == (101, b"HELLOping")
    assert [slow.seen[-1].values(name) for name in ("Connection", "Upgrade")] == [["upgrade"], ["websocket"]]


def test_a_sealjar_that_accepts_nobody_is_not_waited_for(certificate, slow):
    before = len(slow.seen)
    with Mute(full=True) as mute:
        proxy = Impatient(ADVERSE, certificate, mute.port, slow.port)
        begun = time.monotonic()
        try:
            assert proxy("GET", "/", API).status == 500
            assert time.monotonic() - begun < 25, "nginx itself waits for 60 s"
        finally:
            proxy.stop()
    assert slow.seen[before:] == []
