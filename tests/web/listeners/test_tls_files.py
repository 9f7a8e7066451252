"""Certificate and key files that cannot be used: what the file has, and a remedy that works when it is pasted into a shell."""

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


def refused(sealjar, certificate, key) -> dict:
    """The line of the log with which the server ends."""
    settings = [ORIGIN, f"tls.certificate={certificate}", f"tls.private_key={key}"]
    words = [word for setting in settings for word in ("--set", setting)]
    code, text = sealjar.serve_expecting_failure("--listen", "127.0.0.1:0", "--set", "log.format=json", *words)
    assert code == 74, text
    return json.loads(text.splitlines()[-1])


def is_told(sealjar, certificate, key, error: str, hint: str) -> str:
    """Server and doctor say the same; returns the hint."""
    line = refused(sealjar, certificate, key)
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


def starts(sealjar, certificate, key) -> None:
    sealjar.start(ORIGIN, f"tls.certificate={certificate}", f"tls.private_key={key}")
    sealjar.stop()


# How a file is made of the good one, what the server says of it, and the words before the command of the hint.
KEYS = {
    "encrypted": (["pkey", "-aes256", "-passout", "pass:x"], "it has an encrypted private key"),
    "encrypted in the old format": (["ec", "-aes128", "-passout", "pass:x"], "it has an encrypted private key"),
    "DER": (["pkey", "-outform", "DER"], "it is in DER"),
}
CERTIFICATES = {
    "DER": (["x509", "-outform", "DER"], "it is in DER"),
    "trusted": (["x509", "-trustout"], "it has a certificate in OpenSSL's own format"),
}


@pytest.mark.parametrize("what", KEYS)
def test_the_command_that_converts_a_key_works(sealjar, files, what):
    certificate, key = files
    arguments, found = KEYS[what]
    bad = key.with_name("bad.key")
    openssl(*arguments, "-in", key, "-out", bad, directory=key.parent)
    hint = is_told(sealjar, certificate, bad, f"{bad} has no private key that can be used: {found}", "openssl pkey")
    pasted(hint, key.parent)
    starts(sealjar, certificate, key.with_name("new.pem"))


@pytest.mark.parametrize("what", CERTIFICATES)
def test_the_command_that_converts_a_certificate_works(sealjar, files, what):
    certificate, key = files
    arguments, found = CERTIFICATES[what]
    bad = key.with_name("bad.crt")
    openssl(*arguments, "-in", certificate, "-out", bad, directory=key.parent)
    hint = is_told(sealjar, bad, key, f"{bad} has no certificate that can be used: {found}", "openssl x509")
    pasted(hint, key.parent)
    starts(sealjar, key.with_name("new.pem"), key)


def pasted(hint: str, directory, password="-passin pass:x") -> None:
    """Runs the command at the end of a hint, from another directory than the server's. No terminal asks for the passphrase."""
    command = hint[hint.index("openssl ") :]
    subprocess.run(["sh", "-c", f"{command} {password}"], cwd=directory, check=True, capture_output=True, timeout=WAIT_TIMEOUT)


def test_pkcs_12_and_pkcs_7_are_converted_too(sealjar, files):
    certificate, key = files
    bundle, seven = key.with_name("all.p12"), key.with_name("all.p7b")
    openssl("pkcs12", "-export", "-inkey", key, "-in", certificate, "-passout", "pass:x", "-out", bundle, directory=key.parent)
    openssl("crl2pkcs7", "-nocrl", "-certfile", certificate, "-out", seven, directory=key.parent)
    new = key.with_name("new.pem")
    pasted(is_told(sealjar, bundle, key, "it is in PKCS #12", "openssl pkcs12"), key.parent)
    starts(sealjar, new, key)
    pasted(is_told(sealjar, certificate, bundle, "it is in PKCS #12", "openssl pkcs12"), key.parent)
    starts(sealjar, certificate, new)
    pasted(is_told(sealjar, seven, key, "it is in PKCS #7", "openssl pkcs7"), key.parent, "")
    starts(sealjar, new, key)


