"""Servers that take Sealjar's place and do not respond, and clients for the tests of a proxy in front of them."""

import queue
import socket
import subprocess
import threading
from contextlib import contextmanager, suppress

from harness import HOST, WAIT_TIMEOUT, connect
from servers import Proxy


def opened(proxy) -> socket.socket:
    return connect("127.0.0.1", proxy.port, proxy.client.context, HOST)


def is_closed(connection) -> bool:
    """Reads until the proxy closes the connection, and returns true. Fails after a timeout."""
    connection.settimeout(WAIT_TIMEOUT)
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return True


@contextmanager
def silent_server(port: int):
    """Starts a server that accepts connections and sends nothing. Yields a queue of the accepted connections."""
    with socket.create_server(("127.0.0.1", port)) as server:
        accepted = queue.SimpleQueue()
        connections = []

        def accept():
            while True:
                try:
                    connections.append(server.accept()[0])
                except OSError:
                    return
                accepted.put(connections[-1])

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield accepted
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(WAIT_TIMEOUT)
            for connection in connections:
                connection.close()


class UnresponsivePort:
    """A port whose server never accepts a connection. The kernel completes the handshake of new connections, unless its queue
    is `full`."""

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


class ProxyWithoutBackend(Proxy):
    """A proxy that counts as ready as soon as it accepts connections. Sealjar behind it need not be reachable."""

    def _wait_until_ready(self):
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                with suppress(subprocess.TimeoutExpired):
                    raise AssertionError(f"the proxy exited with {self.process.wait(0.05)}: {self.log.read_text()}")
