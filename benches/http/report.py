"""The figures in Markdown: all of them for RESULTS.md, and those that say how fast it is for the README."""

import datetime
import re
import textwrap
from dataclasses import dataclass, field
from statistics import median

import versions
from instructions import Count
from load import CONNECTIONS, Turns
from memory import SESSIONS
from peers import BODY, PEERS
from sealjar import ROOT

RESULTS = ROOT / "benches/RESULTS.md"
README = ROOT / "README.md"
WIDTH = 120
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
# What Sealjar may cost over the bare handler.
MOST_INSTRUCTIONS = 4_500


HOW_BARE = f"""
The bare server is one Salvo handler with a prepared answer: the one that Sealjar gave, with the same fields
(`benches/http/bare.rs`; the same Salvo and profile), at Salvo's own listener. It is there twice: as handlers are
usually written, with a route, each field inserted, and Sealjar's time limits for connections as Salvo keeps them
(*bare*); and with nothing that could be left out, all fields copied at once, no look at the path, and no time limit
(*barest*). That Sealjar can be faster is because it answers these requests before Salvo's routing, and has one task
watch over its connections. {CONNECTIONS} kept connections, one worker thread; servers on one core, the load on another.
All take turns of a second, after one to get warm. Ratios are taken within a round; told are their median, the least and
the greatest. The browser sends the session's cookie and no other, unless it says so."""

HOW_INSTRUCTIONS = f"""
In user space, counted by `valgrind --tool=callgrind` over one connection, without what the server does when nobody asks.
The aim is at most {MOST_INSTRUCTIONS:,} over the bare handler for `/auth/status` and `/auth/verify`. *Bare* and *barest*
are those of above. Valgrind's
processor has neither AVX-512 nor the SHA instructions: where the libraries would use these, it counts what they do
without."""

HOW_PEERS = f"""
Each checks a session's cookie and answers `{BODY.decode()}`, as its own documentation recommends, and without writing
the session anew at each request (`benches/peers`). Each has proven first that it refuses requests without a cookie and
with a changed one. Sealjar answers what it always answers: with more fields and, at `/protected`, twice the body. Redis
shares the servers' core, because a request costs what both do for it. Memory is resident memory with {SESSIONS:,} live
sessions, all begun at the peer's own sign-in; for Sealjar, whose live sessions leave nothing behind and whose passwords
would take half an hour, with as many sessions that were signed out."""

HOW_SIZE = """
Starts are the quickest of some. Resident memory counts the touched pages of the program. On its one core an idle server
has one thread that checks passwords, which holds 19 MiB of it."""


@dataclass
class Figures:
    """What was measured; `None` and nothing for what was not."""

    verify: str = ""
    bare: list[tuple[Turns, Turns, Turns]] = field(default_factory=list)
    instructions: list[Count] = field(default_factory=list)
    peers: list[Turns] = field(default_factory=list)
    memory: dict[str, dict] = field(default_factory=dict)
    startup: dict[int, dict] = field(default_factory=dict)
    binary_bytes: int | None = None
    skipped: list[str] = field(default_factory=list)


