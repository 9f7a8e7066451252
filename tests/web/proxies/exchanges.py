"""Exchanges that last longer than a minute, through all proxies at once and beside all other tests.

Real time that goes by is the subject here. That is why these wait for it, which no other test does.
"""

import http.client
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager

from application import Application
from harness import HOST, PATIENCE, connect, head
from http2 import connected
from servers import Proxy, with_http2

# Seconds: longer than 60, which is the default of most timeouts, and than Envoy's 15 for a whole answer.
SILENCE = 65
UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
UPGRADE += [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
# Of one of these downloads, as much waits in the proxy as it holds, while the system's buffers are full.
SIZES, PAUSE = range(500_000, 8_000_000, 750_000), 3
# The parts of an upload.
BLOCK, BLOCKS = b"x" * 8192, 10


class Exchanges:
    """Begins each of the functions below through each kind of proxy. `result` waits for what one of them returns."""

    def __init__(self, kinds: list, certificate, sealjar):
        self.app, self.proxies, self.futures = Application(), [], {}
        self.pool = ThreadPoolExecutor(max(1, len(kinds) * len(ALL)))
        cookie = ("Cookie", sealjar.sign_in())
        for kind in kinds:
            start = self.pool.submit(Proxy, with_http2(kind), certificate, sealjar.port, self.app.port)
            # One after the other. A proxy that cannot be started is the result of all its exchanges.
            wait([start])
            self.proxies.append(start)
            for exchange in ALL:
                self.futures[kind.name, exchange] = self.pool.submit(self._run, exchange, start, cookie)

    def result(self, kind, exchange):
        return self.futures[kind.name, exchange].result(SILENCE + PATIENCE)

    def stop(self):
        self.app.stop()
        for start in self.proxies:
            if not start.exception():
                start.result().stop()
        self.pool.shutdown()

    def _run(self, exchange, start, cookie):
        return exchange(start.result(), self.app, cookie)


@contextmanager
def sent(proxy, method: str, path: str, *headers, patience: float = SILENCE + PATIENCE):
    """The connection on which the head of a request was sent, without its body."""
    with connect("127.0.0.1", proxy.port, proxy.client.context, HOST) as connection:
        connection.settimeout(patience)
        connection.sendall(head(method, path, headers, b"", HOST))
        yield connection


def answer_to(connection) -> http.client.HTTPResponse:
    """The answer, of which only the head was read."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer


def silent_websocket(proxy, app, cookie):
    with sent(proxy, "GET", "/silent", *UPGRADE, cookie) as connection:
        status = answer_to(connection).status
        app.stopped.wait(SILENCE)
        connection.sendall(b"ping")
        return status, connection.recv(len(b"ping"))


def silent_stream(proxy, app, cookie):
    path = f"/events?through={proxy.kind.name}"
    with sent(proxy, "GET", path, cookie) as connection:
        answer = answer_to(connection)
        first = answer.readline() + answer.readline()
        assert first, "the first event was held back"
        app.stopped.wait(SILENCE)
        app.release(path)
        return first, answer.readline() + answer.readline()


def late_answer(proxy, _, cookie):
    with sent(proxy, "GET", f"/slow?s={SILENCE}", cookie) as connection:
        answer = answer_to(connection)
        return answer.status, answer.read()


def late_answer_over_http2(proxy, _, cookie):
    name, value = cookie
    with connected(proxy.port, proxy.certificate, SILENCE + PATIENCE) as client:
        answer = client.request("GET", f"/slow?s={SILENCE}", [(name.lower(), value)])
        return answer.status, answer.body


def slow_download(proxy, _, cookie):
    with sent(proxy, "GET", f"/drip?s={SILENCE}", cookie) as connection:
        answer = answer_to(connection)
        return answer.status, answer.read()


def hesitant_downloads(proxy, app, cookie):
    """The client asks for the connection to be closed, which a proxy may do too early."""
    with ExitStack() as stack:
        requests = [sent(proxy, "GET", f"/bulk?bytes={size}", cookie, ("Connection", "close")) for size in SIZES]
        answers = [answer_to(stack.enter_context(request)) for request in requests]
        app.stopped.wait(PAUSE)
        return [len(answer.read()) for answer in answers]


def slow_upload(proxy, app, cookie):
    with sent(proxy, "POST", "/upload", ("Content-Length", str(BLOCKS * len(BLOCK))), cookie) as connection:
        for _ in range(BLOCKS):
            app.stopped.wait(SILENCE / BLOCKS)
            connection.sendall(BLOCK)
        answer = answer_to(connection)
        return answer.status, answer.read()


ALL = [silent_websocket, silent_stream, late_answer, late_answer_over_http2, slow_download, hesitant_downloads, slow_upload]
