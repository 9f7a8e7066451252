"""The metrics of `/metrics`. The dashboard and the alert rules of `deploy/monitoring` use only metrics that exist."""

import json
import os
import re
import shutil
import subprocess
import time

import pytest
import yaml
from harness import WAIT_TIMEOUT, ROOT, Sealjar
from prometheus_client.parser import text_string_to_metric_families
from waiting import wait_until

FOLDER = ROOT / "deploy/monitoring"
# Metrics that exist only with TLS, or only while a key waits for its activation.
CONDITIONAL = {"sealjar_tls_certificate_expiry_timestamp_seconds", "sealjar_key_next_activation_timestamp_seconds"}
JSON = ("Content-Type", "application/json")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = Sealjar(tmp_path_factory.mktemp("home"), "http.public_origins=https://app.example.com")
    yield home.start()
    home.stop()


def scrape(server) -> dict:
    """Returns the values by name and labels."""
    text = server.request_admin("/metrics").body.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    values = {(sample.name, *sorted(sample.labels.values())): sample.value for sample in samples}
    assert len(values) == len(samples), "two samples with the same name and labels"
    return values


def changes(server, act) -> dict:
    """Returns the difference of each value that changes while `act` runs."""
    before = scrape(server)
    act()
    after = scrape(server)
    return {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}


def test_verifications_are_counted_by_outcome(server):
    cookie = ("Cookie", server.sign_in())

    def act():
        for path in ["/auth/verify", "/auth/status", "/protected"]:
            assert server.request("GET", path, [cookie]).status == 200
        assert server.request("GET", "/auth/verify").status == 401
        assert server.request("GET", "/auth/verify", [("Cookie", "__Host-sealjar=rubbish")]).status == 401
        assert server.request("GET", "/auth/verify?role=nobody", [cookie]).status == 403

    changed = changes(server, act)
    name = "sealjar_verifications_total"
    counted = {key[1]: changed[key] for key in changed if key[0] == name}
    assert counted == {"live": 3, "missing": 1, "invalid": 1, "forbidden": 1}


def test_passwords_are_counted_by_outcome_without_account(server):
    def log_in(login, password):
        body = json.dumps({"login": login, "password": password}).encode()
        return server.request("POST", "/auth/login", [JSON], body).status

    def act():
        server.sign_in()
        assert log_in("bob", "not the password") == log_in("unknown", "not the password") == 401

    changed = changes(server, act)
    counted = {key[1:]: changed[key] for key in changed if key[0] == "sealjar_passwords_total"}
    assert counted == {("accepted", "sign-in"): 1, ("refused", "sign-in"): 2}
    assert changed["sealjar_password_hashing_seconds_count",] == 3
    assert changed["sealjar_store_seconds_count", "account"] >= 3


def test_a_logout_and_the_refusal_after_it_are_counted(server):
    cookie = ("Cookie", server.sign_in())

    def act():
        assert server.request("POST", "/auth/logout", [cookie]).status == 200
        assert server.request("GET", "/auth/verify", [cookie]).status == 401

    changed = changes(server, act)
    assert changed["sealjar_sign_outs_total", "durable"] == changed["sealjar_revocations",] == 1
    assert changed["sealjar_verifications_total", "revoked"] == 1
    assert changed["sealjar_store_seconds_count", "commit"] == 1


def test_a_published_key_is_in_the_metrics(server):
    assert scrape(server)["sealjar_keys", "active"] == 1
    server.command("keys", "rotate", "--activate-in", "1h")
    values = wait_until(lambda: scrape(server), lambda values: values["sealjar_keys", "published"] == 1)
    assert 3000 < values["sealjar_key_next_activation_timestamp_seconds",] - time.time() <= 3601
    assert 0 <= values["sealjar_key_age_seconds",] < 3600
    assert values["sealjar_ready",] == 1


def expressions() -> list:
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    panels = json.loads((FOLDER / "grafana-dashboard.json").read_text())["panels"]
    alerts = [rule["expr"] for group in rules for rule in group["rules"]]
    return alerts + [target["expr"] for panel in panels for target in panel.get("targets", [])]


def metrics_of(expression: str) -> set:
    """Returns the metrics of an expression: the names that are not functions, keywords or labels."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|\b(?:by|without|on|ignoring)\s*\([^)]*\)', " ", re.sub(r'"[^"]*"', '""', expression))
    names = re.findall(r"\b([a-zA-Z_:][\w:]*)\b(?!\s*\()", bare)
    return set(names) - {"and", "or", "unless", "sum", "max", "min", "bool"}


def test_dashboard_and_alerts_use_only_metrics_that_exist(server):
    text = server.request_admin("/metrics").body.decode()
    existing = {"up"} | CONDITIONAL
    page = (ROOT / "docs/reference/metrics.md").read_text()
    assert all(f"| `{name}` |" in page for name in CONDITIONAL)
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        existing |= {name + end for end in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    used = [metrics_of(expression) for expression in expressions()]
    assert all(used) and set().union(*used) <= existing, set().union(*used) - existing


@pytest.fixture
def promtool():
    unpacked = ROOT / "target/prometheus/usr/bin/promtool"
    program = unpacked if unpacked.exists() else shutil.which("promtool")
    if not program:
        assert os.environ.get("CI") != "true", "promtool is missing"
        pytest.skip("promtool is missing")
    return lambda *arguments, stdin="": subprocess.run(
        [program, *arguments], input=stdin, capture_output=True, text=True, timeout=WAIT_TIMEOUT
    )


def test_prometheus_accepts_rules_expressions_and_metrics(server, promtool, tmp_path):
    assert (done := promtool("check", "rules", FOLDER / "alerts.yml")).returncode == 0, done
    assert (done := promtool("test", "rules", FOLDER / "alerts-test.yml")).returncode == 0, done
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(expressions())
    ]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert (done := promtool("check", "rules", tmp_path / "panels.yml")).returncode == 0, done
    done = promtool("check", "metrics", stdin=server.request_admin("/metrics").body.decode())
    assert done.returncode == 0, done
