"""Tests that three nodes behind a load balancer work like one server: any node handles any request, and one can stop at any time."""

import json
import signal
import threading
from collections import Counter
from contextlib import ExitStack
from http.client import HTTPException

from harness import API, PASSWORD
from waiting import wait_until

LOGIN_HEADERS = [("Content-Type", "application/json"), *API]


def sign_in(balancer) -> list:
    """Signs in through the balancer. Returns the header fields of a request with the session."""
    body = json.dumps({"login": "alice", "password": PASSWORD}).encode()
    response = balancer("POST", "/auth/login", LOGIN_HEADERS, body)
    assert response.status == 200, response
    return [("Cookie", response.cookies()[0]), *API]


def verdicts(nodes, session) -> list:
    """Returns the status of the session on each node."""
    return [node.request("GET", "/auth/status", session).status for node in nodes]


class RepeatingClient:
    """Requests the application repeatedly until the context ends, and records the statuses."""

    def __init__(self, balancer, session):
        self.statuses = []
        self.is_stopped = threading.Event()
        self.thread = threading.Thread(target=self._send_requests, args=(balancer, session))

    def _send_requests(self, balancer, session):
        while not self.is_stopped.is_set():
            self.statuses.append(balancer("GET", "/", session).status)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_stopped.set()
        self.thread.join()


class RepeatingConnection(RepeatingClient):
    """Sends a list of requests over one connection, and repeats this with new connections."""

    def _send_requests(self, balancer, requests):
        while not self.is_stopped.is_set():
            try:
                self.statuses += [response.status for response in balancer.client.in_sequence(*requests)]
            except (OSError, HTTPException) as error:
                self.statuses.append(repr(error))


def test_a_session_and_its_revocation_apply_on_every_node(balancer, nodes):
    session = sign_in(balancer)
    assert verdicts(nodes, session) == [200] * 3
    for _ in range(6):
        assert balancer("GET", "/", session).received_by_app().values("Remote-User") == ["alice"]
    assert balancer("POST", "/auth/logout", session).status == 200
    wait_until(lambda: verdicts(nodes, session), lambda found: found == [401] * 3)
    assert balancer("GET", "/", session).reason() == "revoked"


def test_every_node_receives_requests(balancer, nodes):
    def refusals():
        return [sum(line.get("event") == "token-refused" for line in node.log) for node in nodes]

    before = refusals()
    for _ in range(6):
        assert balancer("GET", "/", [("Cookie", "__Host-sealjar=AQAA"), *API]).reason() == "invalid"
    wait_until(refusals, lambda found: all(now > then for now, then in zip(found, before)))


def test_a_rolling_restart_causes_no_error_for_a_client(balancer, nodes):
    session = sign_in(balancer)
    with RepeatingClient(balancer, session) as client:
        for node in nodes:
            node.stop()
            count = len(client.statuses)
            wait_until(lambda: len(client.statuses), lambda found, count=count: found > count + 3)
            node.start()
            wait_until(lambda node=node: is_ready(node), lambda found: found)
    assert set(client.statuses) == {200}, client.statuses


def test_a_rolling_restart_under_load_loses_no_request(balancer, nodes):
    session = sign_in(balancer)
    # The balancer never repeats a POST request. So none may be sent to a stopped node.
    requests = [("GET", "/auth/status", session), ("GET", "/", session), ("POST", "/auth/logout", API)] * 5
    with ExitStack() as stack:
        clients = [stack.enter_context(RepeatingConnection(balancer, requests)) for _ in range(6)]
        for node in nodes:
            node.stop()
            node.start()
            wait_until(lambda node=node: is_ready(node), lambda found: found)
            count = [len(client.statuses) for client in clients]
            wait_until(
                lambda: [len(client.statuses) for client in clients],
                lambda found, count=count: all(now > then for now, then in zip(found, count)),
            )
    statuses = [status for client in clients for status in client.statuses]
    assert len(statuses) > 100 and set(statuses) == {200}, Counter(statuses)


def test_a_killed_node_causes_no_error_for_a_client(balancer, nodes):
    session = sign_in(balancer)
    with RepeatingClient(balancer, session) as client:
        nodes[0].stop(signal.SIGKILL)
        count = len(client.statuses)
        wait_until(lambda: len(client.statuses), lambda found: found > count + 50)
        nodes[0].start()
    assert set(client.statuses) == {200}, client.statuses


def test_a_logout_is_accepted_while_no_node_is_ready(balancer, nodes, postgres):
    session = sign_in(balancer)
    other = sign_in(balancer)
    postgres.stop()
    try:
        wait_until(lambda: balancer("GET", "/auth/status", session).status, lambda status: status == 503)
        wait_until(lambda: [is_ready(node) for node in nodes], lambda found: not any(found))
        # The balancer detects this a little later. Until then, its responses are errors of its own.
        stale = wait_until(lambda: balancer("GET", "/", session), lambda response: b"stale" in response.body)
        assert (stale.status, stale.reason()) == (503, "stale")
        response = wait_until(lambda: balancer("POST", "/auth/logout", session), lambda response: b"reason" in response.body)
        assert (response.status, response.reason()) == (503, "not-durable")
    finally:
        postgres.start()
    wait_until(lambda: verdicts(nodes, session), lambda found: found == [401] * 3)
    wait_until(lambda: balancer("GET", "/", other).status, lambda status: status == 200)
    assert balancer("GET", "/", session).reason() == "revoked"


def is_ready(node) -> bool:
    return node.request_admin("/readyz").status == 200
