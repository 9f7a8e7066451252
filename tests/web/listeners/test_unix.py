"""Tests of the public listener at a Unix socket: permissions, trust in the peer, and the socket file."""

import json
import signal
import socket
import stat
import subprocess

import pytest
from harness import HOST, PASSWORD, WAIT_TIMEOUT, exchange
from waiting import wait_until, wait_until_logged

ORIGIN = f"http.public_origins=https://{HOST}"


@pytest.fixture
def path(sealjar):
    return sealjar.home / "public.sock"


def send(path, method: str, target: str, headers=(), body: bytes = b"", host: str = HOST):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(WAIT_TIMEOUT)
        connection.connect(str(path))
        return exchange(connection, method, target, [*headers, ("Connection", "close")], body, host)


def accepts(path) -> bool:
    """Returns whether a server accepts connections. The file exists before that."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


def sign_in(path, headers=(), password: str = PASSWORD):
    body = json.dumps({"login": "alice", "password": password}).encode()
    return send(path, "POST", "/auth/login", [("Content-Type", "application/json"), *headers], body)


def test_sessions_work_on_a_unix_socket(sealjar, path):
    sealjar.start(ORIGIN, listen=f"unix:{path}")
    (cookie,) = sign_in(path).cookies()
    assert send(path, "GET", "/auth/status", [("Cookie", cookie)]).json()["login_name"] == "alice"
    assert send(path, "POST", "/auth/logout", [("Cookie", cookie)]).status == 200
    assert send(path, "GET", "/auth/status", [("Cookie", cookie)]).reason() == "revoked"


def test_only_owner_and_group_may_connect_by_default(sealjar, path):
    sealjar.start(ORIGIN, listen=f"unix:{path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    sealjar.stop()
    sealjar.start(ORIGIN, "http.unix_mode=0600", listen=f"unix:{path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_socket_counts_as_a_trusted_proxy_only_if_configured(sealjar, path):
    forwarded = [("X-Forwarded-For", "203.0.113.9")]
    sealjar.start(ORIGIN, listen=f"unix:{path}")
    sign_in(path, forwarded)
    assert wait_until_logged(sealjar, "signed in")["client"] == "unknown"
    verify = [("X-Forwarded-Host", HOST), ("X-Forwarded-Uri", "/"), ("Cookie", sign_in(path).cookies()[0])]
    assert send(path, "GET", "/auth/verify", verify, host="localhost").status == 403
    sealjar.stop()
    sealjar.start(ORIGIN, "http.trusted_proxies=unix", listen=f"unix:{path}")
    sign_in(path, forwarded)
    assert wait_until_logged(sealjar, "signed in")["client"] == "203.0.113.0/24"
    assert send(path, "GET", "/auth/verify", verify, host="localhost").values("remote-user") == ["alice"]


def test_the_server_removes_its_socket_file(sealjar, path):
    sealjar.start(ORIGIN, listen=f"unix:{path}")
    sealjar.stop()
    assert not path.exists()


def test_replaces_a_stale_socket_file_but_not_one_in_use(sealjar, path):
    sealjar.start(ORIGIN, listen=f"unix:{path}")
    sealjar.stop(signal.SIGKILL)
    assert path.exists()
    sealjar.start(ORIGIN, listen=f"unix:{path}")
    assert send(path, "GET", "/auth/status").status == 401
    code, message = sealjar.serve_expecting_failure("--listen", f"unix:{path}", "--set", ORIGIN)
    assert code == 74 and "another server already listens on this socket" in message, message
    assert send(path, "GET", "/auth/status").status == 401


def test_does_not_replace_a_file_that_is_not_a_socket(sealjar, path):
    path.write_text("precious")
    code, message = sealjar.serve_expecting_failure("--listen", f"unix:{path}", "--set", ORIGIN)
    assert code == 74 and path.read_text() == "precious", message


def test_idle_connections_at_the_unix_socket_are_evicted(sealjar, path):
    sealjar.start(ORIGIN, "http.max_connections=4", listen=f"unix:{path}")
    held = [socket.socket(socket.AF_UNIX) for _ in range(12)]
    try:
        for connection in held:
            connection.connect(str(path))
        assert sign_in(path).status == 200
    finally:
        for connection in held:
            connection.close()


NGINX = """
daemon off; pid {home}/nginx.pid; error_log stderr; user root;
events {{}}
http {{
    access_log off;
    client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
    server {{
        listen unix:{home}/front.sock;
        location / {{
            proxy_pass http://unix:{home}/public.sock;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For 203.0.113.77;
        }}
    }}
}}
"""


def test_nginx_passes_requests_to_the_socket(sealjar, path):
    sealjar.start(ORIGIN, "http.trusted_proxies=unix", listen=f"unix:{path}")
    configuration = sealjar.home / "nginx.conf"
    configuration.write_text(NGINX.format(home=sealjar.home))
    nginx = subprocess.Popen(["nginx", "-c", configuration, "-p", sealjar.home], stderr=subprocess.DEVNULL)
    try:
        front = sealjar.home / "front.sock"
        wait_until(lambda: accepts(front), bool)
        assert sign_in(front).status == 200
        assert wait_until_logged(sealjar, "signed in")["client"] == "203.0.113.0/24"
    finally:
        nginx.terminate()
        nginx.wait(WAIT_TIMEOUT)
