"""Compares the table of `docs/proxies.md` with the tests: each case that it lists is tested with each proxy."""

import re
from pathlib import Path

import pytest
from harness import ROOT

PAGE = (ROOT / "docs/proxies.md").read_text()
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and "`|" in line.replace(" ", "")]
MATRIX = [row for row in ROWS if len(row) == 8]
HERE = Path(__file__).parent
# Fixtures that run a test once with each proxy.
EACH_PROXY = {
    "kind",
    "proxy",
    "staff_only",
    "recent_login_only",
    "timed",
    "extended",
    "separate_login_host",
    "misspelt",
    "over_http2",
    "proxy_of_stand_in",
    "private",
    "hosted",
    "client",
}


def parameters_of(test: str) -> set:
    """Returns the parameters of the tests with this name in this folder."""
    texts = [path.read_text() for path in HERE.glob("test_*.py")]
    found = [names for text in texts for names in re.findall(rf"^def test_{test}\((.*?)\)", text, re.MULTILINE)]
    assert found, f"no test has the name {test}"
    return {name.strip() for names in found for name in names.split(",")}


@pytest.mark.parametrize("row", MATRIX, ids=[row[0] for row in MATRIX])
def test_each_case_of_the_table_has_tests_with_all_proxies(row):
    assert all(cell.startswith("\N{CHECK MARK}") for cell in row[1:7])
    tests = re.findall(r"`(\w+)`", row[7])
    assert tests
    for test in tests:
        assert parameters_of(test) & EACH_PROXY, test


def test_the_table_has_every_case_and_each_note_is_there():
    assert len(MATRIX) >= 26
    table, notes = PAGE.split("## Tested cases")[1].split("## Common problems")[0].rsplit("|\n", 1)
    used = set(re.findall("[\u00b9\u00b2\u00b3\u2074-\u2079]", table))
    assert used == set(re.findall("^([\u00b9\u00b2\u00b3\u2074-\u2079]) ", notes, re.MULTILINE))
