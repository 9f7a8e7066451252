"""Which paths the files take for those of a rule, and which for public ones: what some application might read in a path decides,
and the stricter reading wins."""

import pytest
from harness import API, OTHER_HOST
from servers import KINDS, OWN_RULE, PUBLIC, running

these = [kind for kind in KINDS if kind.name in ("caddy-debian", "caddy-current", "haproxy")]
of_these = pytest.mark.parametrize("kind", these, indirect=True, ids=lambda kind: kind.name)
# They refuse some of the paths that may be two, also with a session.
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
    # The application may not resolve these.
    "/admin/../x",
    "/%61dmin/%2e%2e/x",
    # It may drop parameters, take \ for /, decode twice, or end a path at a null byte or a fragment.
    "/admin;x/",
    "/x/..;/admin",
    "/x%5c..%5Cadmin/",
    "/%2561dmin/",
    "/admin%00",
    "/admin%23/x",
]


@of_these
@pytest.mark.parametrize("target", MAY_BE_BELOW)
def test_a_path_that_may_be_below_another_has_its_rule(extended, timed_sealjar, app, target):
    with app.sees_nothing():
        assert extended("GET", target, [*API, cookie_of(timed_sealjar, "alice")]).status == 403
    assert extended("GET", target, [cookie_of(timed_sealjar, "carol")]).app_saw().path == target


@of_these
@pytest.mark.parametrize("target", ["/administrator", "/x/admin/", "/x?/admin/", "/a%2Fadmin/", "/x/../y", "/caf%C3%A9/%20"])
def test_another_path_has_the_rules_of_its_host(extended, timed_sealjar, target):
    assert extended("GET", target, [cookie_of(timed_sealjar, "alice")]).app_saw().path == target


USUAL = ["/public/", "/public/x/", "/public/.well-known/x.y", "/public/...", "/public/caf%C3%A9%20.js?a=..;/&b=//%2f"]


@of_all_these
@pytest.mark.parametrize("target", USUAL)
def test_a_usual_path_is_public(extended, target):
    seen = extended("GET", target, [("Cookie", "a=1; b=2")]).app_saw()
    assert (seen.path, seen.values("Cookie")) == (target, ["a=1; b=2"])


@of_these
def test_a_public_path_is_public_as_the_file_spells_it(extended, app):
    assert extended("GET", "/public").app_saw().path == "/public"
    with app.sees_nothing():
        assert extended("GET", "/%70ublic/x", API).status == 401


MAY_BE_ANOTHER = ["..", ".", "./x", "/x", "/../x", "x/..", "x/..?a", "x/./y", "x/%2e%2E/y", "%252e%252e/x", "..%2fx", "a%2Fb"]
MAY_BE_ANOTHER += ["..%5cx", "..\\x", "..;/x", "..;/admin/", ";/x", "a%3bb", "..%3B/x", "x%00", "x%23", "..%23/x", "..%3f/x"]
MAY_BE_ANOTHER = [f"/public/{rest}" for rest in MAY_BE_ANOTHER]
MAY_BE_ANOTHER += ["/x/../public/y", "/x/..%2Fpublic/", "//public/x", "/PUBLIC/x", "/publicity"]


@of_all_these
@pytest.mark.parametrize("target", MAY_BE_ANOTHER)
def test_a_path_that_may_be_another_is_not_public(extended, kind, timed_sealjar, app, target):
    with app.sees_nothing():
        assert extended("GET", target, API).status in ((400, 401, 404) if kind in refusing else (401, 403))
    assert extended("GET", target, [cookie_of(timed_sealjar, "carol")]).status == 200 or kind in refusing


@pytest.fixture(scope="module")
def contradictory(kind, certificate, timed_sealjar, app):
    """Its public path lies below the path that has a rule."""
    edits = ((" /public", " /admin/public"),)
    yield from running(kind, certificate, timed_sealjar, app, recipes=(OWN_RULE, PUBLIC), edits=edits)


@of_these
def test_a_path_with_a_rule_cannot_be_public(contradictory, timed_sealjar, app):
    with app.sees_nothing():
        for cookies in ([], [cookie_of(timed_sealjar, "alice")]):
            assert contradictory("GET", "/admin/public/x", [*API, *cookies]).status == 403


these_caddies = [kind for kind in these if kind.folder == "caddy"]
of_caddy = pytest.mark.parametrize("kind", these_caddies, indirect=True, ids=lambda kind: kind.name)


@of_caddy
def test_an_encoded_query_does_not_hide_a_path(extended, timed_sealjar, app):
    with app.sees_nothing():
        assert extended("GET", "/admin%3Fx", [*API, cookie_of(timed_sealjar, "alice")]).status == 403


