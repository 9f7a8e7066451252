"""Servers in Sealjar's place that do not answer, and how a client waits for what a proxy does then."""

import queue
import socket
import subprocess
import threading
from contextlib import contextmanager, suppress

from harness import HOST, PATIENCE, connect
from servers import Proxy


def opened(proxy) -> socket.socket:
    return connect("127.0.0.1", proxy.port, proxy.client.context, HOST)


def is_closed(connection) -> bool:
    """Reads until the proxy closes the connection."""
    connection.settimeout(PATIENCE)
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return True


@contextmanager
def silent_server(port: int):
    """A server that accepts connections and says nothing by itself. Yields a queue of those that it accepted."""
    with socket.create_server(("127.0.0.1", port)) as server:
        accepted, all_of_them = queue.SimpleQueue(), []

        def accept():
            while True:
                try:
                    all_of_them.append(server.accept()[0])
                except OSError:
                    return
                accepted.put(all_of_them[-1])

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield accepted
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)
            for connection in all_of_them:
                connection.close()


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
                with suppress(subprocess.TimeoutExpired):
                    raise AssertionError(f"ended with {self.process.wait(0.05)}: {self.log.read_text()}")
