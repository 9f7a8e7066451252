"""Tests the header fields that the application receives: identity headers and forwarded headers come from the proxy only, and
Sealjar's cookies are removed."""

import json
import re
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from harness import API, DISPLAY_NAME, EMAIL, HOST, NAVIGATION, OTHER_HOST, Seen
from http2 import connected
from spoofing import IDENTITY, ODD, PLAIN, SPELLINGS, SPOOFED, batches

FORWARDED = ["X-Forwarded-Method", "X-Forwarded-Uri", "X-Original-Method", "X-Original-URI", "X-Original-URL"]


def test_the_application_receives_the_identity(proxy, sealjar):
    cookie = sealjar.sign_in()
    deadline = sealjar.request("GET", "/auth/status", [("Cookie", cookie)]).json()["absolute_deadline"]
    seen = proxy("GET", "/", [("Cookie", cookie)]).received_by_app()
    identity = {name: seen.values(name) for name in IDENTITY}
    for family in ("Remote", "X-Auth-Request"):
        assert identity[f"{family}-User"] == ["alice"]
        assert identity[f"{family}-Groups"] == ["staff"]
        assert identity[f"{family}-Email"] == [EMAIL]
        (name,) = identity[f"{family}-Name"]
        assert name.isascii() and "100%25" in name and unquote(name) == DISPLAY_NAME
    assert identity["Remote-Session-Deadline"] == [str(deadline)]


@pytest.mark.parametrize("login, claims", [("alice", SPELLINGS), ("bob", SPOOFED)], ids=["alice", "bob"])
def test_no_identity_of_the_client_reaches_the_application(proxy, sealjar, login, claims):
    """Even where Sealjar sends an empty value: bob has no role, no name and no email address."""
    cookie = sealjar.sign_in(login)
    expected = proxy("GET", "/", [("Cookie", cookie)]).received_by_app()
    for fields in batches(claims):
        spoofed = proxy("GET", "/", [*fields, ("Cookie", cookie)]).received_by_app()
        assert "mallory" not in json.dumps(spoofed.headers), fields
        for name in IDENTITY:
            assert spoofed.values(name) == expected.values(name)
        assert spoofed.values("Remote-User") == [login]
        if login == "bob":
            assert spoofed.values("Remote-Groups") in ([], [""])


def test_field_names_with_other_bytes_are_not_forwarded(proxy, sealjar):
    """Only names of letters, digits and - are the same field for every application."""
    for fields in batches(ODD):
        seen = proxy("GET", "/", [*fields, ("Cookie", sealjar.sign_in())]).received_by_app()
        assert [name for name, _ in seen.headers if not PLAIN.fullmatch(name)] == []


@pytest.mark.parametrize("announced", [[], [("Trailer", "Remote-User, Remote.User")]], ids=["unannounced", "announced"])
def test_no_identity_in_trailers_reaches_the_application(proxy, sealjar, announced):
    """HAProxy forwards trailer fields, as deploy/README.md says. Applications do not treat them as header fields."""
    fields = [("Cookie", sealjar.sign_in()), ("Transfer-Encoding", "chunked"), *announced]
    body = b"4\r\nbody\r\n0\r\nRemote-User: mallory\r\nRemote.User: mallory\r\n\r\n"
    seen = proxy("POST", "/", fields, body).received_by_app()
    assert (seen.length, seen.values("Remote-User")) == (4, ["alice"])
    assert bool(seen.trailers) == (proxy.kind.name == "haproxy"), seen.trailers


def test_identity_headers_do_not_replace_a_session(proxy, app):
    with app.receives_nothing():
        for fields in batches(SPELLINGS):
            assert proxy("GET", "/", fields).status == 401


# Names of the cookies of a session, of a form, and of a session with a cookie domain.
S = "__Host-sealjar"
FORM = "__Host-sealjar-form"
DOMAIN = "__Secure-sealjar"
# Cookie fields of the request, in which {} is replaced by the token, and the cookies that the application must receive.
FIELDS = {
    "alone": ([f"{S}={{}}"], []),
    "first": ([f"{S}={{}}; a=1; b=2"], ["a=1", "b=2"]),
    "last": ([f"a=1; b=2; {S}={{}}"], ["a=1", "b=2"]),
    "between": ([f"a=1; {S}={{}}; b=2"], ["a=1", "b=2"]),
    "unspaced": ([f"a=1;{S}={{}};b=2"], ["a=1", "b=2"]),
    "after tabs": ([f"\t{S}={{}};\ta=1; \t {S}={{}};\tb=2"], ["a=1", "b=2"]),
    "with a form cookie": ([f"{FORM}=secret; a=1; {S}={{}}"], ["a=1"]),
    "with a domain cookie": ([f"{DOMAIN}=secret; {S}={{}}; a=1; {DOMAIN}=secret"], ["a=1"]),
    "twice": ([f"{S}={{}}; {S}={{}}; a=1"], ["a=1"]),
    "three times": ([f"{S}={{}}; a=1; {S}=secret; b=2; {S}=secret"], ["a=1", "b=2"]),
    "in two fields": ([f"{S}={{}}; a=1", f"{FORM}=secret; b=2"], ["a=1", "b=2"]),
    "in three fields": ([f"{S}={{}}; a=1", f"{FORM}=secret", f"b=2; {S}=secret"], ["a=1", "b=2"]),
    "among similar names": (
        [f"sealjar=1; x{S}=2; {S}x=3; {S}-form-x=4; {S}={{}}; a={S}"],
        ["sealjar=1", f"x{S}=2", f"{S}x=3", f"{S}-form-x=4", f"a={S}"],
    ),
    "among unusual cookies": ([f'a="1 2"; flag; e=; {S}={{}}; x=y=z'], ['a="1 2"', "flag", "e=", "x=y=z"]),
}


