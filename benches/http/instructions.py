"""User-space instructions a request, counted by callgrind. They hardly depend on what else the machine does.

One connection asks again and again. Only the thread that serves it counts: there is one worker, and no route that is
measured hands work to another thread. What the worker does besides, some times a second and whether it is asked or not,
is counted while nobody asks, and taken off for the time that the requests took.
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

# Seconds in which nobody asks: a multiple of how often a server does something by itself, but for the pruning.
IDLE = 10
TOTAL = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)
PATHS = ("/auth/status", "/auth/verify", "/protected")


@dataclass(frozen=True)
class Count:
    path: str
    sealjar: float
    usual: float
    bare: float


def missing() -> list[str]:
    return [] if shutil.which("valgrind") and shutil.which("vgdb") else ["valgrind"]


class Counted:
    """A server under callgrind, which counts from `on` on."""

    def __init__(self, command: list, cwd: Path, name: str):
        self.out, self.dumps = cwd / f"{name}.callgrind", 0
        callgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes"]
        callgrind.append(f"--callgrind-out-file={self.out}")
        self.child = Child([*callgrind, *command], cwd / f"{name}.log", cwd=cwd)

    def __enter__(self) -> "Counted":
        return self

    def __exit__(self, *error):
        self.child.__exit__(*error)

    def tell(self, word: str):
        subprocess.run(["vgdb", f"--pid={self.child.process.pid}", *word.split()], check=True, capture_output=True)

    def since(self) -> dict[str, int]:
        """Instructions of each thread since it was last asked."""
        self.tell("dump")
        self.dumps += 1
        dumps = self.out.parent.glob(f"{self.out.name}.{self.dumps}-*")
        totals = {dump.suffix.partition("-")[2]: re.search(TOTAL, dump.read_text()) for dump in dumps}
        return {thread: int(total[1]) for thread, total in totals.items() if total}

    def background(self, seconds: int) -> dict[str, float]:
        """What each thread does in a second while nobody asks."""
        self.since()
        time.sleep(seconds)
        return {thread: count / seconds for thread, count in self.since().items()}

    def rest(self):
        """Waits until all its threads sleep, so that every request finds it in the same state."""
        tasks = Path(f"/proc/{self.child.process.pid}/task")
        while any(b") S " not in (task / "stat").read_bytes() for task in tasks.iterdir()):
            pass

    def a_request(self, contestant: Contestant, requests: int, background: dict[str, float]) -> float:
        question = request(contestant.path, contestant.host, contestant.cookie_field())
        with Connection(contestant.port) as connection:
            for _ in range(max(requests // 10, 100)):
                connection.ask(question)
            self.since()
            began = time.monotonic()
            for _ in range(requests):
                self.rest()
                assert connection.ask(question).status == 200
            took = time.monotonic() - began
            counts = self.since()
        worker = max(counts, key=counts.get)
        return (counts[worker] - background.get(worker, 0) * took) / requests


def measure(
    sealjar_program: Path, bare_program: Path, directory: Path, requests: int, paths=PATHS, idle: int = IDLE
) -> list[Count]:
    """What a request on each path costs, and what it costs the bare server of either kind."""
    sealjar = Sealjar(sealjar_program, directory)
    # vgdb talks to the process, and makes it write to files of its own.
    command = [*sealjar.command(), "--set", "process.dumpable=true", "--set", "process.landlock=false"]
    with Counted(command, sealjar.home, "sealjar") as counted:
        sealjar.ready(counted.child)
        contestants = [sealjar.contestant(path).prove() for path in paths]
        kinds = (True, False)
        bares = [[Bare(bare_program, each, directory, is_usual) for is_usual in kinds] for each in contestants]
        counted.tell("instrumentation on")
        background = counted.background(idle)
        ours = [counted.a_request(contestant, requests, background) for contestant in contestants]
        theirs = [[of_bare(bare, requests) for bare in pair] for pair in bares]
    return [Count(path, count, *pair) for path, count, pair in zip(paths, ours, theirs)]


def of_bare(bare: Bare, requests: int) -> float:
    with Counted(bare.command, bare.answer.parent, bare.answer.stem) as counted:
        counted.child.listening(bare.port)
        contestant = bare.contestant()
        counted.tell("instrumentation on")
        return counted.a_request(contestant, requests, {})
