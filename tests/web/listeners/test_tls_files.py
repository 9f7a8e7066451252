"""Tests of certificate and key files that cannot be used. The error names the content of the file, and the hint has a command that
must work in a shell."""

import json
import subprocess

import pytest
from harness import HOST, WAIT_TIMEOUT, make_certificate
from waiting import wait_until_logged

ORIGIN = f"http.public_origins=https://{HOST}"


def openssl(*arguments, directory) -> None:
    subprocess.run(["openssl", *map(str, arguments)], cwd=directory, check=True, capture_output=True, timeout=WAIT_TIMEOUT)


@pytest.fixture
def files(tmp_path):
    directory = tmp_path / "it's TLS"
    directory.mkdir()
    return make_certificate(directory)


def startup_error(sealjar, certificate, key) -> dict:
    """Starts the server, which must fail. Returns its last log line."""
    settings = [ORIGIN, f"tls.certificate={certificate}", f"tls.private_key={key}"]
    words = [word for setting in settings for word in ("--set", setting)]
    code, text = sealjar.serve_expecting_failure("--listen", "127.0.0.1:0", "--set", "log.format=json", *words)
    assert code == 74, text
    return json.loads(text.splitlines()[-1])


def assert_reported(sealjar, certificate, key, error: str, hint: str) -> str:
    """Asserts that the server and `sealjar doctor` report the same error and hint. Returns the hint."""
    line = startup_error(sealjar, certificate, key)
    assert error in line["error"] and hint in line["hint"], line
    done = subprocess.run(
        [sealjar.binary, "doctor", "--json", "--set", f"tls.certificate={certificate}", "--set", f"tls.private_key={key}"],
        cwd=sealjar.home,
        env=sealjar.without_settings(),
        capture_output=True,
        text=True,
        timeout=WAIT_TIMEOUT,
    )
    found = [finding for finding in json.loads(done.stdout)["findings"] if finding["check"] == "tls.certificate"]
    assert [(finding["level"], finding["found"], finding["remedy"]) for finding in found] == [("problem", line["error"], line["hint"])]
    return line["hint"]


def assert_starts(sealjar, certificate, key) -> None:
    """Asserts that the server starts with these files."""
    sealjar.start(ORIGIN, f"tls.certificate={certificate}", f"tls.private_key={key}")
    sealjar.stop()


# For each format: arguments of OpenSSL that convert a valid file to it, and the error of the server.
KEYS = {
    "encrypted": (["pkey", "-aes256", "-passout", "pass:x"], "it has an encrypted private key"),
    "encrypted in the old format": (["ec", "-aes128", "-passout", "pass:x"], "it has an encrypted private key"),
    "DER": (["pkey", "-outform", "DER"], "it is in DER"),
}
CERTIFICATES = {
    "DER": (["x509", "-outform", "DER"], "it is in DER"),
    "trusted": (["x509", "-trustout"], "it has a certificate in OpenSSL's own format"),
}


@pytest.mark.parametrize("file_format", KEYS)
def test_the_command_that_converts_a_key_works(sealjar, files, file_format):
    certificate, key = files
    arguments, found = KEYS[file_format]
    bad = key.with_name("bad.key")
    openssl(*arguments, "-in", key, "-out", bad, directory=key.parent)
    hint = assert_reported(sealjar, certificate, bad, f"{bad} has no private key that can be used: {found}", "openssl pkey")
    run_hint(hint, key.parent)
    assert_starts(sealjar, certificate, key.with_name("new.pem"))


@pytest.mark.parametrize("file_format", CERTIFICATES)
def test_the_command_that_converts_a_certificate_works(sealjar, files, file_format):
    certificate, key = files
    arguments, found = CERTIFICATES[file_format]
    bad = key.with_name("bad.crt")
    openssl(*arguments, "-in", certificate, "-out", bad, directory=key.parent)
    hint = assert_reported(sealjar, bad, key, f"{bad} has no certificate that can be used: {found}", "openssl x509")
    run_hint(hint, key.parent)
    assert_starts(sealjar, key.with_name("new.pem"), key)


def run_hint(hint: str, directory, password="-passin pass:x") -> None:
    """Runs the command at the end of a hint in this directory. There is no terminal, so an option provides the passphrase."""
    command = hint[hint.index("openssl ") :]
    subprocess.run(["sh", "-c", f"{command} {password}"], cwd=directory, check=True, capture_output=True, timeout=WAIT_TIMEOUT)


