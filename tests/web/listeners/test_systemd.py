"""Tests of listening sockets that systemd passes to the server (sd_listen_fds(3)). The sockets have names.

systemd keeps the sockets open while the server is restarted.
"""

import os
import socket
import subprocess
import threading

import pytest
from harness import HOST, WAIT_TIMEOUT, exchange
from waiting import wait_until

ORIGIN = f"http.public_origins=https://{HOST}"
# Exit code of a command that could not use a socket.
EXIT_CODE_IO = 74
# Shell script that copies two descriptors to the numbers 3 and 4, as systemd does, and then executes the server. Its arguments
# are the two descriptors and the command of the server.
ACTIVATION_SCRIPT = 'public=$1 admin=$2; shift 2; exec 3<&$public 4<&$admin; export LISTEN_PID=$$; exec "$@"'


class SocketActivation:
    """Model of systemd: keeps the sockets open, and passes them to each server that it starts."""

    def __init__(self, sealjar, public: socket.socket):
        self.sealjar = sealjar
        self.public = public
        self.admin = socket.create_server(("127.0.0.1", 0))
        for listener in (self.public, self.admin):
            # The script replaces the descriptors 3 and 4, so no listener may have one of these numbers.
            assert listener.fileno() > 4
            listener.setblocking(True)

    def start(self, *settings: str, names: str = "public:admin"):
        """Starts the server, and passes it both sockets with these names."""
        environment = {**self.sealjar._environment(), "LISTEN_FDS": "2", "LISTEN_FDNAMES": names}
        descriptors = (self.public.fileno(), self.admin.fileno())
        launcher = ("bash", "-c", ACTIVATION_SCRIPT, "bash", *map(str, descriptors))
        return self.sealjar.start(
            ORIGIN, *settings, listen="systemd:public", admin="systemd:admin", launcher=launcher, pass_fds=descriptors, env=environment
        )


@pytest.fixture
def activation(sealjar):
    return SocketActivation(sealjar, socket.create_server(("127.0.0.1", 0), backlog=512))


def test_finds_both_listeners_by_their_names(activation):
    sealjar = activation.start()
    assert sealjar.port == activation.public.getsockname()[1]
    assert sealjar.request("GET", "/auth/status").status == 401
    assert sealjar.request_admin("/readyz").status == 200


def test_a_unix_socket_of_systemd_is_served(sealjar):
    path = str(sealjar.home / "public.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    SocketActivation(sealjar, listener).start()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(WAIT_TIMEOUT)
        connection.connect(path)
        assert exchange(connection, "GET", "/auth/status", [("Connection", "close")], b"", HOST).status == 401
    sealjar.stop()
    assert os.path.exists(path), "the server must not delete the socket file, because systemd created it"


def test_no_request_is_lost_while_the_server_is_restarted(activation):
    sealjar = activation.start()
    cookie = [("Cookie", sealjar.sign_in())]
    stop = threading.Event()
    statuses = []
    failures = []

    def send_requests():
        while not stop.is_set():
            try:
                statuses.append(sealjar.request("GET", "/auth/status", cookie).status)
            except OSError as error:
                failures.append(error)

    clients = [threading.Thread(target=send_requests) for _ in range(8)]
    for client in clients:
        client.start()
    # Restart the server three times. About 200 requests are sent before each restart and after the last.
    for _ in range(3):
        previous_count = len(statuses)
        wait_until(lambda: len(statuses) + len(failures), lambda count: count > previous_count + 200)
        sealjar.stop()
        activation.start()
    previous_count = len(statuses)
    wait_until(lambda: len(statuses) + len(failures), lambda count: count > previous_count + 200)
    stop.set()
    for client in clients:
        client.join(WAIT_TIMEOUT)
    assert not failures and set(statuses) == {200}


def test_reports_a_socket_that_systemd_did_not_pass(sealjar, activation):
    for names, message in [("other:admin", "not 0; passed sockets: other, admin"), ("public:public", "not 2; passed sockets: public, public")]:
        descriptors = (activation.public.fileno(), activation.admin.fileno())
        environment = {**sealjar._environment(), "LISTEN_FDS": "2", "LISTEN_FDNAMES": names}
        command = ["bash", "-c", ACTIVATION_SCRIPT, "bash", *map(str, descriptors), sealjar.binary, "serve", "--listen", "systemd:public"]
        result = subprocess.run(
            [*command, "--set", ORIGIN], cwd=sealjar.home, env=environment, pass_fds=descriptors, capture_output=True, text=True, timeout=WAIT_TIMEOUT
        )
        assert result.returncode == EXIT_CODE_IO and message in result.stderr, result.stderr
        assert "FileDescriptorName=public" in result.stderr, result.stderr


def test_reports_that_systemd_passed_no_sockets(sealjar):
    code, message = sealjar.serve_expecting_failure("--listen", "systemd:public", "--set", ORIGIN)
    assert code == EXIT_CODE_IO and "passed sockets: none" in message, message
