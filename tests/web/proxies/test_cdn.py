"""What a CDN in front of the proxy says of a visitor, and what neither it nor the visitor can say."""

import pytest
from application import Application
from harness import OTHER_HOST
from servers import BEHIND_CDN, CDN, running

VISITOR, LIE = "198.51.100.7", "203.0.113.9"
# Another address of the CDN's network.
INNER = CDN.rpartition(".")[0] + ".77"
WAYS = {
    "nothing": ([], CDN),
    "the visitor": ([VISITOR], VISITOR),
    "the visitor, who says more": ([f"{LIE}, {VISITOR}"], VISITOR),
    "the visitor, through two of the CDN": ([f"{LIE}, {VISITOR}, {INNER}"], VISITOR),
    "the visitor, in fields": ([LIE, VISITOR, INNER], VISITOR),
    "without spaces": ([f"{LIE},{VISITOR},{INNER}"], VISITOR),
    "an address of version 6": (["2001:db8::7"], "2001:db8::7"),
    "no address": ([f"{VISITOR}, unknown"], CDN),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_visitor_is_the_last_who_is_not_the_cdn(extended, timed_sealjar, way):
    fields, visitor = WAYS[way]
    cookie = ("Cookie", timed_sealjar.sign_in())
    seen = extended("GET", "/", [cookie, *(("X-Forwarded-For", field) for field in fields)], source=CDN).app_saw()
    assert seen.values("X-Forwarded-For") == [visitor]


def test_the_second_hosts_application_is_told_the_same(extended, timed_sealjar):
    fields = [("Cookie", timed_sealjar.sign_in(host=OTHER_HOST)), ("X-Forwarded-For", f"{VISITOR}, {INNER}")]
    seen = extended("GET", "/", fields, source=CDN, host=OTHER_HOST).app_saw()
    assert seen.values("X-Forwarded-For") == [VISITOR]


@pytest.mark.parametrize("source", [CDN, "127.0.0.7"])
def test_no_other_field_says_who_visits(extended, timed_sealjar, source):
    names = ["X-Real-Ip", "X-Forwarded", "Forwarded", "X-Forwarded-By", "X-Forwarded-Port", "X-Forwarded-Server"]
    fields = [(name, LIE) for name in names]
    seen = extended("GET", "/", [("Cookie", timed_sealjar.sign_in()), *fields], source=source).app_saw()
    assert LIE not in [value for _, value in seen.headers]


def test_sealjar_is_told_who_visits_with_each_question(kind, certificate, app):
    stand_in = Application()
    told = running(kind, certificate, stand_in, app, recipes=(BEHIND_CDN,))
    next(told)("GET", "/", [("X-Forwarded-For", VISITOR)], source=CDN)
    assert stand_in.seen[-1].path.startswith("/auth/verify/")
    assert stand_in.seen[-1].values("X-Forwarded-For")[0].split(", ")[0] == VISITOR
    assert list(told) == []
    stand_in.stop()
