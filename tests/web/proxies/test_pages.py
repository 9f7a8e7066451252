"""Tests the text that `docs/ingress-nginx.md` and `docs/nginx-proxy-manager.md` show to paste, in nginx configurations that
`products.py` generates like these products do."""

import json
import re
import time
from dataclasses import replace
from urllib.parse import urlsplit

import harness
import kubernetes_validate
import pytest
import yaml
from fake_clock import FakeClock
from harness import API, HOST, NAVIGATION, OTHER_HOST, ROOT, Sealjar
from products import PRODUCTS, VERIFY_HOST, blocks, ingress_page
from servers import PRIVATE, Kind, running
from spoofing import IDENTITY, SPELLINGS, SPOOFED, batches
from test_failures import stopped
from unresponsive import ProxyWithoutBackend, UnresponsivePort

FORWARDED = [f"X-Forwarded-{suffix}" for suffix in ("For", "Host", "Proto", "Method", "Uri")]
FORWARDED += ["X-Original-Method", "X-Original-URL", "X-Original-URI", "Forwarded"]


@pytest.fixture(scope="module", params=PRODUCTS)
def product(request):
    return request.param


@pytest.fixture(scope="module")
def page_sealjar(tmp_path_factory):
    """A Sealjar whose clock can be moved. It accepts verify requests under the name of the Kubernetes Service as well."""
    home = tmp_path_factory.mktemp("page")
    clock = FakeClock(home)
    settings = [f"http.public_origins=https://{HOST}", "http.trusted_proxies=127.0.0.1"]
    settings.append(f"http.verify_authorities={VERIFY_HOST}")
    server = Sealjar(home, *settings, environment=clock.environment).start()
    server.clock = clock
    yield server
    server.stop()


@pytest.fixture(scope="module")
def page(product, certificate, page_sealjar, app):
    yield from running(with_certificate(product, certificate), certificate, page_sealjar, app)


def with_certificate(product: str, certificate, recipe: str = "") -> Kind:
    kind = PRODUCTS[product](recipe)
    return replace(
        kind, main=kind.main.replace("{here}/cert.pem", str(certificate)).replace("{here}/key", f"{certificate.parent}/key")
    )


@pytest.mark.parametrize("headers", [[], SPOOFED], ids=["plain", "spoofed"])
def test_requests_without_a_session_are_refused(page, app, headers):
    with app.receives_nothing():
        for method in ("GET", "POST", "OPTIONS"):
            answer = page(method, "/reports?a=1", [*API, *headers])
            assert answer.status == 401 or headers and answer.status == 400


def test_programs_get_401_and_browsers_a_redirect(page, app):
    with app.receives_nothing():
        for headers, status in ((API, 401), (NAVIGATION, 303)):
            answer = page("GET", "/reports?a=1", headers)
            url = urlsplit(answer.location)
            assert (answer.status, url.netloc, url.path, url.query) == (status, HOST, "/auth/login", "rd=%2Freports%3Fa%3D1")
            assert answer.values("Cache-Control") == ["no-store"]
            assert page("GET", f"{url.path}?{url.query}", NAVIGATION).status == 200


def test_the_app_receives_the_identity_but_not_the_cookie(page, page_sealjar):
    cookie = page_sealjar.sign_in()
    seen = page("GET", "/a%2Fb//c?d=%2F", [("Cookie", f"a=1; {cookie}; __Host-sealjar-proof=x; b=2")]).received_by_app()
    assert (seen.path, seen.values("Host"), seen.values("Cookie")) == ("/a%2Fb//c?d=%2F", [HOST], ["a=1; b=2"])
    for name in ("Remote-User", "X-Auth-Request-User"):
        assert seen.values(name) == ["alice"]
    assert [seen.values(f"X-Forwarded-{suffix}") for suffix in ("For", "Proto")] == [["127.0.0.1"], ["https"]]
    assert cookie not in json.dumps(seen.headers)


def test_no_identity_of_the_client_reaches_the_application(page, page_sealjar, app):
    before = len(app.seen)
    cookie = ("Cookie", page_sealjar.sign_in("bob"))
    for spoof in [[(name, "mallory")] for name in IDENTITY] + batches(SPELLINGS):
        for path in ("/", "/custom/"):
            assert page("GET", path, [*spoof, cookie]).status in (200, 400), spoof
    assert "mallory" not in json.dumps([seen.headers for seen in app.seen[before:]])


def test_a_public_path_is_open_and_has_no_identity(page, page_sealjar, app):
    cookie = page_sealjar.sign_in()
    seen = page("GET", "/public/page", [("Cookie", f"a=1; {cookie}")]).received_by_app()
    assert (seen.path, seen.values("Cookie"), seen.values("Remote-User")) == ("/public/page", ["a=1"], [])
    before = len(app.seen)
    for name in [*IDENTITY, *FORWARDED]:
        assert page("GET", "/public/page", [(name, "mallory")]).status in (200, 400)
    assert "mallory" not in [
        value for seen in app.seen[before:] for name in [*IDENTITY, *FORWARDED] for value in seen.values(name)
    ]


