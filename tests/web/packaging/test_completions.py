"""Shell completion scripts. Each test types a command line in a real shell, and lets the shell complete it."""

import os
import pty
import select
import time

import pytest
from files import path_of, run, sealjar
from harness import WAIT_TIMEOUT, Sealjar

# Typed command line, and words that must be among its completions.
TYPED = [
    ("sealjar key", {"keys"}),
    ("sealjar rea", {"ready"}),
    ("sealjar keys r", {"revoke", "rotate"}),
    ("sealjar users ca", {"calibrate"}),
    ("sealjar serve --admin", {"--admin-listen"}),
    ("sealjar keys rotate --act", {"--activate-in"}),
    ("sealjar doctor --st", {"--store", "--strict"}),
    ("sealjar completions f", {"fish"}),
    ("sealjar keys --config app.to", {"app.toml"}),
    ("sealjar keys list --keys my-k", {"my-keys/"}),
    ("sealjar man my-k", {"my-keys/"}),
]


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "app.toml").touch()
    (tmp_path / "my-keys").mkdir()
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "sealjar").symlink_to(Sealjar.program())
    for shell in ("bash", "zsh", "fish"):
        (tmp_path / shell).write_text(sealjar("completions", shell))
    return tmp_path


def environment(directory) -> dict:
    return {**os.environ, "PATH": f"{directory / 'bin'}:{os.environ['PATH']}", "HOME": str(directory), "TERM": "dumb"}


def in_bash(directory, line: str) -> set:
    """Returns the completions that readline inserts with `insert-completions` (Alt-*). A shell function with the name of the
    program prints its arguments."""
    with Terminal(directory, "bash", "--norc", "--noprofile", "-i") as terminal:
        terminal.write(f"PS1=; source {directory / 'bash'}; sealjar() {{ printf '<<%s>>' \"$*\"; }}; printf '<<%s>>' set\n")
        terminal.read_until("<<set>>")
        terminal.write(f"{line}\x1b*\n")
        arguments = terminal.read_until(">>").rpartition("<<")[2].removesuffix(">>").split()
    return set(arguments[len(line.split(" ")) - 2 :])


def in_fish(directory, line: str) -> set:
    script = f"source {directory / 'fish'}; complete -C '{line}'"
    done = run("fish", "--no-config", "-c", script, cwd=directory, env=environment(directory))
    assert done.returncode == 0, done.stderr
    return {text.split("\t")[0] for text in done.stdout.splitlines()}


# Completes with the line editor of zsh, and prints the offered completions in a form that the test can parse.
ZSH = """
PS1= PS2= RPS1=
unsetopt zle_bracketed_paste prompt_cr prompt_sp
fpath=({functions} $fpath)
autoload -Uz compinit && compinit -u -d {functions}/dump
offered=()
compadd() {{
    if [[ ${{@[(I)-(O|A|D)*]}} -eq 0 ]]; then
        local -a test_matches; builtin compadd -O test_matches "$@"; offered+=("${{test_matches[@]}}")
    fi
    builtin compadd "$@"
}}
complete_line() {{ offered=(); zle complete-word; print -r -- "<<$BUFFER|${{(j: :)offered}}>>"; BUFFER=; }}
zle -N complete_line
bindkey '^T' complete_line
print '<<'set'>>'
"""


def in_zsh(directory, lines: list) -> list:
    """Returns the completions of each line: the words that are offered, and the word that is inserted."""
    functions = directory / "functions"
    functions.mkdir()
    (functions / "_sealjar").write_text((directory / "zsh").read_text())
    (directory / "setup.zsh").write_text(ZSH.format(functions=functions))
    with Terminal(directory, "zsh", "-f", "-i") as terminal:
        terminal.write("source setup.zsh\n")
        terminal.read_until("<<set>>")
        found = []
        for line in lines:
            terminal.write(line + "\x14")
            buffer, offered = terminal.read_until(">>").rpartition("<<")[2].removesuffix(">>").split("|")
            found.append({*offered.split(), buffer.rstrip().rpartition(" ")[2]})
    return found


class Terminal:
    """A program that runs in a pseudoterminal of its own."""

    def __init__(self, directory, program, *arguments):
        command = [path_of(program), *arguments]
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            os.execvpe(command[0], command, environment(directory))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        os.close(self.descriptor)

    def write(self, text: str):
        os.write(self.descriptor, text.encode())

    def read_until(self, mark: str) -> str:
        """Returns the output of the program up to and including a mark. The terminal echoes the input, too."""
        text = ""
        deadline = time.monotonic() + WAIT_TIMEOUT
        while mark not in text:
            ready, _, _ = select.select([self.descriptor], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no {mark} in {text!r}"
            text += os.read(self.descriptor, 1).decode(errors="replace")
        return text


def without_slash(words: set) -> set:
    """Removes the slash at the end of directories, which some shells add and others do not."""
    return {word.rstrip("/") for word in words}


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_the_shell_completes_commands_options_and_files(directory, shell):
    complete = {"bash": in_bash, "fish": in_fish}[shell]
    for line, expected in TYPED:
        found = complete(directory, line)
        assert without_slash(expected) <= without_slash(found), f"{line}: {found}"
        assert all(word.startswith(line.split(" ")[-1]) for word in found), f"{line}: {found}"


def test_zsh_completes_commands_options_and_files(directory):
    lines = [line for line, _ in TYPED]
    for (line, expected), found in zip(TYPED, in_zsh(directory, lines), strict=True):
        assert without_slash(expected) <= without_slash(found), f"{line}: {found}"


def test_the_shells_parse_the_scripts_without_errors(directory):
    for shell, check in [("bash", ["-n"]), ("zsh", ["-n"]), ("fish", ["--no-execute"])]:
        done = run(shell, *check, directory / shell)
        assert (done.returncode, done.stderr) == (0, ""), shell
