"""Starts the servers that are measured. Each is pinned to a core and has its own process group, which is killed when the
benchmark ends."""

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
# The core for all servers, of which only one is measured at a time, and the core for the load generator.
SERVER_CORE = CORES[0]
LOAD_CORE = CORES[-1]
# First port that the kernel assigns to outgoing connections.
FIRST_EPHEMERAL_PORT = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
PORTS = iter(random.sample(range(FIRST_EPHEMERAL_PORT // 2, FIRST_EPHEMERAL_PORT), FIRST_EPHEMERAL_PORT // 2))
# Seconds. Longer than any start under valgrind on a busy machine.
WAIT_TIMEOUT = 120


class Child:
    """A process that runs until the `with` block ends. Then it is stopped together with its children. Its output goes to the
    file `log`."""

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
        """Waits until the server accepts connections."""
        wait_until(lambda: can_connect(port), self.check)
        return self

    def check(self):
        """Fails if the process has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.process.args[0]} ended:\n{self.log.read_text(errors='replace')[-2000:]}")

    def resident_bytes(self) -> int:
        """Returns the resident memory of the process, without its children."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))

    def cpu_seconds(self) -> float:
        """Returns the CPU time of all running threads of the process, in user and kernel mode."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


@contextmanager
def pinned(core: int):
    """Pins the processes that are started in the block to a core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def clean_environment() -> dict:
    """Returns the environment of this process without the settings of Sealjar."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SEALJAR_")}


def wait_until(condition, check=lambda: None):
    """Calls `condition` until its result is true, and returns that result. Calls `check` in between, which may raise an error."""
    deadline = time.monotonic() + WAIT_TIMEOUT
    while not (result := condition()):
        check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"no result after {WAIT_TIMEOUT} s")
        time.sleep(0.005)
    return result


def can_connect(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=WAIT_TIMEOUT).close()
    except ConnectionRefusedError:
        return False
    return True


def free_port() -> int:
    """Returns a port without a listener, and a different one each time. It is not in the range from which the kernel assigns
    ports, so it stays free until its server starts."""
    return next(port for port in PORTS if is_free(port))


def is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server((HOST, port)):
        return True
    return False


def raise_on_signals():
    """Turns SIGTERM and SIGHUP into an exception, so that every `with` block ends and stops its processes."""

    def interrupt(*_):
        raise KeyboardInterrupt

    for sign in signal.SIGTERM, signal.SIGHUP:
        signal.signal(sign, interrupt)