def test_forwarded_headers_come_from_the_proxy_only(page, page_sealjar, app):
    for name in FORWARDED:
        before = len(app.seen)
        answer = page("GET", "/", [*API, (name, "mallory"), ("Cookie", page_sealjar.sign_in())])
        # Sealjar rejects a request whose forwarded headers contradict each other.
        assert answer.status in (200, 400, 403, 500)
        received = [seen.values(name) for seen in app.seen[before:]]
        assert ["mallory"] not in received, name


def test_signing_in_and_out_works(page, app):
    body = json.dumps({"login": "alice", "password": harness.PASSWORD}).encode()
    signed_in = page("POST", "/auth/login", [("Content-Type", "application/json")], body)
    assert signed_in.status == 200
    cookie = ("Cookie", signed_in.cookies()[0])
    assert page("GET", "/", [cookie]).status == 200
    assert page("POST", "/auth/logout", [cookie, ("Content-Type", "application/json")]).status == 200
    with app.receives_nothing():
        assert page("GET", "/", [*API, cookie]).status == 401


@pytest.mark.parametrize("method, minutes", [("GET", 5), ("POST", 20)])
def test_the_renewed_cookie_reaches_the_browser(page, page_sealjar, method, minutes):
    cookie = page_sealjar.sign_in()
    page_sealjar.clock.pass_minutes(minutes - 1)
    assert page(method, "/set-cookie", [("Cookie", cookie)]).cookies() == ["theme=dark"]
    page_sealjar.clock.pass_minutes(1)
    answer = page(method, "/set-cookie", [("Cookie", cookie)])
    assert sorted(value.partition("=")[0] for value in answer.cookies()) == ["__Host-sealjar", "theme"]
    assert answer.values("Cache-Control") == ["private"]


def test_the_back_button_shows_no_private_page(product, certificate, page_sealjar, app):
    for page in running(with_certificate(product, certificate, PRIVATE), certificate, page_sealjar, app):
        token = page_sealjar.sign_in()
        cookie = ("Cookie", token)
        for path, cached in (("/html", "no-store"), ("/gone", "no-store"), ("/script", app.STORED)):
            answer = page("GET", path, [*NAVIGATION, cookie])
            assert (answer.body, answer.values("Cache-Control"), answer.cookies()) == (app.TEXT, [cached], ["theme=dark"])
        assert page("GET", "/html", NAVIGATION).values("Cache-Control") == ["no-store"]
        assert page("GET", "/auth/login", NAVIGATION).values("Cache-Control") == ["no-store"]
        page_sealjar.clock.pass_minutes(5)
        answer = page("GET", "/html", [("Cookie", token)])
        assert sorted(value.partition("=")[0] for value in answer.cookies()) == ["__Host-sealjar", "theme"]
        assert answer.values("Cache-Control") == ["no-store"]


def test_without_the_recipe_the_application_decides(page, page_sealjar, app):
    assert page("GET", "/html", [("Cookie", page_sealjar.sign_in())]).values("Cache-Control") == [app.STORED]


def test_a_form_without_a_session_leads_back_to_its_page(page, app):
    form = [*NAVIGATION[:-1], ("Sec-Fetch-Site", "same-origin"), ("Referer", f"https://{HOST}/form?a=1")]
    with app.receives_nothing():
        answer = page("POST", "/save", form, b"a=1")
    url = urlsplit(answer.location)
    assert (answer.status, url.path, url.query) == (303, "/auth/login", "rd=%2Fform%3Fa%3D1")


def test_the_change_password_url_redirects_to_the_page(page, app):
    with app.receives_nothing():
        answer = page("GET", "/.well-known/change-password", NAVIGATION)
        assert (answer.status, answer.location) == (302, "/auth/password")
        assert page("GET", "/.well-known/change-passwordx", API).status == 401


def test_a_websocket_and_a_large_upload_are_forwarded(page, page_sealjar, app):
    cookie = ("Cookie", page_sealjar.sign_in())
    assert page.client.upgrade("/socket", [cookie]) == (101, b"HELLOping")
    assert page("POST", "/upload", [cookie], b"x" * 3_000_000).received_by_app().length == 3_000_000
    seen = page("GET", "/", [cookie, ("Connection", "close, Remote-User, Cookie")]).received_by_app()
    assert seen.values("Remote-User") == ["alice"] and "Remote-User" not in seen.values("Connection")
    with app.receives_nothing():
        assert page.client.upgrade("/socket", API)[0] == 401
    # Not to Sealjar's own pages: nginx would write the upload of any client to disk.
    assert page("POST", "/auth/login", API, b"x" * 1_100_000).status == 413


