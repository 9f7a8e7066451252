"""The way of a stranger in `docs/start.md`, from a fresh clone to an application behind Sealjar, nginx and TLS, and back: its
very commands, by one shell as root, in the order in which they stand there, with the outputs that are shown.

Only the build is not repeated: the `sealjar` that was built is where the page installs it. The shell has mounts, processes and a network
of its own, so that it may write in /etc, listen on port 443 and leave nothing behind.
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
# What differs from run to run. The fields of a session are those that tests/readme.rs passes over, too.
VARYING_FIELDS = {"sid", "sub", "authenticated_at", "idle_deadline", "absolute_deadline", "csrf_token"}
VARYING_TEXT = [(r"\b[0-9a-f]{16}\b", "KID"), (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "INSTANT")]

# A machine on which Debian's nginx has been installed, and runs, as its package leaves it.
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
    """Each command with the lines it is said to print; a block without outputs is one command, and may print anything."""
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
    """A line without what differs, where it is what it should be."""
    if line.startswith("{"):
        fields = json.loads(line)
        assert all(fields[name] for name in VARYING_FIELDS & fields.keys()), line
        return {name: value for name, value in fields.items() if name not in VARYING_FIELDS}, fields.keys()
    for pattern, name in VARYING_TEXT:
        line = re.sub(pattern, name, line)
    return line


@pytest.fixture
def shell(tmp_path):
    """Runs commands on such a machine; returns for each what it printed and how it ended, as far as it came, and the log."""
    lacks = [program for program in ("unshare", "nginx", "curl", "openssl", "ip") if not which(program)]
    if not lacks and subprocess.run([*NAMESPACES, "true"], capture_output=True).returncode != 0:
        lacks = ["the right to unshare"]
    if lacks:
        refuse = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        refuse(f"docs/start.md IS NOT REPLAYED: {', '.join(lacks)} is missing")
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


# The processes end with the shell.
NAMESPACES = "unshare --net --mount --pid --fork --kill-child --mount-proc".split()


def which(program: str) -> bool:
    return bool(shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin"))


def test_the_steps_from_a_clone_to_a_protected_application(shell):
    wanted = steps()
    assert len([True for _, expected in wanted if expected]) >= 8, "the transcript was found"
    found, log = shell(wanted)
    for (command, expected), (printed, code) in zip(wanted, found):
        if expected is not None:
            assert [*map(comparable, printed)] == [*map(comparable, expected)], f"{command}\n{log}"
        assert code == "0", f"{command}\n{log}"
    assert len(found) == len(wanted), f"it ended before {wanted[len(found)][0]}\n{log}"


def test_nothing_of_it_is_left_behind(shell):
    """Neither in the machine that it was done on, nor outside of it."""
    paths = "/etc/sealjar /var/lib/sealjar /srv/app /etc/nginx/conf.d/sealjar.conf /usr/local/bin/sealjar"
    remains = f"ls -d {paths}; grep app.example.com /etc/hosts; jobs -r; true"
    outside = [Path("/etc/sealjar"), Path("/srv/app"), Path("/etc/hosts")]
    before = [path.stat().st_mtime_ns if path.exists() else None for path in outside]
    found, log = shell([*steps(), (remains, [])])
    assert found[-1] == ([], "0"), log
    assert [path.stat().st_mtime_ns if path.exists() else None for path in outside] == before
