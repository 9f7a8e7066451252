"""Tests the recipe for pages with private data: after a logout, the back button of the browser must not show them."""

import re

import pytest
from exchanges import sent
from harness import API, NAVIGATION
from servers import KINDS, PRIVATE, running, with_private_pages

(NGINX,) = [kind for kind in KINDS if kind.name == "nginx"]


@pytest.fixture(scope="module")
def private(kind, certificate, timed_sealjar, app):
    """The proxy with the recipe for pages with private data."""
    yield from running(with_private_pages(kind), certificate, timed_sealjar, app, recipes=(PRIVATE,))


@pytest.mark.parametrize("path", ["/html", "/gone", "/capitals"])
def test_the_back_button_shows_no_private_page(private, timed_sealjar, app, path):
    cookie = ("Cookie", timed_sealjar.sign_in())
    for method, body in (("GET", app.TEXT), ("POST", app.TEXT), ("HEAD", b"")):
        answer = private(method, path, [*NAVIGATION, cookie])
        assert (answer.status, *answer.values("Content-Type")) == app.STORED_TEXTS[path]
        assert (answer.body, answer.cookies()) == (body, ["theme=dark"])
        assert answer.values("Cache-Control") == ["no-store"]


def test_scripts_and_images_are_cached_as_the_app_says(private, timed_sealjar, app):
    cookie = ("Cookie", timed_sealjar.sign_in())
    answer = private("GET", "/script", [cookie])
    assert (answer.body, answer.values("Cache-Control")) == (app.TEXT, [app.STORED])
    assert private("GET", "/", [cookie]).values("Cache-Control") == []
    assert private("GET", "/bulk?bytes=3000000", [cookie]).body == bytes(3_000_000)


def test_the_renewed_cookie_arrives_with_a_private_page(private, timed_sealjar, clock, app):
    cookie = timed_sealjar.sign_in()
    clock.pass_minutes(5)
    page, script = (private("GET", path, [("Cookie", cookie)]) for path in ("/html", "/script"))
    for answer in (page, script):
        assert sorted(value.partition("=")[0] for value in answer.cookies()) == ["__Host-sealjar", "theme"]
    assert directives(page) - {"private"} == {"no-store"}
    assert directives(script) == {"public", "max-age=3600", "private"}


def directives(answer) -> set:
    return set(re.split(", ?", ",".join(answer.values("Cache-Control"))))


def test_refusals_and_pages_have_one_cache_control(private, app):
    with app.receives_nothing():
        for headers in (API, NAVIGATION):
            assert private("GET", "/html", headers).values("Cache-Control") == ["no-store"]
    page = private("GET", "/auth/login", NAVIGATION)
    assert page.values("Cache-Control") == ["no-store"]
    style = re.search(rb'rel="stylesheet" href="([^"]+)"', page.body)[1].decode()
    assert private("GET", style).values("Cache-Control") == ["public, max-age=604800"]


def test_events_and_websockets_work_with_private_pages(private, timed_sealjar, app):
    cookie = ("Cookie", timed_sealjar.sign_in())
    assert private.client.upgrade("/socket", [cookie]) == (101, b"HELLOping")
    path = f"/events?private-{private.kind.name}"
    with sent(private, "GET", path, cookie) as connection:
        received = b""
        while b"data: first" not in received:
            received += connection.recv(65536)
        app.release(path, last=True)


def test_without_the_recipe_the_application_decides(timed, timed_sealjar, app):
    answer = timed("GET", "/html", [("Cookie", timed_sealjar.sign_in())])
    assert answer.values("Cache-Control") == [app.STORED]


def test_a_page_that_nginx_serves_itself_is_not_cached(certificate, sealjar, app, tmp_path):
    types = {"page.html": "no-store", "script.js": None}
    for name in types:
        (tmp_path / name).write_text("a file")
    files = f"root {tmp_path}; types {{ text/html html; text/javascript js; }}"
    edits = (("        proxy_pass http://app;\n", f"        {files}\n"),)
    cookie = ("Cookie", sealjar.sign_in())
    for proxy in running(NGINX, certificate, sealjar, app, recipes=(PRIVATE,), edits=edits):
        for name, cached in types.items():
            answer = proxy("GET", f"/{name}", [cookie])
            assert (answer.status, answer.body) == (200, b"a file")
            assert answer.values("Cache-Control") == [cached] * bool(cached)
