"""Tests that applications that read header fields as variables (CGI) get the identity of the user from the proxy only."""

import http.client
import json
from contextlib import suppress

import pytest
from hosts import HOSTS, PATH
from servers import running
from spoofing import NOT_IN_NAMES, SEPARATORS, SET_BY_SEALJAR, SPELLINGS, batches

# A proxy may close the connection if a field name is not allowed by HTTP.
REFUSED = suppress(OSError, http.client.HTTPException)
SINGLE_FIELDS = [("Remote%sUser" % byte, "mallory") for byte in SEPARATORS + NOT_IN_NAMES]


@pytest.fixture(scope="session", params=HOSTS, ids=lambda start: start.__name__)
def host(request):
    host = request.param()
    yield host
    host.stop()


@pytest.fixture(scope="session")
def hosted(kind, certificate, sealjar, host):
    yield from running(kind, certificate, sealjar, host)


def variable(name: str) -> str:
    return "HTTP_" + name.upper().replace("-", "_")


def identity_of(variables: dict) -> dict:
    """Returns the variables that identity headers could have set."""
    return {name: value for name, value in variables.items() if name.startswith(("HTTP_REMOTE", "HTTP_X_AUTH"))}


def variables_of(hosted, host, cookie, fields):
    """Returns the variables of the application for this request, or `None` if the proxy rejects the field names with a status
    of 400 to 499."""
    before = host.seen_bytes()
    answer = None
    with REFUSED:
        answer = hosted("GET", PATH, [*fields, ("Cookie", cookie)])
    if answer and answer.status == 200:
        return answer.json()
    assert answer is None or 400 <= answer.status < 500, answer
    assert host.seen_bytes() == before
    return None


def test_the_variables_have_the_users_identity(hosted, host, sealjar):
    cookie = sealjar.sign_in()
    verified = sealjar.request("GET", "/auth/verify", [("Cookie", cookie)])
    variables = variables_of(hosted, host, cookie, [])
    for name in SET_BY_SEALJAR:
        assert [variables[variable(name)]] == verified.values(name)
    assert variables["HTTP_REMOTE_USER"] == variables["HTTP_X_AUTH_REQUEST_USER"] == "alice"


@pytest.mark.parametrize("login", ["alice", "bob"])
def test_no_spelling_of_a_field_becomes_a_variable(hosted, host, sealjar, login):
    """Even where Sealjar sends an empty value: bob has no role, no name and no email address."""
    cookie = sealjar.sign_in(login)
    expected = identity_of(variables_of(hosted, host, cookie, []))
    remaining = batches(SPELLINGS)
    while remaining:
        fields = remaining.pop()
        variables = variables_of(hosted, host, cookie, fields)
        if variables is not None:
            assert "mallory" not in json.dumps(variables), fields
            assert identity_of(variables) == expected
        elif len(fields) > 1:  # one of the fields was rejected, so each of them is tried alone
            remaining += [[field] for field in fields]


def test_a_single_field_does_not_change_identity_variables(hosted, host, sealjar):
    """Even with bytes that HTTP does not allow in names. Then a proxy may reject the request."""
    cookie = sealjar.sign_in()
    expected = identity_of(variables_of(hosted, host, cookie, []))
    for field in SINGLE_FIELDS:
        variables = variables_of(hosted, host, cookie, [field])
        assert variables is None or "mallory" not in json.dumps(variables), field
        assert variables is None or identity_of(variables) == expected, field


def test_no_spelling_of_a_field_replaces_a_session(hosted, host):
    with host.receives_nothing():
        for fields in batches(SPELLINGS):
            assert 400 <= hosted("GET", PATH, fields).status < 500, fields
