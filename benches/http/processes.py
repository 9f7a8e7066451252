"""Servers that are measured: each pinned to a core, in a process group of its own, and gone when the benchmark ends."""

import os
import random
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

HOST = "127.0.0.1"
CORES = sorted(os.sched_getaffinity(0))
# All servers take turns on the one, and what asks them has the other to itself.
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
GIVEN_FROM = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
PORTS = iter(random.sample(range(GIVEN_FROM // 2, GIVEN_FROM), GIVEN_FROM // 2))
# Longer than any start under valgrind on a busy machine.
PATIENCE = 120


class Child:
    """A process that runs until the `with` block ends, and its children with it. What it says goes to a file."""

    def __init__(self, command: list, log: Path, cwd: Path | None = None, **environment: str):
        self.log = log
        with pinned(SERVER_CORE), log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                cwd=cwd,
                env={**clean_environment(), "TOKIO_WORKER_THREADS": "1", "NODE_ENV": "production", **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_):
        for sign in signal.SIGTERM, signal.SIGKILL:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
                return

    def listening(self, port: int) -> "Child":
        """Waits until it accepts connections."""
        until(lambda: can_connect(port), self.check)
        return self

    def check(self):
        """Fails if it has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.process.args[0]} ended:\n{self.log.read_text(errors='replace')[-2000:]}")

    def resident_bytes(self) -> int:
        """Of the process itself; none of ours has children that count."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))

    def cpu_seconds(self) -> float:
        """Of all its threads that have not ended, in user and kernel mode."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


@contextmanager
def pinned(core: int):
    """What is started here runs on that core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def clean_environment() -> dict:
    """Ours, without settings for a Sealjar."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SEALJAR_")}


def until(holds, check=lambda: None):
    """Asks again and again, and returns the first answer that counts."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := holds()):
        check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in {PATIENCE} s")
        time.sleep(0.005)
    return answer


def can_connect(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True


def free_port() -> int:
    """A port that nobody listens on. None of those that the system gives to connections and to whoever does not care, so
    that it stays free until its server starts; and never the same one twice."""
    return next(port for port in PORTS if is_free(port))


def is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server((HOST, port)):
        return True
    return False


def die_on_signals():
    """A signal to stop is an exception, so that every `with` block ends."""

    def die(*_):
        raise KeyboardInterrupt

    for sign in signal.SIGTERM, signal.SIGHUP:
        signal.signal(sign, die)
