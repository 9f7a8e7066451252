"""Three nodes behind the balancer are one Sealjar: for every request any of them will do, and none is missed when it goes."""

import json
import signal
import threading
from collections import Counter
from contextlib import ExitStack
from http.client import HTTPException

from harness import API, PASSWORD
from waiting import wait_until

FORM = [("Content-Type", "application/json"), *API]


def sign_in(balancer) -> list:
    """Signs in through the balancer; returns the headers of requests that have the session."""
    body = json.dumps({"login": "alice", "password": PASSWORD}).encode()
    answer = balancer("POST", "/auth/login", FORM, body)
    assert answer.status == 200, answer
    return [("Cookie", answer.cookies()[0]), *API]


def verdicts(nodes, session) -> list:
    return [node.request("GET", "/auth/status", session).status for node in nodes]


class Visitor:
    """Asks for the application again and again, as long as it is wanted."""

    def __init__(self, balancer, session):
        self.statuses, self.leaves = [], threading.Event()
        self.thread = threading.Thread(target=self._ask, args=(balancer, session))

    def _ask(self, balancer, session):
        while not self.leaves.is_set():
            self.statuses.append(balancer("GET", "/", session).status)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.leaves.set()
        self.thread.join()


class Crowd(Visitor):
    """Sends these requests over one connection, and then again over another."""

    def _ask(self, balancer, requests):
        while not self.leaves.is_set():
            try:
                self.statuses += [answer.status for answer in balancer.client.in_sequence(*requests)]
            except (OSError, HTTPException) as error:
                self.statuses.append(repr(error))


def test_a_session_and_its_end_hold_on_every_node(balancer, nodes):
    session = sign_in(balancer)
    assert verdicts(nodes, session) == [200] * 3
    for _ in range(6):
        assert balancer("GET", "/", session).received_by_app().values("Remote-User") == ["alice"]
    assert balancer("POST", "/auth/logout", session).status == 200
    wait_until(lambda: verdicts(nodes, session), lambda found: found == [401] * 3)
    assert balancer("GET", "/", session).reason() == "revoked"


def test_every_node_takes_its_part(balancer, nodes):
    def refused():
        return [sum(line.get("event") == "token-refused" for line in node.log) for node in nodes]

    before = refused()
    for _ in range(6):
        assert balancer("GET", "/", [("Cookie", "__Host-sealjar=AQAA"), *API]).reason() == "invalid"
    wait_until(refused, lambda found: all(now > then for now, then in zip(found, before)))


def test_a_visitor_notices_no_rolling_restart(balancer, nodes):
    session = sign_in(balancer)
    with Visitor(balancer, session) as visitor:
        for node in nodes:
            node.stop()
            asked = len(visitor.statuses)
            wait_until(lambda: len(visitor.statuses), lambda found, asked=asked: found > asked + 3)
            node.start()
            wait_until(lambda node=node: ready(node), lambda found: found)
    assert set(visitor.statuses) == {200}, visitor.statuses


def test_a_rolling_restart_under_load_loses_no_request(balancer, nodes):
    session = sign_in(balancer)
    # A POST is never sent twice, so none may meet a node that is gone.
    requests = [("GET", "/auth/status", session), ("GET", "/", session), ("POST", "/auth/logout", API)] * 5
    with ExitStack() as stack:
        crowd = [stack.enter_context(Crowd(balancer, requests)) for _ in range(6)]
        for node in nodes:
            node.stop()
            node.start()
            wait_until(lambda node=node: ready(node), lambda found: found)
            asked = [len(visitor.statuses) for visitor in crowd]
            wait_until(
                lambda: [len(visitor.statuses) for visitor in crowd],
                lambda found, asked=asked: all(now > then for now, then in zip(found, asked)),
            )
    statuses = [status for visitor in crowd for status in visitor.statuses]
    assert len(statuses) > 100 and set(statuses) == {200}, Counter(statuses)


def test_nor_when_one_is_killed(balancer, nodes):
    session = sign_in(balancer)
    with Visitor(balancer, session) as visitor:
        nodes[0].stop(signal.SIGKILL)
        asked = len(visitor.statuses)
        wait_until(lambda: len(visitor.statuses), lambda found: found > asked + 50)
        nodes[0].start()
    assert set(visitor.statuses) == {200}, visitor.statuses


def test_a_sign_out_is_taken_when_no_node_is_ready(balancer, nodes, postgres):
    session, other = sign_in(balancer), sign_in(balancer)
    postgres.stop()
    try:
        wait_until(lambda: balancer("GET", "/auth/status", session).status, lambda status: status == 503)
        wait_until(lambda: [ready(node) for node in nodes], lambda found: not any(found))
        # The balancer hears of it a little later, and has nobody to ask until then.
        stale = wait_until(lambda: balancer("GET", "/", session), lambda answer: b"stale" in answer.body)
        assert (stale.status, stale.reason()) == (503, "stale")
        answer = wait_until(lambda: balancer("POST", "/auth/logout", session), lambda answer: b"reason" in answer.body)
        assert (answer.status, answer.reason()) == (503, "not-durable")
    finally:
        postgres.start()
    wait_until(lambda: verdicts(nodes, session), lambda found: found == [401] * 3)
    wait_until(lambda: balancer("GET", "/", other).status, lambda status: status == 200)
    assert balancer("GET", "/", session).reason() == "revoked"


def ready(node) -> bool:
    return node.request_admin("/readyz").status == 200
