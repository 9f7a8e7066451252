"""The same over HTTP/2, where every browser divides its cookies into several fields and names are lower-case. nginx and
Apache speak it only when told to, and join the fields themselves."""

import json
import ssl

import httpx
import pytest
from harness import HOST
from servers import KINDS

by_itself = pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.name not in ("nginx", "apache")], indirect=True, ids=lambda kind: kind.name
)


@pytest.fixture
def http2(proxy, certificate):
    context = ssl.create_default_context(cafile=certificate)
    with httpx.Client(http1=False, http2=True, verify=context) as client:

        def get(path, *headers):
            url = f"https://127.0.0.1:{proxy.port}{path}"
            answer = client.get(url, headers=[("Host", HOST), *headers], extensions={"sni_hostname": HOST})
            assert answer.http_version == "HTTP/2"
            return answer

        yield get


@by_itself
def test_only_other_cookies_reach_the_application(http2, sealjar):
    cookie = sealjar.sign_in()
    fields = ["a=1", cookie, "b=2", "__Host-sealjar-form=secret", "c=3", cookie]
    seen = http2("/", *(("cookie", field) for field in fields)).json()
    cookies = "; ".join(value for name, value in seen["headers"] if name.lower() == "cookie")
    assert cookies.split("; ") == ["a=1", "b=2", "c=3"]
    assert cookie.partition("=")[2] not in json.dumps(seen)


@by_itself
def test_no_identity_that_the_client_sent_reaches_the_application(http2, sealjar):
    spoofed = [("remote-user", "mallory"), ("remote_user", "mallory"), ("x-auth_request-user", "mallory")]
    seen = http2("/", ("cookie", sealjar.sign_in()), *spoofed, *spoofed).json()
    assert "mallory" not in json.dumps(seen)
    assert [value for name, value in seen["headers"] if name.lower() == "remote-user"] == ["alice"]


@by_itself
def test_nobody_gets_in_without_a_session(http2, app):
    with app.sees_nothing():
        assert http2("/", ("remote-user", "alice"), ("cookie", "a=1")).status_code == 401
