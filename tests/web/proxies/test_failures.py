"""Tests that a proxy rejects requests if Sealjar does not respond or does not respond with success, and that no spelling of a
path bypasses Sealjar."""

import http.client
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from harness import API, HOST, NAVIGATION, OTHER_HOST
from servers import KINDS, running

# Statuses that these proxies treat as success (deploy/README.md documents it). The others accept only 200, the only one that
# Sealjar sends.
LENIENT = {"nginx": [200, 201, 202, 204], "traefik": [200, 201, 202, 204]}
ANSWERS = [200, 201, 202, 204, 301, 302, 303, 400, 403, 404, 405, 421, 429, 500, 503, "rubbish", "nothing"]


@contextmanager
def stopped(sealjar):
    """Stops Sealjar for the duration of the block."""
    sealjar.stop()
    try:
        yield
    finally:
        sealjar.start()


class Impostor:
    """A server in Sealjar's place. It responds with the status `answer` and with `user` as the identity, or without one if
    `user` is empty."""

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


def test_requests_fail_until_sealjar_is_available_again(proxy, sealjar, app):
    cookie = ("Cookie", sealjar.sign_in())
    assert proxy("GET", "/", [cookie]).status == 200
    requests = [(method, "/", [*headers, cookie]) for method in ("GET", "POST") for headers in (API, NAVIGATION)]
    requests.append(("GET", "/auth/status", [cookie]))
    # All requests at the same time, because a proxy may retry for some seconds.
    with stopped(sealjar), app.receives_nothing(), ThreadPoolExecutor(len(requests)) as pool:
        answers = list(pool.map(lambda request: proxy(*request), requests))
        assert all(answer.status >= 500 for answer in answers), answers
    assert proxy("GET", "/", [cookie]).received_by_app().values("Remote-User") == ["alice"]


def test_only_success_statuses_allow_a_request(proxy, sealjar, app):
    accepted = LENIENT.get(proxy.kind.name, [200])
    reached_app = []
    with stopped(sealjar), Impostor(sealjar.port) as impostor:
        for answer in ANSWERS:
            impostor.answer = answer
            before = len(app.seen)
            for method in ("GET", "POST"):
                for headers in (API, NAVIGATION):
                    assert (proxy(method, "/", headers).status == 200) == (answer in accepted), answer
            if len(app.seen) > before:
                reached_app.append(answer)
    assert reached_app == accepted


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.folder in ("caddy", "traefik")], ids=lambda kind: kind.name)
def test_a_200_without_an_identity_is_refused(kind, certificate, sealjar, app):
    for proxy in running(kind, certificate, sealjar, app):
        with stopped(sealjar), Impostor(sealjar.port, user=""), app.receives_nothing():
            for headers in (API, NAVIGATION):
                proxy("GET", "/", headers)


@pytest.fixture(params=[kind for kind in KINDS if kind.name in ("haproxy", "apache")], ids=lambda kind: kind.name)
def broken(request, certificate, sealjar, app):
    """A proxy whose Lua file fails before it sends the verify request."""
    yield from running(request.param, certificate, sealjar, app, edits=[("local fields", 'error("broken") local fields')])


def test_an_error_in_a_lua_file_rejects_the_request(broken, sealjar, app):
    with app.receives_nothing():
        for headers in (API, NAVIGATION):
            assert broken("GET", "/", [*headers, ("Cookie", sealjar.sign_in())]).status >= 500


# A proxy may close the connection instead of responding.
REFUSED = suppress(OSError, http.client.HTTPException)
# Paths that could be below /auth/ for the proxy, and belong to the application for Sealjar, or the other way round.
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
    # Sealjar's own pages, which respond with 200 without a session.
    f"http:http://{HOST}/auth/login",
    f"https:https://{HOST}/auth/style.css",
    f"x:http://{HOST}/auth/login",
    f"{{x}}http://{HOST}/auth/login",
]


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "TRACE", "CONNECT", "QUERY", "get"])
def test_no_spelling_of_a_path_bypasses_sealjar(proxy, app, method):
    with app.receives_nothing():
        for path in PATHS:
            with REFUSED:
                proxy(method, path, API)


def test_no_request_target_bypasses_the_rules(staff_only, sealjar, app):
    """A target with a scheme and no host (RFC 3986, section 3) has no path that a proxy could compare or replace."""
    with app.receives_nothing():
        for scheme in ("http", "https"):
            for path in ("/auth/verify/-", "/auth/verify/envoy/-/../../../../private"):
                with REFUSED:
                    staff_only("GET", f"{scheme}:http://{HOST}{path}", [*API, ("Cookie", sealjar.sign_in("bob"))])


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_request_without_exactly_one_host_is_refused(proxy, sealjar, app, version):
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
    with app.receives_nothing():
        for head in heads:
            lines = [f"GET / HTTP/{version}", *head, "Accept: application/json", "Connection: close"]
            with REFUSED:
                proxy.client.raw("".join(line + "\r\n" for line in [*lines, ""]).encode())


def test_other_http_versions_do_not_bypass_sealjar(proxy, app):
    with app.receives_nothing():
        for line in ("GET /private", "GET /private HTTP/1.0", "GET /private HTTP/0.9", "GET /private HTTP/3.0"):
            with REFUSED:
                proxy.client.raw(f"{line}\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
