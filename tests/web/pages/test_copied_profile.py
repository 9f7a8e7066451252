"""Tests the detection of copied cookies with two browsers, one of which starts with a copy of the other's profile, and with a
single browser."""

import pytest
from browser import expect_signed_out
from fake_clock import FakeClock
from harness import Sealjar
from persistent_profiles import (
    browse_for_two_hours,
    can_open,
    expect_both_signed_out,
    persistent_profiles,
    renewals_until_noticed,
    sign_in_persistently,
)


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    return FakeClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def server(tmp_path_factory, clock):
    sealjar = Sealjar(tmp_path_factory.mktemp("home"), environment=clock.environment).start()
    yield sealjar
    sealjar.stop()


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    with persistent_profiles(tmp_path_factory.mktemp("profiles")) as profiles:
        yield profiles


def test_a_copied_profile_ends_the_session_of_both(profiles, origin, clock):
    profiles.create_signed_in("owner", origin)
    profiles.copy("owner", "thief")
    owner, thief = pages = [profiles.start(name).pages[0] for name in ("owner", "thief")]
    assert [can_open(page, f"{origin}/auth/status") for page in pages] == [True, True]
    assert renewals_until_noticed(pages, f"{origin}/auth/status", clock) <= 3
    expect_both_signed_out(pages, f"{origin}/auth/status")
    sign_in_persistently(owner, origin)
    clock.pass_minutes(5)
    assert can_open(owner, f"{origin}/auth/status")
    expect_signed_out(thief, origin)


def test_a_single_profile_with_many_requests_stays_signed_in(profiles, origin, clock):
    context = profiles.start("lone")
    tabs = [context.pages[0], context.new_page()]
    sign_in_persistently(tabs[0], origin)
    # A page whose Content-Security-Policy permits scripts to send requests, unlike Sealjar's pages.
    tabs[0].route("**/shop", lambda route: route.fulfill(body="<title>shop</title>", content_type="text/html"))
    tabs[0].goto(f"{origin}/shop")
    browse_for_two_hours(tabs, "/auth/status", f"{origin}/auth/status", clock)
