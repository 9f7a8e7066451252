"""What is special to the files of nginx: settings of its `http` block that these have to override, what a location of the
user's own does and does not inherit, and what exactly Sealjar is asked."""

import json
import time
from dataclasses import replace
from urllib.parse import urlsplit

import harness
import pytest
from harness import (
    API,
    EMAIL,
    HOST,
    NAVIGATION,
    OTHER_HOST,
    App,
    Seen,
    head,
    make_certificate,
)
from servers import (
    BEHIND_CDN,
    CDN,
    KINDS,
    PUBLIC,
    SECOND_HOST,
    SIGN_IN_HOST,
    running,
)
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
PRINCIPAL = ["Remote-User", "X-Auth-Request-User"]
FORWARDED = ["For", "Proto", "Host", "Method", "Uri", "Port", "Prefix", "Scheme", "Server", "Ssl", "User", "Groups", "Email"]
STRIPPED = [
    *IDENTITY,
    "Forwarded",
    *(f"X-Forwarded-{what}" for what in [*FORWARDED, "Preferred-Username"]),
    *(f"X-Original-{what}" for what in ("Method", "URL", "URI", "Host")),
]


class Slow(App):
    """An application that takes its time, by the path, before it answers and before it reads. It counts its connections, and can
    stand in Sealjar's place: it lets everybody in, with an answer without a body."""

    def __init__(self):
        super().__init__()
        self.connections = 0
        handler, server = self.server.RequestHandlerClass, self.server
        answer, accept, app = handler.answer, server.process_request, self

        def slowly(request):
            if request.path.startswith(("/slow", "/unread")):
                time.sleep(2.5)
            if request.path.startswith("/auth/verify"):
                app.seen.append(Seen(request.command, request.path, list(request.headers.items()), 0))
                request.send_response(200)
                request.send_header("Content-Length", "0")
                return request.end_headers()
            if request.path == "/401":
                request.send_response(401)
                request.send_header("Content-Length", "4")
                request.end_headers()
                return request.wfile.write(b"mine")
            return answer(request)

        def count(*arguments):
            app.connections += 1
            accept(*arguments)

        handler.do_GET = handler.do_POST = slowly
        server.process_request = count


@pytest.fixture(scope="module")
def slow():
    app = Slow()
    yield app
    app.stop()


@pytest.fixture(scope="module")
def adverse(certificate, sealjar, slow):
    yield from running(ADVERSE, certificate, sealjar, slow)


def test_no_name_that_an_application_could_misread_gets_through(adverse, sealjar):
    spoofed = [(name.replace("-", separator), "mallory") for name in PRINCIPAL for separator in SEPARATORS]
    seen = adverse("GET", "/", [*spoofed, ("Cookie", sealjar.sign_in())]).app_saw()
    assert "mallory" not in json.dumps(seen.headers)


def test_a_large_upload_arrives_whole(adverse, sealjar):
    seen = adverse("POST", "/upload", [("Cookie", sealjar.sign_in())], b"x" * 3_000_000).app_saw()
    assert seen.length == 3_000_000


def test_a_large_upload_in_chunks_arrives_whole(adverse, sealjar):
    fields = [("Cookie", sealjar.sign_in()), ("Transfer-Encoding", "chunked"), ("Connection", "close")]
    body = b"100000\r\n" + b"x" * 0x100000 + b"\r\n0\r\n\r\n"
    answer = adverse.client.raw(head("GET", "/upload", fields, b"", HOST) + body)
    assert answer.startswith(b"HTTP/1.1 200")


def test_an_application_may_take_its_time(adverse, sealjar):
    assert adverse("GET", "/slow", [("Cookie", sealjar.sign_in())]).status == 200


def test_an_application_may_read_an_upload_late(adverse, sealjar):
    seen = adverse("POST", "/unread", [("Cookie", sealjar.sign_in())], b"x" * 30_000_000).app_saw()
    assert seen.length == 30_000_000


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
    asked = Slow()
    yield asked
    asked.stop()


@pytest.fixture(scope="module")
def heard(certificate, asked, slow):
    yield from running(ADVERSE, certificate, asked, slow)


