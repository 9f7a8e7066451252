"""A cookie that is used in two places, behind each proxy: the session ends for both holders. Two browsers, of which one began as
a copy of the other, are in `test_copied_profiles.py`."""

from harness import API, NAVIGATION
from waiting import until_logged


def visit(proxy, cookie: str) -> tuple:
    """Opens a page; returns the answer, and the cookie that a browser has then."""
    answer = proxy("GET", "/", [*API, ("Cookie", cookie)])
    return answer, *(answer.cookies() or [cookie])


def ended(sealjar) -> list:
    return [line for line in list(sealjar.log) if line.get("event") == "session-copied"]


def test_a_copied_cookie_ends_the_session_of_both_holders(timed, timed_sealjar, clock, app):
    holders, before = [timed_sealjar.sign_in()] * 2, len(ended(timed_sealjar))
    sid = timed_sealjar.request("GET", "/auth/status", [*API, ("Cookie", holders[0])]).json()["sid"]
    for _ in range(2):
        clock.pass_minutes(5)
        for holder, cookie in enumerate(holders):
            answer, holders[holder] = visit(timed, cookie)
            assert answer.status == 200 and holders[holder] != cookie
    clock.pass_minutes(5)
    answer, holders[0] = visit(timed, holders[0])
    assert answer.status == 401, "the third renewal of the first holder is of another line than the second's"
    with app.sees_nothing():
        for cookie in holders:
            answer, _ = visit(timed, cookie)
            assert (answer.status, answer.cookies()) == (401, [])
            assert timed("GET", "/", [*NAVIGATION, ("Cookie", cookie)]).status in (302, 303)
    until_logged(timed_sealjar, "ended a session whose cookie is used in two places", before + 1)
    (event,) = ended(timed_sealjar)[before:]
    assert (event["sid"], event["client"]) == (sid, "127.0.0.0/24")


def test_a_lone_client_keeps_its_session_when_answers_are_lost(timed, timed_sealjar, clock):
    cookie, before = timed_sealjar.sign_in(), len(ended(timed_sealjar))
    for turn in range(6):
        clock.pass_minutes(5)
        answers = [timed(method, "/", [("Cookie", cookie)]) for method in ("GET", "HEAD", "POST")]
        assert [answer.status for answer in answers] == [200] * 3
        assert [len(answer.cookies()) for answer in answers] == [1, 1, 0]
        if turn % 3:
            (cookie,) = answers[turn % 2].cookies()
    assert len(ended(timed_sealjar)) == before
