"""Common parts of the tests in this folder: a real Sealjar with accounts, an application that reports the requests it
received, and an HTTP client that does not change the header fields that it is given.

Nothing here sleeps to wait: a server is ready when its log says that it listens. All servers listen on 127.0.0.1 only. Every wait
has a timeout.
"""

import http.client
import json
import os
import queue
import signal
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOST = "app.example.com"
OTHER_HOST = "other.example.com"
SIGN_IN_HOST = "auth.example.com"
PASSWORD = "correct horse battery"
DISPLAY_NAME = "Ålice 100% Łęcka"
EMAIL = "alice@example.com"
# Seconds. Longer than any wait of a test that passes, even on a loaded machine. `mutate.py`, whose tests are expected to fail,
# sets less.
WAIT_TIMEOUT = int(os.environ.get("SEALJAR_WAIT_TIMEOUT", "60"))

# Header fields that tell a page that a browser opens from the request of a program.
NAVIGATION = [
    ("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Site", "none"),
]
API = [("Accept", "application/json")]


class Sealjar:
    """A directory with a key, a database, and the accounts `alice` (role staff) and `bob` (no role); and the server that uses
    it.

    Settings are given as texts such as `"session.idle=10s"`, or as environment variables. The server can be stopped and started
    again: it keeps its sessions and its ports.
    """

    def __init__(self, home: Path, *settings: str, environment: dict | None = None):
        self.home = home
        self.process = None
        # 0 until the first start: then the system chooses a free port.
        self.port = 0
        self.admin_port = 0
        self.environment = environment or {}
        self.binary = self.program()
        # Cheap password hashes, and no limit on the number of logins.
        cheap = ["password.memory_kib=7168", "password.passes=1", "throttle.success_burst=1000000"]
        self.settings = set_flags(*cheap, *settings)
        self.command("keys", "init")
        self.add_user("alice", "--role", "staff", "--display-name", DISPLAY_NAME, "--email", EMAIL)
        self.add_user("bob")

    def command(self, *arguments: str, stdin: str = "") -> str:
        """Runs a command, which must succeed, and returns its standard output."""
        command = [self.binary, *arguments, *self.settings]
        done = subprocess.run(
            command, cwd=self.home, env=self._environment(), input=stdin, capture_output=True, text=True, timeout=WAIT_TIMEOUT
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def serve_expecting_failure(self, *arguments: str) -> tuple:
        """Starts a server that is expected to exit with an error, and returns its exit code and its standard error."""
        command = [self.binary, "serve", "--admin-listen", "127.0.0.1:0", *arguments]
        done = subprocess.run(
            command, cwd=self.home, env=self._environment(), capture_output=True, text=True, timeout=WAIT_TIMEOUT
        )
        return done.returncode, done.stderr

    def add_user(self, login: str, *arguments: str):
        self.command("users", "add", login, *arguments, stdin=PASSWORD + "\n")

    def start(self, *settings: str, listen="", admin="", launcher=(), **options) -> "Sealjar":
        """Starts the server and waits until it listens.

        `listen` and `admin` replace the addresses of its listeners. `launcher` is a command that executes the server in its own
        process, for example `setpriv`. `options` are those of `Popen`.
        """
        own = self.settings[1::2]
        listen = listen or f"127.0.0.1:{self.port}"
        admin = admin or f"127.0.0.1:{self.admin_port}"
        listeners = ["--listen", listen, "--admin-listen", admin]
        command = [*launcher, self.binary, "serve", *listeners, *set_flags(*own, "log.format=json", *settings)]
        options = {"env": self._environment(), "stdin": subprocess.DEVNULL, **options}
        self.process = subprocess.Popen(command, cwd=self.home, stderr=subprocess.PIPE, text=True, **options)
        self.log = []
        lines = queue.SimpleQueue()
        threading.Thread(target=self._follow, args=(self.process.stderr, self.log, lines), daemon=True).start()
        while (line := lines.get(timeout=WAIT_TIMEOUT)) is not None:
            if line.get("message") == "listening":
                self.admin_port = int(line["admin"].rpartition(":")[2])
                if not line["public"].startswith(("unix:", "systemd:")):
                    self.port = int(line["public"].rpartition(":")[2])
                return self
        raise AssertionError(f"sealjar ended before it listened: {self.log}")

    def stop(self, sign: signal.Signals = signal.SIGTERM):
        """Sends the server a signal, and waits until its process has ended."""
        if self.process:
            self.process.send_signal(sign)
            self.process.wait(WAIT_TIMEOUT)
            self.process = None

    def sign_in(self, login: str = "alice", host: str = HOST) -> str:
        """Signs in directly, not through a proxy, and returns the session's cookie as a browser would send it."""
        body = json.dumps({"login": login, "password": PASSWORD}).encode()
        answer = self.request("POST", "/auth/login", [("Content-Type", "application/json")], body, host=host)
        assert answer.status == 200, answer
        return answer.cookies()[0]

    def request(self, method: str, path: str, headers=(), body: bytes = b"", host: str = HOST) -> "Answer":
        return send("127.0.0.1", self.port, None, method, path, headers, body, host)

    def request_admin(self, path: str) -> "Answer":
        return send("127.0.0.1", self.admin_port, None, "GET", path, [], b"", "localhost")

    def _environment(self) -> dict:
        return {**self.without_settings(), **self.environment}

    @staticmethod
    def program() -> Path:
        """Returns the path of the program under test."""
        return Path(os.environ.get("SEALJAR_BIN", ROOT / "target/debug/sealjar")).resolve()

    @staticmethod
    def without_settings() -> dict:
        """Returns the environment of the tests without the variables that Sealjar would read as settings."""
        return {name: value for name, value in os.environ.items() if not name.startswith("SEALJAR_")}

    @staticmethod
    def _follow(stream, log: list, lines: queue.SimpleQueue):
        for text in stream:
            line = json.loads(text) if text.startswith("{") else {"message": text.strip()}
            log.append(line)
            lines.put(line)
        lines.put(None)


def set_flags(*settings: str) -> list:
    """Returns a `--set` flag for each setting. The last value of a setting wins, because the command refuses two different
    ones."""
    last = {text.partition("=")[0]: text for text in settings}
    return [word for text in last.values() for word in ("--set", text)]


@dataclass
class Seen:
    """A request as the application received it.

    `headers` has every header field as [name, value], in order and with the original spelling. `trailers` has the trailer fields
    after a chunked body (RFC 9112, section 7.1.2).
    """

    method: str
    path: str
    headers: list
    length: int
    trailers: list = field(default_factory=list)

    def values(self, name: str) -> list:
        """Returns the values of all header fields that a program could read as `name`: CGI and WSGI treat `_` and `-` alike."""
        wanted = name.lower().replace("_", "-")
        return [value for key, value in self.headers if key.lower().replace("_", "-") == wanted]


class App:
    """The application behind the proxy.

    It answers each request with a JSON description of that request, and appends it to `seen`. Over an upgraded connection it
    sends `HELLO` and then echoes each byte. `/set-cookie` sets a cookie. A subclass can answer further paths in `answer_path`.
    """

    def __init__(self):
        self.seen = []
        app = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self):
                request = Seen(self.command, self.path, [list(field) for field in self.headers.items()], 0)
                app.seen.append(request)  # before the body is read, which may never arrive
                for data in self.body(request.trailers):
                    request.length += len(data)
                if app.answer_path(self):
                    return
                if self.headers.get("Upgrade", "").lower() == "websocket":
                    return self.upgrade()
                body = json.dumps(vars(request)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                if self.path.startswith("/set-cookie"):
                    self.send_header("Set-Cookie", "theme=dark; Path=/")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def body(self, trailers: list):
                if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                    yield from iter(self.read_chunk, b"")
                    while line := self.rfile.readline().strip():
                        trailers.append(line.decode("latin-1"))
                remaining = int(self.headers.get("Content-Length") or 0)
                while data := self.rfile.read(min(remaining, 1 << 16)):
                    remaining -= len(data)
                    yield data

            def read_chunk(self) -> bytes:
                data = self.rfile.read(int(self.rfile.readline().split(b";")[0], 16))
                if data:
                    self.rfile.readline()
                return data

            def upgrade(self, greeting: bytes = b"HELLO"):
                self.close_connection = True
                self.send_response(101)
                self.send_header("Connection", "Upgrade")
                self.send_header("Upgrade", "websocket")
                # The value for the example key of RFC 6455, section 1.3, which `Client.upgrade` sends.
                self.send_header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
                self.end_headers()
                self.wfile.write(greeting)
                while data := self.connection.recv(4096):
                    self.wfile.write(data)

            def log_message(self, *_):
                pass

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_CONNECT = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # a proxy that is stopped resets its connections
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer_path(self, handler) -> bool:
        """Answers requests for special paths, and returns whether the path of this request is one."""
        return False

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Answer:
    status: int
    headers: list
    body: bytes = field(repr=False)

    def values(self, name: str) -> list:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def location(self) -> str:
        (value,) = self.values("location")
        return value

    def json(self):
        return json.loads(self.body)

    def reason(self) -> str:
        """Returns the `reason` member of an error response of Sealjar."""
        return self.json()["reason"]

    def received_by_app(self) -> Seen:
        """Returns the request as the application behind the proxy received it."""
        assert self.status == 200, self
        return Seen(**self.json())

    def cookies(self) -> list:
        """Returns `name=value` of each cookie that the response sets."""
        return [value.partition(";")[0] for value in self.values("set-cookie")]


class Client:
    """A client of one HTTPS server that listens on 127.0.0.1. Requests name other hosts."""

    def __init__(self, port: int, certificate: Path):
        self.port = port
        self.context = ssl.create_default_context(cafile=certificate)
        self.context.set_alpn_protocols(["http/1.1"])

    def __call__(
        self, method: str, path: str, headers=(), body: bytes = b"", host: str = HOST, sni: str = "", source: str = ""
    ) -> Answer:
        return send("127.0.0.1", self.port, self.context, method, path, headers, body, host, sni, source)

    def in_sequence(self, *requests, host: str = HOST) -> list:
        """Sends requests, each given as (method, path, headers), one after the other over one connection."""
        with connect("127.0.0.1", self.port, self.context, host) as connection:
            return [exchange(connection, method, path, headers, b"", host) for method, path, headers in requests]

    def raw(self, request: bytes, host: str = HOST) -> bytes:
        """Sends these bytes, and returns the first bytes of the response."""
        with connect("127.0.0.1", self.port, self.context, host) as connection:
            connection.sendall(request)
            return connection.recv(65536)

    def upgrade(self, path: str, headers=(), host: str = HOST, connection: str = "Upgrade") -> tuple:
        """Requests a WebSocket. Returns the status, and the bytes received over the upgraded connection after `ping` was sent."""
        upgrade = [("Connection", connection), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
        upgrade += [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
        with connect("127.0.0.1", self.port, self.context, host) as link:
            link.sendall(head("GET", path, [*upgrade, *headers], b"", host))
            stream = link.makefile("rb")
            status = int(stream.readline().split()[1])
            while stream.readline().strip():
                pass
            if status != 101:
                return status, b""
            link.sendall(b"ping")
            return status, stream.read(len(b"HELLOping"))


def send(address, port, context, method, path, headers, body, host, sni="", source="") -> Answer:
    """Sends one request over a new connection, and returns the response. The header fields are spelt and repeated as given.
    `Host` is added, and `Connection` and `Content-Length` if they are missing."""
    if not any(name.lower() == "connection" for name, _ in headers):
        headers = [*headers, ("Connection", "close")]
    with connect(address, port, context, sni or host, source) as connection:
        return exchange(connection, method, path, headers, body, host)


def exchange(connection, method, path, headers, body, host) -> Answer:
    with suppress(
        BrokenPipeError, ConnectionResetError, ssl.SSLEOFError
    ):  # a server that rejects a request need not read its whole body
        connection.sendall(head(method, path, headers, body, host) + body)
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    return Answer(response.status, response.getheaders(), response.read())


def connect(address, port, context, host, source="") -> socket.socket:
    """Opens a connection, from the source address `source` if it is given, and over TLS if `context` is."""
    connection = socket.create_connection((address, port), WAIT_TIMEOUT, (source, 0) if source else None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(connection, server_hostname=host.partition(":")[0]) if context else connection


def head(method, path, headers, body, host) -> bytes:
    framed = any(name.lower() in ("content-length", "transfer-encoding") for name, _ in headers)
    length = [("Content-Length", str(len(body)))] if not framed and (body or method in ("POST", "PUT")) else []
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in [*headers, *length])]
    return "".join(line + "\r\n" for line in [*lines, ""]).encode("latin-1")


def make_certificate(directory: Path) -> tuple:
    """Creates a self-signed certificate for the host names of the tests. Returns the paths of the certificate and of its key."""
    certificate = directory / "cert.pem"
    key = directory / "key.pem"
    names = ",".join(f"DNS:{name}" for name in (HOST, OTHER_HOST, SIGN_IN_HOST, "localhost"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName={names},IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True, timeout=WAIT_TIMEOUT)
    return certificate, key


def free_port() -> int:
    """Returns a port that was free a moment ago, for servers that cannot report the port that the system chose."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
