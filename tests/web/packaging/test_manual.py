"""The manual pages that `sealjar man` writes."""

import re

import pytest
from files import run, sealjar
from harness import Sealjar

# Warnings of mandoc that are accepted. This one is about clap's list of possible values.
ACCEPTED_WARNINGS = ["skipping paragraph macro: br"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    directory = tmp_path_factory.mktemp("man")
    sealjar("man", directory)
    return directory


def words(page) -> str:
    """Returns the text of a page as a terminal shows it, without emphasis and line breaks."""
    done = run("mandoc", "-T", "ascii", page)
    assert done.returncode == 0, done.stderr
    return " ".join(re.sub(".\b", "", done.stdout).split())


def test_mandoc_finds_no_errors_in_the_pages(pages):
    done = run("mandoc", "-T", "lint", "-W", "warning", *sorted(pages.glob("*/*")))
    assert [line for line in done.stdout.splitlines() if not any(accepted in line for accepted in ACCEPTED_WARNINGS)] == []


def test_each_command_has_a_page(pages):
    def commands(*path):
        yield path
        listed = re.search(r"\nCommands:\n(.*?)\n\n", sealjar(*path, "--help"), re.DOTALL)
        for name in re.findall(r"^  (\S+)", listed[1] if listed else "", re.MULTILINE):
            if name != "help":
                yield from commands(*path, name)

    expected = {"-".join(["sealjar", *path]) + ".1" for path in commands()}
    assert {page.name for page in pages.glob("*/*")} == expected | {"sealjar.toml.5"}


def test_the_settings_page_has_every_setting_with_its_default(pages):
    page = words(pages / "man5/sealjar.toml.5")
    for name, value in re.findall(r"^(\S+) = (.*)  # default$", sealjar("config"), re.MULTILINE):
        default = value.strip('"') if value not in ('""', "[]") else "none"
        assert f" {name} {default} " in page, name


def test_the_commands_page_has_exit_codes_files_and_variables(pages):
    page = words(pages / "man1/sealjar.1")
    for part in ["EXIT STATUS 0 done", "78 the configuration", "SEALJAR_CONFIG", "/etc/sealjar/sealjar.toml"]:
        assert part in page
    assert "EXIT STATUS 0 done" in words(pages / "man1/sealjar-keys-rotate.1")


def test_a_synopsis_names_values_and_examples_follow(pages):
    page = words(pages / "man1/sealjar-keys-rotate.1")
    assert "SYNOPSIS sealjar keys rotate [--activate-in <DURATION>] [--wait] [--timeout <DURATION>] [global options] " in page
    assert "GLOBAL OPTIONS --config <FILE> " in page
    assert "EXAMPLES sealjar keys rotate sealjar keys rotate --wait " in page
    assert "sealjar migrate --from <URL> --to <URL> [global options]" in words(pages / "man1/sealjar-migrate.1")
    for path in pages.glob("man1/*"):
        assert "SUBCOMMANDS" in (text := path.read_text()) or ".SH EXAMPLES" in text, path


def test_all_pages_have_one_reproducible_date(pages, tmp_path):
    def date(page) -> str:
        return re.search(r"^\.TH \S+ \S+ +\"?(\S*?)\"? ", page.read_text(), re.MULTILINE)[1]

    dates = {date(page) for page in pages.glob("*/*")}
    assert len(dates) == 1 and re.fullmatch(r"\d{4}-\d\d-\d\d", dates.pop())
    done = run(Sealjar.program(), "man", tmp_path, env={**Sealjar.without_settings(), "SOURCE_DATE_EPOCH": "86400"})
    assert done.returncode == 0, done.stderr
    assert {date(page) for page in tmp_path.glob("*/*")} == {"1970-01-02"}
