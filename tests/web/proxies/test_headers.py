"""What the application is told, by whom: its identity headers and forwarded facts come from the proxy alone, and Sealjar's
cookies never come."""

import json
import re
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from harness import API, DISPLAY_NAME, EMAIL, HOST, NAVIGATION, OTHER_HOST, Seen
from http2 import connected
from spoofing import IDENTITY, ODD, PLAIN, SPELLINGS, SPOOFED, batches

FORWARDED = ["X-Forwarded-Method", "X-Forwarded-Uri", "X-Original-Method", "X-Original-URI", "X-Original-URL"]


def test_the_application_is_told_who_asks(proxy, sealjar):
    cookie = sealjar.sign_in()
    deadline = sealjar.request("GET", "/auth/status", [("Cookie", cookie)]).json()["absolute_deadline"]
    seen = proxy("GET", "/", [("Cookie", cookie)]).app_saw()
    told = {name: seen.values(name) for name in IDENTITY}
    for family in ("Remote", "X-Auth-Request"):
        assert told[f"{family}-User"] == ["alice"]
        assert told[f"{family}-Groups"] == ["staff"]
        assert told[f"{family}-Email"] == [EMAIL]
        (name,) = told[f"{family}-Name"]
        assert name.isascii() and "100%25" in name and unquote(name) == DISPLAY_NAME
    assert told["Remote-Session-Deadline"] == [str(deadline)]


@pytest.mark.parametrize("login, claims", [("alice", SPELLINGS), ("bob", SPOOFED)], ids=["alice", "bob"])
def test_no_identity_of_the_client_reaches_the_application(proxy, sealjar, login, claims):
    """Also not where Sealjar has nothing to say: bob has no role, no name and no address."""
    cookie = sealjar.sign_in(login)
    honest = proxy("GET", "/", [("Cookie", cookie)]).app_saw()
    for fields in batches(claims):
        spoofed = proxy("GET", "/", [*fields, ("Cookie", cookie)]).app_saw()
        assert "mallory" not in json.dumps(spoofed.headers), fields
        for name in IDENTITY:
            assert spoofed.values(name) == honest.values(name)
        assert spoofed.values("Remote-User") == [login]
        if login == "bob":
            assert spoofed.values("Remote-Groups") in ([], [""])


def test_names_with_other_bytes_do_not_reach_the_application(proxy, sealjar):
    """Only letters, digits and - mean one field to every application."""
    for fields in batches(ODD):
        seen = proxy("GET", "/", [*fields, ("Cookie", sealjar.sign_in())]).app_saw()
        assert [name for name, _ in seen.headers if not PLAIN.fullmatch(name)] == []


@pytest.mark.parametrize("announced", [[], [("Trailer", "Remote-User, Remote.User")]], ids=["unannounced", "announced"])
def test_no_identity_after_a_body_reaches_the_application(proxy, sealjar, announced):
    """HAProxy passes such fields on, as deploy/README.md says. Applications do not take them for the header's."""
    fields = [("Cookie", sealjar.sign_in()), ("Transfer-Encoding", "chunked"), *announced]
    body = b"4\r\nbody\r\n0\r\nRemote-User: mallory\r\nRemote.User: mallory\r\n\r\n"
    seen = proxy("POST", "/", fields, body).app_saw()
    assert (seen.length, seen.values("Remote-User")) == (4, ["alice"])
    assert bool(seen.trailers) == (proxy.kind.name == "haproxy"), seen.trailers


def test_identity_headers_are_no_way_in(proxy, app):
    with app.sees_nothing():
        for fields in batches(SPELLINGS):
            assert proxy("GET", "/", fields).status == 401


