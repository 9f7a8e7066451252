"""Tests the recipes that the files of each proxy show in comments: a path with its own rule, a public path, a second host, a
CDN."""

import json
from posixpath import normpath
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from harness import API, HOST, NAVIGATION, OTHER_HOST, PASSWORD
from servers import CDN, KINDS, Proxy, running
from spoofing import SPOOFED

# Paths that are /admin/page for some application.
OTHER_SPELLINGS = [
    "//admin/page",
    "/./admin/page",
    "/x/../admin/page",
    "/%61dmin/page",
    "/x/%2e%2e/admin/page",
    "/x/..%2fadmin/page",
]


def cookie_of(sealjar, login, host=HOST):
    return ("Cookie", sealjar.sign_in(login, host))


# The example of rules for all paths, as each file shows it.
EXAMPLES = {
    "nginx": "auth_request /.sealjar/role=staff",
    "haproxy": "http-request lua.sealjar http://",
    "envoy": "rules: &rules /auth/verify/envoy/role=staff",
    "apache": "Use SealjarRules role=staff",
}
REPEATING = [kind for kind in KINDS if kind.folder in EXAMPLES]


@pytest.mark.parametrize("kind", REPEATING, ids=lambda kind: kind.name)
def test_rules_apply_if_the_line_without_rules_is_kept(kind, certificate, sealjar, app):
    """An operator may uncomment the example and keep the line that it replaces. Traefik rejects such a file."""
    example = EXAMPLES[kind.folder]
    for proxy in running(kind, certificate, sealjar, app, edits=((f"#{example}", example),)):
        with app.receives_nothing():
            assert proxy("GET", "/", [*API, cookie_of(sealjar, "bob")]).status == 403
        assert proxy("GET", "/", [cookie_of(sealjar, "alice")]).received_by_app().values("Remote-User") == ["alice"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.folder == "caddy"], ids=lambda kind: kind.name)
def test_caddy_does_not_start_with_two_rule_lines(kind, certificate, sealjar, app):
    example = "import sealjar app role=staff"
    # `caddy run` of 2.11 ends without an error message; `caddy validate` has it.
    message = "defined more than once: @sealjar_imported_once|^caddy-current is not ready"
    with pytest.raises(AssertionError, match=message):
        Proxy(kind, certificate, sealjar.port, app.port, edits=((f"#{example}", example),))


# A path with a rule of its own.


def test_a_path_with_its_own_rule_admits_users_with_the_role(extended, timed_sealjar):
    seen = extended("GET", "/admin/page?a=1", [cookie_of(timed_sealjar, "carol"), *SPOOFED]).received_by_app()
    assert (seen.path, seen.values("Remote-User")) == ("/admin/page?a=1", ["carol"])
    assert "mallory" not in json.dumps(seen.headers) and seen.values("Cookie") in ([], [""])


def test_a_path_with_its_own_rule_rejects_other_users(extended, timed_sealjar, app):
    alice = cookie_of(timed_sealjar, "alice")
    with app.receives_nothing():
        for headers in (API, NAVIGATION):
            for target in ("/admin/", "/admin/page", "/admin/page?role=staff", "/admin/public/"):
                assert extended("GET", target, [*headers, alice]).status == 403, target
        assert extended("POST", "/admin/page", API, b"x").status == 401
    # The other paths have their own rules still.
    assert extended("GET", "/page", [alice]).received_by_app().values("Remote-User") == ["alice"]


def test_a_path_with_its_own_rule_redirects_to_sign_in(extended, app):
    with app.receives_nothing():
        answer = extended("GET", "/admin/page?a=1", NAVIGATION)
    url = urlsplit(answer.location)
    assert (answer.status in (302, 303), url.netloc, url.path) == (True, HOST, "/auth/login")
    assert parse_qs(url.query)["rd"] == ["/admin/page?a=1"]


def test_a_path_with_its_own_rule_renews_the_session(extended, timed_sealjar, clock):
    carol = cookie_of(timed_sealjar, "carol")
    clock.pass_minutes(5)
    assert extended("POST", "/admin/page", [carol]).cookies() == []
    answer = extended("GET", "/admin/page", [carol])
    assert (answer.status, answer.cookies()[0].partition("=")[0]) == (200, "__Host-sealjar")


@pytest.mark.parametrize("target", OTHER_SPELLINGS)
def test_another_spelling_of_a_path_has_its_rule(extended, timed_sealjar, app, target):
    alice = cookie_of(timed_sealjar, "alice")
    with app.receives_nothing():
        assert extended("GET", target, [*API, alice]).status in (400, 403, 404)


# A path that everybody may see.


def test_a_public_path_is_open_and_has_no_identity(extended, timed_sealjar):
    token = timed_sealjar.sign_in()
    for headers in ([], NAVIGATION, [("Cookie", f"a=1; {token}; __Host-sealjar-proof={token}; b=2")]):
        seen = extended("GET", "/public/page?a=1", [*headers, *SPOOFED]).received_by_app()
        assert seen.path == "/public/page?a=1"
        assert "mallory" not in json.dumps(seen.headers) and seen.values("Remote-User") in ([], [""])
        assert token.partition("=")[2] not in json.dumps(seen.headers)
    assert seen.values("Cookie") == ["a=1; b=2"]
    assert extended("POST", "/public/form", [], b"x" * 100_000).received_by_app().length == 100_000


