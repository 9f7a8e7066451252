"""Tests which paths have the rule of a path, and which are public. If applications can interpret a path in several ways, the
strictest interpretation applies."""

import pytest
from harness import API, OTHER_HOST
from servers import KINDS, OWN_RULE, PUBLIC, running

these = [kind for kind in KINDS if kind.name in ("caddy-debian", "caddy-current", "haproxy")]
of_these = pytest.mark.parametrize("kind", these, indirect=True, ids=lambda kind: kind.name)
# These proxies reject some of the ambiguous paths, even with a session.
refusing = [kind for kind in KINDS if kind.name in ("nginx", "apache")]
of_all_these = pytest.mark.parametrize("kind", these + refusing, indirect=True, ids=lambda kind: kind.name)


def cookie_of(sealjar, login):
    return ("Cookie", sealjar.sign_in(login))


MAY_BE_BELOW = [
    "/admin",
    "/admin?x",
    "/ADMIN/x",
    "/x//..//admin",
    "/../admin/",
    # The application might not resolve dot segments.
    "/admin/../x",
    "/%61dmin/%2e%2e/x",
    # The application might drop parameters, treat \ as /, decode twice, or end a path at a null byte or a fragment.
    "/admin;x/",
    "/x/..;/admin",
    "/x%5c..%5Cadmin/",
    "/%2561dmin/",
    "/admin%00",
    "/admin%23/x",
]


@of_these
@pytest.mark.parametrize("target", MAY_BE_BELOW)
def test_a_path_that_may_be_below_a_ruled_path_has_its_rule(extended, timed_sealjar, app, target):
    with app.receives_nothing():
        assert extended("GET", target, [*API, cookie_of(timed_sealjar, "alice")]).status == 403
    assert extended("GET", target, [cookie_of(timed_sealjar, "carol")]).received_by_app().path == target


@of_these
@pytest.mark.parametrize("target", ["/administrator", "/x/admin/", "/x?/admin/", "/a%2Fadmin/", "/x/../y", "/caf%C3%A9/%20"])
def test_another_path_has_the_rules_of_its_host(extended, timed_sealjar, target):
    assert extended("GET", target, [cookie_of(timed_sealjar, "alice")]).received_by_app().path == target


USUAL = ["/public/", "/public/x/", "/public/.well-known/x.y", "/public/...", "/public/caf%C3%A9%20.js?a=..;/&b=//%2f"]


@of_all_these
@pytest.mark.parametrize("target", USUAL)
def test_an_unambiguous_path_is_public(extended, target):
    seen = extended("GET", target, [("Cookie", "a=1; b=2")]).received_by_app()
    assert (seen.path, seen.values("Cookie")) == (target, ["a=1; b=2"])


@of_these
def test_a_public_path_is_public_in_one_spelling_only(extended, app):
    assert extended("GET", "/public").received_by_app().path == "/public"
    with app.receives_nothing():
        assert extended("GET", "/%70ublic/x", API).status == 401


MAY_BE_ANOTHER = ["..", ".", "./x", "/x", "/../x", "x/..", "x/..?a", "x/./y", "x/%2e%2E/y", "%252e%252e/x", "..%2fx", "a%2Fb"]
MAY_BE_ANOTHER += ["..%5cx", "..\\x", "..;/x", "..;/admin/", ";/x", "a%3bb", "..%3B/x", "x%00", "x%23", "..%23/x", "..%3f/x"]
MAY_BE_ANOTHER = [f"/public/{rest}" for rest in MAY_BE_ANOTHER]
MAY_BE_ANOTHER += ["/x/../public/y", "/x/..%2Fpublic/", "//public/x", "/PUBLIC/x", "/publicity"]


@of_all_these
@pytest.mark.parametrize("target", MAY_BE_ANOTHER)
def test_a_path_that_may_leave_a_public_path_is_not_public(extended, kind, timed_sealjar, app, target):
    with app.receives_nothing():
        assert extended("GET", target, API).status in ((400, 401, 404) if kind in refusing else (401, 403))
    assert extended("GET", target, [cookie_of(timed_sealjar, "carol")]).status == 200 or kind in refusing


@pytest.fixture(scope="module")
def contradictory(kind, certificate, timed_sealjar, app):
    """A proxy whose public path is below the path that has a rule."""
    edits = ((" /public", " /admin/public"),)
    yield from running(kind, certificate, timed_sealjar, app, recipes=(OWN_RULE, PUBLIC), edits=edits)


@of_these
def test_a_path_with_a_rule_cannot_be_public(contradictory, timed_sealjar, app):
    with app.receives_nothing():
        for cookies in ([], [cookie_of(timed_sealjar, "alice")]):
            assert contradictory("GET", "/admin/public/x", [*API, *cookies]).status == 403


these_caddies = [kind for kind in these if kind.folder == "caddy"]
of_caddy = pytest.mark.parametrize("kind", these_caddies, indirect=True, ids=lambda kind: kind.name)


