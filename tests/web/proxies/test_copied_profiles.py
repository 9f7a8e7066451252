"""Tests the detection of copied cookies in real browsers behind two proxies. `test_copies.py` has it with plain clients behind
all proxies."""

import pytest
from harness import HOST
from persistent_profiles import (
    browse_for_two_hours,
    can_open,
    expect_both_signed_out,
    persistent_profiles,
    renewals_until_noticed,
    sign_in_persistently,
)
from servers import KINDS, running

ORIGIN = f"https://{HOST}"


@pytest.fixture(
    scope="module", params=[kind for kind in KINDS if kind.name in ("nginx", "caddy-debian")], ids=lambda kind: kind.name
)
def proxy(request, certificate, timed_sealjar, app):
    yield from running(request.param, certificate, timed_sealjar, app)


@pytest.fixture
def profiles(tmp_path, proxy):
    with persistent_profiles(tmp_path, f"--host-resolver-rules=MAP {HOST}:443 127.0.0.1:{proxy.port}") as profiles:
        yield profiles


def test_a_copied_profile_ends_the_session_of_both(profiles, clock, app):
    profiles.create_signed_in("owner", ORIGIN)
    profiles.copy("owner", "thief")
    pages = [profiles.start(name).pages[0] for name in ("owner", "thief")]
    assert [can_open(page, f"{ORIGIN}/page") for page in pages] == [True, True]
    assert renewals_until_noticed(pages, f"{ORIGIN}/page", clock) <= 3
    with app.receives_nothing():
        expect_both_signed_out(pages, f"{ORIGIN}/page")


def test_a_single_profile_with_many_requests_stays_signed_in(profiles, clock):
    context = profiles.start("lone")
    tabs = [context.pages[0], context.new_page()]
    sign_in_persistently(tabs[0], ORIGIN)
    assert can_open(tabs[0], f"{ORIGIN}/page")
    browse_for_two_hours(tabs, "/part", f"{ORIGIN}/page", clock)
