"""Starts each reverse proxy with the files of `deploy/`. Only addresses and paths in them are replaced.

If a file is to be included by a main configuration, a minimal main configuration is here.
"""

import glob
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import harness
import pytest
from harness import ROOT, WAIT_TIMEOUT, Client, free_port

NGINX = """
daemon off; user root; pid {here}/pid; error_log stderr; worker_processes 1; events {{}}
http {{
    access_log off; client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
    include {here}/sealjar.conf;
    include {here}/app.example.com.conf;
}}
"""
CADDY = """
{{
    admin off
    auto_https disable_redirects
    https_port {port}
    default_bind 127.0.0.1
}}
import {here}/Caddyfile
"""
APACHE = """
ServerRoot /usr/lib/apache2
User www-data
Group www-data
ServerName localhost
DefaultRuntimeDir {here}
PidFile {here}/pid
ErrorLog /dev/stderr
StartServers 1
Listen 127.0.0.1:{port}
LoadModule mpm_event_module modules/mod_mpm_event.so
LoadModule authz_core_module modules/mod_authz_core.so
LoadModule lua_module modules/mod_lua.so
LoadModule macro_module modules/mod_macro.so
LoadModule proxy_module modules/mod_proxy.so
LoadModule proxy_http_module modules/mod_proxy_http.so
LoadModule remoteip_module modules/mod_remoteip.so
LoadModule setenvif_module modules/mod_setenvif.so
LoadModule ssl_module modules/mod_ssl.so
Include {here}/sealjar.conf
"""
ADDRESSES = (("127.0.0.1:8080", "127.0.0.1:{sealjar}"), ("127.0.0.1:3000", "127.0.0.1:{app}"))
WHEELS, DEBIAN = Path(sys.prefix) / "bin", "/usr/sbin:/usr/bin:/sbin:/bin"


# Headings of the recipes that each proxy's files show in comments.
OWN_RULE = "A path with a rule of its own"
PUBLIC = "A path that everybody may see"
SECOND_HOST = "A second host"
BEHIND_CDN = "Behind a CDN or another proxy"
SIGN_IN_HOST = "A login host of its own"
PRIVATE = "Pages with private data"
# An address of the CDN's network, which replaces 192.0.2.0/24 of the files.
CDN = "127.9.9.1"

# Caddy's file also has the CDN's network as a regular expression.
CADDY_REPLACED = (*ADDRESSES, (r"192\.0\.2\.", re.escape(CDN.rpartition(".")[0] + ".")))
CADDY_ARGUMENTS = ("run", "--config", "{here}/main", "--adapter", "caddyfile")


@dataclass(frozen=True)
class Kind:
    """The way to start one proxy: its folder in `deploy/`, its program and the directories (`where`) to search for it, the
    replacements in its files, the main configuration that includes them, a library that it needs, and files from other
    folders."""

    name: str
    folder: str
    program: str
    where: str
    arguments: tuple
    replaced: tuple = ()
    main: str = ""
    library: str = ""
    files: tuple = ()

    def find(self) -> str:
        """Returns the path of the program. If it is not installed, the calling test is skipped, or fails under `CI=true`."""
        program = shutil.which(self.program, path=str(self.where))
        if not program:
            missing(f"{self.program} is not in {self.where}", f"nothing of {self.name}")
        if self.library and not glob.glob(self.library):
            missing(f"{self.library} does not exist", f"nothing of {self.name}")
        return program


