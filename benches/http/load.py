"""Load by `wrk` or `oha`, in short slices that all servers take in turns: a busy machine slows all of them alike."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from statistics import median

from contestants import Contestant
from processes import HOST, LOAD_CORE, pinned

CONNECTIONS = 64
# What wrk's and oha's units are in microseconds.
MICROSECONDS = {"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6}


@dataclass(frozen=True)
class Slice:
    """What a server did in one turn. Times are in microseconds."""

    per_second: float
    p50: float
    p99: float


@dataclass(frozen=True)
class Turns:
    """All turns of one contestant, one for each round."""

    contestant: Contestant
    slices: list[Slice]

    def median(self, figure: str) -> float:
        return median(getattr(each, figure) for each in self.slices)

    def over(self, other: "Turns") -> list[float]:
        """How many requests a second it answered for one of the other's, round by round, in order of size."""
        return sorted(mine.per_second / theirs.per_second for mine, theirs in zip(self.slices, other.slices))


def generator() -> str | None:
    """The program that makes the load."""
    return next((name for name in ("wrk", "oha") if shutil.which(name)), None)


def take_turns(contestants: list[Contestant], rounds: int, seconds: int) -> list[Turns]:
    """In each round everyone has a slice, and each round begins with another one. If there are several, one before them
    is for getting warm, and does not count."""
    turns = [Turns(contestant, []) for contestant in contestants]
    for contestant in contestants if rounds > 1 else []:
        load(contestant, seconds)
    for number in range(rounds):
        at = number * len(turns) // rounds
        for each in turns[at:] + turns[:at]:
            each.slices.append(load(each.contestant, seconds))
    return turns


def load(contestant: Contestant, seconds: int) -> Slice:
    url = f"http://{HOST}:{contestant.port}{contestant.path}"
    fields = {"Host": contestant.host, "Cookie": contestant.cookie_field()}
    measure = {"wrk": wrk, "oha": oha}[generator()]
    with pinned(LOAD_CORE):
        return measure(url, fields, seconds)


def wrk(url: str, fields: dict, seconds: int) -> Slice:
    headers = [word for name, value in fields.items() for word in ("-H", f"{name}: {value}")]
    said = output("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *headers, url)
    # Answers that took longer than wrk waits are slow, and no errors.
    if bad := re.search(r"Socket errors: (?!connect 0, read 0, write 0).*|Non-2xx.*", said):
        raise RuntimeError(f"{url}: {bad[0]}")

    def figure(pattern: str) -> re.Match:
        return re.search(pattern, said) or fail(url, said)

    def percentile(percent: int) -> float:
        value, unit = figure(rf"{percent}%\s+([\d.]+)(us|ms|s|m)\b").groups()
        return float(value) * MICROSECONDS[unit]

    return Slice(float(figure(r"Requests/sec:\s+([\d.]+)")[1]), percentile(50), percentile(99))


def oha(url: str, fields: dict, seconds: int) -> Slice:
    headers = [word for name, value in fields.items() for word in ("-H", f"{name}: {value}")]
    form = ["--output-format", "json"] if "--output-format" in output("oha", "--help") else ["--json"]
    said = json.loads(output("oha", "--no-tui", *form, "-c", str(CONNECTIONS), "-z", f"{seconds}s", *headers, url))
    # What was under way at the end is no error.
    errors = {what: count for what, count in said["errorDistribution"].items() if "deadline" not in what}
    if errors or set(said["statusCodeDistribution"]) != {"200"}:
        raise RuntimeError(f"{url}: {errors}, {said['statusCodeDistribution']}")
    percentiles = said["latencyPercentiles"]
    return Slice(said["summary"]["requestsPerSec"], percentiles["p50"] * 1e6, percentiles["p99"] * 1e6)


def output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else fail(" ".join(command), done.stderr or done.stdout)


def fail(what: str, said: str):
    raise RuntimeError(f"{what}: {said}")
