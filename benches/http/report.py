"""Renders the figures as Markdown: all of them for docs/performance.md, and the most important ones for README.md."""

import datetime
import re
import textwrap
from dataclasses import dataclass, field
from statistics import median

import texts
import versions
from instructions import Count
from load import Turns
from peers import PEERS
from sealjar import ROOT

PERFORMANCE = ROOT / "docs/performance.md"
README = ROOT / "README.md"
WIDTH = 120
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
# Goal: maximum number of instructions per request in addition to those of the bare handler.
MAX_EXTRA_INSTRUCTIONS = 4_500
# Maximum ratio that counts as constant time. Two measurements of the same code differ by this much.
MAX_CONSTANT_RATIO = 1.05
# The peers in README's table.
README_PEERS = ("axum, tower-sessions", "axum-extra, PrivateCookieJar")


@dataclass
class Figures:
    """The results. A field is empty or `None` if it was not measured."""

    verify: str = ""
    bare: list[tuple[Turns, Turns, Turns]] = field(default_factory=list)
    instructions: list[Count] = field(default_factory=list)
    peers: list[Turns] = field(default_factory=list)
    memory: dict[str, dict] = field(default_factory=dict)
    startup: dict[int, dict] = field(default_factory=dict)
    binary_bytes: int | None = None
    skipped: list[str] = field(default_factory=list)


