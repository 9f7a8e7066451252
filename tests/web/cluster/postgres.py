"""A temporary PostgreSQL server for the tests, from Debian's packages, with the empty database `sealjar`."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from harness import WAIT_TIMEOUT, free_port
from waiting import wait_until

ACCESS = "local all all trust\nhost all all all scram-sha-256\n"


class Postgres:
    def __init__(self):
        self.programs = find_programs()
        self.port = free_port()
        self.directory = tempfile.TemporaryDirectory(prefix="sealjar-postgres-")
        self.here = Path(self.directory.name)
        # PostgreSQL refuses to run as root.
        self.prefix = []
        if os.geteuid() == 0:
            shutil.chown(self.here, "postgres", "postgres")
            self.prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"]
        initdb = ["initdb", "--no-sync", "--auth=trust", "--username=postgres", "--locale=C.UTF-8", "--pgdata=data"]
        self._run(*initdb)
        (self.here / "data/pg_hba.conf").write_text(ACCESS)
        self.start()
        self.sql("CREATE ROLE sealjar LOGIN PASSWORD 'sealjar'")
        self.sql("CREATE DATABASE sealjar OWNER sealjar")

    @property
    def store(self) -> str:
        return f"postgres://sealjar:sealjar@127.0.0.1:{self.port}/sealjar?sslmode=disable"

    def start(self):
        server = [*self.prefix, self.programs / "postgres", "-D", "data", "-k", self.here, "-h", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(server, cwd=self.here, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: subprocess.run(self._psql(""), capture_output=True).returncode, lambda code: code == 0)

    def stop(self):
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(WAIT_TIMEOUT)

    def sql(self, statement: str):
        subprocess.run(self._psql(statement), check=True, capture_output=True, timeout=WAIT_TIMEOUT)

    def _psql(self, statement: str) -> list:
        return ["psql", "-X", "-U", "postgres", "-h", self.here, "-p", str(self.port), "-c", statement, "postgres"]

    def _run(self, program: str, *arguments: str):
        command = [*self.prefix, self.programs / program, *arguments]
        subprocess.run(command, cwd=self.here, check=True, capture_output=True, timeout=WAIT_TIMEOUT)


def find_programs() -> Path:
    """Returns the directory with the programs of the newest server. Without one, the test is skipped, and in CI it fails."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if not found or not shutil.which("psql"):
        text = "PostgreSQL is missing: nothing of deploy/cluster and deploy/kubernetes is started"
        pytest.fail(text) if os.environ.get("CI") == "true" else pytest.skip(text)
    return max(found, key=lambda path: int(path.parent.name))