def paragraph(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def table(head: list[str], rows: list[list[str]]) -> str:
    """The first column is text, the others are figures."""
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
    head = ["request", "Sealjar, a second", "bare", "ratio (of rounds)", "barest", "ratio (of rounds)"]
    head += ["p50, ms", "bare", "p99, ms", "bare"]
    cells = [
        [route(ours), f"{ours.median('per_second'):,.0f}"]
        + [cell for each in (bare, barest) for cell in (f"{each.median('per_second'):,.0f}", spread(ours.over(each)))]
        + [milliseconds(turns, figure) for figure in ("p50", "p99") for turns in (ours, bare)]
        for ours, bare, barest in rows
    ]
    return table(head, cells)


def instructions_table(counts: list[Count]) -> str:
    rows = []
    for count in counts:
        beside = [cell for bare in (count.usual, count.bare) for cell in (bare, count.sealjar - bare)]
        rows.append([f"`GET {count.path}`", *(f"{each:,.0f}" for each in (count.sealjar, *beside))])
    return table(["request", "Sealjar", "bare", "difference", "barest", "difference"], rows)


def peers_table(figures: Figures) -> str:
    """Sealjar's routes come first; ratios are to the first of them."""
    sessions = {peer.title: peer.sessions for peer in PEERS}
    head = ["server", "sessions", "requests a second", "of Sealjar's (of rounds)", "p50, ms", "p99, ms", "memory, MiB"]
    rows = []
    for turns in figures.peers:
        name, memory = turns.contestant.name, figures.memory.get(turns.contestant.name, {})
        ours = name not in sessions
        held = mib(memory["server"]) if memory else ""
        held += f" + {mib(memory['redis'])} of Redis" if memory.get("redis") else ""
        rows.append([
            f"{name}, {route(turns)}" if ours else name,
            "sealed cookie" if ours else sessions[name],
            f"{turns.median('per_second'):,.0f}",
            "1" if turns is figures.peers[0] else spread(turns.over(figures.peers[0])),
            milliseconds(turns, "p50"),
            milliseconds(turns, "p99"),
            held,
        ])
    return table(head, rows)


def size_table(figures: Figures) -> str:
    rows = []
    for count, start in figures.startup.items():
        memory = f"{mib(start['resident_bytes'])} MiB resident"
        rows.append([f"start to ready, {count:,} live revocations in SQLite", f"{start['ready_ms']:,.0f} ms; {memory}"])
    if figures.binary_bytes:
        rows.append(["`sealjar`, the program", f"{mib(figures.binary_bytes)} MiB"])
    if ours := figures.memory.get("Sealjar"):
        rows.append(["resident memory, idle after a sign-in and 30 requests", f"{mib(ours['idle'])} MiB"])
    return table(["", ""], rows)


def headline(figures: Figures) -> str:
    """The README's table: one row for each promise."""
    rows = []
    for ours, bare, barest in figures.bare:
        if not ours.contestant.has_foreign_cookies:
            beside = f"{spread(ours.over(bare))}; barest: {spread(ours.over(barest))}"
            rows.append([f"{route(ours)}, requests a second beside a bare Salvo handler's", beside])
    for count in figures.instructions:
        more = f"{count.sealjar - count.usual:+,.0f}; barest: {count.sealjar - count.bare:+,.0f}"
        rows.append([f"`GET {count.path}`, instructions a request over the bare handler's", more])
    rows += verify_rows(figures.verify)
    for count, start in figures.startup.items():
        if count:
            rows.append([f"start to ready, {count:,} live revocations in SQLite", f"{start['ready_ms'] / 1000:.1f} s"])
    if figures.binary_bytes:
        rows.append(["the program", f"{mib(figures.binary_bytes)} MiB"])
    if ours := figures.memory.get("Sealjar"):
        rows.append(["resident memory, idle after a sign-in and 30 requests", f"{mib(ours['idle'])} MiB"])
    return table(["", ""], rows)


def verify_rows(said: str) -> list[list[str]]:
    """The rows for the README out of what `cargo bench` says."""
    rows = []
    if cells := cells_of(said, "open and check"):
        rows.append(["opening and checking a token in memory, over the cipher's bare opening", f"{cells[4]} ns"])
    if cells := cells_of(said, "open and check beside"):
        rows.append(["the same with a million live revocations", f"{cells[4]} ns"])
    if cells := cells_of(said, "verify: all of these"):
        rows.append(["the check in memory, from the cookie header to the verdict", f"{cells[1]} ns"])
        rows.append(["of it, the cipher's bare opening", f"{cells[2]} ns"])
    if cells := cells_of(said, "10000000"):
        rows.append(["the check with 10 million live revocations, beside one with none", cells[2]])
        rows.append(["memory of each of these revocations", f"{cells[5]} bytes"])
    return rows


def cells_of(said: str, name: str) -> list[str] | None:
    """The cells of the row whose first cell has this in it."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in said.splitlines() if line.startswith("|")]
    return next((cells for cells in rows if name in cells[0]), None)


def conditions(figures: Figures) -> str:
    """When, where, and with what."""
    peers = ", ".join(f"{name} {version}" for name, version in versions.of_peers().items())
    said = f"{datetime.date.today()}, commit {versions.sealjar_commit()}. {versions.machine()}. "
    said += f"{', '.join(versions.of_programs())}.{f' Peers: {peers}.' if figures.peers else ''}"
    return paragraph(said)


def whole(figures: Figures) -> str:
    """Everything."""
    parts = ["# How fast it is", "Written by `make bench`.", conditions(figures)]
    if figures.skipped:
        parts.append("**Not measured:**\n\n" + "\n".join(f"- {what}" for what in figures.skipped))
    if figures.bare:
        parts += ["## Beside a bare handler", paragraph(HOW_BARE), bare_table(figures.bare)]
    if figures.instructions:
        parts += ["## Instructions a request", paragraph(HOW_INSTRUCTIONS), instructions_table(figures.instructions)]
    if figures.peers:
        parts += ["## Beside other libraries", paragraph(HOW_PEERS), peers_table(figures)]
    if figures.startup or "Sealjar" in figures.memory:
        parts += ["## Start and size", paragraph(HOW_SIZE), size_table(figures)]
    if figures.verify:
        parts += ["## In memory", "What `cargo bench` says.", figures.verify.strip()]
    return "\n\n".join(part for part in parts if part) + "\n"


def write(figures: Figures):
    # All of it before the first file is changed: it says whether files were.
    results = whole(figures)
    block = [BEGIN, conditions(figures), headline(figures)]
    block += [peers_table(figures)] if figures.peers else []
    text = README.read_text()
    pattern = re.compile(f"{BEGIN}.*{END}", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"README.md has no place for the table: {BEGIN} and {END}")
    RESULTS.write_text(results)
    README.write_text(pattern.sub(lambda _: "\n\n".join([*block, END]), text, count=1))
