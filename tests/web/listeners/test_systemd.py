"""Sockets that systemd opened (sd_listen_fds(3)): found by their names, and open while the server is restarted."""

import os
import socket
import subprocess
import threading

import pytest
from harness import HOST, WAIT_TIMEOUT, exchange
from waiting import wait_until

ORIGIN = f"http.public_origins=https://{HOST}"
# Becomes the server, with the given descriptors in the places where systemd puts them.
ACTIVATE = 'public=$1 admin=$2; shift 2; exec 3<&$public 4<&$admin; export LISTEN_PID=$$; exec "$@"'


class Activated:
    """Sockets as systemd holds them, over any number of servers."""

    def __init__(self, sealjar, public: socket.socket):
        self.sealjar, self.public = sealjar, public
        self.admin = socket.create_server(("127.0.0.1", 0))
        for listener in (self.public, self.admin):
            # In the places that the shell overwrites they would be closed too early.
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


def test_both_listeners_are_found_by_their_names(activated):
    sealjar = activated.start()
    assert sealjar.port == activated.public.getsockname()[1]
    assert sealjar.request("GET", "/auth/status").status == 401
    assert sealjar.request_admin("/readyz").status == 200


def test_a_unix_socket_of_systemd_serves_too(sealjar):
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
    assert os.path.exists(path), "the file is systemd's"


def test_no_request_is_lost_while_the_server_is_restarted(activated):
    sealjar = activated.start()
    cookie = [("Cookie", sealjar.sign_in())]
    stop, answers, failures = threading.Event(), [], []

    def ask_on_and_on():
        while not stop.is_set():
            try:
                answers.append(sealjar.request("GET", "/auth/status", cookie).status)
            except OSError as error:
                failures.append(error)

    clients = [threading.Thread(target=ask_on_and_on) for _ in range(8)]
    for client in clients:
        client.start()
    for _ in range(3):
        seen = len(answers)
        wait_until(lambda: len(answers) + len(failures), lambda count: count > seen + 200)
        sealjar.stop()
        activated.start()
    seen = len(answers)
    wait_until(lambda: len(answers) + len(failures), lambda count: count > seen + 200)
    stop.set()
    for client in clients:
        client.join(WAIT_TIMEOUT)
    assert not failures and set(answers) == {200}


def test_a_socket_that_is_not_passed_on_is_named(sealjar, activated):
    for names, said in [("other:admin", "not 0; passed sockets: other, admin"), ("public:public", "not 2; passed sockets: public, public")]:
        descriptors = (activated.public.fileno(), activated.admin.fileno())
        environment = {**sealjar._environment(), "LISTEN_FDS": "2", "LISTEN_FDNAMES": names}
        command = ["bash", "-c", ACTIVATE, "bash", *map(str, descriptors), sealjar.binary, "serve", "--listen", "systemd:public"]
        done = subprocess.run(
            [*command, "--set", ORIGIN], cwd=sealjar.home, env=environment, pass_fds=descriptors, capture_output=True, text=True, timeout=WAIT_TIMEOUT
        )
        assert done.returncode == 74 and said in done.stderr and "FileDescriptorName=public" in done.stderr, done.stderr


def test_without_systemd_there_is_none(sealjar):
    code, said = sealjar.serve_expecting_failure("--listen", "systemd:public", "--set", ORIGIN)
    assert code == 74 and "passed sockets: none" in said, said
