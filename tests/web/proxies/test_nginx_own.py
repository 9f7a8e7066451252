"""Tests the files of nginx together with settings and locations that users add, with several hosts, and with recipes."""

import json
from dataclasses import replace

import harness
import pytest
from harness import (
    API,
    EMAIL,
    HOST,
    NAVIGATION,
    OTHER_HOST,
    App,
    head,
    make_certificate,
)
from servers import BEHIND_CDN, CDN, SECOND_HOST, SIGN_IN_HOST, running
from test_nginx import NGINX
from unresponsive import ProxyWithoutBackend


@pytest.fixture(scope="module")
def own(certificate, sealjar, app):
    """nginx with settings and locations of several kinds that a user added."""
    addition = """
    proxy_set_header X-Host yes;
    location /own/ {
        proxy_set_header X-Own yes;
        include snippets/sealjar-headers.conf;
        proxy_pass http://app;
    }
    location ~ /\\. {
        deny all;
    }
    location ~ \\.(css|js)$ {
        return 204;
    }
    location = /basic {
        auth_basic realm;
        auth_basic_user_file /dev/null;
    }

    # Not with"""
    kind = replace(NGINX, replaced=(("\n    # Not with", addition.replace("{", "{{").replace("}", "}}")), *NGINX.replaced))
    yield from running(kind, certificate, sealjar, app)


def test_own_proxy_set_header_lines_keep_the_protection(own, sealjar):
    fields = [("Remote-User", "mallory"), ("Remote-Level", "mallory"), ("Cookie", sealjar.sign_in() + "; a=1")]
    for path, name in (("/own/", "X-Own"), ("/", "X-Host")):
        seen = own("GET", path, fields).received_by_app()
        assert "mallory" not in json.dumps(seen.headers) and seen.values(name) == ["yes"]
        assert (seen.values("Remote-User"), seen.values("Cookie")) == (["alice"], ["a=1"])


def test_own_location_expressions_do_not_match_our_paths(own, sealjar):
    assert own("GET", "/", [("Cookie", sealjar.sign_in())]).received_by_app().values("Remote-Email") == [EMAIL]
    assert own("GET", "/auth/style.css", API).status != 204


@pytest.mark.parametrize("headers", [API, NAVIGATION])
def test_a_401_of_nginx_itself_does_not_redirect(own, headers):
    answer = own("GET", "/basic", headers)
    assert answer.status == 401 and answer.values("Location") == []
    assert answer.values("WWW-Authenticate") == ['Basic realm="realm"']


def test_each_host_is_chosen_by_its_name(certificate, sealjar, app, tmp_path):
    """The default server of the same address is another one, with a certificate that the client does not trust."""
    other, key = make_certificate(tmp_path)
    site = f"server {{{{ listen 127.0.0.1:{{port}} ssl default_server; ssl_certificate {other}; ssl_certificate_key {key}; }}}}"
    kind = replace(NGINX, main=NGINX.main.replace("    include", f"    {site}\n    include", 1))
    proxy = ProxyWithoutBackend(kind, certificate, sealjar.port, app.port, recipes=(SECOND_HOST, SIGN_IN_HOST))
    try:
        assert proxy("GET", "/", [("Cookie", sealjar.sign_in())]).received_by_app().values("Remote-User") == ["alice"]
        assert proxy("GET", "/", API, host=OTHER_HOST).status == 401
        # Sealjar is not configured for this host.
        assert proxy("GET", "/auth/login", API, host=harness.SIGN_IN_HOST).status == 421
    finally:
        proxy.stop()


def test_a_host_without_sealjar_is_served_as_before(certificate, sealjar, app):
    """Even if it is the only host, as before the first host of Sealjar is created in the pages of a product."""
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {certificate.parent}/key.pem;"
    site = f"server {{{{ listen 127.0.0.1:{{port}} ssl; {tls} location / {{{{ return 302 /x; }}}} }}}}"
    kind = replace(NGINX, main=NGINX.main.replace("include {here}/app.example.com.conf;", site))
    proxy = ProxyWithoutBackend(kind, certificate, sealjar.port, app.port)
    try:
        answer = proxy("GET", "/", API)
        assert (answer.status, answer.values("Cache-Control"), answer.values("Set-Cookie")) == (302, [], [])
    finally:
        proxy.stop()


def test_large_login_bodies_are_not_written_to_disk(certificate, sealjar, hub_sealjar, app):
    large = head("POST", "/auth/login", [("Content-Type", "application/json"), ("Content-Length", "1100000")], b"", HOST)
    for proxy in running(NGINX, certificate, sealjar, app, recipes=(SECOND_HOST,)):
        for host in (HOST, OTHER_HOST):
            assert proxy.client.raw(large.replace(HOST.encode(), host.encode()), host).startswith(b"HTTP/1.1 413")
    for proxy in running(NGINX, certificate, hub_sealjar, app, recipes=(SIGN_IN_HOST,)):
        host = harness.SIGN_IN_HOST
        assert proxy.client.raw(large.replace(HOST.encode(), host.encode()), host).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("line, field", [(HOST, OTHER_HOST), (OTHER_HOST, HOST)])
def test_contradicting_host_names_reach_no_other_host(certificate, sealjar, app, line, field):
    other = App()
    for proxy in running(NGINX, certificate, sealjar, app, recipes=(SECOND_HOST,), other_app=other.port):
        for owner in (HOST, OTHER_HOST):
            cookie = ("Cookie", sealjar.sign_in(host=owner))
            with app.receives_nothing():
                assert proxy("GET", f"https://{line}/x", [cookie], host=field).status == 400
        assert proxy("GET", f"https://{HOST}/x", [("Cookie", sealjar.sign_in())]).received_by_app().path == "/x"
        for host in (f"{HOST}:443", HOST.upper()):
            assert proxy("GET", "/x", [("Cookie", sealjar.sign_in())], host=host, sni=HOST).status == 200
    assert other.seen == []
    other.stop()


def test_several_cdn_addresses_are_not_the_client(certificate, sealjar, app):
    for proxy in running(NGINX, certificate, sealjar, app, recipes=(BEHIND_CDN,)):
        fields = [("X-Forwarded-For", "203.0.113.1, 198.51.100.7, 127.9.9.3"), ("Cookie", sealjar.sign_in())]
        assert proxy("GET", "/", fields, source=CDN).received_by_app().values("X-Forwarded-For") == ["198.51.100.7"]
