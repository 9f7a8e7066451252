"""Applications that make variables of field names, as CGI (RFC 3875, section 4.1.18) has it: `Remote-User` becomes
`HTTP_REMOTE_USER`, and so do other names. PHP's own server reads `.` and `_` as `-`; lighttpd reads every other byte so.

Each application answers with its variables as JSON, and adds them as a line to a file. `PATH` is the path of all of them.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from harness import PATIENCE, connect, free_port
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
    """A running server with the one application. `arguments` start its program, and `files` are put where it runs."""

    def __init__(self, program: str, arguments: tuple, files: dict):
        found = shutil.which(program, path=DEBIAN) or missing(f"{program} is not in {DEBIAN}", "no application under it")
        self.port, self.directory = free_port(), tempfile.TemporaryDirectory(prefix="sealjar-host-")
        self.here = Path(self.directory.name)
        self.log, self.seen_file = self.here / "log", self.here / "seen"
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
    def sees_nothing(self):
        before = self.has_seen()
        yield
        assert self.has_seen() == before

    def has_seen(self) -> int:
        """How much the application has written about its requests."""
        return self.seen_file.stat().st_size

    def _wait_until_ready(self):
        """The wait between two tries is for the process, which may end."""
        for _ in range(int(PATIENCE / 0.05)):
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
        self.process.wait(PATIENCE)


def php() -> Host:
    return Host("php", ("-n", "-S", "127.0.0.1:{port}", "application.php"), {"application.php": PHP})


def lighttpd() -> Host:
    return Host("lighttpd", ("-D", "-f", "{here}/lighttpd.conf"), {"lighttpd.conf": LIGHTTPD, PATH[1:]: CGI})


HOSTS = [php, lighttpd]
