"""A client of HTTP/2 that keeps what comes on each stream, as a browser sees it: answers that come before all of the request
was sent, and resets. httpx tells only the last of these."""

import json
import ssl
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from harness import HOST, PATIENCE, connect


@dataclass
class Stream:
    """What the client saw of one stream. `reset` is the code of RST_STREAM, 0 for no error, and `None` if there was none."""

    status: int = 0
    headers: list = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None
    sent: int = 0

    def json(self):
        assert self.status == 200, self
        return json.loads(self.body)


class Http2:
    """One connection. `lost` says how it ended, if the server ended it."""

    def __init__(self, connection, patience: float):
        self.connection, self.patience, self.lost = connection, patience, ""
        # It sends what it is given, also where that is malformed.
        anything = dict(validate_outbound_headers=False, normalize_outbound_headers=False)
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8", **anything))
        self.streams = defaultdict(Stream)
        self.h2.initiate_connection()
        self._flush()

    def begin(self, method: str, path: str, headers=(), size: int = 0, authority: str = HOST) -> int:
        """Sends the head of a request with a body of this size, and returns the stream's number."""
        number = self.h2.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path)]
        length = [("content-length", str(size))] if size else []
        fields = [(name.encode("latin-1"), value.encode()) for name, value in [*fields, *length, *headers]]
        self.h2.send_headers(number, fields, end_stream=not size)
        self._flush()
        return number

    def request(self, *arguments, size: int = 0, **keywords) -> Stream:
        """Sends a request and as much of its body as the server takes, and returns what the client saw."""
        number = self.begin(*arguments, size=size, **keywords)
        stream = self.streams[number]
        while not self.lost and stream.reset is None:
            room = 0
            if stream.sent < size:
                room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size, size - stream.sent)
                if room:
                    stream.sent += room
                    self.h2.send_data(number, bytes(room), end_stream=stream.sent == size)
            self._flush()
            # The whole answer is there, and the server takes no more.
            if stream.ended and not room:
                break
            self._receive(wait=not room)
        return stream

    def read(self, number: int, length: int) -> bytes:
        """The next bytes of the body, as many as that, or fewer if it ends before."""
        stream = self.streams[number]
        while len(stream.body) < length and not (stream.ended or self.lost or stream.reset is not None):
            self._receive(wait=True)
            self._flush()
        data, stream.body = stream.body[:length], stream.body[length:]
        return data

    def _flush(self):
        try:
            self.connection.settimeout(self.patience)
            self.connection.sendall(self.h2.data_to_send())
        except OSError as error:
            self.lost = self.lost or repr(error)

    def _receive(self, wait: bool):
        try:
            self.connection.settimeout(self.patience if wait else 0)
            data = self.connection.recv(1 << 16)
        except (ssl.SSLWantReadError, BlockingIOError):
            return
        except OSError as error:
            self.lost = repr(error)
            return
        if not data:
            self.lost = "the end"
        for event in self.h2.receive_data(data):
            self._note(event)

    def _note(self, event):
        match event:
            case events.ResponseReceived():
                self.streams[event.stream_id].headers = event.headers
                self.streams[event.stream_id].status = int(dict(event.headers)[":status"])
            case events.DataReceived():
                self.streams[event.stream_id].body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case events.StreamEnded():
                self.streams[event.stream_id].ended = True
            case events.StreamReset():
                self.streams[event.stream_id].reset = int(event.error_code)
            case events.ConnectionTerminated():
                self.lost = f"GOAWAY {event.error_code}"


@contextmanager
def connected(port: int, certificate, patience: float = PATIENCE):
    context = ssl.create_default_context(cafile=certificate)
    context.set_alpn_protocols(["h2"])
    with connect("127.0.0.1", port, context, HOST) as connection:
        assert connection.selected_alpn_protocol() == "h2"
        yield Http2(connection, patience)
