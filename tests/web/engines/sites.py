"""Sites for the browsers: an application behind Caddy and Sealjar, a site of another origin, and a Sealjar server without a proxy."""

import re
import shutil
from contextlib import contextmanager
from pathlib import Path

from browser import find_program
from harness import PASSWORD, ROOT, App, Client, Sealjar, free_port, make_certificate
from processes import running
from waiting import wait_until

CADDY = """
{{
    admin off
    auto_https disable_redirects
    default_bind 127.0.0.1
    servers {{
        protocols h1 h2
    }}
}}
import {here}/Caddyfile
localhost:{other_port} {{
    tls {here}/cert.pem {here}/key.pem
    root * {here}/elsewhere
    file_server
}}
"""
# Service worker that forwards every request unchanged.
WORKER = """
addEventListener("install", () => skipWaiting())
addEventListener("activate", event => event.waitUntil(clients.claim()))
addEventListener("fetch", event => event.respondWith(fetch(event.request)))
"""
REGISTER = """
navigator.serviceWorker.register("/worker.js").then(() => navigator.serviceWorker.ready)
    .then(() => document.querySelector("h1").innerText = "Registered")
"""


class Pages(App):
    """Application with HTML pages. `/hop` redirects to the URL in `hop`."""

    hop = ""
    pages = {
        "/": "<h1>Home</h1>",
        "/page": "<h1>Page</h1>",
        "/private": "<h1>Private</h1><a href=/auth/status>Session</a>",
        "/form": "<h1>Form</h1><form method=post action=/save><button>Save</button></form>",
        "/save": "<h1>Saved</h1>",
        "/files": "<h1>Files</h1><a download href=/report>Report</a>",
        "/report": "The report",
        "/worker": f"<h1>Worker</h1><script>{REGISTER}</script>",
        "/worker.js": WORKER,
    }

    def answer_path(self, handler) -> bool:
        path = handler.path.partition("?")[0]
        if path == "/hop":
            handler.send_response(302)
            handler.send_header("Location", self.hop)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return True
        if path not in self.pages:
            return False
        body = self.pages[path].encode()
        handler.send_response(200)
        media_type = "text/javascript" if path.endswith(".js") else "text/html"
        handler.send_header("Content-Type", f"{media_type}; charset=utf-8")
        handler.send_header("Content-Length", str(len(body)))
        if path == "/private":
            handler.send_header("Cache-Control", "no-store")
        handler.end_headers()
        handler.wfile.write(body)
        return True

    def requests(self, path: str) -> list:
        """Returns method and target of each request for a path."""
        return [(seen.method, seen.path) for seen in list(self.seen) if seen.path.partition("?")[0] == path]


class Site:
    """Origin of the application, and another origin. `/hop` redirects to the other origin, and `files` contains its files."""

    def __init__(self, app: Pages, port: int, other_port: int, files: Path):
        self.app = app
        self.origin = f"https://localhost:{port}"
        self.elsewhere = f"https://localhost:{other_port}"
        self.files = files
        self.client = Client(port, files.parent / "cert.pem")
        app.hop = f"{self.elsewhere}/"

    def write_attack(self, head: str) -> str:
        """Creates a page of the other origin with a form that signs its user in as `bob`. The form has a token of a real sign-in page.
        Returns the URL of the page."""
        page = self.client("GET", "/auth/login", [("Accept", "text/html")], host=self.origin.removeprefix("https://"))
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.body.decode())[1]
        values = {"csrf_token": token, "login": "bob", "password": PASSWORD}
        fields = "".join(f'<input name="{name}" value="{value}">' for name, value in values.items())
        form = f'<form method="post" action="{self.origin}/auth/login">{fields}<button>Win</button></form>'
        (self.files / "attack.html").write_text(f"{head}<h1>Attack</h1>{form}")
        return f"{self.elsewhere}/attack.html"


@contextmanager
def proxied_site(here: Path):
    """Starts an application, Sealjar, and Caddy with the files in `deploy/caddy`."""
    caddy = find_program("caddy")
    port = free_port()
    other_port = free_port()
    settings = [f"http.public_origins=https://localhost:{port}", "http.trusted_proxies=127.0.0.1"]
    app = Pages()
    try:
        with served(here / "sealjar", *settings) as sealjar:
            configure_caddy(here / "caddy", port, other_port, sealjar.port, app.port)
            with (here / "log").open("wb") as log:
                command = [caddy, "run", "--config", here / "caddy/main", "--adapter", "caddyfile"]
                with running(command, cwd=here, env={"HOME": str(here)}, stdout=log, stderr=log):
                    wait_until(lambda: is_ready(port, here / "caddy/cert.pem"), bool)
                    yield Site(app, port, other_port, here / "caddy/elsewhere")
    finally:
        app.stop()


@contextmanager
def served(home: Path, *settings: str):
    """Starts a Sealjar server, and stops it at the end."""
    home.mkdir()
    sealjar = Sealjar(home, *settings)
    try:
        yield sealjar.start()
    finally:
        sealjar.stop()


def configure_caddy(here: Path, port: int, other_port: int, sealjar: int, app: int):
    """Copies the files in `deploy/caddy`, and replaces addresses and paths."""
    shutil.copytree(ROOT / "deploy/caddy", here)
    certificate, key = make_certificate(here)
    (here / "elsewhere").mkdir()
    (here / "elsewhere/index.html").write_text("<h1>Elsewhere</h1>")
    caddyfile = here / "Caddyfile"
    text = caddyfile.read_text()
    replacements = {
        "\napp.example.com {": f"\nlocalhost:{port} {{",
        "127.0.0.1:8080": f"127.0.0.1:{sealjar}",
        "127.0.0.1:3000": f"127.0.0.1:{app}",
        "/etc/sealjar/tls/cert.pem /etc/sealjar/tls/key.pem": f"{certificate} {key}",
    }
    for old, new in replacements.items():
        assert old in text, f"deploy/caddy/Caddyfile does not have {old}"
        text = text.replace(old, new)
    caddyfile.write_text(text)
    (here / "main").write_text(CADDY.format(here=here, other_port=other_port))


def is_ready(port: int, certificate: Path) -> bool:
    """Returns whether the sign-in page is served."""
    try:
        return Client(port, certificate)("GET", "/auth/login", [("Accept", "text/html")], host=f"localhost:{port}").status == 200
    except OSError:
        return False
