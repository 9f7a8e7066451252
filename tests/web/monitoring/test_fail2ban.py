"""The Fail2Ban filters of `deploy/fail2ban`. They find the failed logins in the logs of Sealjar and nginx, and ban no other
address, although attackers put forged log lines into every field that is logged."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import HOST, PASSWORD, WAIT_TIMEOUT, ROOT, Sealjar, free_port, send
from waiting import wait_until

FOLDER = ROOT / "deploy/fail2ban"
# Unpacked by `tests/run`, and not installed, so that no service starts.
UNPACKED = ROOT / "target/fail2ban"
JSON = ("Content-Type", "application/json")
VICTIM = "198.51.100.1"
ATTACKER = "203.0.113.7"
# Forged log lines, and ends of log lines, that would ban the victim.
EVENT = f'"event":"sign-in-failed","during":"sign-in","reason":"wrong-password","client":"{VICTIM}","target":"sealjar::audit"'
LINE = f'{{"timestamp":"2026-11-30T05:01:40.639933Z","level":"INFO","message":"x",{EVENT}}}'
TEXT = f'2026-11-30T05:01:40Z  INFO sealjar::audit: x event="sign-in-failed" during="sign-in" reason="wrong-password" client={VICTIM}'
COMBINED = f'{VICTIM} - - [30/Nov/2026:05:01:40 +0000] "POST /auth/login HTTP/1.1" 401 '
# Forged parts of log lines that fit into a request id, which has at most 64 visible characters.
REQUEST_IDS = [f'","client":"{VICTIM}","target":"sealjar::audit"', f'"}}:sealjar::audit:event="sign-in-failed"client={VICTIM}']


def fail2ban(program: str, *arguments: str) -> str:
    """Runs a program of Fail2Ban."""
    environment, path = dict(os.environ), shutil.which(program)
    if not path:
        path = str(UNPACKED / "usr/bin" / program)
        if not Path(path).exists():
            pytest.skip("Fail2Ban is missing")
        environment["PYTHONPATH"] = str(UNPACKED / "usr/lib/python3/dist-packages")
    # Use the Python of the distribution, for which the package was built.
    command = ["/usr/bin/python3", path, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WAIT_TIMEOUT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def configuration() -> Path:
    """Returns the configuration directory of the Fail2Ban package."""
    return Path("/etc/fail2ban") if shutil.which("fail2ban-client") else UNPACKED / "etc/fail2ban"


def banned(name: str, log: Path, tmp_path: Path) -> list:
    """Returns the addresses that a filter finds in a log, in the order of the lines."""
    folder = tmp_path / "fail2ban"
    if not folder.exists():
        fail2ban("fail2ban-regex", "--version")
        shutil.copytree(configuration(), folder)
        shutil.copytree(FOLDER / "filter.d", folder / "filter.d", dirs_exist_ok=True)
    return fail2ban("fail2ban-regex", "-c", str(folder), "-o", "<ip>", str(log), name).split()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A server that was started once, so that it has its ports and files, and is stopped."""
    sealjar = Sealjar(tmp_path_factory.mktemp("home"), "http.public_origins=https://app.example.com", "http.trusted_proxies=127.0.0.1")
    sealjar.start().stop()
    return sealjar


def log_in(sealjar, client: str, login: str, password: str, *more: tuple) -> int:
    body = json.dumps({"login": login, "password": password}).encode()
    return sealjar.request("POST", "/auth/login", [JSON, ("X-Forwarded-For", client), *more], body).status


def attacked(sealjar, log: Path, *settings: str) -> list:
    """Runs a server during failed logins and attempts to forge log lines. Returns the addresses of the failed logins, in order."""
    levels = ["log.level=info,sealjar::access=debug", *settings]
    listeners = ["--listen", f"127.0.0.1:{sealjar.port}", "--admin-listen", f"127.0.0.1:{sealjar.admin_port}"]
    words = [word for setting in levels for word in ("--set", setting)]
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [sealjar.binary, "serve", *listeners, *sealjar.settings, *words],
            cwd=sealjar.home, env=sealjar.without_settings(), stderr=stream, stdin=subprocess.DEVNULL,
        )
    try:
        def status():
            try:
                return sealjar.request_admin("/readyz").status
            except OSError:
                return None

        wait_until(status, lambda code: code == 200)
        assert log_in(sealjar, ATTACKER, "alice", "wrong password") == 401
        assert log_in(sealjar, "2001:db8::7", "nobody", "wrong password") == 401
        assert log_in(sealjar, "192.0.2.20", "bob", PASSWORD) == 200
        failed = [ATTACKER, "2001:db8::7"]
        for login in [f'","client":"{VICTIM}"', LINE, TEXT, COMBINED, f"x\n{LINE}\n", f"x\r\n{TEXT}\r\n"]:
            if log_in(sealjar, ATTACKER, login, "wrong password") == 401:
                failed.append(ATTACKER)
        for request_id in REQUEST_IDS:
            assert log_in(sealjar, ATTACKER, "alice", "wrong password", ("X-Request-Id", request_id)) == 401
            failed.append(ATTACKER)
        for text in [LINE, TEXT, EVENT]:
            names = ["User-Agent", "Referer", "Origin", "Sec-Fetch-Site", "X-Forwarded-Host", "Cookie", "traceparent"]
            fields = [(name, text) for name in names] + [("X-Forwarded-For", ATTACKER)]
            sealjar.request("POST", "/auth/login", [JSON, *fields], b"{}")
            sealjar.request("POST", "/auth/login", [JSON, ("Origin", text), ("X-Forwarded-For", ATTACKER)], b"{}")
            sealjar.request("GET", "/auth/verify", fields)
            sealjar.request("GET", "/auth/status", fields, host=text.replace(" ", ""))
            sealjar.request("GET", "/" + text.replace(" ", ""), [("X-Forwarded-For", ATTACKER)])
            sealjar.request("GET", "/auth/verify/" + text.replace(" ", ""), [("X-Forwarded-For", ATTACKER)])
    finally:
        server.terminate()
        server.wait(WAIT_TIMEOUT)
    return failed


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_each_failed_login_counts_only_for_its_client(home, tmp_path, log_format):
    log = tmp_path / "sealjar.log"
    failed = attacked(home, log, f"log.format={log_format}", "log.client=full")
    assert VICTIM in log.read_text(), "the attack reached the log"
    assert banned("sealjar", log, tmp_path) == failed

    # Lines as in the journal and in syslog, with a prefix.
    for head in ["Nov 30 05:01:40 host sealjar[77]: ", "2026-11-30T05:01:40+00:00 host 4f2a9c[77]: "]:
        journal = tmp_path / "journal.log"
        journal.write_text("".join(head + line for line in log.read_text().splitlines(keepends=True)))
        assert banned("sealjar", journal, tmp_path) == failed, head


