"""The application behind the proxies. Some of its responses are slow, streamed, large or cacheable."""

import queue
import threading
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from harness import App

# The events that `/events` sends.
FIRST = b"data: first\n\n"
ANOTHER = b"data: another\n\n"


class Application(App):
    """An application with these paths, besides those of `App`:

    * `/events`: sends one event at once, and another one after each call of `release` with the same path and query.
    * `/slow?s=N`: responds after N seconds.
    * `/held`: responds after a call of `release`.
    * `/drip?s=N`: sends `DROPS` bytes, spread over N seconds.
    * `/bulk?bytes=N`: sends N bytes at once.
    * `/stored`, `/html`, `/gone`, `/capitals` and `/script`: responses that every cache may store.
    * `/silent`: a WebSocket that echoes, and sends no greeting.
    """

    # Number of bytes that `/drip` sends.
    DROPS = 10
    # The field `Cache-Control` of the responses that caches may store.
    STORED = "public, max-age=3600"
    STORED_TEXTS = {
        "/html": (200, "text/html; charset=utf-8"),
        "/gone": (410, "text/html"),
        "/capitals": (200, "TEXT/HTML"),
        "/script": (200, "text/javascript"),
    }
    TEXT = b"a text that may be stored"

    def __init__(self):
        self.queues = {}
        self.stopped = threading.Event()
        super().__init__()

    @contextmanager
    def receives_nothing(self):
        """Asserts that the application receives no request during the block."""
        before = len(self.seen)
        yield
        assert self.seen[before:] == []

    def release(self, path: str, last: bool = False):
        """Makes `/events` at this path send one more event or, if `last`, end the stream. Makes `/held` respond."""
        self._queue(path).put(None if last else ANOTHER)

    def stop(self):
        self.stopped.set()
        for path in list(self.queues):
            self.release(path, last=True)
        super().stop()

    def answer_path(self, handler) -> bool:
        url = urlsplit(handler.path)
        seconds = float(parse_qs(url.query).get("s", ["0"])[0])
        if url.path == "/events":
            self._start(handler, ("Content-Type", "text/event-stream"), ("Connection", "close"))
            handler.wfile.write(FIRST)
            for event in iter(self._queue(handler.path).get, None):
                handler.wfile.write(event)
        elif url.path == "/slow":
            self.stopped.wait(seconds)
            self._start(handler, ("Content-Length", "4"))
            handler.wfile.write(b"done")
        elif url.path == "/held":
            self._queue(handler.path).get()
            self._start(handler, ("Content-Length", "0"))
        elif url.path == "/drip":
            self._start(handler, ("Content-Length", str(self.DROPS)))
            for _ in range(self.DROPS):
                self.stopped.wait(seconds / self.DROPS)
                handler.wfile.write(b".")
        elif url.path == "/bulk":
            length = int(parse_qs(url.query)["bytes"][0])
            self._start(handler, ("Content-Length", str(length)))
            handler.wfile.write(bytes(length))
        elif url.path == "/stored":
            self._start(handler, ("Cache-Control", self.STORED), ("Content-Length", "0"))
        elif url.path in self.STORED_TEXTS:
            status, media_type = self.STORED_TEXTS[url.path]
            fields = [("Content-Type", media_type), ("Content-Length", str(len(self.TEXT))), ("Cache-Control", self.STORED)]
            self._start(handler, *fields, ("Set-Cookie", "theme=dark; Path=/"), status=status)
            handler.wfile.write(b"" if handler.command == "HEAD" else self.TEXT)
        elif url.path == "/silent":
            handler.upgrade(b"")
        else:
            return False
        return True

    def _queue(self, path: str) -> queue.SimpleQueue:
        return self.queues.setdefault(path, queue.SimpleQueue())

    @staticmethod
    def _start(handler, *headers, status: int = 200):
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.end_headers()
