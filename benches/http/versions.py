"""Describes the machine, and the versions of the measured programs and of the tools."""

import json
import os
import platform
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import load
from peers import PEERS, SOURCE
from processes import CORES
from sealjar import ROOT

# Command that prints the version of each program.
PROGRAMS = {
    "rustc": ["rustc", "--version"],
    "wrk": ["wrk", "-v"],
    "oha": ["oha", "--version"],
    "valgrind": ["valgrind", "--version"],
    "redis-server": ["redis-server", "--version"],
    "node": ["node", "--version"],
}


def machine() -> str:
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)", info, re.MULTILINE)
    total = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) / 2**20
    cores = f"{len(CORES)} core{'s' * (len(CORES) > 1)}"
    return f"{model[1] if model else platform.machine()}, {cores}, {total:.0f} GiB, Linux {platform.release()}"


def sealjar_commit() -> str:
    commit = first_line(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"])
    changed = first_line(["git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no"])
    return f"{commit}{' with changes' if changed else ''}" if commit else "of no commit"


def of_programs() -> list[str]:
    used = [name for name in PROGRAMS if name not in ("wrk", "oha") or name == load.generator()]
    lines = {name: first_line(PROGRAMS[name]) for name in used if shutil.which(name)}
    versions = {name: re.search(r"\d+(\.\d+)+", line) for name, line in lines.items()}
    return [f"{name} {version[0]}" for name, version in versions.items() if version]


def of_peers() -> dict[str, str]:
    """Returns name and version of every package of the peers."""
    crates = tomllib.loads((SOURCE / "Cargo.lock").read_text())["package"]
    modules = json.loads((SOURCE / "package-lock.json").read_text())["packages"]
    known = {crate["name"]: crate["version"] for crate in crates}
    known |= {path.removeprefix("node_modules/"): module.get("version") for path, module in modules.items()}
    return {name: known[name] for peer in PEERS for name in peer.packages}


def first_line(command: list) -> str:
    """Returns the first line of the output of a program, or an empty string if the program is not installed."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    except FileNotFoundError:
        return ""
    return next(iter((done.stdout or done.stderr).splitlines()), "")
