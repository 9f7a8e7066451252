"""Replays the commands of `docs/start.md`, from a fresh clone to an application behind Sealjar, nginx and TLS, and the cleanup. One
root shell runs them in the order of the page, and their output is compared with the page.

Only the build is not repeated: the binary that was built already is copied to where the page installs it. The shell runs in its own
mount, process and network namespaces, so it can write to /etc and listen on port 443 without changing the machine.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import WAIT_TIMEOUT, ROOT

DOCUMENT = ROOT / "docs/start.md"
MARK = r"<!-- tests/web/start replays this\. -->\n```(sh|console)\n(.*?)\n```"
# Values that differ from run to run. `tests/readme.rs` ignores the same fields of a session.
VARYING_FIELDS = {"sid", "sub", "authenticated_at", "idle_deadline", "absolute_deadline", "csrf_token"}
VARYING_TEXT = [(r"\b[0-9a-f]{16}\b", "KID"), (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "INSTANT")]

# Sets up a machine on which nginx of Debian is installed and runs with the configuration of its package.
MACHINE = """
set -e
cp -a /etc {here}/etc && mount --bind {here}/etc /etc
for directory in /run /srv /usr/local/bin /var/lib /var/log; do mount -t tmpfs none $directory; done
mkdir /var/lib/nginx /var/log/nginx
install {sealjar} /usr/local/bin/
ip link set lo up
nginx >&2
cd {here}/clone
"""


def steps() -> list:
    """Returns each command with the lines that it must print. A `sh` block is a single command, whose output is not compared."""
    found = []
    for kind, block in re.findall(MARK, DOCUMENT.read_text(), re.DOTALL):
        if kind == "sh":
            found.append((block, None))
            continue
        for line in filter(None, block.splitlines()):
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def comparable(line: str):
    """Returns a line with the varying values removed or replaced."""
    if line.startswith("{"):
        fields = json.loads(line)
        assert all(fields[name] for name in VARYING_FIELDS & fields.keys()), line
        return {name: value for name, value in fields.items() if name not in VARYING_FIELDS}, fields.keys()
    for pattern, name in VARYING_TEXT:
        line = re.sub(pattern, name, line)
    return line


@pytest.fixture
def shell(tmp_path):
    """A function that runs commands on such a machine. It returns output and exit code of each command that was run, and the log."""
    missing = [program for program in ("unshare", "nginx", "curl", "openssl", "ip") if not which(program)]
    if not missing and subprocess.run([*NAMESPACES, "true"], capture_output=True).returncode != 0:
        missing = ["the right to unshare"]
    if missing:
        skip_or_fail = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        skip_or_fail(f"docs/start.md is not replayed, because this is missing: {', '.join(missing)}")
    shutil.copytree(ROOT / "deploy", tmp_path / "clone/deploy")
    built = Path(os.environ.get("SEALJAR_BIN", ROOT / "target/debug/sealjar")).resolve()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SEALJAR_", "CURL_"))}
    environment["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    def run(commands):
        end = "\x1e"
        script = MACHINE.format(here=tmp_path, sealjar=built)
        for command, expected in commands:
            script += f"{{ {command}\n}}" + (" >&2" if expected is None else "") + f"\nprintf '%s{end}' $?\n"
        done = subprocess.run(
            [*NAMESPACES, "bash"], input=script, env=environment, capture_output=True, text=True, timeout=2 * WAIT_TIMEOUT
        )
        *ends, rest = done.stdout.split(end)
        return [(printed[:-1].splitlines(), printed[-1:]) for printed in ends], f"{rest}\n{done.stderr}"

    return run


# All processes in the namespaces end with the shell.
NAMESPACES = "unshare --net --mount --pid --fork --kill-child --mount-proc".split()


def which(program: str) -> bool:
    return bool(shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin"))


def test_the_steps_from_a_clone_to_a_protected_application(shell):
    commands = steps()
    assert len([True for _, expected in commands if expected]) >= 8, "the transcript was found"
    results, log = shell(commands)
    for (command, expected), (printed, code) in zip(commands, results):
        if expected is not None:
            assert [*map(comparable, printed)] == [*map(comparable, expected)], f"{command}\n{log}"
        assert code == "0", f"{command}\n{log}"
    assert len(results) == len(commands), f"the shell ended before {commands[len(results)][0]}\n{log}"


def test_the_cleanup_leaves_no_files_and_no_processes(shell):
    """Checks the machine in the namespaces, and the machine that runs the tests."""
    paths = "/etc/sealjar /var/lib/sealjar /srv/app /etc/nginx/conf.d/sealjar.conf /usr/local/bin/sealjar"
    list_remains = f"ls -d {paths}; grep app.example.com /etc/hosts; jobs -r; true"
    outside = [Path("/etc/sealjar"), Path("/srv/app"), Path("/etc/hosts")]
    before = [path.stat().st_mtime_ns if path.exists() else None for path in outside]
    results, log = shell([*steps(), (list_remains, [])])
    assert results[-1] == ([], "0"), log
    assert [path.stat().st_mtime_ns if path.exists() else None for path in outside] == before