def test_files_that_are_something_else_are_named(sealjar, files):
    certificate, key = files
    other = key.with_name("other")
    other.mkdir()
    other_certificate, other_key = make_certificate(other)
    (empty, blank, marked, half, public, request) = (key.with_name(name) for name in "abcdef")
    empty.write_text("")
    blank.write_text("\n\n")
    marked.write_bytes(b"\xef\xbb\xbf" + certificate.read_bytes())
    half.write_text(certificate.read_text()[:200])
    openssl("pkey", "-in", key, "-pubout", "-out", public, directory=other)
    openssl("req", "-new", "-key", key, "-subj", f"/CN={HOST}", "-out", request, directory=other)
    for chain, private, error, hint in [
        (key, certificate, f"{key} has no certificate that can be used: it has a private key", "swap"),
        (certificate, certificate, f"{certificate} has no private key that can be used: it has a certificate", "tls.private_key"),
        (key, key, "it has a private key", "swap"),
        (empty, key, "it is empty", "copy the complete certificate"),
        (certificate, blank, "it is empty", "copy the complete private key"),
        (marked, key, "it begins with a byte order mark", "sed -i"),
        (half, key, "it has a certificate", "copy the complete certificate"),
        (certificate, public, "it has a public key", "private key of the certificate"),
        (request, key, "it has a certificate request", "authority"),
        (certificate, other_key, f"in {other_key} does not belong to the certificate in {certificate}", "openssl pkey -pubout"),
        (sealjar.binary, key, "longer than", "PEM files"),
    ]:
        is_told(sealjar, chain, private, error, hint)
    hint = is_told(sealjar, marked, key, "byte order mark", "sed -i")
    subprocess.run(["sh", "-c", hint.partition(": ")[2]], check=True, timeout=WAIT_TIMEOUT)
    starts(sealjar, marked, key)


def test_parameters_before_the_key_and_a_common_file_are_read(sealjar, files):
    certificate, key = files
    old, common = key.with_name("old.key"), key.with_name("common.pem")
    openssl("ecparam", "-name", "prime256v1", "-out", old, directory=key.parent)
    converted = key.with_name("sec1.key")
    openssl("ec", "-in", key, "-out", converted, directory=key.parent)
    old.write_text(old.read_text() + converted.read_text())
    assert old.read_text().startswith("-----BEGIN EC PARAMETERS-----")
    starts(sealjar, certificate, old)
    common.write_text(key.read_text() + certificate.read_text())
    starts(sealjar, common, common)


def test_a_chain_in_the_wrong_order_is_named(sealjar, files):
    certificate, key = files
    other, third = key.with_name("other"), key.with_name("third")
    other.mkdir(), third.mkdir()
    issuer, _ = make_certificate(other)
    chain = key.with_name("chain.pem")
    chain.write_text(issuer.read_text() + certificate.read_text())
    is_told(sealjar, chain, key, f"belongs to certificate 2 in {chain}, and not to the first one", "first")
    # The second one has another subject than the issuer of the first.
    openssl("req", "-x509", "-key", key, "-subj", "/CN=unrelated", "-days", "1", "-out", third / "cert.pem", directory=third)
    chain.write_text(certificate.read_text() + (third / "cert.pem").read_text())
    sealjar.start(ORIGIN, f"tls.certificate={chain}", f"tls.private_key={key}")
    assert wait_until_logged(sealjar, "the certificate chain is in the wrong order")["number"] == 1


def test_the_hint_is_in_the_log_when_a_renewal_leaves_a_bad_file(sealjar, files):
    certificate, key = files
    sealjar.start(ORIGIN, f"tls.certificate={certificate}", f"tls.private_key={key}")
    encrypted = key.with_name("new.key")
    openssl("pkey", "-aes256", "-passout", "pass:x", "-in", key, "-out", encrypted, directory=key.parent)
    encrypted.replace(key)
    line = wait_until_logged(sealjar, "cannot reload the certificate")
    assert "it has an encrypted private key" in line["error"] and "openssl pkey" in line["hint"], line
