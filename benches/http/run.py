#!/usr/bin/env python3
"""`make bench`: builds what is measured, measures it, and writes docs/performance.md and the table in README.md.

`--only PART,PART` measures these and prints them. With SEALJAR_BENCH_QUICK=1 everything is as short as can be, nothing
is written, and of the peers those are run that are built already: that is for the tests, so that this does not rot.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import instructions
import load
import memory
import peers
import report
import startup
from peers import PEERS, Peer, Running
from processes import CORES, die_on_signals
from report import Figures
from sealjar import ROOT, Bare, Sealjar, binary

CARGO = os.environ.get("CARGO", "cargo")
# How to get what may be missing, on Debian.
HOW_TO_GET = {
    "wrk or oha": "apt-get install wrk",
    "valgrind": "apt-get install valgrind",
    "redis-server": "apt-get install redis-server",
    "node 20 or later": "https://nodejs.org, or apt-get install nodejs where that is new enough",
    "npm": "it comes with Node, or apt-get install npm",
}


STATUS, VERIFY, PROTECTED = instructions.PATHS


@dataclass(frozen=True)
class Size:
    # Paths, and whether the browser has other cookies too.
    routes: list
    rounds: int
    seconds: int
    requests: int
    sessions: int
    idle_seconds: int
    starts: dict
    counting: dict


ROUTES = [(STATUS, False), (STATUS, True), (VERIFY, False), (PROTECTED, False)]
FULL = Size(ROUTES, 15, 1, 5_000, memory.SESSIONS, 60, {}, {})
QUICK = Size(ROUTES[1:2], 1, 1, 100, 500, 1, {"counts": (0, 1_000), "runs": 1}, {"paths": [STATUS], "idle": 1})


class Bench:
    def __init__(self, profile: str, quick: bool, directory: Path):
        self.profile, self.quick, self.size = profile, quick, QUICK if quick else FULL
        self.directory, self.figures = directory, Figures()
        self.program, self.bare_program = binary(profile, "sealjar"), binary(profile, "examples/bare")

    def new_directory(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.directory))

    def skip(self, missing: list[str], what: str):
        lacks = "; ".join(f"{name} is missing ({HOW_TO_GET[name]})" for name in missing)
        self.figures.skipped.append(f"{what}: {lacks}")
        say(f"SKIPPED: {self.figures.skipped[-1]}")

    def build(self):
        build = [CARGO, "build", "--locked", "--profile", self.profile, "--bin", "sealjar", "--example", "bare"]
        subprocess.run(build, cwd=ROOT, check=True)
        self.figures.binary_bytes = self.program.stat().st_size

    def verify(self):
        if not self.quick:
            bench = [CARGO, "bench", "--locked"]
            self.figures.verify = subprocess.run(bench, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout

    def bare(self):
        if not load.generator():
            return self.skip(["wrk or oha"], "requests a second beside the bare handler")
        with ExitStack() as stack:
            sealjar = self.start_sealjar(stack)
            everyone = []
            for path, has_foreign_cookies in self.size.routes:
                contestant = sealjar.contestant(path, has_foreign_cookies).prove()
                everyone.append(contestant)
                for is_usual in (True, False):
                    bare = Bare(self.bare_program, contestant, self.directory, is_usual)
                    stack.enter_context(bare.start()).listening(bare.port)
                    everyone.append(bare.contestant())
            turns = load.take_turns(everyone, self.size.rounds, self.size.seconds)
            self.figures.bare = list(zip(turns[::3], turns[1::3], turns[2::3]))

    def instructions(self):
        if missing := instructions.missing():
            return self.skip(missing, "instructions a request")
        programs, size = (self.program, self.bare_program), self.size
        counts = instructions.measure(*programs, self.new_directory(), size.requests, **size.counting)
        self.figures.instructions = counts

    def peers(self):
        if not load.generator():
            return self.skip(["wrk or oha"], "peers")
        if not self.quick:
            peers.build(CARGO)
        with ExitStack() as stack:
            sealjar = self.start_sealjar(stack)
            everyone = [sealjar.contestant(path).prove() for path in (PROTECTED, VERIFY)]
            present = [peer for peer in PEERS if self.has(peer)]
            everyone += [Running(peer, self.directory, stack).contestant() for peer in present]
            self.figures.peers = load.take_turns(everyone, self.size.rounds, self.size.seconds)
        for peer in present:
            self.figures.memory[peer.title] = memory.of_peer(peer, self.size.sessions, self.directory)

    def memory(self):
        self.figures.memory["Sealjar"] = memory.of_sealjar(self.program, self.new_directory(), self.size.sessions, self.size.idle_seconds)

    def startup(self):
        self.figures.startup = startup.measure(self.program, **self.size.starts)

    def has(self, peer: Peer) -> bool:
        if missing := peer.missing():
            self.skip(missing, peer.title)
        elif not peer.is_built() and self.quick:
            say(f"not built, and so left out: {peer.title}")
        else:
            return True
        return False

    def start_sealjar(self, stack: ExitStack) -> Sealjar:
        sealjar = Sealjar(self.program, self.new_directory())
        sealjar.ready(stack.enter_context(sealjar.start()))
        return sealjar


PARTS = ["verify", "bare", "instructions", "peers", "memory", "startup"]


def say(text: str):
    print(text, file=sys.stderr, flush=True)


def main():
    quick = bool(os.environ.get("SEALJAR_BENCH_QUICK"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="PART,PART", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--profile", default="dist", help="of Cargo, for Sealjar and the bare server (dist)")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}")
    die_on_signals()
    if len(CORES) < 2:
        say("There is one core only: servers and load share it, and figures say little.")
    with tempfile.TemporaryDirectory(prefix="sealjar-bench-") as directory:
        bench = Bench(arguments.profile, quick, Path(directory))
        bench.build()
        for part in parts:
            say(f"measuring: {part}")
            getattr(bench, part)()
    if quick or set(parts) != set(PARTS):
        print(report.whole(bench.figures))
    else:
        report.write(bench.figures)
        print(report.PERFORMANCE.read_text())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except subprocess.CalledProcessError as failed:
        sys.exit(f"{' '.join(map(str, failed.cmd))} ended with {failed.returncode}")
