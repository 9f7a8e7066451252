"""Web servers with applications that read header fields as variables (CGI, [RFC 3875, section
4.1.18](https://www.rfc-editor.org/rfc/rfc3875#section-4.1.18)).

The field `Remote-User` becomes the variable `HTTP_REMOTE_USER`. Other field names become the same variable: PHP's built-in server
treats `.` and `_` like `-`, and lighttpd treats every byte like `-` that is not a letter or a digit.

Each application is at `PATH`. It responds with its variables as JSON, and appends them as a line to a file.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from harness import WAIT_TIMEOUT, connect, free_port
from servers import DEBIAN, missing

PATH = "/variables"
PHP = """<?php
$line = json_encode($_SERVER, JSON_INVALID_UTF8_SUBSTITUTE | JSON_THROW_ON_ERROR);
file_put_contents(__DIR__ . "/seen", $line . "\\n", FILE_APPEND);
header("Content-Type: application/json");
echo $line;
"""
CGI = f"""#!{sys.executable} -ISE
import json, os
line = json.dumps(dict(os.environ))
with open("seen", "a") as seen:
    seen.write(line + "\\n")
print("Content-Type: application/json\\n\\n" + line)
"""
LIGHTTPD = """
server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{here}"
server.modules = ("mod_cgi")
cgi.assign = ("" => "")
"""


class Host:
    """A running web server with the application. It is started with `arguments` in a directory with `files`."""

    def __init__(self, program: str, arguments: tuple, files: dict):
        found = shutil.which(program, path=DEBIAN) or missing(f"{program} is not in {DEBIAN}", "no application under it")
        self.port = free_port()
        self.directory = tempfile.TemporaryDirectory(prefix="sealjar-host-")
        self.here = Path(self.directory.name)
        self.log = self.here / "log"
        self.seen_file = self.here / "seen"
        self.seen_file.touch()
        for name, text in files.items():
            path = self.here / name
            path.write_text(text.replace("{here}", str(self.here)).replace("{port}", str(self.port)))
            path.chmod(0o755)
        arguments = [argument.format(here=self.here, port=self.port) for argument in arguments]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [found, *arguments], cwd=self.here, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._wait_until_ready()

    @contextmanager
    def receives_nothing(self):
        """Asserts that the application receives no request during the block."""
        before = self.seen_bytes()
        yield
        assert self.seen_bytes() == before

    def seen_bytes(self) -> int:
        """Returns the size of the file in which the application logs its requests."""
        return self.seen_file.stat().st_size

    def _wait_until_ready(self):
        """Tries to connect until it succeeds or the process ends. Between two tries it waits for the end of the process."""
        for _ in range(int(WAIT_TIMEOUT / 0.05)):
            try:
                return connect("127.0.0.1", self.port, None, "").close()
            except OSError:
                pass
            try:
                self.process.wait(0.05)
                break
            except subprocess.TimeoutExpired:
                continue
        raise AssertionError(f"{self.process.args} is not ready: {self.log.read_text()}")

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(WAIT_TIMEOUT)


def php() -> Host:
    return Host("php", ("-n", "-S", "127.0.0.1:{port}", "application.php"), {"application.php": PHP})


def lighttpd() -> Host:
    return Host("lighttpd", ("-D", "-f", "{here}/lighttpd.conf"), {"lighttpd.conf": LIGHTTPD, PATH[1:]: CGI})


HOSTS = [php, lighttpd]
