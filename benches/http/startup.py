"""Measures the time from the start of a server until `/readyz` answers 200, without revocations and with a million of them in
SQLite.

`python3 benches/http/startup.py target/release/sealjar` prints a table; `measure` returns the figures.
"""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

COUNTS = (0, 1_000_000)
RUNS = 3
# Seconds from the start until `/readyz` must answer 200. It is checked from the moment at which the server listens.
START_TIMEOUT = 120


def measure(binary, counts=COUNTS, runs=RUNS) -> dict:
    """For each number of live revocations, returns the time of the fastest of several starts, the resident memory afterwards,
    and the memory per entry compared with the first number."""
    figures = {}
    with tempfile.TemporaryDirectory(prefix="sealjar-startup-") as home:
        home = Path(home)
        binary = Path(binary).resolve()
        run = {"cwd": home, "check": True, "stdin": subprocess.DEVNULL, "capture_output": True, "env": environment()}
        subprocess.run([binary, "keys", "init"], **run)
        subprocess.run([binary, "users", "add", "alice"], **{**run, "stdin": None, "input": b"correct horse battery\n"})
        for count in counts:
            fill(home / "sealjar.db", count)
            starts = [start(binary, home, count) for _ in range(runs)]
            ms, resident = min(starts)
            figures[count] = {"ready_ms": ms, "resident_bytes": resident}
    base = figures[counts[0]]["resident_bytes"]
    for count, figure in figures.items():
        figure["bytes_each"] = (figure["resident_bytes"] - base) / count if count else None
    return figures


def fill(database: Path, count: int):
    """Replaces the revocations in the database by this number of revoked sessions with random ids."""
    expires_at = int(time.time()) + 3600
    connection = sqlite3.connect(database)
    with connection:
        connection.execute("DELETE FROM revocation")
        rows = ((os.urandom(16), expires_at) for _ in range(count))
        connection.executemany("INSERT INTO revocation (sid, expires_at) VALUES (?, ?)", rows)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def start(binary: Path, home: Path, count: int) -> tuple:
    """Starts the server and stops it again. Returns the milliseconds until it was ready, and its resident memory in bytes."""
    command = [binary, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--set", "log.format=json"]
    started = time.perf_counter()
    server = subprocess.Popen(
        command, cwd=home, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        # The server listens after it has loaded the revocation list. Its log has the address.
        admin = next(line["admin"] for line in map(json.loads, server.stderr) if line.get("message") == "listening")
        while (state := readyz(admin)) is None:
            if time.perf_counter() - started > START_TIMEOUT:
                raise TimeoutError(f"not ready after {START_TIMEOUT} s")
        ms = (time.perf_counter() - started) * 1000
        assert state["revocations"] == count, state
        status = Path(f"/proc/{server.pid}/status").read_text()
        resident = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))
        return ms, resident
    finally:
        server.terminate()
        server.communicate(timeout=START_TIMEOUT)


def readyz(address: str) -> dict | None:
    """Returns the status report of a ready server, or `None` if it is not ready."""
    try:
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=START_TIMEOUT) as answer:
            return json.load(answer)
    except urllib.error.URLError:
        return None


def environment() -> dict:
    """Returns the environment of this process without the settings of Sealjar."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SEALJAR_")}


def table(figures: dict) -> str:
    """Returns the figures as a Markdown table."""
    lines = ["| live revocations in SQLite | from start to ready, ms | resident, MiB | bytes each |", "|---:|---:|---:|---:|"]
    for count, figure in figures.items():
        each = "" if figure["bytes_each"] is None else f"{figure['bytes_each']:.0f}"
        lines.append(f"| {count:,} | {figure['ready_ms']:.0f} | {figure['resident_bytes'] / 2**20:.0f} | {each} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 benches/http/startup.py PATH/TO/sealjar")
    print(table(measure(sys.argv[1])))
