"""A proxy that gets no answer from Sealjar, or none that says yes, lets nobody in; and nothing that names a path in another
way leads past it."""

import http.client
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from harness import API, HOST, NAVIGATION, OTHER_HOST
from servers import KINDS, running

# What these take for a yes, as deploy/README.md says; the others take only 200, and Sealjar says nothing else.
LENIENT = {"nginx": [200, 201, 202, 204], "traefik": [200, 201, 202, 204]}
ANSWERS = [200, 201, 202, 204, 301, 302, 303, 400, 403, 404, 405, 421, 429, 500, 503, "rubbish", "nothing"]


@contextmanager
def away(sealjar):
    sealjar.stop()
    try:
        yield
    finally:
        sealjar.start()


class Impostor:
    """Something else in Sealjar's place, which answers as `answer` says and calls everybody this user, or nobody anything."""

    def __init__(self, port, user="root"):
        self.answer = 200
        impostor = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self):
                if impostor.answer == "nothing":
                    self.close_connection = True
                elif impostor.answer == "rubbish":
                    self.close_connection = True
                    self.rfile.readline()
                    self.wfile.write(b"200 OK, come in\r\n\r\n")
                else:
                    super().handle_one_request()

            def do_GET(self):
                self.send_response(impostor.answer)
                if user:
                    self.send_header("Remote-User", user)
                self.send_header("Set-Cookie", "__Host-sealjar=x")
                if impostor.answer >= 300:
                    self.send_header("Location", f"https://{HOST}/elsewhere")
                self.end_headers()

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def test_nobody_gets_in_until_sealjar_is_back(proxy, sealjar, app):
    cookie = ("Cookie", sealjar.sign_in())
    assert proxy("GET", "/", [cookie]).status == 200
    requests = [(method, "/", [*headers, cookie]) for method in ("GET", "POST") for headers in (API, NAVIGATION)]
    requests.append(("GET", "/auth/status", [cookie]))
    # All at once, since a proxy may try for some seconds.
    with away(sealjar), app.sees_nothing(), ThreadPoolExecutor(len(requests)) as pool:
        answers = list(pool.map(lambda request: proxy(*request), requests))
        assert all(answer.status >= 500 for answer in answers), answers
    assert proxy("GET", "/", [cookie]).app_saw().values("Remote-User") == ["alice"]


def test_nothing_but_a_yes_is_a_yes(proxy, sealjar, app):
    lenient, let_in = LENIENT.get(proxy.kind.name, [200]), []
    with away(sealjar), Impostor(sealjar.port) as impostor:
        for answer in ANSWERS:
            impostor.answer, before = answer, len(app.seen)
            for method in ("GET", "POST"):
                for headers in (API, NAVIGATION):
                    assert (proxy(method, "/", headers).status == 200) == (answer in lenient), answer
            if len(app.seen) > before:
                let_in.append(answer)
    assert let_in == lenient


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.folder in ("caddy", "traefik")], ids=lambda kind: kind.name)
def test_an_answer_that_names_nobody_is_no_yes(kind, certificate, sealjar, app):
    for proxy in running(kind, certificate, sealjar, app):
        with away(sealjar), Impostor(sealjar.port, user=""), app.sees_nothing():
            for headers in (API, NAVIGATION):
                proxy("GET", "/", headers)


@pytest.fixture(params=[kind for kind in KINDS if kind.name in ("haproxy", "apache")], ids=lambda kind: kind.name)
def broken(request, certificate, sealjar, app):
    """Its Lua file fails before it has asked."""
    yield from running(request.param, certificate, sealjar, app, edits=[("local fields", 'error("broken") local fields')])


def test_an_error_in_a_lua_file_lets_nobody_in(broken, sealjar, app):
    with app.sees_nothing():
        for headers in (API, NAVIGATION):
            assert broken("GET", "/", [*headers, ("Cookie", sealjar.sign_in())]).status >= 500


# A proxy may also close the connection.
REFUSED = suppress(OSError, http.client.HTTPException)
# Each could be an /auth/ to one and the application's to the other.
PATHS = [
    "//",
    "//auth/../private",
    "/auth/../private",
    "/auth/..%2fprivate",
    "/auth/%2e%2e/private",
    "/auth%2f../private",
    "/auth/.%2e/private",
    "/auth\\..\\private",
    "/auth/..;/private",
    "/auth;/../private",
    "/x/../auth/../private",
    "/AUTH/../private",
    "/auth",
    "/auth//..//private",
    "/./private",
    "/%2e/private",
    "/auth/verify/../../private",
    "/.sealjar/",
    "/.sealjar/role=staff",
    "/sealjar",
    "/private?/auth/",
    "/private#/auth/",
    "/private;/auth/",
    f"https://{HOST}/private",
    f"https://{HOST}/auth/../private",
    "http://evil.example.com/private",
    "*",
    "private",
    # Sealjar's own pages answer 200 to everybody.
    f"http:http://{HOST}/auth/login",
    f"https:https://{HOST}/auth/style.css",
    f"x:http://{HOST}/auth/login",
    f"{{x}}http://{HOST}/auth/login",
]


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "TRACE", "CONNECT", "QUERY", "get"])
def test_no_way_of_writing_a_path_leads_past_sealjar(proxy, app, method):
    with app.sees_nothing():
        for path in PATHS:
            with REFUSED:
                proxy(method, path, API)


def test_no_target_asks_sealjar_without_the_rules(guarded, sealjar, app):
    """A target with a scheme and no host (RFC 3986, section 3) has no path that a proxy could compare or replace."""
    with app.sees_nothing():
        for scheme in ("http", "https"):
            for path in ("/auth/verify/-", "/auth/verify/envoy/-/../../../../private"):
                with REFUSED:
                    guarded("GET", f"{scheme}:http://{HOST}{path}", [*API, ("Cookie", sealjar.sign_in("bob"))])


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_request_that_names_no_host_or_two_has_no_session(proxy, sealjar, app, version):
    cookie, other = sealjar.sign_in(), sealjar.sign_in(host=OTHER_HOST)
    heads = [
        [f"Cookie: {cookie}"],
        ["Host:", f"Cookie: {cookie}"],
        [f"Host: {HOST}", f"Host: {OTHER_HOST}", f"Cookie: {other}"],
        [f"Host: {OTHER_HOST}", f"Host: {HOST}", f"Cookie: {cookie}"],
        [f"Host: {HOST}, {OTHER_HOST}", f"Cookie: {cookie}"],
        [f"Host: {HOST}/", f"Cookie: {cookie}"],
        [f"Host: {HOST}@{OTHER_HOST}", f"Cookie: {cookie}"],
        [f"Host: {HOST}:444", f"Cookie: {cookie}"],
    ]
    with app.sees_nothing():
        for head in heads:
            lines = [f"GET / HTTP/{version}", *head, "Accept: application/json", "Connection: close"]
            with REFUSED:
                proxy.client.raw("".join(line + "\r\n" for line in [*lines, ""]).encode())


def test_other_versions_of_http_lead_past_nobody(proxy, app):
    with app.sees_nothing():
        for line in ("GET /private", "GET /private HTTP/1.0", "GET /private HTTP/0.9", "GET /private HTTP/3.0"):
            with REFUSED:
                proxy.client.raw(f"{line}\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
