"""The manual pages and completions that the command writes."""

import re

import pytest
from files import run, sealjar

# mandoc's words for what is meant: a page is of a version and has no date; clap's list of a value's choices.
MEANT = ['missing date, using ""', "skipping paragraph macro: br after sp"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    directory = tmp_path_factory.mktemp("man")
    sealjar("man", directory)
    return directory


def words(page) -> str:
    """What a terminal shows of a page, without emphasis and line breaks."""
    done = run("mandoc", "-T", "ascii", page)
    assert done.returncode == 0, done.stderr
    return " ".join(re.sub(".\b", "", done.stdout).split())


def test_they_are_proper_manual_pages(pages):
    done = run("mandoc", "-T", "lint", "-W", "warning", *sorted(pages.glob("*/*")))
    assert [line for line in done.stdout.splitlines() if not any(meant in line for meant in MEANT)] == []


def test_each_command_has_one(pages):
    def commands(*path):
        yield path
        listed = re.search(r"\nCommands:\n(.*?)\n\n", sealjar(*path, "--help"), re.DOTALL)
        for name in re.findall(r"^  (\S+)", listed[1] if listed else "", re.MULTILINE):
            if name != "help":
                yield from commands(*path, name)

    wanted = {"-".join(["sealjar", *path]) + ".1" for path in commands()}
    assert {page.name for page in pages.glob("*/*")} == wanted | {"sealjar.toml.5"}


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


def test_bash_completes_commands_and_options(tmp_path):
    script = tmp_path / "sealjar.bash"
    script.write_text(sealjar("completions", "bash"))
    for typed, completed in [(("keys", "ro"), "rotate"), (("serve", "--admin"), "--admin-listen"), (("com",), "completions")]:
        line = ["sealjar", *typed]
        ask = f"source {script}; COMP_WORDS=({' '.join(line)}); COMP_CWORD={len(typed)}; "
        done = run("bash", "-c", ask + f'_sealjar sealjar "{line[-1]}" "{line[-2]}"; echo "${{COMPREPLY[@]}}"')
        assert done.stdout.split() == [completed], done.stderr
