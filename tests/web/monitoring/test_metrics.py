"""`/metrics` counts what happens, and the dashboard and the alert rules of `deploy/monitoring` ask for nothing else."""

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
# Written only with TLS, and only while another key is to become active.
ABSENT_AT_TIMES = {"sealjar_tls_certificate_expiry_timestamp_seconds", "sealjar_key_next_activation_timestamp_seconds"}
JSON = ("Content-Type", "application/json")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = Sealjar(tmp_path_factory.mktemp("home"), "http.public_origins=https://app.example.com")
    yield home.start()
    home.stop()


def scrape(server) -> dict:
    """The values by name and labels."""
    text = server.request_admin("/metrics").body.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    values = {(sample.name, *sorted(sample.labels.values())): sample.value for sample in samples}
    assert len(values) == len(samples), "two samples of one name and labels"
    return values


def changes(server, act) -> dict:
    """By how much values grew while something was done."""
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

    grown = changes(server, act)
    name = "sealjar_verifications_total"
    counted = {key[1]: grown[key] for key in grown if key[0] == name}
    assert counted == {"live": 3, "missing": 1, "invalid": 1, "forbidden": 1}


def test_passwords_are_counted_by_outcome_and_name_no_account(server):
    def sign_in(login, password):
        body = json.dumps({"login": login, "password": password}).encode()
        return server.request("POST", "/auth/login", [JSON], body).status

    def act():
        server.sign_in()
        assert sign_in("bob", "not the password") == sign_in("stranger", "not the password") == 401

    grown = changes(server, act)
    counted = {key[1:]: grown[key] for key in grown if key[0] == "sealjar_passwords_total"}
    assert counted == {("accepted", "sign-in"): 1, ("refused", "sign-in"): 2}
    assert grown["sealjar_password_hashing_seconds_count",] == 3
    assert grown["sealjar_store_seconds_count", "account"] >= 3


def test_a_sign_out_and_the_refusal_that_it_leaves_are_counted(server):
    cookie = ("Cookie", server.sign_in())

    def act():
        assert server.request("POST", "/auth/logout", [cookie]).status == 200
        assert server.request("GET", "/auth/verify", [cookie]).status == 401

    grown = changes(server, act)
    assert grown["sealjar_sign_outs_total", "durable"] == grown["sealjar_revocations",] == 1
    assert grown["sealjar_verifications_total", "revoked"] == 1
    assert grown["sealjar_store_seconds_count", "commit"] == 1


def test_a_rotation_shows_in_the_keys(server):
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
    """The metrics that an expression asks for: names that are no function, keyword or label."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|\b(?:by|without|on|ignoring)\s*\([^)]*\)', " ", re.sub(r'"[^"]*"', '""', expression))
    names = re.findall(r"\b([a-zA-Z_:][\w:]*)\b(?!\s*\()", bare)
    return set(names) - {"and", "or", "unless", "sum", "max", "min", "bool"}


def test_the_dashboard_and_the_alerts_ask_for_metrics_that_exist(server):
    text = server.request_admin("/metrics").body.decode()
    exist = {"up"} | ABSENT_AT_TIMES
    page = (ROOT / "docs/reference/metrics.md").read_text()
    assert all(f"| `{name}` |" in page for name in ABSENT_AT_TIMES)
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        exist |= {name + end for end in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    asked = [metrics_of(expression) for expression in expressions()]
    assert all(asked) and set().union(*asked) <= exist, set().union(*asked) - exist


@pytest.fixture
def promtool():
    own = ROOT / "target/prometheus/usr/bin/promtool"
    found = own if own.exists() else shutil.which("promtool")
    if not found:
        assert os.environ.get("CI") != "true", "promtool is missing"
        pytest.skip("promtool is missing")
    return lambda *arguments, stdin="": subprocess.run(
        [found, *arguments], input=stdin, capture_output=True, text=True, timeout=WAIT_TIMEOUT
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
