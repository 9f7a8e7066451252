"""The files in `deploy` that make Sealjar a service of systemd. The tools of systemd check them, and a test compares them with the
settings."""

import os
import re
import stat
import tomllib

import pytest
from files import DEPLOY, run, sealjar
from harness import Sealjar

UNITS = ["sealjar.service", "sealjar.socket", "sealjar-admin.socket"]
SETTINGS = DEPLOY / "sealjar.toml"


def verify(directory, edit=lambda text: text) -> str:
    """Returns the complaints of systemd about the units. They run the program from where it was built."""
    for name in UNITS:
        text = (DEPLOY / name).read_text().replace("/usr/bin/sealjar", str(Sealjar.program()))
        (directory / name).write_text(edit(text))
    done = run("systemd-analyze", "verify", "--man=no", *(directory / name for name in UNITS))
    return done.stdout + done.stderr + (f"exit code {done.returncode}" if done.returncode else "")


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path):
    assert verify(tmp_path) == ""


def test_systemd_finds_a_misspelt_line(tmp_path):
    assert "Unknown key" in verify(tmp_path, lambda text: text.replace("ProtectHome=", "ProtectHouse="))


def test_the_service_has_the_security_rating_that_it_states():
    unit = DEPLOY / "sealjar.service"
    rate = int("".join(re.search(r"with (\d)\.(\d) of 10", unit.read_text()).groups()))
    security = ["systemd-analyze", "security", "--offline=yes", unit]
    done = run(*security, f"--threshold={rate}")
    assert done.returncode == 0, done.stdout
    assert run(*security, f"--threshold={rate - 1}").returncode != 0, "the rating is better than stated"


def test_the_system_call_filter_allows_landlock():
    """Without these system calls, the server would start without Landlock."""
    filters = re.findall(r"^SystemCallFilter=(?!~)(.*)$", (DEPLOY / "sealjar.service").read_text(), re.MULTILINE)
    allowed = {call for line in filters for call in line.split()}
    for group in [name for name in allowed if name.startswith("@")]:
        allowed |= set(run("systemd-analyze", "syscall-filter", group).stdout.split())
    assert {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"} <= allowed


def test_the_sockets_have_names_and_addresses_of_the_settings():
    """With these names, `systemd:NAME` finds the sockets. With these addresses, a change to socket activation changes no address."""
    http = tomllib.loads(SETTINGS.read_text())["http"]
    for file, setting, name in [("sealjar.socket", "listen", "public"), ("sealjar-admin.socket", "admin_listen", "admin")]:
        lines = (DEPLOY / file).read_text().splitlines()
        assert f"FileDescriptorName={name}" in lines
        assert f"ListenStream={http[setting]}" in lines


def test_the_user_and_the_directories_are_created(tmp_path):
    if os.geteuid() != 0:
        skip_or_fail = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        skip_or_fail("only root can create the user and the directories")
    settings = tmp_path / "etc/sealjar/sealjar.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("")
    for tool, file in [("systemd-sysusers", "sealjar.sysusers"), ("systemd-tmpfiles", "sealjar.tmpfiles")]:
        done = run(tool, f"--root={tmp_path}", *(["--create"] if tool == "systemd-tmpfiles" else []), DEPLOY / file)
        assert done.returncode == 0, done.stderr
    (user,) = [line.split(":") for line in (tmp_path / "etc/passwd").read_text().splitlines()]
    assert (user[0], user[5], user[6]) == ("sealjar", "/var/lib/sealjar", "/usr/sbin/nologin")
    uid, gid = int(user[2]), int(user[3])
    assert uid != 0
    for path, mode, owners in [
        ("etc/sealjar", 0o750, (0, gid)),
        ("etc/sealjar/sealjar.toml", 0o640, (0, gid)),
        ("var/lib/sealjar", 0o700, (uid, gid)),
    ]:
        status = (tmp_path / path).stat()
        assert (stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid)) == (mode, owners), path


def test_the_settings_are_valid_and_name_only_writable_paths(tmp_path):
    lines = sealjar("--config", SETTINGS, "config").splitlines()
    in_force = {line.split(" = ")[0]: line for line in lines if line.endswith(f"# file {SETTINGS}")}
    assert in_force.keys() == {"store", "keys.dir", "http.listen", "http.admin_listen"}
    assert '"sqlite:///var/lib/sealjar/sealjar.db"' in in_force["store"]
    assert '"/var/lib/sealjar/keys"' in in_force["keys.dir"]
    assert "StateDirectory=sealjar" in (DEPLOY / "sealjar.service").read_text().splitlines()


def test_the_settings_in_comments_are_valid_too(tmp_path):
    uncommented = tmp_path / "sealjar.toml"
    text, count = re.subn(r"^#(?=[a-z_]+ = )", "", SETTINGS.read_text(), flags=re.MULTILINE)
    uncommented.write_text(text)
    in_force = [line for line in sealjar("--config", uncommented, "config").splitlines() if line.endswith(f"# file {uncommented}")]
    assert count > 0 and len(in_force) == 4 + count