@of_caddy
@pytest.mark.parametrize("path", ["/admin/", "admin", "/"])
def test_rules_for_no_proper_path_are_those_of_all_paths(kind, certificate, timed_sealjar, app, path):
    proxies = running(kind, certificate, timed_sealjar, app, recipes=(OWN_RULE,), edits=((" /admin ", f" {path} "),))
    proxy = next(proxies)
    with app.sees_nothing():
        for target in ("/", "/admin", "/admin/", "/admin/x", "//admin"):
            assert proxy("GET", target, [*API, cookie_of(timed_sealjar, "alice")]).status == 403
    assert proxy("GET", "/admin/x", [cookie_of(timed_sealjar, "carol")]).status == 200
    assert list(proxies) == []


@of_caddy
@pytest.mark.parametrize("path", ["/public/", "public", "/"])
def test_no_path_is_public_by_no_proper_one(kind, certificate, timed_sealjar, app, path):
    proxies = running(kind, certificate, timed_sealjar, app, recipes=(PUBLIC,), edits=((" /public", f" {path}"),))
    proxy = next(proxies)
    with app.sees_nothing():
        for target in ("/", "//x", "/public", "/public/x", "/public//x", "//public/x"):
            assert proxy("GET", target, API).status == 401
    assert list(proxies) == []


@of_caddy
def test_a_dot_in_a_public_path_is_a_dot(kind, certificate, timed_sealjar, app):
    for proxy in running(kind, certificate, timed_sealjar, app, recipes=(PUBLIC,), edits=((" /public", " /api/v1.0"),)):
        assert proxy("GET", "/api/v1.0/x").app_saw().path == "/api/v1.0/x"
        with app.sees_nothing():
            for target in ("/api/v1/0", "/api/v1/0/x", "/api/v1x0/"):
                assert proxy("GET", target, API).status == 401, target


@pytest.fixture(scope="module")
def narrowed(kind, certificate, timed_sealjar, app):
    """The path's rule comes on top of those of the host."""
    yield from running(kind, certificate, timed_sealjar, app, "role=staff", recipes=(OWN_RULE,))


@of_these
def test_a_paths_rule_comes_on_top_of_those_of_its_host(narrowed, timed_sealjar, app):
    with app.sees_nothing():
        for login in ("alice", "carol"):
            assert narrowed("GET", "/admin/", [*API, cookie_of(timed_sealjar, login)]).status == 403
    assert narrowed("GET", "/", [cookie_of(timed_sealjar, "alice")]).status == 200


those = [kind for kind in KINDS if kind.name in ("traefik", "envoy")]
of_those = pytest.mark.parametrize("kind", those, indirect=True, ids=lambda kind: kind.name)
# Traefik and Envoy compare them by an expression of their files.
MAY_BE_BELOW_BY_EXPRESSION = ["/ADMIN/x", "/admin;x", "/;/admin", "/x/..;y/admin/", "/x/y/..%2f../admin", "/x/..%3b/admin/x"]
MAY_BE_BELOW_BY_EXPRESSION += ["/x/..%5cadmin", "/x%5C../admin/x", "/admin%5cx", "/admin\\x", "/x%0a/..%2fadmin"]


@of_those
@pytest.mark.parametrize("target", MAY_BE_BELOW_BY_EXPRESSION)
def test_an_expression_finds_what_may_be_below_a_path(extended, timed_sealjar, app, target):
    with app.sees_nothing():
        assert extended("GET", target, [*API, cookie_of(timed_sealjar, "alice")]).status == 403
    assert extended("GET", target, [cookie_of(timed_sealjar, "carol")]).status == 200


@of_those
@pytest.mark.parametrize("target", ["/administrator", "/x/admin/", "/x?/admin/", "/caf%C3%A9/admin"])
def test_an_expression_leaves_other_paths_alone(extended, timed_sealjar, target):
    assert extended("GET", target, [cookie_of(timed_sealjar, "alice")]).status == 200


@of_those
@pytest.mark.parametrize("rest", ["..%5cx", "..\\x", "a%5C..", "..%2fx", "..;/x", "..%3b/x", "x%00", "x%0a"])
def test_an_expression_opens_no_path_that_may_be_another(extended, app, rest):
    before = len(app.seen)
    assert extended("GET", f"/public/{rest}", API).status in (400, 401)
    assert app.seen[before:] == []


@pytest.mark.parametrize("host", [f"{OTHER_HOST}:443", OTHER_HOST.upper(), f"{OTHER_HOST.upper()}:443"])
def test_a_hosts_other_spelling_leads_to_no_other_application(extended, timed_sealjar, app, host):
    cookie = ("Cookie", timed_sealjar.sign_in(host=OTHER_HOST))
    with app.sees_nothing():
        extended("GET", "/", [cookie], host=host, sni=OTHER_HOST)