def test_a_client_cannot_choose_its_address(page, page_sealjar):
    seen = page("GET", "/", [("Cookie", page_sealjar.sign_in()), ("X-Real-IP", "198.51.100.7")]).received_by_app()
    assert seen.values("X-Forwarded-For") == ["127.0.0.1"] and "198.51.100.7" not in json.dumps(seen.headers)


def test_a_request_that_names_two_hosts_is_refused(page, page_sealjar, app):
    cookie = ("Cookie", page_sealjar.sign_in())
    with app.receives_nothing():
        assert page("GET", f"https://{HOST}/", [cookie], host=OTHER_HOST).status == 400
    assert page("GET", f"https://{HOST}/", [cookie]).status == 200


def test_no_upgrade_to_another_protocol_reaches_the_application(page, page_sealjar):
    """Over h2c (HTTP/2 without TLS), a client could send requests with its own identity headers."""
    for connection in ("Upgrade, HTTP2-Settings", "upgrade"):
        fields = [
            ("Cookie", page_sealjar.sign_in()),
            ("Connection", connection),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAMAAABk"),
        ]
        seen = page("GET", "/", fields).received_by_app()
        assert "upgrade" not in [value.lower() for value in seen.values("Connection")]


def test_requests_fail_while_sealjar_is_unavailable(page, page_sealjar, app):
    cookie = ("Cookie", page_sealjar.sign_in())
    with stopped(page_sealjar), app.receives_nothing():
        for headers in (API, NAVIGATION):
            assert page("GET", "/", [*headers, cookie]).status >= 500
    assert page("GET", "/", [cookie]).status == 200


@pytest.mark.parametrize("full", [False, True], ids=["accepts", "accepts nobody"])
def test_a_sealjar_that_does_not_respond_times_out(product, certificate, app, full):
    with UnresponsivePort(full) as mute:
        proxy = ProxyWithoutBackend(with_certificate(product, certificate), certificate, mute.port, app.port)
        begun = time.monotonic()
        try:
            assert proxy("GET", "/", API).status == 500
            assert time.monotonic() - begun < 25, "nginx itself waits for 60 s"
        finally:
            proxy.stop()


def test_the_files_that_nginx_proxy_manager_mounts_are_there():
    (compose,) = blocks("nginx-proxy-manager.md", "yaml")
    mounts = [volume.split(":") for volume in yaml.safe_load(compose)["services"]["npm"]["volumes"]]
    assert len(mounts) == 3
    for source, target, _ in mounts:
        assert (ROOT / "deploy/nginx" / source).is_file()
        assert target in ("/data/nginx/custom/http_top.conf", f"/etc/nginx/snippets/{source.removeprefix('./')}")


# The Ingresses for Kubernetes.

RISKS = {"auth-url": "High", "auth-response-headers": "Medium", "auth-always-set-cookie": "Low", "proxy-body-size": "Medium"}
RISKS |= {"proxy-read-timeout": "Low", "proxy-send-timeout": "Low"}


def test_the_controller_mounts_the_file_that_the_page_puts_there():
    values, _ = ingress_page()
    (commands,) = blocks("ingress-nginx.md", "sh")
    (volume,), (mount,) = values["extraVolumes"], values["extraVolumeMounts"]
    assert volume["name"] == mount["name"] and mount["readOnly"]
    made = re.search(r"kubectl create configmap (\S+) .*--from-file=(\S+)", commands)
    assert made[1] == volume["configMap"]["name"] and (ROOT / made[2]).is_file()


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_the_ingresses_are_valid_for_kubernetes(version):
    _, ingresses = ingress_page()
    assert [ingress["kind"] for ingress in ingresses] == ["Ingress", "Ingress"]
    for ingress in ingresses:
        kubernetes_validate.validate(ingress, version, strict=True)


def test_no_annotation_has_a_critical_risk():
    """The risk levels are those of the controller, whose `annotations-risk-level` is `High` by default."""
    _, ingresses = ingress_page()
    names = [name.partition("/")[2] for ingress in ingresses for name in ingress["metadata"].get("annotations", {})]
    assert set(names) == set(RISKS)


def test_the_header_list_is_stripped_from_every_location():
    """Each header that a verify response sets is removed in locations without verification."""
    values, ingresses = ingress_page()
    listed = ingresses[1]["metadata"]["annotations"]["nginx.ingress.kubernetes.io/auth-response-headers"]
    # The expression with which the controller validates the list.
    assert re.fullmatch(r"[A-Za-z0-9-_, ]*", listed)
    assert {name.strip() for name in listed.split(",")} <= {
        name for name, value in values["proxySetHeaders"].items() if value == ""
    }
