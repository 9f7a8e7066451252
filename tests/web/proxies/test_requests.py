"""Tests how a proxy forwards requests: paths, lists of hop-by-hop fields, CORS preflights, and responses that must not be
cached."""

import json

import pytest
from harness import API, HOST, NAVIGATION, PASSWORD
from spoofing import IDENTITY

# Paths whose exact spelling may matter to the application.
TARGETS = [
    "/d%2Fe",
    "/a%3Bb;c=d",
    "/x%20y",
    "/caf%C3%A9",
    "/a%25b",
    "/tail/",
    "/a:b@c!$&'()*+,=~",
    "/q?x=%2F&y=a+b;c&z=%3D",
    "/q?",
]
# Paths that are not in normal form, and their normal form.
NORMAL = {"/a//b": "/a/b", "/a/./b": "/a/b", "/a/x/../b": "/a/b", "/a/%2e%2e/b": "/b", "/%41": "/A"}
# Paths with other bytes, and the form in which some proxies forward them. The notes in docs/proxies.md document it.
ENCODED = {'/a|b^"c': "/a%7Cb%5E%22c", "/a\\b": "/a%5Cb"}
CHANGED = {
    "caddy": ENCODED,
    "traefik": {**ENCODED, "/a%2fb": "/a%2Fb"},
    "envoy": {**ENCODED, "/a\\b": "/a/b"},
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_path_reaches_the_application_unchanged(proxy, sealjar, target):
    path, mark, query = target.partition("?")
    if proxy.kind.name == "traefik":
        query = query.replace(";", "%3B")
    assert proxy("GET", target, [("Cookie", sealjar.sign_in())]).received_by_app().path == path + mark + query


@pytest.mark.parametrize("target", NORMAL)
def test_a_path_not_in_normal_form_reaches_the_application(proxy, sealjar, target):
    """Envoy and Traefik forward the normal form, which their routes match. The other proxies forward the path unchanged."""
    path = NORMAL[target] if proxy.kind.name in ("envoy", "traefik") else target
    assert proxy("GET", target, [("Cookie", sealjar.sign_in())]).received_by_app().path == path


@pytest.mark.parametrize("target", CHANGED["traefik"])
def test_another_path_arrives_in_the_documented_form(proxy, sealjar, target):
    expected = CHANGED.get(proxy.kind.folder, {}).get(target, target)
    assert proxy("GET", target, [("Cookie", sealjar.sign_in())]).received_by_app().path == expected


LISTS = [
    ["close, Remote-User"],
    ["Remote-User, close"],
    ["close,remote-user,REMOTE-GROUPS ,\tX-Auth-Request-User"],
    ["Remote-Session-Deadline"],
    ["keep-alive, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto"],
    ["close", "Remote-User"],
    ["Remote-User", "close"],
    ["close, Host"],
    ["close, X-Auth-Request-User, Remote-User, Remote-Name, Remote-Groups, Remote-Email"],
]
CONNECTION = {"close", "keep-alive", "upgrade"}


@pytest.mark.parametrize("fields", LISTS, ids=" + ".join)
def test_a_connection_field_cannot_remove_headers(proxy, sealjar, app, fields):
    cookie = ("Cookie", sealjar.sign_in())
    expected = proxy("GET", "/", [cookie]).received_by_app()
    before = len(app.seen)
    answer = proxy("GET", "/", [cookie, *(("Connection", field) for field in fields)])
    if answer.status == 400:
        # Envoy rejects a list with names that must not be in it.
        assert app.seen[before:] == []
        return
    seen = answer.received_by_app()
    for name in [*IDENTITY, "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Host"]:
        assert seen.values(name) == expected.values(name), name
    # The next hop could be another proxy. It must not receive the list.
    named = {name.strip().lower() for value in seen.values("Connection") for name in value.split(",")}
    assert named <= CONNECTION, named


UPGRADES = ["Upgrade, Remote-User", "remote-user , X-Auth-Request-User,upgrade", "Remote-Groups,UPGRADE"]


@pytest.mark.parametrize("connection", UPGRADES)
def test_a_websockets_connection_field_cannot_remove_headers(proxy, sealjar, app, connection):
    cookie = ("Cookie", sealjar.sign_in())
    before = len(app.seen)
    answer = proxy.client.upgrade("/socket", [cookie], connection=connection)
    if answer[0] == 400:
        assert app.seen[before:] == []
        return
    assert answer == (101, b"HELLOping")
    seen = app.seen[-1]
    identity = [seen.values(name) for name in ("Remote-User", "X-Auth-Request-User", "Remote-Groups")]
    assert identity == [["alice"], ["alice"], ["staff"]]
    named = {name.strip().lower() for value in seen.values("Connection") for name in value.split(",")}
    assert named <= CONNECTION, named


def test_a_connection_field_cannot_hide_the_client_address(proxy, kind, sealjar):
    login = f"hidden-{kind.name}"
    sealjar.add_user(login)

    def sign_in(password, source):
        body = json.dumps({"login": login, "password": password}).encode()
        fields = [("Content-Type", "application/json"), ("Connection", "close, X-Forwarded-For, X-Forwarded-Proto")]
        return proxy("POST", "/auth/login", fields, body, source=source).status

    if sign_in("not the password", "127.0.0.5") == 400:
        return  # Envoy rejects such a list
    for _ in range(9):
        assert sign_in("not the password", "127.0.0.5") == 401
    assert sign_in(PASSWORD, "127.0.0.5") == 429
    assert sign_in(PASSWORD, "127.0.0.6") == 200


PREFLIGHT = [("Origin", "https://elsewhere.example.com"), ("Access-Control-Request-Method", "DELETE"), ("Sec-Fetch-Mode", "cors")]


def test_an_allowed_preflight_passes_without_an_identity(staff_only, sealjar):
    for cookie in ([], [("Cookie", sealjar.sign_in())], [("Remote-User", "mallory")]):
        seen = staff_only("OPTIONS", "/api?x=1", [*PREFLIGHT, ("Sec-Fetch-Site", "cross-site"), *cookie]).received_by_app()
        assert (seen.method, seen.path) == ("OPTIONS", "/api?x=1")
        assert all(set(seen.values(name)) <= {""} for name in IDENTITY)
        assert "__Host-sealjar" not in json.dumps(seen.headers)


def test_a_request_that_is_no_preflight_is_refused(staff_only, proxy, sealjar, app):
    cookie = ("Cookie", sealjar.sign_in())
    with app.receives_nothing():
        assert staff_only("OPTIONS", "/api", [("Origin", f"https://{HOST}")]).status == 401
        assert staff_only("OPTIONS", "/api", [cookie, PREFLIGHT[0]]).status == 403
        assert staff_only("OPTIONS", "/api", [PREFLIGHT[1]]).status == 401
        assert staff_only("POST", "/api", [cookie, *PREFLIGHT], b"x").status == 403
        assert staff_only("GET", "/api", PREFLIGHT).status == 401
        assert staff_only("POST", "/api", [*PREFLIGHT, ("X-HTTP-Method-Override", "OPTIONS")], b"x").status in (401, 403)
        for name in ("X-Forwarded-Method", "X-Original-Method"):
            assert staff_only("POST", "/api", [*PREFLIGHT, (name, "OPTIONS")], b"x").status in (401, 403)
        assert proxy("OPTIONS", "/api", PREFLIGHT).status == 401


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "QUERY", "PROPFIND"])
def test_a_cross_site_request_of_any_method_is_refused(staff_only, sealjar, app, method):
    cookie = ("Cookie", sealjar.sign_in())
    cross_site = [("Sec-Fetch-Site", "cross-site"), PREFLIGHT[0]]
    with app.receives_nothing():
        # Some proxies reject the method themselves.
        assert staff_only(method, "/", [cookie, *cross_site]).status in (400, 403, 405, 501)


def test_a_misspelt_rule_rejects_all_requests(misspelt, sealjar, app):
    with app.receives_nothing():
        for headers in (API, NAVIGATION):
            assert misspelt("GET", "/", [*headers, ("Cookie", sealjar.sign_in())]).status == 403
            assert misspelt("GET", "/?role=staff", headers).status == 403


@pytest.mark.parametrize("headers", [API, NAVIGATION], ids=["program", "browser"])
def test_a_refusal_may_not_be_cached(proxy, staff_only, sealjar, headers):
    for refusing, cookies in [(proxy, []), (staff_only, []), (staff_only, [("Cookie", sealjar.sign_in("bob"))])]:
        answer = refusing("GET", "/", [*headers, *cookies])
        assert answer.status in (302, 303, 401, 403)
        assert answer.values("Cache-Control") == ["no-store"], answer
