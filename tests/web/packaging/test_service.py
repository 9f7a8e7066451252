"""The files in `deploy` that make Sealjar a service of systemd, held against systemd's own tools and against the settings that
Sealjar takes."""

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
    """What systemd has to say about the units, with the program where it was built."""
    for name in UNITS:
        text = (DEPLOY / name).read_text().replace("/usr/bin/sealjar", str(Sealjar.program()))
        (directory / name).write_text(edit(text))
    done = run("systemd-analyze", "verify", "--man=no", *(directory / name for name in UNITS))
    return done.stdout + done.stderr + (f"exit code {done.returncode}" if done.returncode else "")


def test_systemd_has_nothing_to_say_about_the_units(tmp_path):
    assert verify(tmp_path) == ""


def test_a_misspelt_line_would_be_noticed(tmp_path):
    assert "Unknown key" in verify(tmp_path, lambda text: text.replace("ProtectHome=", "ProtectHouse="))


def test_the_service_is_as_confined_as_it_says():
    unit = DEPLOY / "sealjar.service"
    rate = int("".join(re.search(r"with (\d)\.(\d) of 10", unit.read_text()).groups()))
    security = ["systemd-analyze", "security", "--offline=yes", unit]
    done = run(*security, f"--threshold={rate}")
    assert done.returncode == 0, done.stdout
    assert run(*security, f"--threshold={rate - 1}").returncode != 0, "it is better than it says"


def test_the_filter_of_system_calls_lets_the_server_limit_itself():
    """Without these calls it starts, and limits nothing."""
    filters = re.findall(r"^SystemCallFilter=(?!~)(.*)$", (DEPLOY / "sealjar.service").read_text(), re.MULTILINE)
    allowed = {call for line in filters for call in line.split()}
    for group in [name for name in allowed if name.startswith("@")]:
        allowed |= set(run("systemd-analyze", "syscall-filter", group).stdout.split())
    assert {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"} <= allowed


def test_the_sockets_have_names_and_addresses_of_the_settings():
    """So that `systemd:NAME` finds them, and whoever goes over to them changes no address."""
    http = tomllib.loads(SETTINGS.read_text())["http"]
    for file, setting, name in [("sealjar.socket", "listen", "public"), ("sealjar-admin.socket", "admin_listen", "admin")]:
        lines = (DEPLOY / file).read_text().splitlines()
        assert f"FileDescriptorName={name}" in lines
        assert f"ListenStream={http[setting]}" in lines


def test_the_user_and_the_directories_are_made(tmp_path):
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("NOT ROOT HERE: no user was made")
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


def test_what_the_settings_show_in_comments_is_taken_too(tmp_path):
    shown = tmp_path / "sealjar.toml"
    text, count = re.subn(r"^#(?=[a-z_]+ = )", "", SETTINGS.read_text(), flags=re.MULTILINE)
    shown.write_text(text)
    in_force = [line for line in sealjar("--config", shown, "config").splitlines() if line.endswith(f"# file {shown}")]
    assert count > 0 and len(in_force) == 4 + count
