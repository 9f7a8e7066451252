"""An HTTP/2 client that records all events of each stream: a response that arrives before the request was sent completely, and
resets. httpx would report only the last of these events."""

import json
import ssl
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from harness import HOST, WAIT_TIMEOUT, connect


@dataclass
class Stream:
    """The events of one stream. `reset` is the error code of the RST_STREAM frame (0 is NO_ERROR), or `None` if none was
    received."""

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
    """One connection. `lost` is the reason why the connection ended, or empty if it did not."""

    def __init__(self, connection, timeout: float):
        self.connection = connection
        self.timeout = timeout
        self.lost = ""
        # The client sends the fields that it is given, even malformed ones.
        unchecked = dict(validate_outbound_headers=False, normalize_outbound_headers=False)
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8", **unchecked))
        self.streams = defaultdict(Stream)
        self.h2.initiate_connection()
        self._flush()

    def begin(self, method: str, path: str, headers=(), size: int = 0, authority: str = HOST) -> int:
        """Sends the head of a request whose body has `size` bytes. Returns the id of the stream."""
        number = self.h2.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path)]
        length = [("content-length", str(size))] if size else []
        fields = [(name.encode("latin-1"), value.encode()) for name, value in [*fields, *length, *headers]]
        self.h2.send_headers(number, fields, end_stream=not size)
        self._flush()
        return number

    def request(self, *arguments, size: int = 0, **keywords) -> Stream:
        """Sends a request, and its body for as long as the server accepts it. Returns the stream with all its events."""
        number = self.begin(*arguments, size=size, **keywords)
        stream = self.streams[number]
        while not self.lost and stream.reset is None:
            # Number of bytes that flow control permits to send now.
            allowed = 0
            if stream.sent < size:
                allowed = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size, size - stream.sent)
                if allowed:
                    stream.sent += allowed
                    self.h2.send_data(number, bytes(allowed), end_stream=stream.sent == size)
            self._flush()
            # The response is complete, and the server accepts no more of the body.
            if stream.ended and not allowed:
                break
            self._receive(wait=not allowed)
        return stream

    def read(self, number: int, length: int) -> bytes:
        """Returns the next `length` bytes of the body, or fewer if the body ends before."""
        stream = self.streams[number]
        while len(stream.body) < length and not (stream.ended or self.lost or stream.reset is not None):
            self._receive(wait=True)
            self._flush()
        data, stream.body = stream.body[:length], stream.body[length:]
        return data

    def _flush(self):
        try:
            self.connection.settimeout(self.timeout)
            self.connection.sendall(self.h2.data_to_send())
        except OSError as error:
            self.lost = self.lost or repr(error)

    def _receive(self, wait: bool):
        try:
            self.connection.settimeout(self.timeout if wait else 0)
            data = self.connection.recv(1 << 16)
        except (ssl.SSLWantReadError, BlockingIOError):
            return
        except OSError as error:
            self.lost = repr(error)
            return
        if not data:
            self.lost = "closed by the server"
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
def connected(port: int, certificate, timeout: float = WAIT_TIMEOUT):
    """Opens an HTTP/2 connection over TLS, and yields its client."""
    context = ssl.create_default_context(cafile=certificate)
    context.set_alpn_protocols(["h2"])
    with connect("127.0.0.1", port, context, HOST) as connection:
        assert connection.selected_alpn_protocol() == "h2"
        yield Http2(connection, timeout)