@of_caddy
def test_an_encoded_query_does_not_hide_a_path(extended, timed_sealjar, app):
    with app.receives_nothing():
        assert extended("GET", "/admin%3Fx", [*API, cookie_of(timed_sealjar, "alice")]).status == 403


@of_caddy
@pytest.mark.parametrize("path", ["/admin/", "admin", "/"])
def test_rules_for_an_invalid_path_apply_to_all_paths(kind, certificate, timed_sealjar, app, path):
    proxies = running(kind, certificate, timed_sealjar, app, recipes=(OWN_RULE,), edits=((" /admin ", f" {path} "),))
    proxy = next(proxies)
    with app.receives_nothing():
        for target in ("/", "/admin", "/admin/", "/admin/x", "//admin"):
            assert proxy("GET", target, [*API, cookie_of(timed_sealjar, "alice")]).status == 403
    assert proxy("GET", "/admin/x", [cookie_of(timed_sealjar, "carol")]).status == 200
    assert list(proxies) == []


@of_caddy
@pytest.mark.parametrize("path", ["/public/", "public", "/"])
def test_an_invalid_public_path_makes_no_path_public(kind, certificate, timed_sealjar, app, path):
    proxies = running(kind, certificate, timed_sealjar, app, recipes=(PUBLIC,), edits=((" /public", f" {path}"),))
    proxy = next(proxies)
    with app.receives_nothing():
        for target in ("/", "//x", "/public", "/public/x", "/public//x", "//public/x"):
            assert proxy("GET", target, API).status == 401
    assert list(proxies) == []


@of_caddy
def test_a_dot_in_a_public_path_matches_only_a_dot(kind, certificate, timed_sealjar, app):
    for proxy in running(kind, certificate, timed_sealjar, app, recipes=(PUBLIC,), edits=((" /public", " /api/v1.0"),)):
        assert proxy("GET", "/api/v1.0/x").received_by_app().path == "/api/v1.0/x"
        with app.receives_nothing():
            for target in ("/api/v1/0", "/api/v1/0/x", "/api/v1x0/"):
                assert proxy("GET", target, API).status == 401, target


@pytest.fixture(scope="module")
def narrowed(kind, certificate, timed_sealjar, app):
    """A proxy with a rule for the host and another one for a path."""
    yield from running(kind, certificate, timed_sealjar, app, "role=staff", recipes=(OWN_RULE,))


@of_these
def test_the_rule_of_a_path_is_added_to_those_of_its_host(narrowed, timed_sealjar, app):
    with app.receives_nothing():
        for login in ("alice", "carol"):
            assert narrowed("GET", "/admin/", [*API, cookie_of(timed_sealjar, login)]).status == 403
    assert narrowed("GET", "/", [cookie_of(timed_sealjar, "alice")]).status == 200


those = [kind for kind in KINDS if kind.name in ("traefik", "envoy")]
of_those = pytest.mark.parametrize("kind", those, indirect=True, ids=lambda kind: kind.name)
# The files of Traefik and Envoy match these paths by a regular expression.
MAY_BE_BELOW_BY_EXPRESSION = ["/ADMIN/x", "/admin;x", "/;/admin", "/x/..;y/admin/", "/x/y/..%2f../admin", "/x/..%3b/admin/x"]
MAY_BE_BELOW_BY_EXPRESSION += ["/x/..%5cadmin", "/x%5C../admin/x", "/admin%5cx", "/admin\\x", "/x%0a/..%2fadmin"]


@of_those
@pytest.mark.parametrize("target", MAY_BE_BELOW_BY_EXPRESSION)
def test_an_expression_matches_paths_that_may_be_below_it(extended, timed_sealjar, app, target):
    with app.receives_nothing():
        assert extended("GET", target, [*API, cookie_of(timed_sealjar, "alice")]).status == 403
    assert extended("GET", target, [cookie_of(timed_sealjar, "carol")]).status == 200


@of_those
@pytest.mark.parametrize("target", ["/administrator", "/x/admin/", "/x?/admin/", "/caf%C3%A9/admin"])
def test_an_expression_does_not_match_other_paths(extended, timed_sealjar, target):
    assert extended("GET", target, [cookie_of(timed_sealjar, "alice")]).status == 200


@of_those
@pytest.mark.parametrize("rest", ["..%5cx", "..\\x", "a%5C..", "..%2fx", "..;/x", "..%3b/x", "x%00", "x%0a"])
def test_an_expression_opens_no_ambiguous_path(extended, app, rest):
    before = len(app.seen)
    assert extended("GET", f"/public/{rest}", API).status in (400, 401)
    assert app.seen[before:] == []


@pytest.mark.parametrize("host", [f"{OTHER_HOST}:443", OTHER_HOST.upper(), f"{OTHER_HOST.upper()}:443"])
def test_another_spelling_of_a_host_reaches_no_other_app(extended, timed_sealjar, app, host):
    cookie = ("Cookie", timed_sealjar.sign_in(host=OTHER_HOST))
    with app.receives_nothing():
        extended("GET", "/", [cookie], host=host, sni=OTHER_HOST)
