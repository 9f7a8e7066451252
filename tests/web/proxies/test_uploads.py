"""Tests large request bodies: they arrive completely with a session. Without a session, the client can read the whole
response."""

import shutil
import subprocess
from contextlib import suppress

import pytest
from application import Application
from exchanges import answer_to, sent
from harness import API, HOST, WAIT_TIMEOUT
from http2 import connected
from servers import missing, running

MEGABYTE = bytes(1_000_000)
HUNDRED = 100
FRAMINGS = {"with a length": ("Content-Length", str(HUNDRED * len(MEGABYTE))), "in chunks": ("Transfer-Encoding", "chunked")}


def upload(proxy, framing: str, *headers) -> tuple:
    """Sends a hundred megabytes over HTTP/1.1, in parts of one megabyte. Returns the status and the body of the response."""
    before, after, end = (b"%x\r\n" % len(MEGABYTE), b"\r\n", b"0\r\n\r\n") if framing == "in chunks" else (b"", b"", b"")
    with sent(proxy, "POST", "/upload", FRAMINGS[framing], *headers) as connection:
        with suppress(OSError):  # a proxy may close the connection before it has read the whole body
            for _ in range(HUNDRED):
                connection.sendall(before + MEGABYTE + after)
            connection.sendall(end)
        answer = answer_to(connection)
        return answer.status, answer.read()


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_hundred_megabytes_arrive_completely(proxy, sealjar, app, framing):
    status, body = upload(proxy, framing, ("Cookie", sealjar.sign_in()))
    assert status == 200, body
    assert app.seen[-1].length == HUNDRED * len(MEGABYTE)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_hundred_megabytes_without_a_session_do_not_arrive(proxy, app, framing):
    with app.receives_nothing():
        status, _ = upload(proxy, framing, *API)
        assert status == 401


FIVE = 5 * len(MEGABYTE)
# After a complete response, a RST_STREAM frame with this code tells the client to stop sending the body (RFC 9113, section 8.1).
# With any other code, some clients discard the response.
NO_ERROR = 0
# Statuses that curl 7.88 may report. Over HTTP/2 it treats a RST_STREAM that arrives while it sends as an error, and may then
# report no status (000), mostly with Envoy.
REPORTED = {"http1.1": ["401"], "http2": ["401", "000"]}
TIMED_OUT = 28


def test_an_upload_over_http2_arrives_completely(over_http2, sealjar, app, certificate):
    with connected(over_http2.port, certificate) as client:
        seen = client.request("POST", "/upload", [("cookie", sealjar.sign_in())], size=FIVE)
    assert (seen.status, seen.ended, seen.reset, client.lost) == (200, True, None, "")
    assert app.seen[-1].length == FIVE


def test_the_client_of_a_refused_upload_gets_the_response(over_http2, sealjar, app, certificate):
    """The client can send its next request over the same connection."""
    with connected(over_http2.port, certificate) as client:
        with app.receives_nothing():
            seen = client.request("POST", "/upload", [("accept", "application/json")], size=FIVE)
        assert (seen.status, seen.ended, client.lost) == (401, True, "")
        assert int(dict(seen.headers).get("content-length", len(seen.body))) == len(seen.body)
        again = client.request("GET", "/", [("cookie", sealjar.sign_in())])
        assert (again.status, again.ended, again.reset) == (200, True, None)
        # The reset may arrive later, or not at all.
        assert seen.reset in (None, NO_ERROR)


@pytest.mark.parametrize("version", ["http1.1", "http2"])
def test_curl_ends_an_upload_that_is_refused(over_http2, app, certificate, tmp_path, version):
    curl, body = shutil.which("curl") or missing("no curl", "no upload by it"), tmp_path / "body"
    body.write_bytes(bytes(FIVE))
    command = [curl, f"--{version}", "--silent", "--show-error", "--output", tmp_path / "answer", "--write-out", "%{http_code}"]
    command += ["--cacert", certificate, "--connect-to", f"::127.0.0.1:{over_http2.port}", "--max-time", str(WAIT_TIMEOUT)]
    with app.receives_nothing():
        command += ["--data-binary", f"@{body}", f"https://{HOST}/upload"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * WAIT_TIMEOUT)
    assert done.stdout in REPORTED[version] and done.returncode != TIMED_OUT, done


def test_an_application_may_ignore_an_expectation(kind, certificate, sealjar):
    """RFC 9110, section 10.1.1, requires a response of 100 to `Expect: 100-continue`, but not every application sends it."""
    app = Application()
    app.server.RequestHandlerClass.handle_expect_100 = lambda handler: True
    fields = [("Cookie", sealjar.sign_in()), ("Expect", "100-continue"), ("Content-Length", "4")]
    for proxy in running(kind, certificate, sealjar, app):
        with sent(proxy, "POST", "/", *fields, timeout=10) as connection:
            connection.sendall(b"body")
            assert answer_to(connection).status == 200
    assert app.seen[-1].length == 4
    app.stop()
