"""Tests long and streamed exchanges: no proxy buffers a part of them, or ends them early.

Exchanges of more than a minute run while the other tests do (see `exchanges.py`). The tests here check their results at the end.
"""

import json

import pytest
from application import ANOTHER, FIRST, Application
from exchanges import (
    BLOCK,
    BLOCKS,
    SIZES,
    answer_to,
    late_answer,
    late_answer_over_http2,
    sent,
    silent_stream,
    silent_websocket,
    slow_download,
    slow_upload,
    slowly_read_downloads,
)
from http2 import connected
from servers import KINDS

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
# Seconds after which a missing part of a response counts as buffered by the proxy.
BUFFERED_TIMEOUT = 15


@pytest.fixture
def events(app, request):
    """A path of the application that sends events for this test only. The stream ends with the test."""
    path = f"/events?for={id(request)}"
    yield path
    app.release(path, last=True)


def test_each_event_reaches_the_client_before_the_next_one(proxy, sealjar, app, events):
    cookie = ("Cookie", sealjar.sign_in())
    with sent(proxy, "GET", events, ("Accept", "text/event-stream"), cookie, timeout=BUFFERED_TIMEOUT) as connection:
        answer = answer_to(connection)
        assert answer.status == 200
        assert answer.readline() + answer.readline() == FIRST
        for _ in range(3):
            app.release(events)
            assert answer.readline() + answer.readline() == ANOTHER


def test_each_event_reaches_the_client_over_http2(over_http2, certificate, sealjar, app, events):
    with connected(over_http2.port, certificate, BUFFERED_TIMEOUT) as client:
        stream = client.begin("GET", events, [("accept", "text/event-stream"), ("cookie", sealjar.sign_in())])
        assert client.read(stream, len(FIRST)) == FIRST
        for _ in range(3):
            app.release(events)
            assert client.read(stream, len(ANOTHER)) == ANOTHER


@each_kind
def test_a_websocket_may_be_silent_for_a_minute(exchanges, kind):
    assert exchanges.result(kind, silent_websocket) == (101, b"ping")


@each_kind
def test_a_stream_of_events_may_be_silent_for_a_minute(exchanges, kind):
    assert exchanges.result(kind, silent_stream) == (FIRST, ANOTHER)


@each_kind
def test_an_answer_may_begin_after_a_minute(exchanges, kind):
    assert exchanges.result(kind, late_answer) == (200, b"done")


@each_kind
def test_an_answer_over_http2_may_begin_after_a_minute(exchanges, kind):
    assert exchanges.result(kind, late_answer_over_http2) == (200, b"done")


@each_kind
def test_a_download_may_last_for_a_minute(exchanges, kind):
    assert exchanges.result(kind, slow_download) == (200, b"." * Application.DROPS)


@each_kind
def test_a_client_that_reads_slowly_receives_the_whole_answer(exchanges, kind):
    assert exchanges.result(kind, slowly_read_downloads) == list(SIZES)


@each_kind
def test_an_upload_may_last_for_a_minute(exchanges, kind):
    status, body = exchanges.result(kind, slow_upload)
    assert status == 200, body
    assert json.loads(body)["length"] == BLOCKS * len(BLOCK)
