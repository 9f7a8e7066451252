"""The manifests in `deploy/kubernetes`. Kubernetes accepts them, Sealjar accepts their settings, and a server reads the mounted keys."""

import os
import re
import shutil

import kubernetes_validate
import pytest
import yaml
from harness import ROOT, Sealjar
from waiting import wait_until

FOLDER = ROOT / "deploy/kubernetes"
FILES = ["sealjar.yaml", "secrets.yaml"]


def manifests() -> dict:
    """Returns all manifests by kind."""
    documents = [manifest for file in FILES for manifest in yaml.safe_load_all((FOLDER / file).read_text())]
    return {manifest["kind"]: manifest for manifest in documents}


@pytest.fixture
def pod():
    return manifests()["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture
def container(pod):
    (container,) = pod["containers"]
    return container


def environment(container) -> dict:
    """Returns the environment variables that the kubelet would set."""
    fields = {"status.podIP": "127.0.0.1", "metadata.name": "sealjar-7d4b9c-x2x4z"}
    secret = manifests()["Secret"]
    variables = {}
    for variable in container["env"]:
        source = variable.get("valueFrom", {})
        if "fieldRef" in source:
            value = fields[source["fieldRef"]["fieldPath"]]
        elif "secretKeyRef" in source:
            assert source["secretKeyRef"]["name"] == secret["metadata"]["name"]
            value = secret["stringData"][source["secretKeyRef"]["key"]]
        else:
            value = re.sub(r"\$\((\w+)\)", lambda match: variables[match[1]], variable["value"])
        variables[variable["name"]] = value
    return variables


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_kubernetes_accepts_the_manifests(version):
    assert len(manifests()) == 5
    for manifest in manifests().values():
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_field_is_found():
    manifest = manifests()["Deployment"]
    manifest["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_labels_ports_and_secrets_agree(pod, container):
    kinds = manifests()
    labels = kinds["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [kinds[kind]["spec"]["selector"]["matchLabels"] for kind in ("Deployment", "PodDisruptionBudget")]
    selectors += [kinds["Service"]["spec"]["selector"], kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]]
    selectors += [spread["labelSelector"]["matchLabels"] for spread in pod["topologySpreadConstraints"]]
    assert all(selector == labels for selector in selectors)

    variables = environment(container)
    ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
    for name, setting in [("http", "LISTEN"), ("admin", "ADMIN_LISTEN")]:
        assert variables[f"SEALJAR_HTTP__{setting}"].rpartition(":")[2] == ports[name]
    assert [port["targetPort"] for port in kinds["Service"]["spec"]["ports"]] == ["http"], "the admin port is not reachable from outside"
    probes = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {get["port"] for get in probes.values()} == {"admin"}

    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts["keys"] == variables["SEALJAR_KEYS__DIR"]
    assert f"sslrootcert={mounts['database-ca']}/ca.pem" in variables["SEALJAR_STORE"]
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    assert {volume["secret"]["defaultMode"] for volume in pod["volumes"]} == {0o440}


def test_nothing_runs_as_root_or_can_write(pod, container):
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_grace_period_is_long_enough_for_the_shutdown(pod, container):
    variables = environment(container)
    delay, timeout = (int(variables[f"SEALJAR_HTTP__SHUTDOWN_{name}"].removesuffix("s")) for name in ("DELAY", "TIMEOUT"))
    probe = container["readinessProbe"]
    assert delay > probe["periodSeconds"] * probe["failureThreshold"], "the probe fails before the server stops serving"
    assert pod["terminationGracePeriodSeconds"] >= delay + timeout + 20


def test_sealjar_accepts_the_settings(container, tmp_path):
    variables = environment(container)
    sealjar = Sealjar(tmp_path)
    sealjar.environment = variables
    lines = sealjar.command("config").splitlines()
    for name in (name for name in variables if name.startswith("SEALJAR_")):
        assert [line for line in lines if line.endswith(f"# environment {name}")], name


def test_a_server_reads_mounted_keys_and_their_replacements(container, tmp_path):
    """Uses the settings of the manifests except ports and store, which the tests above and `tests/cluster` cover."""
    sealjar = Sealjar(tmp_path)
    mounted = tmp_path / "mounted"
    store = f"sqlite://{tmp_path}/sealjar.db"
    mount_keys(tmp_path / "keys", mounted, "first")
    sealjar.environment = {**environment(container), "SEALJAR_STORE": store, "SEALJAR_KEYS__DIR": str(mounted)}
    try:
        sealjar.start()
        assert sealjar.request_admin(container["livenessProbe"]["httpGet"]["path"]).status == 200
        wait_until(lambda: sealjar.request_admin(container["readinessProbe"]["httpGet"]["path"]).status, lambda status: status == 200)
        sealjar.command("keys", "rotate", "--keys", "keys", "--activate-in", "15m")
        mount_keys(tmp_path / "keys", mounted, "second")
        listed = wait_until(lambda: sealjar.command("keys", "list", "--json", "--keys", "keys"), lambda text: text)
        new = [key["kid"] for key in yaml.safe_load(listed) if key["state"] == "published"]
        wait_until(lambda: [line.get("kid") for line in sealjar.log if line.get("event") == "key-published"], lambda kids: kids == new)
    finally:
        sealjar.stop()


def mount_keys(ring, mounted, name):
    """Copies the key files like the kubelet does: into a new directory, to which the link `..data` is switched atomically."""
    mounted.mkdir(exist_ok=True)
    data = mounted / f"..{name}"
    data.mkdir()
    for key in ring.glob("*.key"):
        shutil.copyfile(key, data / key.name)
        (data / key.name).chmod(0o440)
    os.symlink(data.name, mounted / "..data_tmp")
    os.rename(mounted / "..data_tmp", mounted / "..data")
    for key in data.iterdir():
        if not (mounted / key.name).is_symlink():
            os.symlink(f"..data/{key.name}", mounted / key.name)