@pytest.mark.parametrize(
    "target",
    [
        "/publicx",
        "/Public/",
        "/x/public/",
        "/public/../x",
        "/public/./../x",
        "/public/%2e%2e/x",
        "/public/..%2fx",
        "/public/a/..//../x",
    ],
)
def test_a_public_path_opens_no_other(extended, app, target):
    before = len(app.seen)
    extended("GET", target, API)
    for seen in app.seen[before:]:
        assert normpath(unquote(seen.path)).startswith("/public/"), seen.path


def test_a_public_path_of_one_host_is_not_public_at_another(extended, other_app):
    with other_app.receives_nothing():
        assert extended("GET", "/public/page", API, host=OTHER_HOST).status == 401


# A second host.


def test_a_second_host_has_its_own_sessions_and_application(extended, timed_sealjar, app, other_app):
    there = cookie_of(timed_sealjar, "alice", OTHER_HOST)
    with app.receives_nothing():
        seen = extended("GET", "/x?y", [there, *SPOOFED], host=OTHER_HOST).received_by_app()
    assert other_app.seen[-1] == seen and seen.values("Host") == [OTHER_HOST]
    assert (seen.path, seen.values("Remote-User"), seen.values("Cookie") in ([], [""])) == ("/x?y", ["alice"], True)
    assert "mallory" not in json.dumps(seen.headers)
    here = cookie_of(timed_sealjar, "alice")
    with app.receives_nothing(), other_app.receives_nothing():
        assert extended("GET", "/", [*API, here], host=OTHER_HOST).status == 401
        assert extended("GET", "/", [*API, there]).status == 401
        assert extended("GET", "/", SPOOFED, host=OTHER_HOST).status == 401


def test_a_second_host_has_a_page_to_change_the_password(extended, app, other_app):
    with app.receives_nothing(), other_app.receives_nothing():
        answer = extended("GET", "/.well-known/change-password", NAVIGATION, host=OTHER_HOST)
    assert (answer.status, answer.location) == (302, "/auth/password")


def test_a_second_host_signs_in_and_renews_by_itself(extended, clock, other_app):
    with other_app.receives_nothing():
        answer = extended("GET", "/x?y", NAVIGATION, host=OTHER_HOST)
        assert urlsplit(answer.location).netloc == OTHER_HOST
        body = json.dumps({"login": "alice", "password": PASSWORD}).encode()
        signed_in = extended("POST", "/auth/login", [("Content-Type", "application/json")], body, host=OTHER_HOST)
    cookie = ("Cookie", signed_in.cookies()[0])
    clock.pass_minutes(5)
    assert extended("POST", "/", [cookie], host=OTHER_HOST).cookies() == []
    answer = extended("GET", "/", [cookie], host=OTHER_HOST)
    assert answer.cookies() != []
    assert answer.received_by_app().values("Remote-User") == ["alice"]


# Behind a CDN.


def failed_sign_in(proxy, login, source, forwarded):
    body = json.dumps({"login": login, "password": "not the password"}).encode()
    fields = [("Content-Type", "application/json"), ("X-Forwarded-For", forwarded)]
    return proxy("POST", "/auth/login", fields, body, source=source).status


def test_behind_a_cdn_each_client_has_its_own_login_limit(extended, kind, timed_sealjar):
    login = f"behind-cdn-{kind.name}"
    timed_sealjar.add_user(login)
    for number in range(10):
        # The CDN appends the client's address. The address that the client claims is to the left of it.
        assert failed_sign_in(extended, login, CDN, f"203.0.113.{number}, 198.51.100.7") == 401, number
    assert failed_sign_in(extended, login, CDN, "203.0.113.99, 198.51.100.7") == 429
    assert failed_sign_in(extended, login, CDN, "198.51.100.8") == 401


def test_only_the_cdn_can_set_the_client_address(extended, kind, timed_sealjar):
    login = f"beside-cdn-{kind.name}"
    timed_sealjar.add_user(login)
    for number in range(10):
        assert failed_sign_in(extended, login, "127.0.0.7", f"203.0.113.{number}") == 401, number
    assert failed_sign_in(extended, login, "127.0.0.7", "203.0.113.99") == 429
    assert failed_sign_in(extended, login, "127.0.0.8", "203.0.113.99") == 401


def test_behind_a_cdn_the_app_receives_the_client_address(extended, timed_sealjar):
    cookie = cookie_of(timed_sealjar, "alice")
    seen = extended("GET", "/", [cookie, ("X-Forwarded-For", "198.51.100.7")], source=CDN).received_by_app()
    (addresses,) = seen.values("X-Forwarded-For")
    assert addresses.split(", ")[0] == "198.51.100.7" and set(addresses.split(", ")) <= {"198.51.100.7", CDN}


def test_behind_a_cdn_other_forwarded_headers_are_ignored(extended, timed_sealjar, app):
    other = cookie_of(timed_sealjar, "alice", OTHER_HOST)
    facts = [("X-Forwarded-Host", OTHER_HOST), ("X-Forwarded-Uri", "/evil"), ("X-Forwarded-Method", "PROPFIND")]
    with app.receives_nothing():
        for fact in facts:
            assert extended("GET", "/", [*API, other, fact], source=CDN).status == 401, fact
        answer = extended("GET", "/here", [*NAVIGATION, *facts], source=CDN)
    url = urlsplit(answer.location)
    assert (url.scheme, url.netloc, parse_qs(url.query)["rd"]) == ("https", HOST, ["/here"])