S, FORM, DOMAIN = "__Host-sealjar", "__Host-sealjar-form", "__Secure-sealjar"
# Cookie fields, with {} for the good token; and what is left of them.
FIELDS = {
    "alone": ([f"{S}={{}}"], []),
    "first": ([f"{S}={{}}; a=1; b=2"], ["a=1", "b=2"]),
    "last": ([f"a=1; b=2; {S}={{}}"], ["a=1", "b=2"]),
    "between": ([f"a=1; {S}={{}}; b=2"], ["a=1", "b=2"]),
    "unspaced": ([f"a=1;{S}={{}};b=2"], ["a=1", "b=2"]),
    "after tabs": ([f"\t{S}={{}};\ta=1; \t {S}={{}};\tb=2"], ["a=1", "b=2"]),
    "with the form's": ([f"{FORM}=secret; a=1; {S}={{}}"], ["a=1"]),
    "with a domain's": ([f"{DOMAIN}=secret; {S}={{}}; a=1; {DOMAIN}=secret"], ["a=1"]),
    "twice": ([f"{S}={{}}; {S}={{}}; a=1"], ["a=1"]),
    "thrice, apart": ([f"{S}={{}}; a=1; {S}=secret; b=2; {S}=secret"], ["a=1", "b=2"]),
    "in two fields": ([f"{S}={{}}; a=1", f"{FORM}=secret; b=2"], ["a=1", "b=2"]),
    "in three fields": ([f"{S}={{}}; a=1", f"{FORM}=secret", f"b=2; {S}=secret"], ["a=1", "b=2"]),
    "among likely names": (
        [f"sealjar=1; x{S}=2; {S}x=3; {S}-form-x=4; {S}={{}}; a={S}"],
        ["sealjar=1", f"x{S}=2", f"{S}x=3", f"{S}-form-x=4", f"a={S}"],
    ),
    "among odd ones": ([f'a="1 2"; flag; e=; {S}={{}}; x=y=z'], ['a="1 2"', "flag", "e=", "x=y=z"]),
}


def cookies_of(seen):
    """Apache joins several fields with a comma."""
    return [pair.strip() for field in seen.values("cookie") if field for pair in re.split("[;,]", field)]


@pytest.mark.parametrize("name", FIELDS)
def test_only_other_cookies_reach_the_application(proxy, sealjar, name):
    fields, left = FIELDS[name]
    token = sealjar.sign_in().partition("=")[2]
    seen = proxy("GET", "/", [("Cookie", field.replace("{}", token)) for field in fields]).app_saw()
    assert token not in json.dumps(seen.headers) and "secret" not in json.dumps(seen.headers)
    assert cookies_of(seen) == left


@pytest.mark.parametrize("spaces", ["", " ", "\t"])
def test_only_other_cookies_reach_the_application_over_http2(over_http2, certificate, sealjar, spaces):
    """Where a field may begin with a space."""
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
        assert cookies_of(answer.app_saw()) == ["a=1", "b=2"]


def test_no_copy_of_our_cookies_reaches_the_application(proxy, sealjar):
    """Other cookies may be lost where a proxy cannot count that far."""
    token = sealjar.sign_in().partition("=")[2]
    field = "; ".join(f"{S}={token}; c{index}=1; {FORM}={token}" for index in range(12))
    seen = proxy("GET", "/", [("Cookie", field)]).app_saw()
    assert token not in json.dumps(seen.headers)


def test_a_request_with_only_other_cookies_is_refused(proxy, app):
    with app.sees_nothing():
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


def test_a_client_cannot_say_where_sign_in_leads(proxy, app):
    for facts in ([fact] for fact in SPOOFED_FACTS):
        with app.sees_nothing():
            answer = proxy("GET", "/here?a=1", [*NAVIGATION, *facts])
        url = urlsplit(answer.location)
        assert (url.scheme, url.netloc, parse_qs(url.query)["rd"]) == ("https", HOST, ["/here?a=1"]), facts


def test_a_client_cannot_say_to_which_host_its_session_belongs(proxy, sealjar, app):
    cookie = ("Cookie", sealjar.sign_in(host=OTHER_HOST))
    with app.sees_nothing():
        for fact in SPOOFED_FACTS:
            assert proxy("GET", "/", [cookie, fact]).status == 401, fact
        assert proxy("GET", "/", [cookie, *SPOOFED_FACTS]).status == 401


def test_the_application_is_told_the_facts_by_the_proxy_alone(proxy, sealjar):
    seen = proxy("GET", "/here", [("Cookie", sealjar.sign_in()), *SPOOFED_FACTS]).app_saw()
    assert (seen.method, seen.path, seen.values("Host")) == ("GET", "/here", [HOST])
    assert seen.values("X-Forwarded-Host") == ([] if proxy.kind.name == "envoy" else [HOST])
    assert seen.values("X-Forwarded-Proto") == ["https"]
    (address,) = seen.values("X-Forwarded-For")
    assert address != "192.0.2.66"  # Envoy names its own machine for a client on the same
    for name in FORWARDED:
        assert not {"PROPFIND", "/evil", f"https://{OTHER_HOST}/evil"} & set(seen.values(name)), name
