"""An application that makes variables of field names is told by the proxy alone who asks."""

import http.client
import json
from contextlib import suppress

import pytest
from hosts import HOSTS, PATH
from servers import running
from spoofing import NO_TOKEN, SEPARATORS, SPELLINGS, TOLD, batches

# A proxy may also close the connection on a name that HTTP does not allow.
REFUSED = suppress(OSError, http.client.HTTPException)
ALONE = [("Remote%sUser" % byte, "mallory") for byte in SEPARATORS + NO_TOKEN]


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


def told(variables: dict) -> dict:
    """The variables that could come of identity fields."""
    return {name: value for name, value in variables.items() if name.startswith(("HTTP_REMOTE", "HTTP_X_AUTH"))}


def variables_of(hosted, host, cookie, fields):
    """What the application has of this request, or `None` if the proxy refuses the names with a status of 400 to 499."""
    before, answer = host.has_seen(), None
    with REFUSED:
        answer = hosted("GET", PATH, [*fields, ("Cookie", cookie)])
    if answer and answer.status == 200:
        return answer.json()
    assert answer is None or 400 <= answer.status < 500, answer
    assert host.has_seen() == before
    return None


def test_variables_are_the_users(hosted, host, sealjar):
    cookie = sealjar.sign_in()
    says = sealjar.request("GET", "/auth/verify", [("Cookie", cookie)])
    variables = variables_of(hosted, host, cookie, [])
    for name in TOLD:
        assert [variables[variable(name)]] == says.values(name)
    assert variables["HTTP_REMOTE_USER"] == variables["HTTP_X_AUTH_REQUEST_USER"] == "alice"


@pytest.mark.parametrize("login", ["alice", "bob"])
def test_no_spelling_of_a_field_becomes_a_variable(hosted, host, sealjar, login):
    """Also not where Sealjar has nothing to say: bob has no role, no name and no address."""
    cookie = sealjar.sign_in(login)
    honest = told(variables_of(hosted, host, cookie, []))
    waiting = batches(SPELLINGS)
    while waiting:
        fields = waiting.pop()
        variables = variables_of(hosted, host, cookie, fields)
        if variables is not None:
            assert "mallory" not in json.dumps(variables), fields
            assert told(variables) == honest
        elif len(fields) > 1:  # refused for one of them, so that nothing is known of the others
            waiting += [[field] for field in fields]


def test_a_field_alone_becomes_no_variable_of_the_users(hosted, host, sealjar):
    """Also with bytes that HTTP does not allow in names, where a proxy may refuse the request."""
    cookie = sealjar.sign_in()
    honest = told(variables_of(hosted, host, cookie, []))
    for field in ALONE:
        variables = variables_of(hosted, host, cookie, [field])
        assert variables is None or "mallory" not in json.dumps(variables), field
        assert variables is None or told(variables) == honest, field


def test_no_spelling_of_a_field_is_a_way_in(hosted, host):
    with host.sees_nothing():
        for fields in batches(SPELLINGS):
            assert 400 <= hosted("GET", PATH, fields).status < 500, fields