def paragraph(text: str, indent: str = "") -> str:
    wrapping = {"subsequent_indent": indent, "break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(" ".join(text.split()), WIDTH, **wrapping)


def table(head: list[str], rows: list[list[str]]) -> str:
    """Returns a Markdown table. The first column has text, and the others have figures."""
    lines = [" ".join(["|", *(f"{cell} |".lstrip() for cell in line)]) for line in [head, *rows]]
    return "\n".join([lines[0], "|---|" + "---:|" * (len(head) - 1), *lines[1:]])


def spread(ratios: list[float], form: str = "{:.2f}") -> str:
    return "{} ({}–{})".format(*(form.format(each) for each in (median(ratios), ratios[0], ratios[-1])))


def milliseconds(turns: Turns, figure: str) -> str:
    return f"{turns.median(figure) / 1000:.2f}"


def mib(count: int) -> str:
    return f"{count / 2**20:.1f}"


def route(turns: Turns) -> str:
    foreign = ", 1 kB of other cookies" * turns.contestant.has_foreign_cookies
    return f"`GET {turns.contestant.path}`{foreign}"


def bare_table(rows: list[tuple[Turns, Turns, Turns]]) -> str:
    head = ["request", "Sealjar, per second", "bare, per second", "ratio", "minimal, per second", "ratio"]
    head += ["Sealjar p50, ms", "bare p50, ms", "Sealjar p99, ms", "bare p99, ms"]
    cells = [
        [route(ours), f"{ours.median('per_second'):,.0f}"]
        + [cell for each in (bare, minimal) for cell in (f"{each.median('per_second'):,.0f}", spread(ours.ratios_to(each)))]
        + [milliseconds(turns, figure) for figure in ("p50", "p99") for turns in (ours, bare)]
        for ours, bare, minimal in rows
    ]
    return table(head, cells)


def instructions_table(counts: list[Count]) -> str:
    rows = []
    for count in counts:
        bare_cells = [cell for bare in (count.ordinary, count.bare) for cell in (bare, count.sealjar - bare)]
        rows.append([f"`GET {count.path}`", *(f"{each:,.0f}" for each in (count.sealjar, *bare_cells))])
    return table(["request", "Sealjar", "bare", "difference", "minimal", "difference"], rows)


def peers_table(figures: Figures) -> str:
    """Returns the table of Sealjar and its peers. The first row is a route of Sealjar, and ratios are relative to it."""
    sessions = {peer.title: peer.sessions for peer in PEERS}
    head = ["server", "session", "requests per second", "ratio to Sealjar", "p50, ms", "p99, ms", "memory, MiB"]
    rows = []
    for turns in figures.peers:
        name = turns.contestant.name
        memory = figures.memory.get(name, {})
        is_sealjar = name not in sessions
        memory_cell = mib(memory["server"]) if memory else ""
        memory_cell += f" + {mib(memory['redis'])} of Redis" if memory.get("redis") else ""
        rows.append([
            f"{name}, {route(turns)}" if is_sealjar else name,
            "encrypted cookie" if is_sealjar else sessions[name],
            f"{turns.median('per_second'):,.0f}",
            "1" if turns is figures.peers[0] else spread(turns.ratios_to(figures.peers[0])),
            milliseconds(turns, "p50"),
            milliseconds(turns, "p99"),
            memory_cell,
        ])
    return table(head, rows)


def size_table(figures: Figures) -> str:
    rows = []
    for count, start in figures.startup.items():
        memory = f"{mib(start['resident_bytes'])} MiB resident"
        label = f"start, revocation list with {count:,} entries in SQLite"
        rows.append([label, f"{start['ready_ms']:,.0f} ms; {memory}"])
    if figures.binary_bytes:
        rows.append(["size of the program `sealjar`", f"{mib(figures.binary_bytes)} MiB"])
    rows += idle_rows(figures)
    return table(["measurement", "result"], rows)


def idle_rows(figures: Figures) -> list[list[str]]:
    ours = figures.memory.get("Sealjar")
    if not ours:
        return []
    return [
        ["resident memory, idle", f"{mib(ours['idle'])} MiB"],
        ["resident memory in the minute after a login", f"{mib(ours['used'])} MiB"],
        ["CPU time, idle", f"{ours['idle_cpu']:.2%} of a core"],
    ]


def goals_table(figures: Figures) -> str:
    """Returns the table of the goals that were measured, and whether they are reached."""
    rows = []

    def add(goal: str, limit: str, measured: str, is_reached: bool):
        rows.append([goal, limit, measured, "yes" if is_reached else "**no**"])

    for count in figures.instructions:
        if count.path != "/protected":
            extra = count.sealjar - count.ordinary
            goal = f"`GET {count.path}`, instructions more than the bare handler"
            add(goal, f"at most {MAX_EXTRA_INSTRUCTIONS:,}", f"{extra:,.0f}", extra <= MAX_EXTRA_INSTRUCTIONS)
    output = figures.verify
    if cells := cells_of(output, "open and check"):
        goal = "open and check a token, more than the decryption alone"
        limit = goal_of(output, "open and check takes at most")
        add(goal, f"at most {limit} ns", f"{cells[4]} ns", float(cells[4]) <= float(limit))
    if cells := cells_of(output, "10000000"):
        goal = "verify with 10 million entries, ratio to an empty list"
        add(goal, "1 (constant time)", cells[2], float(cells[2]) <= MAX_CONSTANT_RATIO)
        goal = "memory of an entry, with 10 million entries"
        limit = goal_of(output, "ratios of 1, and at most")
        add(goal, f"at most {limit} bytes", f"{cells[5]} bytes", float(cells[5]) <= float(limit))
    if cells := cells_of(output, "deletes from this list"):
        goal = "99 % of verify while entries are deleted, ratio to idle"
        limit = goal_of(output, "the 99 % are at most")
        add(goal, f"at most {limit}", cells[4], float(cells[4]) <= float(limit))
    if cells := last_cells_of(output, "verify"):
        goal = "verify with two threads, ratio to one thread"
        limit = re.search(r"Goal: ([\d.]+) times as many", output)[1]
        add(goal, f"at least {limit}", cells[3], float(cells[3]) >= float(limit))
    return table(["goal", "limit", "measured", "reached"], rows) if rows else ""


def headline(figures: Figures) -> str:
    """Returns README's table, which has the most important rows."""
    rows = []
    for ours, bare, _ in figures.bare:
        if not ours.contestant.has_foreign_cookies:
            rows.append([f"{route(ours)}, requests per second, ratio to a bare Salvo handler", spread(ours.ratios_to(bare))])
    sessions = {peer.title: peer.sessions for peer in PEERS}
    for turns in figures.peers:
        name = turns.contestant.name
        if name in README_PEERS:
            ratio = spread(turns.ratios_to(figures.peers[0]))
            rows.append([f"{name} ({sessions[name]}), requests per second, ratio to Sealjar", ratio])
    if cells := cells_of(figures.verify, "1000000"):
        rows.append(["check of a session in memory, with a million entries in the revocation list", f"{cells[1]} ns"])
    for count, start in figures.startup.items():
        if count:
            label = f"start with {count:,} entries in the revocation list (SQLite)"
            rows.append([label, f"{start['ready_ms'] / 1000:.1f} s"])
    return table(["measurement", "result"], rows + idle_rows(figures))


def rows_of(output: str, name: str) -> list[list[str]]:
    """Returns the cells of all table rows whose first cell contains the name."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in output.splitlines() if line.startswith("|")]
    return [cells for cells in rows if name in cells[0]]


def cells_of(output: str, name: str) -> list[str] | None:
    return next(iter(rows_of(output, name)), None)


def goal_of(output: str, words: str) -> str:
    """Returns the number after these words in a goal that `cargo bench` prints."""
    return re.search(rf"{re.escape(words)} ([\d.]+)", output)[1]


def last_cells_of(output: str, name: str) -> list[str] | None:
    return next(reversed(rows_of(output, name)), None)


def dated() -> str:
    return f"{datetime.date.today()}, commit {versions.sealjar_commit()}"


def conditions(figures: Figures) -> str:
    """Returns the date, the machine, and the versions of tools and libraries."""
    lines = [f"- Date: {dated()}.", f"- Machine: {versions.machine()}."]
    lines.append(f"- Tools: {', '.join(versions.of_programs())}.")
    if figures.peers:
        peers = ", ".join(f"{name} {version}" for name, version in versions.of_peers().items())
        lines.append(f"- Libraries: {peers}.")
    return "\n".join(paragraph(line, "  ") for line in lines)


def performance_page(figures: Figures) -> str:
    """Returns the text of docs/performance.md."""
    parts = ["<!-- Written by `make bench`. Do not edit. -->", "# Performance"]
    parts += [paragraph(texts.INTRO), conditions(figures)]
    if figures.skipped:
        parts.append("**Not measured:**\n\n" + "\n".join(f"- {reason}" for reason in figures.skipped))
    if goals := goals_table(figures):
        parts += ["## Goals", goals]
    parts += ["## Limits of the measurements", texts.LIMITS.strip()]
    if figures.bare:
        parts += ["## Bare handler", paragraph(texts.HOW_BARE), texts.VARIANTS.strip()]
        parts += [paragraph(text) for text in (texts.WHY_FASTER, texts.HOW_TURNS)] + [bare_table(figures.bare)]
    if figures.instructions:
        how = paragraph(texts.HOW_INSTRUCTIONS)
        parts += ["## Instructions per request", how, instructions_table(figures.instructions)]
    if figures.peers:
        how = [paragraph(texts.HOW_PEERS), texts.FAIRNESS.strip()]
        parts += ["## Other session libraries", *how, peers_table(figures)]
    if figures.startup or "Sealjar" in figures.memory:
        parts += ["## Start and size", paragraph(texts.HOW_SIZE), size_table(figures)]
    if figures.verify:
        parts += ["## Session check in memory", paragraph(texts.HOW_MEMORY), figures.verify.strip()]
    return "\n\n".join(part for part in parts if part) + "\n"


def readme_block(figures: Figures) -> str:
    where = f"Measured with `make bench` (profile `dist`): {dated()}; {versions.machine()}. Each server runs on one core."
    where += " Ratios are the median (minimum to maximum)."
    more = f"{where} [docs/performance.md](docs/performance.md) has all figures and how they were measured."
    return "\n\n".join([BEGIN, paragraph(more), headline(figures), END])


def write(figures: Figures):
    # Both texts are rendered before a file is written, because a changed file would appear in the text ("with changes").
    performance = performance_page(figures)
    block = readme_block(figures)
    readme = README.read_text()
    pattern = re.compile(f"{BEGIN}.*{END}", re.DOTALL)
    if not pattern.search(readme):
        raise SystemExit(f"README.md does not have the markers of the table: {BEGIN} and {END}")
    PERFORMANCE.write_text(performance)
    README.write_text(pattern.sub(lambda _: block, readme, count=1))
