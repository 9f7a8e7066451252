"""Fixtures with three nodes on one PostgreSQL, behind a load balancer. All use the configuration files in `deploy/cluster`."""

import shutil
import tempfile
from pathlib import Path

import pytest
from harness import ROOT, App, Sealjar, free_port, make_certificate
from postgres import Postgres
from proxies.servers import DEBIAN, Kind, Proxy

ADDRESSES = ["10.0.0.11", "10.0.0.12", "10.0.0.13"]
BALANCER = Kind(
    "cluster", "cluster", "haproxy", DEBIAN, ("-db", "-f", "{here}/haproxy.cfg"),
    (("bind :443", "bind 127.0.0.1:{port}"), ("/etc/haproxy", "{here}"), ("127.0.0.1:3000", "127.0.0.1:{app}")),
    files=("haproxy/sealjar.lua",),
)  # fmt: skip


class Node(Sealjar):
    """Another node with the same keys, settings and store as the first one."""

    def __init__(self, first: Sealjar):
        self.home = first.home
        self.binary = first.binary
        self.settings = first.settings
        self.environment = first.environment
        self.process = None
        self.port = 0
        self.admin_port = 0


@pytest.fixture(scope="module")
def postgres():
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def nodes(postgres, tmp_path_factory):
    home = tmp_path_factory.mktemp("nodes")
    text = (ROOT / "deploy/cluster/sealjar.toml").read_text()
    (store,) = [line.split('"')[1] for line in text.splitlines() if line.startswith("store = ")]
    for old, new in [(store, postgres.store), ("10.0.0.10", "127.0.0.1"), ("/etc/sealjar/keys", "keys")]:
        assert old in text
        text = text.replace(old, new)
    (home / "sealjar.toml").write_text(text)
    first = Sealjar(home, environment={"SEALJAR_CONFIG": str(home / "sealjar.toml")})
    nodes = [first, Node(first), Node(first)]
    for node in nodes:
        node.start()
    yield nodes
    for node in nodes:
        node.stop()


@pytest.fixture(scope="module")
def app():
    app = App()
    yield app
    app.stop()


@pytest.fixture(scope="module")
def balancer(nodes, app):
    with tempfile.TemporaryDirectory(prefix="sealjar-tls-") as directory:
        certificate, key = make_certificate(Path(directory))
        shutil.copy(key, directory + "/cert.pem.key")  # HAProxy reads the key from this path
        addresses = [
            (f"{address}:8080 check port 8081", f"127.0.0.1:{node.port} check port {node.admin_port}")
            for address, node in zip(ADDRESSES, nodes)
        ]
        edits = (*addresses, ("127.0.0.1:8090", f"127.0.0.1:{free_port()}"))
        proxy = Proxy(BALANCER, certificate, 0, app.port, edits=edits)
        yield proxy
        proxy.stop()
