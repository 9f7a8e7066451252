"""Compares the OpenAPI description with the server: [schemathesis](https://schemathesis.readthedocs.io/) generates valid and
invalid requests from the description, and must find no response that is not described. All of its checks are enabled."""

import json
import os
import subprocess
import sys

import pytest
from harness import PASSWORD, WAIT_TIMEOUT, Sealjar
from openapi_spec_validator import validate

# The verify routes accept every method. OpenAPI 3.1 can only describe a fixed list of methods, so this check is disabled for
# them.
ANY_METHOD = """
[[operations]]
include-tag = "forward authentication"
checks.unsupported_method.enabled = false
"""
UNTHROTTLED = [f"throttle.{limit}_burst=0" for limit in ("network", "account", "account_and_network")]
# Where there is a page, a browser without a session is redirected to the sign-in page instead of refused.
SENT_TO_SIGN_IN = """
negative_data_rejection.expected-statuses = [302, 400, 401, 403, 404, 405, 406, 409, 415, 422, 428, 429, "5xx"]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    (home / "logo.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    return Sealjar(home, "pages.logo=logo.svg")


@pytest.fixture
def server(home):
    yield home.start(*UNTHROTTLED)
    # The test may have changed the password.
    home.command("users", "passwd", "alice", stdin=PASSWORD + "\n")
    home.stop()


@pytest.fixture
def throttled_server(home):
    yield home.start("throttle.account_burst=5")
    home.stop()


@pytest.fixture
def examine(home, tmp_path):
    """Runs schemathesis. Returns its exit code, its output, and the set of responses as (method, path, status, media type)."""

    def run(document: str, *arguments, admin=False, session=False, config="") -> tuple:
        description = tmp_path / "openapi.json"
        answers = tmp_path / "answers"
        settings = tmp_path / "schemathesis.toml"
        description.write_text(document)
        settings.write_text(f"[checks]\nenabled = true\n{config}")
        answers.write_text("")
        environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__), "SCHEMATHESIS_HOOKS": "openapi_hooks"}
        environment |= {"SEALJAR_ORIGIN": f"http://localhost:{home.port}", "SEALJAR_PASSWORD": PASSWORD}
        environment |= {"SEALJAR_ANSWERS": str(answers), "SEALJAR_SESSION": "1" if session else ""}
        url = f"http://localhost:{home.admin_port if admin else home.port}"
        command = [sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", settings, "run", description]
        command += ["--url", url, "--seed", "1", "--generation-database", "none", *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=5 * WAIT_TIMEOUT)
        return done.returncode, done.stdout + done.stderr, {tuple(json.loads(line)) for line in answers.open()}

    return run


def printed(home, *arguments) -> str:
    return home.command("openapi", *arguments, "--set", f"http.listen=127.0.0.1:{home.port}")


def operations(document: str) -> set:
    return {(method.upper(), path) for path, item in json.loads(document)["paths"].items() for method in item}


def test_server_and_command_give_the_same_valid_description(home, server):
    for ask, arguments in [(lambda: home.request("GET", "/openapi.json", host=f"localhost:{home.port}"), [])] + [
        (lambda: home.request_admin("/openapi.json"), ["--admin"])
    ]:
        answer = ask()
        assert (answer.status, answer.values("content-type")) == (200, ["application/json"])
        assert answer.body.decode() == printed(home, *arguments)
        validate(answer.json())
        assert answer.json()["openapi"].startswith("3.1.")
    (tag,) = home.request("HEAD", "/openapi.json", host=f"localhost:{home.port}").values("etag")
    held = home.request("GET", "/openapi.json", [("If-None-Match", tag)], host=f"localhost:{home.port}")
    assert (held.status, held.body, held.values("etag")) == (304, b"", [tag])


@pytest.mark.parametrize(
    "settings, cookie, servers",
    [
        ([], "__Host-sealjar", [f"http://{host}:8080" for host in ("localhost", "127.0.0.1", "[::1]")]),
        (
            ["http.public_origins=https://a.example.com", "cookie.domain=example.com"],
            "__Secure-sealjar",
            ["https://a.example.com"],
        ),
        (["cookie.plain_http=true", "http.public_origins=http://localhost:1"], "sealjar-insecure", ["http://localhost:1"]),
    ],
)
def test_the_description_follows_the_settings(home, settings, cookie, servers):
    document = json.loads(home.command("openapi", *[word for setting in settings for word in ("--set", setting)]))
    scheme = document["components"]["securitySchemes"]["session"]
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "cookie", cookie)
    assert [server["url"] for server in document["servers"]] == servers


def test_schemathesis_finds_nothing_with_a_session(home, server, examine):
    document = printed(home)
    code, said, answers = examine(document, "--max-examples", "2", session=True, config=ANY_METHOD)
    assert code == 0, said
    assert operations(document) <= {(method, path) for method, path, status, _ in answers if status < 400}
    assert {status for *_, status, _ in answers} >= {200, 303, 304, 401, 403, 405, 415, 422}


def test_schemathesis_finds_nothing_without_a_session(home, throttled_server, examine):
    document = printed(home)
    code, said, answers = examine(document, "--max-examples", "1", "--header", "X-Wrong-Passwords: 1")
    assert code == 0, said
    refused = {(method, path) for method, path, status, _ in answers if status in (401, 403)}
    needs_session = {
        (method.upper(), path)
        for path, item in json.loads(document)["paths"].items()
        for method, operation in item.items()
        if operation.get("security") == [{"session": []}]
    }
    assert needs_session <= refused
    assert ("POST", "/auth/login", 429, "application/problem+json") in answers


def test_schemathesis_finds_nothing_with_requests_of_a_browser(home, server, examine):
    document = printed(home)
    arguments = ["--header", "Accept: text/html", "--include-tag", "session", "--max-examples", "2"]
    code, said, answers = examine(document, *arguments, session=True, config=SENT_TO_SIGN_IN)
    assert code == 0, said
    pages = {(method, path, status) for method, path, status, media_type in answers if (media_type or "").startswith("text/html")}
    assert pages >= {("GET", f"/auth/{page}", 200) for page in ("login", "status", "password", "reauthenticate")}
    assert pages >= {("POST", "/auth/login", 422), ("POST", "/auth/logout", 415), ("GET", "/auth/status", 401)}
    assert ("GET", "/auth/password", 302, None) in answers


def test_schemathesis_finds_nothing_at_the_admin_listener(home, server, examine):
    document = printed(home, "--admin")
    code, said, answers = examine(document, admin=True)
    assert code == 0, said
    assert {(method, path) for method, path, status, _ in answers if status == 200} == operations(document)


def test_schemathesis_finds_a_missing_description(home, server, examine):
    document = json.loads(printed(home))
    del document["paths"]["/auth/status"]["get"]["responses"]["401"]
    code, said, _ = examine(json.dumps(document), "--include-name", "GET /auth/status")
    assert code == 1 and "Undocumented status code" in said, said
