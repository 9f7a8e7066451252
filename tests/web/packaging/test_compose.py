"""The Compose project of `docs/docker-compose.md`. It is valid, Sealjar accepts its settings, and Caddy with its Caddyfile forwards
only requests that have a session to the application."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from harness import (
    API,
    HOST,
    NAVIGATION,
    WAIT_TIMEOUT,
    ROOT,
    App,
    Client,
    Sealjar,
    free_port,
    make_certificate,
)
from waiting import wait_until

PAGE = (ROOT / "docs/docker-compose.md").read_text()
CHECK = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]


def block(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return text


@pytest.fixture
def project() -> dict:
    return yaml.safe_load(block("yaml"))


def test_the_project_is_valid_and_a_mistake_is_found(tmp_path):
    file = tmp_path / "compose.yaml"
    for text, code in [(block("yaml"), 0), (block("yaml").replace("cap_drop", "cap_drops"), 1)]:
        file.write_text(text)
        done = subprocess.run([*CHECK, file], capture_output=True, text=True, timeout=WAIT_TIMEOUT)
        assert done.returncode == code, done.stdout + done.stderr


def test_networks_and_volumes_of_services_are_declared(project):
    for service in project["services"].values():
        assert set(service["networks"]) <= set(project["networks"])
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            is_declared = source in project["volumes"] or source.removeprefix("./") in ("Caddyfile", "sealjar.caddy")
            assert is_declared, source


def test_the_application_is_reached_only_through_caddy(project):
    services = project["services"]
    networks = project["networks"]
    assert [name for name, service in services.items() if "ports" in service] == ["caddy"]
    assert not set(services["app"]["networks"]) & set(services["sealjar"]["networks"])
    (pool,) = networks["sealjar"]["ipam"]["config"]
    assert services["sealjar"]["environment"]["SEALJAR_HTTP__TRUSTED_PROXIES"] == pool["subnet"]


def test_sealjar_accepts_the_settings_and_stores_in_the_volume(project, tmp_path):
    service = project["services"]["sealjar"]
    environment = {**Sealjar.without_settings(), **service["environment"]}
    command = [Sealjar.program(), "config"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=WAIT_TIMEOUT)
    assert done.returncode == 0 and service["environment"]["SEALJAR_HTTP__TRUSTED_PROXIES"] in done.stdout, done.stderr
    directories = re.findall(r"^(?:VOLUME|WORKDIR) (/var\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert directories and {volume.partition(":")[2] for volume in service["volumes"]} == set(directories)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def sealjar(tmp_path_factory):
    settings = [f"http.public_origins=https://{HOST}", "http.trusted_proxies=127.0.0.1"]
    server = Sealjar(tmp_path_factory.mktemp("sealjar"), *settings).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def app():
    app = App()
    yield app
    app.stop()


@pytest.fixture(scope="module")
def caddy(certificate, sealjar, app, tmp_path_factory):
    """A client of a Caddy that runs with the Caddyfile of the page, with the addresses of this machine and a test certificate."""
    directory = tmp_path_factory.mktemp("caddy")
    port = free_port()
    program = shutil.which("caddy", path=str(Path(sys.prefix) / "bin"))
    text = block("caddyfile")
    for old, new in [
        ("sealjar:8080", f"127.0.0.1:{sealjar.port}"),
        ("app:80", f"127.0.0.1:{app.port}"),
        (f"{HOST} {{", f"{HOST} {{\n\ttls {certificate[0]} {certificate[1]}"),
    ]:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    options = f"{{\n\tadmin off\n\tauto_https disable_redirects\n\thttps_port {port}\n\tdefault_bind 127.0.0.1\n}}\n"
    (directory / "Caddyfile").write_text(options + text)
    shutil.copy(ROOT / "deploy/caddy/sealjar.caddy", directory)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, "run"], cwd=directory, env={**os.environ, "HOME": str(directory)}, stdout=log, stderr=log)
    client = Client(port, certificate[0])

    def status():
        try:
            return client("GET", "/auth/login", NAVIGATION).status
        except OSError:
            return process.poll()

    try:
        assert wait_until(status, lambda status: status is not None) == 200, (directory / "log").read_text()
        yield client
    finally:
        process.terminate()
        process.wait(WAIT_TIMEOUT)


def test_caddy_forwards_only_requests_with_a_session(caddy, sealjar, app):
    assert caddy("GET", "/", API).status == 401 and app.seen == []
    assert caddy("GET", "/", NAVIGATION).location == f"https://{HOST}/auth/login?rd=%2F"
    cookie = ("Cookie", f"a=1; {sealjar.sign_in()}")
    seen = caddy("GET", "/x", [cookie, ("Remote-User", "mallory"), ("Remote.User", "mallory")]).received_by_app()
    assert (seen.path, seen.values("Remote-User"), seen.values("Cookie")) == ("/x", ["alice"], ["a=1"])
    assert "mallory" not in str(seen.headers)
