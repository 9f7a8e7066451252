"""Tests mistakes in Traefik's file. Routers do not inherit middlewares, so a router without one of ours must reject all
requests."""

import pytest
import servers
from harness import API, NAVIGATION
from servers import KINDS, Proxy, running
from spoofing import SPOOFED

(TRAEFIK,) = [kind for kind in KINDS if kind.name == "traefik"]
AS_SHOWN = "middlewares: [sealjar, sealjar-guarded]"
NO_VERIFICATION = (AS_SHOWN, "middlewares: [sealjar-guarded]")
MISTAKES = {
    "no middleware": [(AS_SHOWN, "middlewares: []")],
    "no verification": [NO_VERIFICATION],
    "no verification, and an unknown stage": [NO_VERIFICATION, ("stage: guarded", "stage: guard")],
    "no middleware after the verification": [(AS_SHOWN, "middlewares: [sealjar]")],
    "a verification that forwards all fields": [("authRequestHeaders:", "authResponseHeaders:")],
}


@pytest.fixture(params=MISTAKES)
def mistaken(request, certificate, sealjar, app):
    yield from running(TRAEFIK, certificate, sealjar, app, edits=MISTAKES[request.param])


def test_a_mistake_in_a_router_rejects_all_requests(mistaken, sealjar, app):
    cookie = ("Cookie", sealjar.sign_in())
    with app.receives_nothing():
        for headers in ([], [cookie], [*API, cookie], [*NAVIGATION, cookie], SPOOFED, [cookie, *SPOOFED]):
            assert mistaken("GET", "/", headers).status >= 400


def test_an_invalid_network_prevents_the_start(certificate, sealjar, app, monkeypatch):
    monkeypatch.setattr(servers, "WAIT_TIMEOUT", 10)
    network = ("          stage: first", "          stage: first\n          proxies: [192.0.2.0]")
    with pytest.raises(AssertionError, match="ParsePrefix"):
        Proxy(TRAEFIK, certificate, sealjar.port, app.port, edits=(network,))
