"""Tests of TLS on the public listener: versions, cipher suites, HTTP/1.1 and HTTP/2, and certificates that are reloaded."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import time

import httpx
import pytest
from harness import HOST, PASSWORD, WAIT_TIMEOUT, Client, connect, exchange, make_certificate
from waiting import wait_until, wait_until_logged

ORIGIN = f"http.public_origins=https://{HOST}"


@pytest.fixture
def files(tmp_path):
    return make_certificate(tmp_path)


@pytest.fixture
def served(sealjar, files):
    certificate, key = files
    return sealjar.start(ORIGIN, f"tls.certificate={certificate}", f"tls.private_key={key}")


def handshake(port: int, certificate, minimum=None, maximum=None, ciphers: str = "", alpn=("h2", "http/1.1"), session=None):
    """Opens a TLS connection, which the caller must close."""
    context = session.context if session else ssl.create_default_context(cafile=certificate)
    if not session:
        context.minimum_version = minimum or ssl.TLSVersion.TLSv1_2
        context.maximum_version = maximum or ssl.TLSVersion.MAXIMUM_SUPPORTED
        context.set_alpn_protocols(list(alpn))
        if ciphers:
            context.set_ciphers(ciphers)
    connection = socket.create_connection(("127.0.0.1", port), WAIT_TIMEOUT)
    try:
        return context.wrap_socket(connection, server_hostname=HOST, session=session.session if session else None)
    except Exception:
        connection.close()
        raise


def serial(port: int) -> int:
    """Returns the serial number of the certificate that the server uses."""
    pem = ssl.get_server_certificate(("127.0.0.1", port), timeout=WAIT_TIMEOUT)
    shown = subprocess.run(["openssl", "x509", "-noout", "-serial"], input=pem, capture_output=True, text=True, check=True)
    return int(shown.stdout.strip().partition("=")[2], 16)


def test_sessions_work_over_tls_with_both_protocols(served, files):
    certificate, _ = files
    origin = f"https://localhost:{served.port}"
    for http2, version in [(True, "HTTP/2"), (False, "HTTP/1.1")]:
        with httpx.Client(http2=http2, verify=ssl.create_default_context(cafile=certificate), timeout=WAIT_TIMEOUT) as client:
            host = {"Host": HOST}
            signed_in = client.post(f"{origin}/auth/login", json={"login": "alice", "password": PASSWORD}, headers=host)
            assert (signed_in.status_code, signed_in.http_version) == (200, version)
            assert signed_in.headers["strict-transport-security"] == "max-age=31536000"
            cookie = signed_in.headers["set-cookie"]
            assert cookie.startswith("__Host-sealjar=") and "Secure" in cookie
            session = {**host, "Cookie": cookie.partition(";")[0]}
            assert client.get(f"{origin}/auth/status", headers=session).status_code == 200
            assert client.post(f"{origin}/auth/logout", headers=session).status_code == 200
            assert client.get(f"{origin}/auth/status", headers=session).json()["reason"] == "revoked"


def test_accepts_only_tls_1_2_and_1_3(served, files):
    certificate, _ = files
    for version, name in [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")]:
        with handshake(served.port, certificate, version, version) as connection:
            assert (connection.version(), connection.selected_alpn_protocol()) == (name, "h2")
    with handshake(served.port, certificate, alpn=["http/1.1"]) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"
    with pytest.raises(ssl.SSLError):
        handshake(served.port, certificate, ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0")


def test_suites_without_forward_secrecy_or_an_aead_are_refused(served, files):
    certificate, _ = files
    tls_1_2 = ssl.TLSVersion.TLSv1_2
    for suite in ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "DHE-RSA-AES128-GCM-SHA256"]:
        with pytest.raises(ssl.SSLError):
            handshake(served.port, certificate, tls_1_2, tls_1_2, f"{suite}:@SECLEVEL=0")
    with handshake(served.port, certificate, tls_1_2, tls_1_2, "ECDHE-ECDSA-AES128-GCM-SHA256") as connection:
        assert connection.cipher()[0] == "ECDHE-ECDSA-AES128-GCM-SHA256"


def test_a_tls_session_is_resumed(served, files):
    certificate, _ = files
    tls_1_2 = ssl.TLSVersion.TLSv1_2
    with handshake(served.port, certificate, tls_1_2, tls_1_2) as first:
        with handshake(served.port, certificate, session=first) as second:
            assert second.session_reused


def test_the_minimum_version_can_be_raised(sealjar, files):
    certificate, key = files
    sealjar.start(ORIGIN, f"tls.certificate={certificate}", f"tls.private_key={key}", "tls.min_version=1.3")
    with pytest.raises(ssl.SSLError):
        handshake(sealjar.port, certificate, maximum=ssl.TLSVersion.TLSv1_2)
    with handshake(sealjar.port, certificate) as connection:
        assert connection.version() == "TLSv1.3"


def test_reloads_a_new_certificate_and_ignores_an_invalid_one(served, files, tmp_path):
    certificate, key = files
    first = serial(served.port)
    with connect("127.0.0.1", served.port, Client(served.port, certificate).context, HOST) as old_connection:
        (tmp_path / "new").mkdir()
        new_certificate, new_key = make_certificate(tmp_path / "new")
        # The new certificate is copied first. It does not belong to the old key.
        shutil.copy(new_certificate, certificate)
        assert "old one stays in use" in wait_until_logged(served, "cannot reload the certificate")["message"]
        assert serial(served.port) == first
        shutil.copy(new_key, key)
        wait_until(lambda: serial(served.port), lambda found: found != first)
        # An open connection stays open.
        assert exchange(old_connection, "GET", "/auth/status", [], b"", HOST).status == 401
    second = serial(served.port)
    no_certificate = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    for number, (broken, text) in enumerate([(certificate, "nothing"), (key, "nothing"), (certificate, no_certificate)]):
        valid_text = broken.read_text()
        seen = len([line for line in served.log if "cannot reload the certificate" in line["message"]])
        broken.write_text(text)
        wait_until_logged(served, "cannot reload the certificate", seen + 1)
        assert serial(served.port) == second
        broken.write_text(valid_text)
        # The message was logged once before this loop.
        wait_until_logged(served, "the certificate files can be read again", number + 2)


def test_sighup_reloads_the_certificate_at_once(served, files, tmp_path):
    certificate, key = files
    first = serial(served.port)
    (tmp_path / "new").mkdir()
    for new, old in zip(make_certificate(tmp_path / "new"), (certificate, key)):
        shutil.copy(new, old)
    served.process.send_signal(signal.SIGHUP)
    wait_until(lambda: serial(served.port), lambda found: found != first)


def test_silent_and_non_tls_connections_block_no_other_client(served, files):
    certificate, _ = files
    silent = [socket.create_connection(("127.0.0.1", served.port), WAIT_TIMEOUT) for _ in range(20)]
    for invalid in [b"GET /auth/status HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 70000, b"\x00"]:
        with socket.create_connection(("127.0.0.1", served.port), WAIT_TIMEOUT) as connection:
            received = b""
            try:
                connection.sendall(invalid)
                connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(4096):
                    received += part
            except OSError:
                pass  # the server may reset the connection at any step
            assert b"HTTP" not in received
    assert Client(served.port, certificate)("GET", "/auth/status").status == 401
    for connection in silent:
        connection.close()
    assert not [line for line in served.log if line.get("level") == "ERROR"]


def test_a_silent_tls_connection_does_not_delay_shutdown(served, files):
    certificate, _ = files
    with handshake(served.port, certificate):
        began = time.monotonic()
        served.stop()
        assert time.monotonic() - began < 10, "http.shutdown_timeout is 20 s"


def test_creates_a_self_signed_certificate_for_tests(sealjar):
    sealjar.start("tls.self_signed=true")
    with pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(
            socket.create_connection(("127.0.0.1", sealjar.port), WAIT_TIMEOUT), server_hostname="localhost"
        )
    pem = sealjar.home / "self-signed.pem"
    pem.write_text(ssl.get_server_certificate(("127.0.0.1", sealjar.port), timeout=WAIT_TIMEOUT))
    for host in [f"localhost:{sealjar.port}", f"127.0.0.1:{sealjar.port}"]:
        assert Client(sealjar.port, pem)("GET", "/auth/status", host=host).status == 401
    assert "tests only" in wait_until_logged(sealjar, "new self-signed TLS certificate")["message"]


def test_the_admin_listener_does_not_use_tls(served):
    assert served.request_admin("/readyz").status == 200


def test_warns_of_a_world_readable_private_key(sealjar, files):
    certificate, key = files
    key.chmod(0o644)
    sealjar.start(ORIGIN, f"tls.certificate={certificate}", f"tls.private_key={key}")
    assert wait_until_logged(sealjar, "every user of this machine can read the private key")["level"] == "WARN"


def test_unusable_files_stop_the_start_with_a_reason(sealjar, files, tmp_path):
    certificate, key = files
    (tmp_path / "other").mkdir()
    _, other_key = make_certificate(tmp_path / "other")
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    cases = [
        (certificate, other_key, 74, "does not belong to the certificate"),
        (tmp_path / "nowhere.pem", key, 74, "cannot read"),
        (empty, key, 74, "has no certificate that can be used: it is empty"),
        (certificate, empty, 74, "has no private key that can be used: it is empty"),
        (certificate, "", 78, "setting tls.private_key"),
        ("", key, 78, "setting tls.certificate"),
    ]
    for chain, private, code, message in cases:
        settings = [word for text in (ORIGIN, f"tls.certificate={chain}", f"tls.private_key={private}") for word in ("--set", text)]
        ended, text = sealjar.serve_expecting_failure("--listen", "127.0.0.1:0", *settings)
        # The settings are checked before the log starts. The log lines are JSON, and the earlier message is not.
        hint = '"hint":' if code == 74 else "hint: "
        assert ended == code and message in text and hint in text, text


def endless(path):
    """Creates a sparse file of 1 TiB."""
    path.touch()
    os.truncate(path, 1 << 40)


@pytest.mark.parametrize("which", [0, 1], ids=["certificate", "private_key"])
@pytest.mark.parametrize(
    ("put", "reason"),
    [
        (os.mkfifo, "it is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is not a regular file"),
        (endless, "it is longer than 1048576 bytes"),
    ],
    ids=["pipe", "device", "endless"],
)
def test_unusable_files_do_not_block_a_later_reload(served, files, tmp_path, which, put, reason):
    certificate, _ = files
    session = Client(served.port, certificate)
    old = serial(served.port)
    files[which].unlink()
    put(files[which])
    wait_until(lambda: [line for line in served.log if f"{files[which]}: {reason}" in str(line.get("error"))], bool)
    assert serial(served.port) == old and session("GET", "/auth/status").status == 401
    served.command("keys", "rotate")
    wait_until_logged(served, "the key ring changed")
    files[which].unlink()
    make_certificate(tmp_path)
    wait_until(lambda: serial(served.port), lambda found: found != old)
    assert Client(served.port, certificate)("GET", "/auth/status").status == 401
