"""The Dockerfile, which the tests do not build, and the file list of the Debian package. The files that they name exist, and paths,
users and ports agree with the other files in `deploy`."""

import json
import re
import shutil
import subprocess
import tomllib

import yaml
from files import DEPLOY, run, sealjar
from harness import WAIT_TIMEOUT, ROOT, Sealjar

DOCKERFILE = ROOT / "Dockerfile"


def instructions(name: str) -> list:
    return re.findall(rf"^{name} (.*)$", DOCKERFILE.read_text(), re.MULTILINE)


def test_the_linter_finds_nothing():
    done = run("hadolint", DOCKERFILE)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_linter_finds_a_mistake():
    assert run("hadolint", "-", input=DOCKERFILE.read_text().replace("WORKDIR /src", "WORKDIR src")).returncode != 0


def test_the_build_context_has_every_file_of_the_build(tmp_path):
    everything, *exceptions = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in ("", "#")]
    assert everything == "*"
    for exception in exceptions:
        path = ROOT / exception.removeprefix("!")
        copy = tmp_path / path.name
        shutil.copytree(path, copy) if path.is_dir() else shutil.copy(path, copy)
    # Cargo finds every file that the manifest names, and every file that the sources include exists.
    done = run("cargo", "metadata", "--locked", "--no-deps", "--format-version=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    included = 0
    for source in tmp_path.glob("src/**/*.rs"):
        for name in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', source.read_text()):
            assert (source.parent / name).resolve().is_file(), f"{source}: {name}"
            included += 1
    assert included > 0


def test_user_and_ports_are_the_same_as_on_kubernetes():
    (deployment,) = [
        manifest
        for manifest in yaml.safe_load_all((DEPLOY / "kubernetes/sealjar.yaml").read_text())
        if manifest["kind"] == "Deployment"
    ]
    pod = deployment["spec"]["template"]["spec"]
    user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    assert instructions("USER") == [user]
    assert f"-o {user.replace(':', ' -g ')} /var/lib/sealjar" in DOCKERFILE.read_text()
    ports = [str(port["containerPort"]) for port in pod["containers"][0]["ports"]]
    assert instructions("EXPOSE") == [" ".join(ports)]


def test_the_health_check_uses_the_address_of_the_server(tmp_path):
    (check,) = instructions("HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert command[0] == json.loads(instructions("ENTRYPOINT")[0])[0]
    # No flag sets the listeners, so every command in the container reads them from the environment.
    assert [json.loads(line) for line in instructions("CMD")] == [["serve"]]
    variables = dict(pair.split("=") for pair in instructions("ENV")[0].split())
    assert [variables[f"SEALJAR_HTTP__{name}"].rpartition(":")[2] for name in ("LISTEN", "ADMIN_LISTEN")] == instructions("EXPOSE")[
        0
    ].split()
    server = Sealjar(tmp_path).start()
    admin = f"0.0.0.0:{server.admin_port}"
    for address, code in [(admin, 0), ("0.0.0.0:1", 1)]:
        environment = {**Sealjar.without_settings(), **variables, "SEALJAR_HTTP__ADMIN_LISTEN": address}
        done = subprocess.run([Sealjar.program(), *command[1:]], env=environment, capture_output=True, text=True, timeout=WAIT_TIMEOUT)
        assert done.returncode == code, done.stderr
    server.stop()


def test_it_is_built_with_the_rust_version_of_the_package():
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
    assert instructions("FROM")[0] == f"rust:{package['rust-version']}-bookworm AS build"


def test_every_file_of_the_debian_package_exists():
    deb = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["metadata"]["deb"]
    built = [source for source, _, _ in deb["assets"] if source.startswith("target/")]
    for source, _, _ in deb["assets"]:
        assert source in built or list(ROOT.glob(source)), source
    # The files that `make man` and `make sbom` create, according to the Makefile.
    makefile = (ROOT / "Makefile").read_text()
    generated = {f"target/share/sealjar.{shell}" for shell in re.search(r"for shell in ([a-z ]+);", makefile)[1].split()}
    generated.add(re.search(r"target/sbom/\S+\.json", makefile)[0])
    assert set(built) == generated | {"target/release/sealjar", "target/share/man/man1/*", "target/share/man/man5/*"}
    for script in ["postinst", "postrm"]:
        text = (ROOT / deb["maintainer-scripts"] / script).read_text()
        assert "\n#DEBHELPER#\n" in text
        assert run("sh", "-n", input=text).returncode == 0


def test_an_upgrade_restarts_the_service_but_not_its_sockets():
    deb = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["metadata"]["deb"]
    units = deb["systemd-units"]
    # systemd refuses to restart a socket while its service runs. The service would then start without a socket.
    assert [units[option] for option in ["restart-after-upgrade", "stop-on-upgrade"]] == [False, False]
    postinst = (DEPLOY / "debian/postinst").read_text()
    assert re.findall(r"restart (.*?) \|\|", postinst) == ["sealjar.service"]


def test_the_commands_that_the_package_names_exist():
    commands = re.findall(r"sealjar -- sealjar --config \S+ ([a-z]+ [a-z]+)", (DEPLOY / "debian/postinst").read_text())
    assert commands == ["keys init", "users add"]
    for command in commands:
        sealjar(*command.split(), "--help")
