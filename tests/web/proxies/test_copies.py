"""Tests the detection of copied cookies behind each proxy: if two clients use the same cookie, the session ends for both.
`test_copied_profiles.py` has it with real browsers."""

from harness import API, NAVIGATION
from waiting import wait_until_logged


def visit(proxy, cookie: str) -> tuple:
    """Opens a page. Returns the response, and the cookie that a browser would have afterwards."""
    answer = proxy("GET", "/", [*API, ("Cookie", cookie)])
    return answer, *(answer.cookies() or [cookie])


def copy_events(sealjar) -> list:
    """Returns the audit events of sessions that ended because of a copied cookie."""
    return [line for line in list(sealjar.log) if line.get("event") == "session-copied"]


def test_a_copied_cookie_ends_the_session_of_both_holders(timed, timed_sealjar, clock, app):
    holders = [timed_sealjar.sign_in()] * 2
    before = len(copy_events(timed_sealjar))
    sid = timed_sealjar.request("GET", "/auth/status", [*API, ("Cookie", holders[0])]).json()["sid"]
    for _ in range(2):
        clock.pass_minutes(5)
        for holder, cookie in enumerate(holders):
            answer, holders[holder] = visit(timed, cookie)
            assert answer.status == 200 and holders[holder] != cookie
    clock.pass_minutes(5)
    answer, holders[0] = visit(timed, holders[0])
    assert answer.status == 401, "the first client's token belongs to another token chain than the second client's"
    with app.receives_nothing():
        for cookie in holders:
            answer, _ = visit(timed, cookie)
            assert (answer.status, answer.cookies()) == (401, [])
            assert timed("GET", "/", [*NAVIGATION, ("Cookie", cookie)]).status in (302, 303)
    wait_until_logged(timed_sealjar, "ended a session whose cookie is used in two places", before + 1)
    (event,) = copy_events(timed_sealjar)[before:]
    assert (event["sid"], event["client"]) == (sid, "127.0.0.0/24")


def test_a_single_client_keeps_its_session_if_answers_are_lost(timed, timed_sealjar, clock):
    cookie = timed_sealjar.sign_in()
    before = len(copy_events(timed_sealjar))
    for turn in range(6):
        clock.pass_minutes(5)
        answers = [timed(method, "/", [("Cookie", cookie)]) for method in ("GET", "HEAD", "POST")]
        assert [answer.status for answer in answers] == [200] * 3
        assert [len(answer.cookies()) for answer in answers] == [1, 1, 0]
        # Every third time, the client receives no response, and keeps its cookie.
        if turn % 3:
            (cookie,) = answers[turn % 2].cookies()
    assert len(copy_events(timed_sealjar)) == before
