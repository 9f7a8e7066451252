"""Tests the client address behind a CDN: the proxy accepts it from the CDN only, and from no other header field."""

import pytest
from application import Application
from harness import OTHER_HOST
from servers import BEHIND_CDN, CDN, running

# Address of a client, and an address that the client claims in its request.
CLIENT = "198.51.100.7"
CLAIMED = "203.0.113.9"
# Another address of the CDN's network.
INNER = CDN.rpartition(".")[0] + ".77"
# X-Forwarded-For fields as the CDN sends them, and the address that the application must receive.
FORWARDED_FOR = {
    "no field": ([], CDN),
    "the client": ([CLIENT], CLIENT),
    "a claim, then the client": ([f"{CLAIMED}, {CLIENT}"], CLIENT),
    "the client, through two servers of the CDN": ([f"{CLAIMED}, {CLIENT}, {INNER}"], CLIENT),
    "several fields": ([CLAIMED, CLIENT, INNER], CLIENT),
    "without spaces": ([f"{CLAIMED},{CLIENT},{INNER}"], CLIENT),
    "an IPv6 address": (["2001:db8::7"], "2001:db8::7"),
    "an invalid address": ([f"{CLIENT}, unknown"], CDN),
}


@pytest.mark.parametrize("case", FORWARDED_FOR)
def test_the_client_is_the_last_address_outside_the_cdn(extended, timed_sealjar, case):
    fields, client = FORWARDED_FOR[case]
    cookie = ("Cookie", timed_sealjar.sign_in())
    seen = extended("GET", "/", [cookie, *(("X-Forwarded-For", field) for field in fields)], source=CDN).received_by_app()
    assert seen.values("X-Forwarded-For") == [client]


def test_the_second_hosts_app_receives_the_same_address(extended, timed_sealjar):
    fields = [("Cookie", timed_sealjar.sign_in(host=OTHER_HOST)), ("X-Forwarded-For", f"{CLIENT}, {INNER}")]
    seen = extended("GET", "/", fields, source=CDN, host=OTHER_HOST).received_by_app()
    assert seen.values("X-Forwarded-For") == [CLIENT]


@pytest.mark.parametrize("source", [CDN, "127.0.0.7"])
def test_no_other_field_sets_the_client_address(extended, timed_sealjar, source):
    names = ["X-Real-Ip", "X-Forwarded", "Forwarded", "X-Forwarded-By", "X-Forwarded-Port", "X-Forwarded-Server"]
    fields = [(name, CLAIMED) for name in names]
    seen = extended("GET", "/", [("Cookie", timed_sealjar.sign_in()), *fields], source=source).received_by_app()
    assert CLAIMED not in [value for _, value in seen.headers]


def test_each_verify_request_has_the_client_address(kind, certificate, app):
    stand_in = Application()
    proxies = running(kind, certificate, stand_in, app, recipes=(BEHIND_CDN,))
    next(proxies)("GET", "/", [("X-Forwarded-For", CLIENT)], source=CDN)
    assert stand_in.seen[-1].path.startswith("/auth/verify/")
    assert stand_in.seen[-1].values("X-Forwarded-For")[0].split(", ")[0] == CLIENT
    assert list(proxies) == []
    stand_in.stop()
