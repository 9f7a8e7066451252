"""Tests that Envoy ignores header fields by which a client could control its routing."""

import pytest
from servers import KINDS

only_envoy = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name == "envoy"], indirect=True, ids=["envoy"])


@only_envoy
def test_a_client_cannot_control_the_routing_of_envoy(proxy, sealjar):
    control_fields = [
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-max-retries", "9"),
        ("x-envoy-retry-on", "5xx"),
        ("x-envoy-other", "1"),
    ]
    seen = proxy("GET", "/", [("Cookie", sealjar.sign_in()), *control_fields]).received_by_app()
    assert [name for name, _ in seen.headers if name.startswith("x-envoy-")] == []
