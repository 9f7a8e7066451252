"""Generates load with `wrk` or `oha`. The servers are measured alternately, in short time slices, so that other work on the
machine slows all of them equally."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from statistics import median

from contestants import Contestant
from processes import HOST, LOAD_CORE, pinned

CONNECTIONS = 64
# Microseconds per unit of the output of wrk and oha.
MICROSECONDS = {"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6}


@dataclass(frozen=True)
class Slice:
    """The result of one time slice. Latencies (percentiles) are in microseconds."""

    per_second: float
    p50: float
    p99: float


@dataclass(frozen=True)
class Turns:
    """All time slices of one contestant, one per round."""

    contestant: Contestant
    slices: list[Slice]

    def median(self, figure: str) -> float:
        return median(getattr(each, figure) for each in self.slices)

    def ratios_to(self, other: "Turns") -> list[float]:
        """Returns the ratio of the requests per second of each round to those of the other contestant, in ascending order."""
        return sorted(mine.per_second / theirs.per_second for mine, theirs in zip(self.slices, other.slices))


def generator() -> str | None:
    """Returns the name of the load generator that is installed, or `None`."""
    return next((name for name in ("wrk", "oha") if shutil.which(name)), None)


def take_turns(contestants: list[Contestant], rounds: int, seconds: int) -> list[Turns]:
    """Measures each contestant for one time slice per round. Each round starts with another contestant.

    If there are several rounds, a slice before them is for warm-up and is not counted.
    """
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
    text = output("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *headers, url)
    # A timeout of wrk means a slow response. It does not count as an error.
    if bad := re.search(r"Socket errors: (?!connect 0, read 0, write 0).*|Non-2xx.*", text):
        raise RuntimeError(f"{url}: {bad[0]}")

    def figure(pattern: str) -> re.Match:
        return re.search(pattern, text) or fail(url, text)

    def percentile(percent: int) -> float:
        value, unit = figure(rf"{percent}%\s+([\d.]+)(us|ms|s|m)\b").groups()
        return float(value) * MICROSECONDS[unit]

    return Slice(float(figure(r"Requests/sec:\s+([\d.]+)")[1]), percentile(50), percentile(99))


def oha(url: str, fields: dict, seconds: int) -> Slice:
    headers = [word for name, value in fields.items() for word in ("-H", f"{name}: {value}")]
    form = ["--output-format", "json"] if "--output-format" in output("oha", "--help") else ["--json"]
    result = json.loads(output("oha", "--no-tui", *form, "-c", str(CONNECTIONS), "-z", f"{seconds}s", *headers, url))
    # Requests that were in progress at the end do not count as errors.
    errors = {error: count for error, count in result["errorDistribution"].items() if "deadline" not in error}
    if errors or set(result["statusCodeDistribution"]) != {"200"}:
        raise RuntimeError(f"{url}: {errors}, {result['statusCodeDistribution']}")
    percentiles = result["latencyPercentiles"]
    return Slice(result["summary"]["requestsPerSec"], percentiles["p50"] * 1e6, percentiles["p99"] * 1e6)


def output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else fail(" ".join(command), done.stderr or done.stdout)


def fail(context: str, message: str):
    raise RuntimeError(f"{context}: {message}")