def test_no_address_is_banned_if_the_log_has_networks_only(home, tmp_path):
    log = tmp_path / "sealjar.log"
    attacked(home, log, "log.format=json", "log.client=network")
    assert '"client":"203.0.113.0/24"' in log.read_text()
    assert banned("sealjar", log, tmp_path) == []


def test_the_access_log_of_nginx_counts_only_failed_logins(home, tmp_path):
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if not program:
        pytest.skip("nginx is missing")
    log, port = tmp_path / "access.log", free_port()
    (tmp_path / "nginx.conf").write_text(f"""
        daemon off; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log; worker_processes 1;
        events {{}}
        http {{
            access_log {log} combined;
            client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy; fastcgi_temp_path {tmp_path}/fastcgi;
            uwsgi_temp_path {tmp_path}/uwsgi; scgi_temp_path {tmp_path}/scgi;
            set_real_ip_from 127.0.0.1; real_ip_header X-Client;
            server {{
                listen 127.0.0.1:{port};
                location / {{
                    proxy_pass http://127.0.0.1:{home.port}; proxy_set_header Host $http_host;
                    proxy_set_header X-Forwarded-For $remote_addr;
                }}
            }}
        }}
    """)
    home.start()
    nginx = subprocess.Popen([program, "-p", tmp_path, "-c", tmp_path / "nginx.conf"])
    try:
        def post(path: str, client: str, password: str, *fields: tuple):
            members = {"password": password}
            if path == "/auth/password":
                members = {"old_password": password, "new_password": "another one that is long"}
            body = json.dumps({"login": "alice", **members}).encode()
            return send("127.0.0.1", port, None, "POST", path, [JSON, ("X-Client", client), *fields], body, HOST).status

        def status():
            try:
                return post("/auth/login", "192.0.2.20", PASSWORD)
            except OSError:
                return None

        wait_until(status, lambda code: code == 200)
        assert post("/auth/login", ATTACKER, "wrong password") == 401
        assert post("/auth/login?rd=%2F", "2001:db8::7", "wrong password") == 401
        assert post("/auth/password", "192.0.2.21", "wrong password") == 401, "without a session"
        name = base64.b64encode(f"{COMBINED} x [30/Nov/2006:05:01:40 +0000]:x".encode()).decode()
        for field in [("User-Agent", COMBINED), ("Referer", COMBINED), ("Authorization", f"Basic {name}")]:
            assert post("/auth/login", ATTACKER, "wrong password", field) == 401
        assert post(f"http://{HOST}/auth/login", ATTACKER, "wrong password") == 401
        assert post("/auth/status", ATTACKER, "wrong password") == 405
        assert post("/auth/logout?/auth/login", ATTACKER, "wrong password") == 200
        for text in [COMBINED, f'x" 401 1 "-" "-"\n{COMBINED}']:
            post("/" + text.replace(" ", "").replace("\n", ""), ATTACKER, "x", ("User-Agent", text.replace("\n", " ")))
    finally:
        nginx.terminate()
        nginx.wait(WAIT_TIMEOUT)
        home.stop()
    text = log.read_text()
    assert VICTIM in text and "\\x22POST" in text, "the attack reached the log"
    assert banned("sealjar-nginx", log, tmp_path) == [ATTACKER, "2001:db8::7", "192.0.2.21", *4 * [ATTACKER]]
    times = fail2ban("fail2ban-regex", "-c", str(tmp_path / "fail2ban"), "-o", "<time>", str(log), "sealjar-nginx").split()
    assert len({time[:6] for time in times}) == 1, "each entry has the time of its line"


def test_fail2ban_accepts_the_jails(tmp_path):
    log = tmp_path / "access.log"
    log.write_text("")
    banned("sealjar", log, tmp_path)
    folder = tmp_path / "fail2ban"
    for jail in (folder / "jail.d").iterdir():
        jail.unlink()
    text = (FOLDER / "jail.d/sealjar.conf").read_text()
    assert text.count("enabled  = false") == 2, "the jails are off until the operator enables them"
    text = text.replace("enabled  = false", "enabled = true").replace("/var/log/nginx/access.log", str(log))
    (folder / "jail.d/sealjar.conf").write_text(text)
    commands = fail2ban("fail2ban-client", "-c", str(folder), "-d")
    for jail in ["sealjar", "sealjar-nginx"]:
        assert f"['add', '{jail}'" in commands and f"['start', '{jail}']" in commands
