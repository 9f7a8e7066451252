#!/usr/bin/env python3
"""Runs all benchmarks (`make bench`): builds the programs, measures them, and writes docs/performance.md and the table in
README.md.

`--only PART,PART` measures these parts and prints the result. With SEALJAR_BENCH_QUICK=1, which the tests use, each measurement
is as short as possible, no file is written, and only peers that are already built are measured.
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
from processes import CORES, raise_on_signals
from report import Figures
from sealjar import ROOT, Bare, Sealjar, binary

CARGO = os.environ.get("CARGO", "cargo")
# Ways to install the programs that may be missing, on Debian.
HOW_TO_GET = {
    "wrk or oha": "apt-get install wrk",
    "valgrind": "apt-get install valgrind",
    "redis-server": "apt-get install redis-server",
    "node 20 or later": "https://nodejs.org, or apt-get install nodejs if that version is new enough",
    "npm": "it comes with Node, or apt-get install npm",
}


STATUS, VERIFY, PROTECTED = instructions.PATHS


@dataclass(frozen=True)
class Size:
    # Pairs of a path, and whether the browser also sends other cookies.
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
        self.profile = profile
        self.quick = quick
        self.size = QUICK if quick else FULL
        self.directory = directory
        self.figures = Figures()
        self.program = binary(profile, "sealjar")
        self.bare_program = binary(profile, "examples/bare")

    def new_directory(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.directory))

    def skip(self, missing: list[str], part: str):
        reasons = "; ".join(f"{name} is missing ({HOW_TO_GET[name]})" for name in missing)
        self.figures.skipped.append(f"{part}: {reasons}")
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
            return self.skip(["wrk or oha"], "requests per second compared with the bare handler")
        with ExitStack() as stack:
            sealjar = self.start_sealjar(stack)
            contestants = []
            for path, has_foreign_cookies in self.size.routes:
                contestant = sealjar.contestant(path, has_foreign_cookies).check()
                contestants.append(contestant)
                for is_ordinary in (True, False):
                    bare = Bare(self.bare_program, contestant, self.directory, is_ordinary)
                    stack.enter_context(bare.start()).listening(bare.port)
                    contestants.append(bare.contestant())
            turns = load.take_turns(contestants, self.size.rounds, self.size.seconds)
            self.figures.bare = list(zip(turns[::3], turns[1::3], turns[2::3]))

    def instructions(self):
        if missing := instructions.missing():
            return self.skip(missing, "instructions per request")
        size = self.size
        counts = instructions.measure(self.program, self.bare_program, self.new_directory(), size.requests, **size.counting)
        self.figures.instructions = counts

    def peers(self):
        if not load.generator():
            return self.skip(["wrk or oha"], "peers")
        if not self.quick:
            peers.build(CARGO)
        with ExitStack() as stack:
            sealjar = self.start_sealjar(stack)
            contestants = [sealjar.contestant(path).check() for path in (PROTECTED, VERIFY)]
            present = [peer for peer in PEERS if self.has(peer)]
            contestants += [Running(peer, self.directory, stack).contestant() for peer in present]
            self.figures.peers = load.take_turns(contestants, self.size.rounds, self.size.seconds)
        for peer in present:
            self.figures.memory[peer.title] = memory.measure_peer(peer, self.size.sessions, self.directory)

    def memory(self):
        size = self.size
        figures = memory.measure_sealjar(self.program, self.new_directory(), size.sessions, size.idle_seconds)
        self.figures.memory["Sealjar"] = figures

    def startup(self):
        self.figures.startup = startup.measure(self.program, **self.size.starts)

    def has(self, peer: Peer) -> bool:
        if missing := peer.missing():
            self.skip(missing, peer.title)
        elif not peer.is_built() and self.quick:
            say(f"SKIPPED, because it is not built: {peer.title}")
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
    parser.add_argument("--only", metavar="PART,PART", default=",".join(PARTS), help=f"parts to measure: {', '.join(PARTS)}")
    parser.add_argument("--profile", default="dist", help="Cargo profile for Sealjar and the bare server (dist)")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}")
    raise_on_signals()
    if len(CORES) < 2:
        say("warning: there is only one core, which servers and load generator share, so the figures are unreliable")
    with tempfile.TemporaryDirectory(prefix="sealjar-bench-") as directory:
        bench = Bench(arguments.profile, quick, Path(directory))
        bench.build()
        for part in parts:
            say(f"measuring: {part}")
            getattr(bench, part)()
    if quick or set(parts) != set(PARTS):
        print(report.performance_page(bench.figures))
    else:
        report.write(bench.figures)
        print(report.PERFORMANCE.read_text())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except subprocess.CalledProcessError as failed:
        sys.exit(f"{' '.join(map(str, failed.cmd))} exited with {failed.returncode}")
