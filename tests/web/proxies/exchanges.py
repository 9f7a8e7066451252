"""Exchanges of more than a minute, through all proxies concurrently, while the other tests run.

They test that no timeout of a proxy ends a long exchange. So they are the only tests that wait for real time to pass.
"""

import http.client
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager

from application import Application
from harness import HOST, WAIT_TIMEOUT, connect, head
from http2 import connected
from servers import Proxy, with_http2

# Seconds without data. Longer than 60, the default of most timeouts of proxies, and than 15, Envoy's default for a whole
# response.
SILENCE = 65
UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
UPGRADE += [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
# Sizes of downloads in bytes. For one of them, the buffers of the system and of the proxy are full during the pause.
SIZES = range(500_000, 8_000_000, 750_000)
# Seconds until the client of these downloads begins to read.
PAUSE = 3
# Content and number of the parts of an upload.
BLOCK = b"x" * 8192
BLOCKS = 10


class Exchanges:
    """Starts each of the functions in `ALL` through each proxy. `result` waits for the return value of one of them."""

    def __init__(self, kinds: list, certificate, sealjar):
        self.app = Application()
        self.proxies = []
        self.futures = {}
        self.pool = ThreadPoolExecutor(max(1, len(kinds) * len(ALL)))
        cookie = ("Cookie", sealjar.sign_in())
        for kind in kinds:
            start = self.pool.submit(Proxy, with_http2(kind), certificate, sealjar.port, self.app.port)
            # The proxies start one after the other. If one does not start, all its exchanges fail with that error.
            wait([start])
            self.proxies.append(start)
            for exchange in ALL:
                self.futures[kind.name, exchange] = self.pool.submit(self._run, exchange, start, cookie)

    def result(self, kind, exchange):
        return self.futures[kind.name, exchange].result(SILENCE + WAIT_TIMEOUT)

    def stop(self):
        self.app.stop()
        for start in self.proxies:
            if not start.exception():
                start.result().stop()
        self.pool.shutdown()

    def _run(self, exchange, start, cookie):
        return exchange(start.result(), self.app, cookie)


@contextmanager
def sent(proxy, method: str, path: str, *headers, timeout: float = SILENCE + WAIT_TIMEOUT):
    """Sends the head of a request, without its body, and yields the connection."""
    with connect("127.0.0.1", proxy.port, proxy.client.context, HOST) as connection:
        connection.settimeout(timeout)
        connection.sendall(head(method, path, headers, b"", HOST))
        yield connection


def answer_to(connection) -> http.client.HTTPResponse:
    """Reads the head of the response, and returns the response."""
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
        assert first, "the proxy buffered the first event"
        app.stopped.wait(SILENCE)
        app.release(path)
        return first, answer.readline() + answer.readline()


def late_answer(proxy, _, cookie):
    with sent(proxy, "GET", f"/slow?s={SILENCE}", cookie) as connection:
        answer = answer_to(connection)
        return answer.status, answer.read()


def late_answer_over_http2(proxy, _, cookie):
    name, value = cookie
    with connected(proxy.port, proxy.certificate, SILENCE + WAIT_TIMEOUT) as client:
        answer = client.request("GET", f"/slow?s={SILENCE}", [(name.lower(), value)])
        return answer.status, answer.body


def slow_download(proxy, _, cookie):
    with sent(proxy, "GET", f"/drip?s={SILENCE}", cookie) as connection:
        answer = answer_to(connection)
        return answer.status, answer.read()


def slowly_read_downloads(proxy, app, cookie):
    """Downloads whose client reads late, with `Connection: close`. A proxy could close the connection before the client has
    read all."""
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


ALL = [silent_websocket, silent_stream, late_answer, late_answer_over_http2, slow_download, slowly_read_downloads, slow_upload]