def test_the_commands_for_pkcs_12_and_pkcs_7_work(sealjar, files):
    certificate, key = files
    pkcs12 = key.with_name("all.p12")
    pkcs7 = key.with_name("all.p7b")
    openssl("pkcs12", "-export", "-inkey", key, "-in", certificate, "-passout", "pass:x", "-out", pkcs12, directory=key.parent)
    openssl("crl2pkcs7", "-nocrl", "-certfile", certificate, "-out", pkcs7, directory=key.parent)
    new = key.with_name("new.pem")
    run_hint(assert_reported(sealjar, pkcs12, key, "it is in PKCS #12", "openssl pkcs12"), key.parent)
    assert_starts(sealjar, new, key)
    run_hint(assert_reported(sealjar, certificate, pkcs12, "it is in PKCS #12", "openssl pkcs12"), key.parent)
    assert_starts(sealjar, certificate, new)
    run_hint(assert_reported(sealjar, pkcs7, key, "it is in PKCS #7", "openssl pkcs7"), key.parent, "")
    assert_starts(sealjar, new, key)


def test_reports_the_content_of_a_wrong_file(sealjar, files):
    certificate, key = files
    other = key.with_name("other")
    other.mkdir()
    other_certificate, other_key = make_certificate(other)
    (empty, blank, with_bom, half, public, request) = (key.with_name(name) for name in "abcdef")
    empty.write_text("")
    blank.write_text("\n\n")
    with_bom.write_bytes(b"\xef\xbb\xbf" + certificate.read_bytes())
    half.write_text(certificate.read_text()[:200])
    openssl("pkey", "-in", key, "-pubout", "-out", public, directory=other)
    openssl("req", "-new", "-key", key, "-subj", f"/CN={HOST}", "-out", request, directory=other)
    for chain, private, error, hint in [
        (key, certificate, f"{key} has no certificate that can be used: it has a private key", "swap"),
        (certificate, certificate, f"{certificate} has no private key that can be used: it has a certificate", "tls.private_key"),
        (key, key, "it has a private key", "swap"),
        (empty, key, "it is empty", "copy the complete certificate"),
        (certificate, blank, "it is empty", "copy the complete private key"),
        (with_bom, key, "it begins with a byte order mark", "sed -i"),
        (half, key, "it has a certificate", "copy the complete certificate"),
        (certificate, public, "it has a public key", "private key of the certificate"),
        (request, key, "it has a certificate request", "authority"),
        (certificate, other_key, f"in {other_key} does not belong to the certificate in {certificate}", "openssl pkey -pubout"),
        (sealjar.binary, key, "longer than", "PEM files"),
    ]:
        assert_reported(sealjar, chain, private, error, hint)
    hint = assert_reported(sealjar, with_bom, key, "byte order mark", "sed -i")
    subprocess.run(["sh", "-c", hint.partition(": ")[2]], check=True, timeout=WAIT_TIMEOUT)
    assert_starts(sealjar, with_bom, key)


def test_accepts_ec_parameters_and_a_combined_file(sealjar, files):
    certificate, key = files
    old = key.with_name("old.key")
    combined = key.with_name("combined.pem")
    openssl("ecparam", "-name", "prime256v1", "-out", old, directory=key.parent)
    converted = key.with_name("sec1.key")
    openssl("ec", "-in", key, "-out", converted, directory=key.parent)
    old.write_text(old.read_text() + converted.read_text())
    assert old.read_text().startswith("-----BEGIN EC PARAMETERS-----")
    assert_starts(sealjar, certificate, old)
    combined.write_text(key.read_text() + certificate.read_text())
    assert_starts(sealjar, combined, combined)


def test_reports_a_chain_in_the_wrong_order(sealjar, files):
    certificate, key = files
    other = key.with_name("other")
    third = key.with_name("third")
    other.mkdir(), third.mkdir()
    issuer, _ = make_certificate(other)
    chain = key.with_name("chain.pem")
    chain.write_text(issuer.read_text() + certificate.read_text())
    assert_reported(sealjar, chain, key, f"belongs to certificate 2 in {chain}, and not to the first one", "first")
    # The subject of the second certificate is not the issuer of the first.
    openssl("req", "-x509", "-key", key, "-subj", "/CN=unrelated", "-days", "1", "-out", third / "cert.pem", directory=third)
    chain.write_text(certificate.read_text() + (third / "cert.pem").read_text())
    sealjar.start(ORIGIN, f"tls.certificate={chain}", f"tls.private_key={key}")
    assert wait_until_logged(sealjar, "the certificate chain is in the wrong order")["number"] == 1


def test_a_failed_reload_logs_the_hint(sealjar, files):
    certificate, key = files
    sealjar.start(ORIGIN, f"tls.certificate={certificate}", f"tls.private_key={key}")
    encrypted = key.with_name("new.key")
    openssl("pkey", "-aes256", "-passout", "pass:x", "-in", key, "-out", encrypted, directory=key.parent)
    encrypted.replace(key)
    line = wait_until_logged(sealjar, "cannot reload the certificate")
    assert "it has an encrypted private key" in line["error"] and "openssl pkey" in line["hint"], line
