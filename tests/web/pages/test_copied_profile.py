"""Two browsers, of which one began as a copy of the other, and one browser alone."""

import pytest
from browser import expect_signed_out
from harness import Sealjar
from kept_profiles import browse_for_two_hours, expect_both_signed_out, kept_profiles, opens, remember, renewals_until_noticed
from moved_clock import MovedClock


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    return MovedClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def server(tmp_path_factory, clock):
    sealjar = Sealjar(tmp_path_factory.mktemp("home"), environment=clock.environment).start()
    yield sealjar
    sealjar.stop()


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    with kept_profiles(tmp_path_factory.mktemp("profiles")) as profiles:
        yield profiles


def test_a_copied_profile_ends_the_session_of_both(profiles, origin, clock):
    profiles.signed_in("owner", origin)
    profiles.copy("owner", "thief")
    owner, thief = pages = [profiles.start(name).pages[0] for name in ("owner", "thief")]
    assert [opens(page, f"{origin}/auth/status") for page in pages] == [True, True]
    assert renewals_until_noticed(pages, f"{origin}/auth/status", clock) <= 3
    expect_both_signed_out(pages, f"{origin}/auth/status")
    remember(owner, origin)
    clock.pass_minutes(5)
    assert opens(owner, f"{origin}/auth/status")
    expect_signed_out(thief, origin)


def test_a_lone_profile_with_many_requests_is_not_signed_out(profiles, origin, clock):
    context = profiles.start("lone")
    tabs = [context.pages[0], context.new_page()]
    remember(tabs[0], origin)
    # A page without a policy that forbids scripts to send requests.
    tabs[0].route("**/shop", lambda route: route.fulfill(body="<title>shop</title>", content_type="text/html"))
    tabs[0].goto(f"{origin}/shop")
    browse_for_two_hours(tabs, "/auth/status", f"{origin}/auth/status", clock)
