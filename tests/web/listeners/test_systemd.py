"""Tests of sockets that systemd passes to the server (sd_listen_fds(3)). They have names, and stay open during a restart."""

import os
import socket
import subprocess
import threading

import pytest
from harness import HOST, WAIT_TIMEOUT, exchange
from waiting import wait_until

ORIGIN = f"http.public_origins=https://{HOST}"
# Shell script that moves two descriptors to the numbers 3 and 4, as systemd does, and then executes the server.
ACTIVATE = 'public=$1 admin=$2; shift 2; exec 3<&$public 4<&$admin; export LISTEN_PID=$$; exec "$@"'


class Activated:
    """Model of systemd: keeps the sockets open, and passes them to each server that it starts."""

    def __init__(self, sealjar, public: socket.socket):
        self.sealjar = sealjar
        self.public = public
        self.admin = socket.create_server(("127.0.0.1", 0))
        for listener in (self.public, self.admin):
            # The shell overwrites the descriptors 3 and 4, and would close a listener with one of these numbers.
            assert listener.fileno() > 4
            listener.setblocking(True)

    def start(self, *settings: str, names: str = "public:admin"):
        environment = {**self.sealjar._environment(), "LISTEN_FDS": "2", "LISTEN_FDNAMES": names}
        descriptors = (self.public.fileno(), self.admin.fileno())
        by = ("bash", "-c", ACTIVATE, "bash", *map(str, descriptors))
        return self.sealjar.start(
            ORIGIN, *settings, listen="systemd:public", admin="systemd:admin", by=by, pass_fds=descriptors, env=environment
        )


@pytest.fixture
def activated(sealjar):
    return Activated(sealjar, socket.create_server(("127.0.0.1", 0), backlog=512))


def test_finds_both_listeners_by_their_names(activated):
    sealjar = activated.start()
    assert sealjar.port == activated.public.getsockname()[1]
    assert sealjar.request("GET", "/auth/status").status == 401
    assert sealjar.request_admin("/readyz").status == 200


def test_a_unix_socket_of_systemd_is_served(sealjar):
    path = str(sealjar.home / "public.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    Activated(sealjar, listener).start()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(WAIT_TIMEOUT)
        connection.connect(path)
        assert exchange(connection, "GET", "/auth/status", [("Connection", "close")], b"", HOST).status == 401
    sealjar.stop()
    assert os.path.exists(path), "the file belongs to systemd, so the server must keep it"


def test_no_request_is_lost_while_the_server_is_restarted(activated):
    sealjar = activated.start()
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
    for _ in range(3):
        seen = len(statuses)
        wait_until(lambda: len(statuses) + len(failures), lambda count: count > seen + 200)
        sealjar.stop()
        activated.start()
    seen = len(statuses)
    wait_until(lambda: len(statuses) + len(failures), lambda count: count > seen + 200)
    stop.set()
    for client in clients:
        client.join(WAIT_TIMEOUT)
    assert not failures and set(statuses) == {200}


def test_reports_a_socket_that_systemd_did_not_pass(sealjar, activated):
    for names, message in [("other:admin", "not 0; passed sockets: other, admin"), ("public:public", "not 2; passed sockets: public, public")]:
        descriptors = (activated.public.fileno(), activated.admin.fileno())
        environment = {**sealjar._environment(), "LISTEN_FDS": "2", "LISTEN_FDNAMES": names}
        command = ["bash", "-c", ACTIVATE, "bash", *map(str, descriptors), sealjar.binary, "serve", "--listen", "systemd:public"]
        done = subprocess.run(
            [*command, "--set", ORIGIN], cwd=sealjar.home, env=environment, pass_fds=descriptors, capture_output=True, text=True, timeout=WAIT_TIMEOUT
        )
        assert done.returncode == 74 and message in done.stderr and "FileDescriptorName=public" in done.stderr, done.stderr


def test_reports_that_systemd_passed_no_sockets(sealjar):
    code, message = sealjar.serve_expecting_failure("--listen", "systemd:public", "--set", ORIGIN)
    assert code == 74 and "passed sockets: none" in message, message
