//! Reads certificates and private keys in PEM ([RFC 7468](https://www.rfc-editor.org/rfc/rfc7468)).
//!
//! If a file does not contain the expected object, [`Content`] is the type of its actual content, with an instruction to
//! convert it.

use std::fmt;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// DER tag of an ASN.1 sequence, with which certificates, keys and PKCS #12 files begin.
const SEQUENCE: u8 = 0x30;
/// DER encoding of the integer 3: the version at the start of a PKCS #12 sequence ([RFC
/// 7292](https://www.rfc-editor.org/rfc/rfc7292#section-4)).
const VERSION_3: [u8; 3] = [0x02, 0x01, 0x03];

/// Content of a file that does not contain the expected certificate or key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Empty,
    /// A text that begins with a UTF-8 byte order mark.
    ByteOrderMark,
    /// A certificate or key in binary DER.
    Der,
    /// A PKCS #12 file, with a certificate and its key.
    Pkcs12,
    /// A PKCS #7 file, with certificates.
    Pkcs7,
    Certificate,
    /// A certificate in OpenSSL's own format, which adds the allowed purposes.
    TrustedCertificate,
    CertificateRequest,
    PrivateKey,
    EncryptedKey,
    PublicKey,
    SshKey,
    Other,
}

/// Reads all certificates of a chain. The certificate of the server must be the first.
pub(super) fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Content> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| Content::of(bytes))
}

/// Reads the first private key.
pub(super) fn private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Content> {
    PrivateKeyDer::from_pem_slice(bytes).map_err(|_| Content::of(bytes))
}

impl Content {
    /// Returns the type of content of a file.
    fn of(bytes: &[u8]) -> Self {
        if bytes.trim_ascii().is_empty() {
            return Self::Empty;
        }
        if bytes.starts_with(BYTE_ORDER_MARK) {
            return Self::ByteOrderMark;
        }
        if let [SEQUENCE, length, rest @ ..] = bytes {
            // If the highest bit is set, the other bits are the number of bytes of the length that follow.
            let length_bytes = if length & 0x80 == 0 { 0 } else { usize::from(length & 0x7f) };
            let is_pkcs12 = rest.get(length_bytes..).is_some_and(|content| content.starts_with(&VERSION_3));
            return if is_pkcs12 { Self::Pkcs12 } else { Self::Der };
        }
        let text = String::from_utf8_lossy(bytes);
        let labels = text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
        let objects: Vec<Self> = labels.filter_map(Self::of_label).collect();
        if objects.contains(&Self::EncryptedKey) || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Self::EncryptedKey;
        }
        objects.first().copied().unwrap_or(Self::Other)
    }

    fn of_label(label: &str) -> Option<Self> {
        Some(match label {
            "CERTIFICATE" | "X509 CERTIFICATE" => Self::Certificate,
            "TRUSTED CERTIFICATE" => Self::TrustedCertificate,
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Self::CertificateRequest,
            "ENCRYPTED PRIVATE KEY" => Self::EncryptedKey,
            "OPENSSH PRIVATE KEY" => Self::SshKey,
            "PUBLIC KEY" | "RSA PUBLIC KEY" => Self::PublicKey,
            "PKCS7" | "CMS" => Self::Pkcs7,
            _ if label.ends_with("PRIVATE KEY") => Self::PrivateKey,
            _ => return None,
        })
    }

    /// Returns the instruction for the user if the file `path` (quoted for a shell) should contain the certificate.
    pub(super) fn remedy_for_certificate(self, path: &str) -> String {
        match self {
            Self::Der => format!("convert it: openssl x509 -inform DER -in {path} -out new.pem"),
            Self::Pkcs12 => format!("convert it: openssl pkcs12 -in {path} -nokeys -out new.pem"),
            Self::Pkcs7 => format!("convert it: openssl pkcs7 -in {path} -print_certs -out new.pem"),
            Self::TrustedCertificate => format!("convert it: openssl x509 -in {path} -out new.pem"),
            Self::PrivateKey | Self::EncryptedKey => "swap tls.certificate and tls.private_key".to_owned(),
            Self::CertificateRequest => {
                "set tls.certificate to the certificate that the certificate authority issued for this request"
                    .to_owned()
            }
            Self::Empty | Self::Certificate => "copy the complete certificate to this file again".to_owned(),
            Self::ByteOrderMark => Self::remove_byte_order_mark(path),
            Self::PublicKey | Self::SshKey | Self::Other => {
                "set tls.certificate to the PEM file with the certificate".to_owned()
            }
        }
    }

    /// Returns the instruction for the user if the file `path` (quoted for a shell) should contain the private key.
    pub(super) fn remedy_for_key(self, path: &str) -> String {
        match self {
            Self::EncryptedKey => {
                format!(
                    "the server cannot ask for the passphrase; decrypt the key: openssl pkey -in {path} -out new.pem"
                )
            }
            Self::Der => format!("convert it: openssl pkey -inform DER -in {path} -out new.pem"),
            Self::Pkcs12 => format!("convert it: openssl pkcs12 -in {path} -nocerts -nodes -out new.pem"),
            Self::Certificate | Self::TrustedCertificate => {
                "set tls.private_key to the file with the private key, which may be in tls.certificate now".to_owned()
            }
            Self::Empty | Self::PrivateKey => "copy the complete private key to this file again".to_owned(),
            Self::ByteOrderMark => Self::remove_byte_order_mark(path),
            Self::CertificateRequest | Self::PublicKey | Self::SshKey | Self::Pkcs7 | Self::Other => {
                "set tls.private_key to the PEM file with the private key of the certificate".to_owned()
            }
        }
    }

    fn remove_byte_order_mark(path: &str) -> String {
        format!("remove the mark: sed -i '1s/^\\xef\\xbb\\xbf//' {path}")
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::ByteOrderMark => "it begins with a byte order mark",
            Self::Der => "it is in DER",
            Self::Pkcs12 => "it is in PKCS #12",
            Self::Pkcs7 => "it is in PKCS #7",
            Self::Certificate => "it has a certificate",
            Self::TrustedCertificate => "it has a certificate in OpenSSL's own format",
            Self::CertificateRequest => "it has a certificate request",
            Self::PrivateKey => "it has a private key",
            Self::EncryptedKey => "it has an encrypted private key",
            Self::PublicKey => "it has a public key",
            Self::SshKey => "it has an OpenSSH key",
            Self::Other => "it has other content",
        })
    }
}
