"""A Sealjar that takes questions and never answers, and a proxy that is started in front of it."""

import socket
import time

from servers import Proxy


class Mute:
    """A port at which connections wait for ever. The system accepts them, or not even that if it is `full`."""

    def __init__(self, full: bool = False):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=0 if full else 8)
        self.port = self.listener.getsockname()[1]
        self.waiting = [socket.socket() for _ in range(8 if full else 0)]

    def __enter__(self):
        for connection in self.waiting:
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", self.port))
        return self

    def __exit__(self, *_):
        for open_socket in (self.listener, *self.waiting):
            open_socket.close()


class Impatient(Proxy):
    """Is ready as soon as it accepts connections."""

    def _wait_until_ready(self):
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.05)
