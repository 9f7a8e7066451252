"""What users add to the files of nginx, and hosts of several servers: settings and locations of the user's own, recipes."""

import json
from dataclasses import replace

import harness
import pytest
from harness import API, EMAIL, HOST, NAVIGATION, OTHER_HOST, App, head, make_certificate
from servers import BEHIND_CDN, CDN, SECOND_HOST, SIGN_IN_HOST, running
from test_nginx import NGINX
from unresponsive import Impatient


@pytest.fixture(scope="module")
def own(certificate, sealjar, app):
    """The file of a user who added settings and locations of several kinds."""
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


def test_fields_of_the_users_own_do_not_open_a_way(own, sealjar):
    fields = [("Remote-User", "mallory"), ("Remote-Level", "mallory"), ("Cookie", sealjar.sign_in() + "; a=1")]
    for path, name in (("/own/", "X-Own"), ("/", "X-Host")):
        seen = own("GET", path, fields).app_saw()
        assert "mallory" not in json.dumps(seen.headers) and seen.values(name) == ["yes"]
        assert (seen.values("Remote-User"), seen.values("Cookie")) == (["alice"], ["a=1"])


def test_expressions_of_the_users_own_take_no_path_of_ours(own, sealjar):
    assert own("GET", "/", [("Cookie", sealjar.sign_in())]).app_saw().values("Remote-Email") == [EMAIL]
    assert own("GET", "/auth/style.css", API).status != 204


@pytest.mark.parametrize("headers", [API, NAVIGATION])
def test_a_401_of_nginx_itself_leads_nowhere(own, headers):
    answer = own("GET", "/basic", headers)
    assert answer.status == 401 and answer.values("Location") == []
    assert answer.values("WWW-Authenticate") == ['Basic realm="realm"']


def test_each_host_is_known_by_its_name(certificate, sealjar, app, tmp_path):
    """Another site of the same address is the default, with a certificate that the client does not trust."""
    other, key = make_certificate(tmp_path)
    site = f"server {{{{ listen 127.0.0.1:{{port}} ssl default_server; ssl_certificate {other}; ssl_certificate_key {key}; }}}}"
    kind = replace(NGINX, main=NGINX.main.replace("    include", f"    {site}\n    include", 1))
    proxy = Impatient(kind, certificate, sealjar.port, app.port, recipes=(SECOND_HOST, SIGN_IN_HOST))
    try:
        assert proxy("GET", "/", [("Cookie", sealjar.sign_in())]).app_saw().values("Remote-User") == ["alice"]
        assert proxy("GET", "/", API, host=OTHER_HOST).status == 401
        # Sealjar does not know this one here.
        assert proxy("GET", "/auth/login", API, host=harness.SIGN_IN_HOST).status == 421
    finally:
        proxy.stop()


def test_a_host_without_sealjar_is_served_as_before(certificate, sealjar, app):
    """Also if it is the only one, as when the first host is still to be made on a product's pages."""
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {certificate.parent}/key.pem;"
    site = f"server {{{{ listen 127.0.0.1:{{port}} ssl; {tls} location / {{{{ return 302 /x; }}}} }}}}"
    kind = replace(NGINX, main=NGINX.main.replace("include {here}/app.example.com.conf;", site))
    proxy = Impatient(kind, certificate, sealjar.port, app.port)
    try:
        answer = proxy("GET", "/", API)
        assert (answer.status, answer.values("Cache-Control"), answer.values("Set-Cookie")) == (302, [], [])
    finally:
        proxy.stop()


def test_what_anybody_can_send_to_sealjar_is_not_written_to_disk(certificate, sealjar, hub_sealjar, app):
    large = head("POST", "/auth/login", [("Content-Type", "application/json"), ("Content-Length", "1100000")], b"", HOST)
    for proxy in running(NGINX, certificate, sealjar, app, recipes=(SECOND_HOST,)):
        for host in (HOST, OTHER_HOST):
            assert proxy.client.raw(large.replace(HOST.encode(), host.encode()), host).startswith(b"HTTP/1.1 413")
    for proxy in running(NGINX, certificate, hub_sealjar, app, recipes=(SIGN_IN_HOST,)):
        host = harness.SIGN_IN_HOST
        assert proxy.client.raw(large.replace(HOST.encode(), host.encode()), host).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("line, field", [(HOST, OTHER_HOST), (OTHER_HOST, HOST)])
def test_two_names_of_the_host_lead_into_no_other(certificate, sealjar, app, line, field):
    other = App()
    for proxy in running(NGINX, certificate, sealjar, app, recipes=(SECOND_HOST,), other_app=other.port):
        for owner in (HOST, OTHER_HOST):
            cookie = ("Cookie", sealjar.sign_in(host=owner))
            with app.sees_nothing():
                assert proxy("GET", f"https://{line}/x", [cookie], host=field).status == 400
        assert proxy("GET", f"https://{HOST}/x", [("Cookie", sealjar.sign_in())]).app_saw().path == "/x"
        for host in (f"{HOST}:443", HOST.upper()):
            assert proxy("GET", "/x", [("Cookie", sealjar.sign_in())], host=host, sni=HOST).status == 200
    assert other.seen == []
    other.stop()


def test_several_addresses_of_the_cdn_are_not_the_visitor(certificate, sealjar, app):
    for proxy in running(NGINX, certificate, sealjar, app, recipes=(BEHIND_CDN,)):
        fields = [("X-Forwarded-For", "203.0.113.1, 198.51.100.7, 127.9.9.3"), ("Cookie", sealjar.sign_in())]
        assert proxy("GET", "/", fields, source=CDN).app_saw().values("X-Forwarded-For") == ["198.51.100.7"]
