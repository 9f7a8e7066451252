"""Traefik has no guard that all routers inherit. So what a router of its file leaves out refuses, and does not open."""

import pytest
import servers
from harness import API, NAVIGATION
from servers import KINDS, Proxy, running
from spoofing import SPOOFED

(TRAEFIK,) = [kind for kind in KINDS if kind.name == "traefik"]
AS_SHOWN = "middlewares: [sealjar, sealjar-guarded]"
NO_QUESTION = (AS_SHOWN, "middlewares: [sealjar-guarded]")
MISTAKES = {
    "no middleware": [(AS_SHOWN, "middlewares: []")],
    "no question": [NO_QUESTION],
    "no question, and a stage that is none": [NO_QUESTION, ("stage: guarded", "stage: guard")],
    "nothing after the question": [(AS_SHOWN, "middlewares: [sealjar]")],
    "a question that passes all fields on": [("authRequestHeaders:", "authResponseHeaders:")],
}


@pytest.fixture(params=MISTAKES)
def mistaken(request, certificate, sealjar, app):
    yield from running(TRAEFIK, certificate, sealjar, app, edits=MISTAKES[request.param])


def test_a_mistake_in_a_router_lets_nobody_in(mistaken, sealjar, app):
    cookie = ("Cookie", sealjar.sign_in())
    with app.sees_nothing():
        for headers in ([], [cookie], [*API, cookie], [*NAVIGATION, cookie], SPOOFED, [cookie, *SPOOFED]):
            assert mistaken("GET", "/", headers).status >= 400


def test_a_network_that_is_none_stops_everything(certificate, sealjar, app, monkeypatch):
    monkeypatch.setattr(servers, "PATIENCE", 10)
    network = ("          stage: first", "          stage: first\n          proxies: [192.0.2.0]")
    with pytest.raises(AssertionError, match="ParsePrefix"):
        Proxy(TRAEFIK, certificate, sealjar.port, app.port, edits=(network,))
