"""What only Envoy would do at a client's word."""

import pytest
from servers import KINDS

only_envoy = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name == "envoy"], indirect=True, ids=["envoy"])


@only_envoy
def test_a_client_cannot_tell_envoy_how_to_route(proxy, sealjar):
    orders = [
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-max-retries", "9"),
        ("x-envoy-retry-on", "5xx"),
        ("x-envoy-other", "1"),
    ]
    seen = proxy("GET", "/", [("Cookie", sealjar.sign_in()), *orders]).app_saw()
    assert [name for name, _ in seen.headers if name.startswith("x-envoy-")] == []
