"""Behaviour of common HTTP clients with the session cookie over plain HTTP on localhost, and of Prometheus with `/metrics`.

curl treats localhost as secure, so it sends cookies with the attribute `Secure` there. The Python clients requests and httpx do
not: they need the setting `cookie.plain_http`.
"""

import subprocess

import httpx
import pytest
import requests
from harness import PASSWORD, WAIT_TIMEOUT, Sealjar
from prometheus_client.parser import text_string_to_metric_families

CREDENTIALS = {"login": "alice", "password": PASSWORD}
CLIENTS = [requests.Session, httpx.Client]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Sealjar(tmp_path_factory.mktemp("home"))


@pytest.fixture
def server(home):
    yield home.start()
    home.stop()


@pytest.fixture
def plain_server(home):
    yield home.start("cookie.plain_http=true")
    home.stop()


def walk(client, server):
    """Logs in and out, and reads the session after each step. Returns the statuses of the responses, and the names of the
    cookies sent."""
    url = f"http://localhost:{server.port}/auth"
    answers = [client.post(f"{url}/login", json=CREDENTIALS), client.get(f"{url}/status")]
    answers += [client.post(f"{url}/logout"), client.get(f"{url}/status")]
    sent = {answer.request.headers["Cookie"].partition("=")[0] for answer in answers if "Cookie" in answer.request.headers}
    return [answer.status_code for answer in answers], sent


@pytest.mark.parametrize("make", CLIENTS)
def test_python_signs_in_and_out_over_plain_http_if_allowed(plain_server, make):
    with make() as client:
        assert walk(client, plain_server) == ([200, 200, 200, 401], {"sealjar-insecure"})


@pytest.mark.parametrize("make", CLIENTS)
def test_python_loses_the_cookie_over_plain_http_by_default(server, make):
    with make() as client:
        assert walk(client, server) == ([200, 401, 200, 401], set())
        assert client.get(f"http://localhost:{server.port}/auth/status").json()["reason"] == "missing"


@pytest.mark.parametrize("body", ["json", "form"])
def test_curl_signs_in_and_out_over_plain_http_on_localhost(server, tmp_path, body):
    jar = tmp_path / "jar"
    url = f"http://localhost:{server.port}/auth"

    def curl(*arguments):
        command = ["curl", "-sS", "-o", tmp_path / "answer", "-w", "%{http_code}", "-c", jar, "-b", jar, *arguments]
        return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=WAIT_TIMEOUT).stdout)

    if body == "json":
        form = ["-H", "Content-Type: application/json", "-d", f'{{"login":"alice","password":"{PASSWORD}"}}']
    else:
        form = ["--data-urlencode", "login=alice", "--data-urlencode", f"password={PASSWORD}"]
    assert curl(*form, f"{url}/login") == (200 if body == "json" else 303)
    cookies = [line.split("\t") for line in jar.read_text().splitlines() if "\t" in line]
    ours = [fields for fields in cookies if fields[5] == "__Host-sealjar"]
    assert [fields[:4] for fields in ours] == [["#HttpOnly_localhost", "FALSE", "/", "TRUE"]]
    assert curl(f"{url}/status") == 200
    copy = jar.read_text()
    assert curl("-X", "POST", f"{url}/logout") == 200
    assert "__Host-sealjar\t" not in jar.read_text()
    jar.write_text(copy)
    assert curl(f"{url}/status") == 401


def test_prometheus_reads_the_metrics(home, server):
    cookie = {"Cookie": home.sign_in(host=f"localhost:{server.port}")}
    assert requests.post(f"http://localhost:{server.port}/auth/logout", headers=cookie, timeout=WAIT_TIMEOUT).ok
    answer = requests.get(f"http://localhost:{server.admin_port}/metrics", timeout=WAIT_TIMEOUT)
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    value = {sample.name: sample.value for family in families.values() for sample in family.samples}
    assert value["sealjar_revocations"] >= 1 and value["sealjar_revocations_pending"] == 0
    assert 0 <= value["sealjar_revocation_staleness_seconds"] < 10
    assert families["sealjar_revocation_lag_seconds"].type == "histogram"
    assert value["sealjar_revocation_lag_seconds_count"] == value["sealjar_revocation_lag_seconds_bucket"] == 0
    assert all(family.documentation for family in families.values())