def test_sealjar_is_asked_about_the_request_and_told_nothing_else(heard, asked):
    told = {
        "Cookie": "__Host-sealjar=a; b=c",
        "Origin": f"https://{OTHER_HOST}",
        "Sec-Fetch-Site": "same-site",
        "Sec-Fetch-Mode": "cors",
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


def test_sealjars_own_pages_are_told_the_facts_by_the_proxy_alone(heard, asked):
    cookie = "__Host-sealjar=a; b=c; __Host-sealjar-form=d"
    spoofed = [(name, "mallory") for name in STRIPPED]
    spoofed += [("X" + separator + "Forwarded-For", "mallory") for separator in SEPARATORS]
    heard("GET", "/auth/status", [*spoofed, ("Cookie", cookie), ("Connection", "X-Forwarded-For, close")])
    seen = asked.seen[-1]
    assert seen.path == "/auth/status" and "mallory" not in json.dumps(seen.headers)
    assert seen.values("Cookie") == [cookie] and seen.values("X-Forwarded-For") == ["127.0.0.1"]


def test_the_application_is_told_no_field_of_the_list_by_the_client(adverse, sealjar):
    spoofed = [(name, "mallory") for name in STRIPPED]
    seen = adverse("GET", "/", [*spoofed, ("Cookie", sealjar.sign_in())]).app_saw()
    assert "mallory" not in json.dumps(seen.headers)


def test_the_question_is_no_page_of_its_own(adverse, sealjar):
    for path in ("/.sealjar/-", "/.sealjar/role=staff/-", "/%2esealjar/-"):
        answer = adverse("GET", path, [("Cookie", sealjar.sign_in())])
        assert answer.status == 404 and answer.values("Remote-User") == []


def test_questions_share_connections(heard, asked):
    before = asked.connections
    for _ in range(10):
        assert heard("GET", "/", API).status == 200
    assert asked.connections - before <= 1


def test_a_client_can_switch_to_no_other_protocol(adverse, sealjar, slow):
    for upgrade in ("h2c", "TLS/1.0", "websocket, h2c"):
        fields = [("Cookie", sealjar.sign_in()), ("Upgrade", upgrade), ("Connection", "Upgrade, HTTP2-Settings")]
        seen = adverse("GET", "/", fields).app_saw()
        assert seen.values("Upgrade") == [] and "upgrade" not in seen.values("Connection")
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


@pytest.fixture(scope="module")
def own(certificate, sealjar, app):
    """The file of a user who added settings and locations of several kinds."""
    addition = """
    proxy_set_header X-Host yes;
    location /own/ {
        proxy_set_header X-Own yes;
        include snippets/sealjar-headers.conf;
        proxy_pass http://app;
    }
    location ~ /\\. {
        deny all;
    }
    location ~ \\.(css|js)$ {
        return 204;
    }
    location = /basic {
        auth_basic realm;
        auth_basic_user_file /dev/null;
    }

    # Not with"""
    kind = replace(NGINX, replaced=(("\n    # Not with", addition.replace("{", "{{").replace("}", "}}")), *NGINX.replaced))
    yield from running(kind, certificate, sealjar, app)


def test_fields_of_the_users_own_do_not_open_a_way(own, sealjar):
    fields = [("Remote-User", "mallory"), ("Remote-Level", "mallory"), ("Cookie", sealjar.sign_in() + "; a=1")]
    for path, name in (("/own/", "X-Own"), ("/", "X-Host")):
        seen = own("GET", path, fields).app_saw()
        assert "mallory" not in json.dumps(seen.headers) and seen.values(name) == ["yes"]
        assert (seen.values("Remote-User"), seen.values("Cookie")) == (["alice"], ["a=1"])


def test_expressions_of_the_users_own_take_no_path_of_ours(own, sealjar):
    assert own("GET", "/", [("Cookie", sealjar.sign_in())]).app_saw().values("Remote-Email") == [EMAIL]
    assert own("GET", "/auth/style.css", API).status != 204


@pytest.mark.parametrize("headers", [API, NAVIGATION])
def test_a_401_of_nginx_itself_leads_nowhere(own, headers):
    answer = own("GET", "/basic", headers)
    assert answer.status == 401 and answer.values("Location") == []


def test_each_host_is_known_by_its_name(certificate, sealjar, app, tmp_path):
    """Another site of the same address is the default, with a certificate that the client does not trust."""
    other, key = make_certificate(tmp_path)
    site = f"server {{{{ listen 127.0.0.1:{{port}} ssl default_server; ssl_certificate {other}; ssl_certificate_key {key}; }}}}"
    kind = replace(NGINX, main=NGINX.main.replace("    include", f"    {site}\n    include", 1))
    proxy = Impatient(kind, certificate, sealjar.port, app.port, recipes=(SECOND_HOST, SIGN_IN_HOST))
    try:
        assert proxy("GET", "/", [("Cookie", sealjar.sign_in())]).app_saw().values("Remote-User") == ["alice"]
        assert proxy("GET", "/", API, host=OTHER_HOST).status == 401
        # Sealjar does not know this one here.
        assert proxy("GET", "/auth/login", API, host=harness.SIGN_IN_HOST).status == 421
    finally:
        proxy.stop()


def test_what_anybody_can_send_to_sealjar_is_not_written_to_disk(certificate, sealjar, hub_sealjar, app):
    large = head("POST", "/auth/login", [("Content-Type", "application/json"), ("Content-Length", "1100000")], b"", HOST)
    for proxy in running(NGINX, certificate, sealjar, app, recipes=(SECOND_HOST,)):
        for host in (HOST, OTHER_HOST):
            assert proxy.client.raw(large.replace(HOST.encode(), host.encode()), host).startswith(b"HTTP/1.1 413")
    for proxy in running(NGINX, certificate, hub_sealjar, app, recipes=(SIGN_IN_HOST,)):
        host = harness.SIGN_IN_HOST
        assert proxy.client.raw(large.replace(HOST.encode(), host.encode()), host).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("line, field", [(HOST, OTHER_HOST), (OTHER_HOST, HOST)])
def test_two_names_of_the_host_lead_into_no_other(certificate, sealjar, app, line, field):
    other = App()
    for proxy in running(NGINX, certificate, sealjar, app, recipes=(SECOND_HOST,), other_app=other.port):
        for owner in (HOST, OTHER_HOST):
            cookie = ("Cookie", sealjar.sign_in(host=owner))
            with app.sees_nothing():
                assert proxy("GET", f"https://{line}/x", [cookie], host=field).status == 400
        assert proxy("GET", f"https://{HOST}/x", [("Cookie", sealjar.sign_in())]).app_saw().path == "/x"
        for host in (f"{HOST}:443", HOST.upper()):
            assert proxy("GET", "/x", [("Cookie", sealjar.sign_in())], host=host, sni=HOST).status == 200
    assert other.seen == []
    other.stop()


def test_several_addresses_of_the_cdn_are_not_the_visitor(certificate, sealjar, app):
    for proxy in running(NGINX, certificate, sealjar, app, recipes=(BEHIND_CDN,)):
        fields = [("X-Forwarded-For", "203.0.113.1, 198.51.100.7, 127.9.9.3"), ("Cookie", sealjar.sign_in())]
        assert proxy("GET", "/", fields, source=CDN).app_saw().values("X-Forwarded-For") == ["198.51.100.7"]


AMBIGUOUS = ["/public/..;/admin/", "/public/;/x", "/public//../x", "/public/a/./b", "/public/..%5cx", "/public/%252e%252e/x"]
AMBIGUOUS += ["/public/a/..", "/public/a/..?b", "/public/%2e%2E/public/x", "/public/..\\x", "/public/a%3bb", "/x/..%2Fpublic/"]
AMBIGUOUS += ["/public/#x", "/public/..%23/x", "/public/..%3f/x"]


@pytest.fixture(scope="module")
def public(certificate, sealjar, app):
    yield from running(NGINX, certificate, sealjar, app, recipes=(PUBLIC,))


@pytest.mark.parametrize("path", AMBIGUOUS)
def test_a_path_that_may_be_another_is_not_public(public, app, path):
    with app.sees_nothing():
        assert public("GET", path, API).status in (400, 401, 404)


@pytest.mark.parametrize("path", ["/public/", "/public/.well-known/x.y", "/public/caf%C3%A9%20.js?a=..;/&b=//", "/public/..."])
def test_a_usual_path_is_public(public, path):
    seen = public("GET", path, [*API, ("Cookie", "a=1; b=2")]).app_saw()
    assert (seen.path, seen.values("Cookie")) == (path, ["a=1; b=2"])
