"""Counts the user-space instructions per request with [callgrind](https://valgrind.org/docs/manual/cl-manual.html). The count
hardly depends on other work of the machine.

One connection sends the requests. Only the thread that serves it is counted: the server has one worker thread, and no measured
route uses another thread. The worker also does periodic work. That work is counted while the server is idle, and subtracted in
proportion to the duration of the requests.
"""

import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from client import Connection, request
from contestants import Contestant
from processes import Child
from sealjar import Bare, Sealjar

# Seconds without requests, in which the periodic work is counted: a multiple of the periods of all periodic work except pruning.
IDLE = 10
TOTAL = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)
PATHS = ("/auth/status", "/auth/verify", "/protected")


@dataclass(frozen=True)
class Count:
    path: str
    sealjar: float
    ordinary: float
    bare: float


def missing() -> list[str]:
    return [] if shutil.which("valgrind") and shutil.which("vgdb") else ["valgrind"]


class Counted:
    """A server under callgrind. Counting starts with the command `instrumentation on`."""

    def __init__(self, command: list, cwd: Path, name: str):
        self.out = cwd / f"{name}.callgrind"
        self.dumps = 0
        callgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes"]
        callgrind.append(f"--callgrind-out-file={self.out}")
        self.child = Child([*callgrind, *command], cwd / f"{name}.log", cwd=cwd)

    def __enter__(self) -> "Counted":
        return self

    def __exit__(self, *error):
        self.child.__exit__(*error)

    def send_command(self, command: str):
        """Sends a command to callgrind."""
        subprocess.run(["vgdb", f"--pid={self.child.process.pid}", *command.split()], check=True, capture_output=True)

    def count_since_last(self) -> dict[str, int]:
        """Returns the number of instructions of each thread since the last call."""
        self.send_command("dump")
        self.dumps += 1
        dumps = self.out.parent.glob(f"{self.out.name}.{self.dumps}-*")
        totals = {dump.suffix.partition("-")[2]: re.search(TOTAL, dump.read_text()) for dump in dumps}
        return {thread: int(total[1]) for thread, total in totals.items() if total}

    def background(self, seconds: int) -> dict[str, float]:
        """Returns the number of instructions per second of each thread while there are no requests."""
        self.count_since_last()
        time.sleep(seconds)
        return {thread: count / seconds for thread, count in self.count_since_last().items()}

    def wait_until_idle(self):
        """Waits until all threads of the server sleep, so that every request finds the server in the same state."""
        tasks = Path(f"/proc/{self.child.process.pid}/task")
        while any(b") S " not in (task / "stat").read_bytes() for task in tasks.iterdir()):
            pass

    def per_request(self, contestant: Contestant, requests: int, background: dict[str, float]) -> float:
        """Returns the number of instructions per request, without the periodic work in `background`."""
        message = request(contestant.path, contestant.host, contestant.cookie_field())
        with Connection(contestant.port) as connection:
            for _ in range(max(requests // 10, 100)):
                connection.ask(message)
            self.count_since_last()
            started = time.monotonic()
            for _ in range(requests):
                self.wait_until_idle()
                assert connection.ask(message).status == 200
            seconds = time.monotonic() - started
            counts = self.count_since_last()
        worker = max(counts, key=counts.get)
        return (counts[worker] - background.get(worker, 0) * seconds) / requests


def measure(
    sealjar_program: Path, bare_program: Path, directory: Path, requests: int, paths=PATHS, idle: int = IDLE
) -> list[Count]:
    """Returns the number of instructions per request for each path: of Sealjar, and of both variants of the bare server."""
    sealjar = Sealjar(sealjar_program, directory)
    # vgdb must be able to attach to the process, and callgrind in the process writes files.
    command = [*sealjar.command(), "--set", "process.dumpable=true", "--set", "process.landlock=false"]
    with Counted(command, sealjar.home, "sealjar") as counted:
        sealjar.ready(counted.child)
        contestants = [sealjar.contestant(path).check() for path in paths]
        variants = (True, False)
        bares = [[Bare(bare_program, each, directory, is_ordinary) for is_ordinary in variants] for each in contestants]
        counted.send_command("instrumentation on")
        background = counted.background(idle)
        ours = [counted.per_request(contestant, requests, background) for contestant in contestants]
        bare_counts = [[count_bare(bare, requests) for bare in pair] for pair in bares]
    return [Count(path, count, *pair) for path, count, pair in zip(paths, ours, bare_counts)]


def count_bare(bare: Bare, requests: int) -> float:
    """Returns the number of instructions per request of the bare server."""
    with Counted(bare.command, bare.answer.parent, bare.answer.stem) as counted:
        counted.child.listening(bare.port)
        contestant = bare.contestant()
        counted.send_command("instrumentation on")
        return counted.per_request(contestant, requests, {})