KINDS = [
    Kind(
        "nginx", "nginx", "nginx", DEBIAN, ("-c", "{here}/main"),
        (*ADDRESSES, ("listen 443", "listen 127.0.0.1:{port}"), ("include snippets/", "include {here}/")), NGINX,
    ),
    Kind("caddy-debian", "caddy", "caddy", DEBIAN, CADDY_ARGUMENTS, CADDY_REPLACED, CADDY),
    Kind("caddy-current", "caddy", "caddy", WHEELS, CADDY_ARGUMENTS, CADDY_REPLACED, CADDY),
    Kind(
        "traefik", "traefik", "traefik", WHEELS, ("--configFile={here}/traefik.yml",),
        (*ADDRESSES, ('":443"', '"127.0.0.1:{port}"'), ("/etc/traefik", "{here}")),
    ),
    Kind(
        "haproxy", "haproxy", "haproxy", DEBIAN, ("-db", "-dW", "-f", "{here}/haproxy.cfg"),
        (*ADDRESSES, ("bind :443", "bind 127.0.0.1:{port}"), ("/etc/haproxy", "{here}")),
    ),
    Kind(
        "envoy", "envoy", "envoy", WHEELS,
        ("-c", "{here}/envoy.yaml", "--disable-hot-restart", "--concurrency", "1", "--log-level", "error"),
        (("address: 0.0.0.0, port_value: 443", "address: 127.0.0.1, port_value: {port}"),
         ("port_value: 8080", "port_value: {sealjar}"), ("port_value: 3000", "port_value: {app}")),
    ),
    Kind(
        "apache", "apache", "apache2", DEBIAN, ("-DFOREGROUND", "-f", "{here}/main"),
        (*ADDRESSES, ("*:443", "*:{port}"), ("/etc/apache2", "{here}")), APACHE,
        "/usr/lib/*/lua/5.3/socket/core.so",
    ),
]  # fmt: skip


def with_http2(kind: Kind) -> Kind:
    """Returns the proxy with HTTP/2 enabled for browsers. Most proxies enable it by default."""
    if kind.name == "nginx":
        return replace(kind, replaced=(("listen 443 ssl;", "listen 443 ssl http2;"), *kind.replaced))
    if kind.name == "apache":
        return replace(kind, main=kind.main + "LoadModule http2_module modules/mod_http2.so\nProtocols h2 http/1.1\n")
    return kind


def with_private_pages(kind: Kind) -> Kind:
    """Returns the proxy with the modules that the recipe for private pages needs, as its file says."""
    if kind.name == "apache":
        return replace(kind, main=kind.main + "LoadModule headers_module modules/mod_headers.so\n")
    return kind


