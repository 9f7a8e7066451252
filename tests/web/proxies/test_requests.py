"""What a proxy does with a request on its way: paths as they were sent, lists of hop-by-hop fields, preflights, answers that
nobody may store."""

import json

import pytest
from harness import API, HOST, NAVIGATION, PASSWORD
from spoofing import IDENTITY

# Paths with a meaning of their own for the application.
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
# And paths with a normal form.
NORMAL = {"/a//b": "/a/b", "/a/./b": "/a/b", "/a/x/../b": "/a/b", "/a/%2e%2e/b": "/b", "/%41": "/A"}
# What some proxies make of other bytes; the notes in docs/proxies.md say so.
ENCODED = {'/a|b^"c': "/a%7Cb%5E%22c", "/a\\b": "/a%5Cb"}
CHANGED = {
    "caddy": ENCODED,
    "traefik": {**ENCODED, "/a%2fb": "/a%2Fb"},
    "envoy": {**ENCODED, "/a\\b": "/a/b"},
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_path_reaches_the_application_as_it_was_sent(proxy, sealjar, target):
    path, mark, query = target.partition("?")
    if proxy.kind.name == "traefik":
        query = query.replace(";", "%3B")
    assert proxy("GET", target, [("Cookie", sealjar.sign_in())]).app_saw().path == path + mark + query


@pytest.mark.parametrize("target", NORMAL)
def test_a_path_with_a_normal_form_reaches_the_application(proxy, sealjar, target):
    """Envoy and Traefik send the form that their routes compare, and the others what came."""
    path = NORMAL[target] if proxy.kind.name in ("envoy", "traefik") else target
    assert proxy("GET", target, [("Cookie", sealjar.sign_in())]).app_saw().path == path


@pytest.mark.parametrize("target", CHANGED["traefik"])
def test_another_path_arrives_in_the_documented_form(proxy, sealjar, target):
    expected = CHANGED.get(proxy.kind.folder, {}).get(target, target)
    assert proxy("GET", target, [("Cookie", sealjar.sign_in())]).app_saw().path == expected


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
def test_a_clients_list_of_hop_by_hop_fields_takes_none_away(proxy, sealjar, app, fields):
    cookie = ("Cookie", sealjar.sign_in())
    honest = proxy("GET", "/", [cookie]).app_saw()
    before = len(app.seen)
    answer = proxy("GET", "/", [cookie, *(("Connection", field) for field in fields)])
    if answer.status == 400:
        # Envoy refuses a list with names that no list may hold.
        assert app.seen[before:] == []
        return
    seen = answer.app_saw()
    for name in [*IDENTITY, "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Host"]:
        assert seen.values(name) == honest.values(name), name
    # Nor does the next hop see the list, which could be a proxy, too.
    named = {name.strip().lower() for value in seen.values("Connection") for name in value.split(",")}
    assert named <= CONNECTION, named


UPGRADES = ["Upgrade, Remote-User", "remote-user , X-Auth-Request-User,upgrade", "Remote-Groups,UPGRADE"]


@pytest.mark.parametrize("connection", UPGRADES)
def test_a_websockets_list_of_hop_by_hop_fields_takes_none_away(proxy, sealjar, app, connection):
    cookie = ("Cookie", sealjar.sign_in())
    before = len(app.seen)
    answer = proxy.client.upgrade("/socket", [cookie], connection=connection)
    if answer[0] == 400:
        assert app.seen[before:] == []
        return
    assert answer == (101, b"HELLOping")
    seen = app.seen[-1]
    told = [seen.values(name) for name in ("Remote-User", "X-Auth-Request-User", "Remote-Groups")]
    assert told == [["alice"], ["alice"], ["staff"]]
    named = {name.strip().lower() for value in seen.values("Connection") for name in value.split(",")}
    assert named <= CONNECTION, named


def test_a_list_of_hop_by_hop_fields_does_not_hide_the_visitor(proxy, kind, sealjar):
    login = f"hidden-{kind.name}"
    sealjar.add_user(login)

    def sign_in(password, visitor):
        body = json.dumps({"login": login, "password": password}).encode()
        fields = [("Content-Type", "application/json"), ("Connection", "close, X-Forwarded-For, X-Forwarded-Proto")]
        return proxy("POST", "/auth/login", fields, body, source=visitor).status

    if sign_in("not the password", "127.0.0.5") == 400:
        return  # Envoy, as above
    for _ in range(9):
        assert sign_in("not the password", "127.0.0.5") == 401
    assert sign_in(PASSWORD, "127.0.0.5") == 429
    assert sign_in(PASSWORD, "127.0.0.6") == 200


ASKS = [("Origin", "https://elsewhere.example.com"), ("Access-Control-Request-Method", "DELETE"), ("Sec-Fetch-Mode", "cors")]


def test_a_preflight_passes_where_a_rule_lets_it_and_says_nobody(guarded, sealjar):
    for cookie in ([], [("Cookie", sealjar.sign_in())], [("Remote-User", "mallory")]):
        seen = guarded("OPTIONS", "/api?x=1", [*ASKS, ("Sec-Fetch-Site", "cross-site"), *cookie]).app_saw()
        assert (seen.method, seen.path) == ("OPTIONS", "/api?x=1")
        assert all(set(seen.values(name)) <= {""} for name in IDENTITY)
        assert "__Host-sealjar" not in json.dumps(seen.headers)


def test_what_is_no_preflight_does_not_pass(guarded, proxy, sealjar, app):
    cookie = ("Cookie", sealjar.sign_in())
    with app.sees_nothing():
        assert guarded("OPTIONS", "/api", [("Origin", f"https://{HOST}")]).status == 401
        assert guarded("OPTIONS", "/api", [cookie, ASKS[0]]).status == 403
        assert guarded("OPTIONS", "/api", [ASKS[1]]).status == 401
        assert guarded("POST", "/api", [cookie, *ASKS], b"x").status == 403
        assert guarded("GET", "/api", ASKS).status == 401
        assert guarded("POST", "/api", [*ASKS, ("X-HTTP-Method-Override", "OPTIONS")], b"x").status in (401, 403)
        for name in ("X-Forwarded-Method", "X-Original-Method"):
            assert guarded("POST", "/api", [*ASKS, (name, "OPTIONS")], b"x").status in (401, 403)
        assert proxy("OPTIONS", "/api", ASKS).status == 401


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "QUERY", "PROPFIND"])
def test_any_method_of_another_site_is_refused(guarded, sealjar, app, method):
    cookie, other = ("Cookie", sealjar.sign_in()), [("Sec-Fetch-Site", "cross-site"), ASKS[0]]
    with app.sees_nothing():
        # Some proxies refuse a method by themselves.
        assert guarded(method, "/", [cookie, *other]).status in (400, 403, 405, 501)


def test_a_misspelt_rule_lets_nobody_in(misspelt, sealjar, app):
    with app.sees_nothing():
        for headers in (API, NAVIGATION):
            assert misspelt("GET", "/", [*headers, ("Cookie", sealjar.sign_in())]).status == 403
            assert misspelt("GET", "/?role=staff", headers).status == 403


@pytest.mark.parametrize("headers", [API, NAVIGATION], ids=["program", "browser"])
def test_nobody_may_store_a_refusal(proxy, guarded, sealjar, headers):
    for refuses, cookies in [(proxy, []), (guarded, []), (guarded, [("Cookie", sealjar.sign_in("bob"))])]:
        answer = refuses("GET", "/", [*headers, *cookies])
        assert answer.status in (302, 303, 401, 403)
        assert answer.values("Cache-Control") == ["no-store"], answer
