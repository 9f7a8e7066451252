"""Two browsers behind a proxy, of which one began as a copy of the other, and one browser alone. Clients of all proxies that
share a cookie are in `test_copies.py`."""

import pytest
from harness import HOST
from kept_profiles import browse_for_two_hours, expect_both_signed_out, kept_profiles, opens, remember, renewals_until_noticed
from servers import KINDS, running

ORIGIN = f"https://{HOST}"


@pytest.fixture(
    scope="module", params=[kind for kind in KINDS if kind.name in ("nginx", "caddy-debian")], ids=lambda kind: kind.name
)
def proxy(request, certificate, timed_sealjar, app):
    yield from running(request.param, certificate, timed_sealjar, app)


@pytest.fixture
def profiles(tmp_path, proxy):
    with kept_profiles(tmp_path, f"--host-resolver-rules=MAP {HOST}:443 127.0.0.1:{proxy.port}") as profiles:
        yield profiles


def test_a_copied_profile_ends_the_session_of_both(profiles, clock, app):
    profiles.signed_in("owner", ORIGIN)
    profiles.copy("owner", "thief")
    pages = [profiles.start(name).pages[0] for name in ("owner", "thief")]
    assert [opens(page, f"{ORIGIN}/page") for page in pages] == [True, True]
    assert renewals_until_noticed(pages, f"{ORIGIN}/page", clock) <= 3
    with app.sees_nothing():
        expect_both_signed_out(pages, f"{ORIGIN}/page")


def test_a_lone_profile_with_many_requests_is_not_signed_out(profiles, clock):
    context = profiles.start("lone")
    tabs = [context.pages[0], context.new_page()]
    remember(tabs[0], ORIGIN)
    assert opens(tabs[0], f"{ORIGIN}/page")
    browse_for_two_hours(tabs, "/part", f"{ORIGIN}/page", clock)