class Proxy:
    """A running proxy. Calling the object sends a request, as with a `Client`.

    `rules` replaces the rules of the example in its file, the `recipes` are uncommented, `other_app` is the port of the second
    host's application, and `edits` are additional replacements.
    """

    def __init__(
        self, kind: Kind, certificate: Path, sealjar: int, app: int,
        rules: str = "", recipes: tuple = (), other_app: int = 9, edits: tuple = (),
    ):  # fmt: skip
        self.kind = kind
        self.certificate = certificate
        self.port = free_port()
        program = kind.find()
        # Apache and HAProxy run as other users, which cannot read the temporary directories of pytest.
        self.directory = tempfile.TemporaryDirectory(prefix="sealjar-proxy-")
        self.here = Path(self.directory.name)
        self.here.chmod(0o755)
        self.recipes = recipes
        self.other_app = other_app
        self._configure(certificate, dict(port=self.port, here=self.here, sealjar=sealjar, app=app), rules, edits)
        self.log = self.here / "log"
        arguments = [argument.format(here=self.here) for argument in kind.arguments]
        with self.log.open("wb") as log:
            # A new process group, so that `stop` also ends the processes that the program starts.
            self.process = subprocess.Popen(
                [program, *arguments], cwd=self.here, env={**os.environ, "HOME": str(self.here)}, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.client = Client(self.port, certificate)
        self._wait_until_ready()

    def __call__(self, *arguments, **keywords):
        return self.client(*arguments, **keywords)

    def _configure(self, certificate: Path, places: dict, rules: str, edits: tuple):
        pairs = [(old, new.format(**places)) for old, new in self.kind.replaced]
        pairs += [("/etc/sealjar/tls", str(certificate.parent)), *edits]
        not_found = {old for old, _ in pairs}
        shutil.copytree(ROOT / "deploy" / self.kind.folder, self.here, dirs_exist_ok=True)
        remove_line(self.kind.folder, self.here, os.environ.get("SEALJAR_WITHOUT", ""))
        for file in self.kind.files:
            shutil.copy(ROOT / "deploy" / file, self.here)
        has_rules = False
        unused = set(self.recipes)
        for path in [path for path in self.here.rglob("*") if path.is_file()]:
            text = path.read_text()
            if rules and "# With rules" in text:
                text = with_rules(text, rules)
                has_rules = True
            for recipe in self.recipes:
                if f"# {recipe}:\n" in text:
                    text = with_recipe(text, recipe)
                    unused.discard(recipe)
                if recipe == SIGN_IN_HOST:
                    text = without_block(text, "# Not with a login host of its own:")
            text = text.replace("3001", str(self.other_app)).replace("192.0.2.0", CDN.rpartition(".")[0] + ".0")
            for old, new in pairs:
                if old in text:
                    text = text.replace(old, new)
                    not_found.discard(old)
            path.write_text(text)
        assert not not_found, f"deploy/{self.kind.folder} does not contain {not_found}"
        assert has_rules or not rules, f"deploy/{self.kind.folder} shows no example of rules"
        assert not unused, f"deploy/{self.kind.folder} does not show the recipes {unused}"
        if self.kind.main:
            (self.here / "main").write_text(self.kind.main.format(**places))

    def _wait_until_ready(self):
        """Requests Sealjar's sign-in page through the proxy until it succeeds or the process ends. Between two tries it waits
        for the end of the process."""
        host = harness.SIGN_IN_HOST if SIGN_IN_HOST in self.recipes else harness.HOST
        end = time.monotonic() + WAIT_TIMEOUT
        while time.monotonic() < end:
            try:
                if self.client("GET", "/auth/login", [("Accept", "text/html")], host=host).status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            try:
                self.process.wait(0.05)
                break
            except subprocess.TimeoutExpired:
                continue
        self.stop()
        raise AssertionError(f"{self.kind.name} is not ready: {self.log.read_text()}")

    def stop(self):
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(WAIT_TIMEOUT)
        except ProcessLookupError:
            self.process.wait(WAIT_TIMEOUT)


def missing(reason: str, untested: str):
    """Skips the calling test because a program is missing, or fails it under `CI=true`."""
    text = f"{reason}: {untested} is tested"
    pytest.fail(text) if os.environ.get("CI") == "true" else pytest.skip(text)


def running(kind: Kind, certificate: Path, sealjar, app, rules: str = "", **options):
    """Yields the running proxy in front of these servers, and stops it afterwards. For fixtures (`yield from`) and `for`
    loops."""
    proxy = Proxy(kind, certificate, sealjar.port, app.port, rules, **options)
    yield proxy
    proxy.stop()


def remove_line(folder: str, here: Path, without: str):
    """Removes a line from the copy of the folder. `mutate.py` names the line as `folder/file:number`."""
    name, _, number = without.partition(":")
    if name.startswith(f"{folder}/"):
        path = here / name.removeprefix(f"{folder}/")
        lines = path.read_text().splitlines(keepends=True)
        del lines[int(number)]
        path.write_text("".join(lines))


def with_rules(text: str, rules: str) -> str:
    """Returns the file with its example of rules uncommented, and with these rules instead of those of the example."""
    lines = text.splitlines(keepends=True)
    (comment,) = [index for index, line in enumerate(lines) if "# With rules" in line]
    example = lines[comment + 1].replace("#", "", 1)
    following = lines[comment + 2]
    with_our_rules = example.replace("role=staff/max_age=900/csrf=1", rules)
    assert with_our_rules != example, f"no example of rules in {example}"
    lines[comment + 1] = with_our_rules
    # The next line may be the same directive without rules. Then the example replaces it.
    if following.split()[:1] == example.split()[:1]:
        del lines[comment + 2]
    return "".join(lines)


def with_recipe(text: str, recipe: str) -> str:
    """Returns the file with the comment lines after this heading uncommented."""
    lines = text.splitlines(keepends=True)
    uncomments = False
    for index, line in enumerate(lines):
        if line.strip() == f"# {recipe}:":
            uncomments = True
            assert lines[index + 1].lstrip().startswith("#"), f"no code follows the heading {recipe}"
        elif uncomments := uncomments and line.lstrip().startswith("#"):
            lines[index] = line.replace("#", "", 1)
    return "".join(lines)


def without_block(text: str, heading: str) -> str:
    """Returns the file without the lines from this heading to the next empty line."""
    kept = []
    in_block = False
    for line in text.splitlines(keepends=True):
        in_block = line.strip() == heading or in_block and line.strip() != ""
        kept += [] if in_block else [line]
    return "".join(kept)