def cookies_of(seen):
    """Returns the cookies that the application received. Apache joins several fields with a comma."""
    return [pair.strip() for field in seen.values("cookie") if field for pair in re.split("[;,]", field)]


@pytest.mark.parametrize("name", FIELDS)
def test_only_other_cookies_reach_the_application(proxy, sealjar, name):
    fields, expected = FIELDS[name]
    token = sealjar.sign_in().partition("=")[2]
    seen = proxy("GET", "/", [("Cookie", field.replace("{}", token)) for field in fields]).received_by_app()
    assert token not in json.dumps(seen.headers) and "secret" not in json.dumps(seen.headers)
    assert cookies_of(seen) == expected


@pytest.mark.parametrize("spaces", ["", " ", "\t"])
def test_only_other_cookies_reach_the_application_over_http2(over_http2, certificate, sealjar, spaces):
    """In HTTP/2, a field value may begin with white space."""
    token = sealjar.sign_in().partition("=")[2]
    with connected(over_http2.port, certificate) as client:
        fields = [("cookie", spaces + pair) for pair in (f"{S}={token}", "a=1", f"{FORM}={token}", "b=2")]
        answer = client.request("GET", "/", fields)
    assert answer.status in (200, 400) and token not in answer.body.decode()
    assert answer.status == 400 or cookies_of(Seen(**answer.json())) == ["a=1", "b=2"]


def test_a_session_in_a_field_of_its_own_is_read_or_refused(proxy, sealjar, app):
    """No browser sends several fields over HTTP/1.1 (RFC 6265, section 5.4), and Apache and Envoy join them with commas."""
    token = sealjar.sign_in().partition("=")[2]
    before = len(app.seen)
    answer = proxy("GET", "/", [*API, ("Cookie", "a=1"), ("Cookie", f"{S}={token}"), ("Cookie", "b=2")])
    if proxy.kind.name in ("apache", "envoy"):
        assert (answer.status, app.seen[before:]) == (401, [])
    else:
        assert cookies_of(answer.received_by_app()) == ["a=1", "b=2"]


def test_no_copy_of_our_cookies_is_forwarded(proxy, sealjar):
    """Some proxies remove a limited number of cookies, and then drop the whole field. So other cookies may be missing."""
    token = sealjar.sign_in().partition("=")[2]
    field = "; ".join(f"{S}={token}; c{index}=1; {FORM}={token}" for index in range(12))
    seen = proxy("GET", "/", [("Cookie", field)]).received_by_app()
    assert token not in json.dumps(seen.headers)


def test_a_request_with_only_other_cookies_is_refused(proxy, app):
    with app.receives_nothing():
        assert proxy("GET", "/", [("Cookie", "a=1; sealjar=2"), ("Cookie", f"x{S}=3")]).status == 401


SPOOFED_FACTS = [
    ("X-Forwarded-Host", OTHER_HOST),
    ("x-forwarded-host", "evil.example.com"),
    ("X-Forwarded-Method", "PROPFIND"),
    ("X-Forwarded-Uri", "/evil"),
    ("x-forwarded-uri", "/evil"),
    ("X-Forwarded-Proto", "http"),
    ("X-Forwarded-For", "192.0.2.66"),
    ("X-Original-Method", "PROPFIND"),
    ("X-Original-URI", "/evil"),
    ("X-Original-URL", f"https://{OTHER_HOST}/evil"),
    ("Forwarded", f"host={OTHER_HOST};proto=http"),
]


def test_a_client_cannot_choose_the_page_after_sign_in(proxy, app):
    for facts in ([fact] for fact in SPOOFED_FACTS):
        with app.receives_nothing():
            answer = proxy("GET", "/here?a=1", [*NAVIGATION, *facts])
        url = urlsplit(answer.location)
        assert (url.scheme, url.netloc, parse_qs(url.query)["rd"]) == ("https", HOST, ["/here?a=1"]), facts


def test_a_client_cannot_choose_the_host_of_its_session(proxy, sealjar, app):
    cookie = ("Cookie", sealjar.sign_in(host=OTHER_HOST))
    with app.receives_nothing():
        for fact in SPOOFED_FACTS:
            assert proxy("GET", "/", [cookie, fact]).status == 401, fact
        assert proxy("GET", "/", [cookie, *SPOOFED_FACTS]).status == 401


def test_the_app_gets_forwarded_headers_of_the_proxy_only(proxy, sealjar):
    seen = proxy("GET", "/here", [("Cookie", sealjar.sign_in()), *SPOOFED_FACTS]).received_by_app()
    assert (seen.method, seen.path, seen.values("Host")) == ("GET", "/here", [HOST])
    assert seen.values("X-Forwarded-Host") == ([] if proxy.kind.name == "envoy" else [HOST])
    assert seen.values("X-Forwarded-Proto") == ["https"]
    (address,) = seen.values("X-Forwarded-For")
    assert address != "192.0.2.66"  # for a local client, Envoy sends the address of its own machine
    for name in FORWARDED:
        assert not {"PROPFIND", "/evil", f"https://{OTHER_HOST}/evil"} & set(seen.values(name)), name
