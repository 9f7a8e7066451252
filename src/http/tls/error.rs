//! Errors of certificates and private keys, with their remedies. `sealjar doctor` shows the same texts.

use std::path::PathBuf;

use tokio_rustls::rustls;

use super::pem::Content;
use crate::access_denied::shell_path;
use crate::bounded_file::ReadError;

/// Error for a certificate or a private key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The file of the certificate or of the private key cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File { path: PathBuf, source: ReadError },
    /// The certificate file does not contain a usable certificate in PEM.
    #[error("{} has no certificate that can be used: {content}", path.display())]
    NoCertificate { path: PathBuf, content: Content },
    /// The key file does not contain a usable private key in PEM.
    #[error("{} has no private key that can be used: {content}", path.display())]
    NoKey { path: PathBuf, content: Content },
    /// The private key does not belong to any certificate in the certificate file.
    #[error("the private key in {} does not belong to the certificate in {}", private_key.display(), certificate.display())]
    Mismatch { certificate: PathBuf, private_key: PathBuf },
    /// The private key belongs to a certificate in the file, but not to the first certificate, which must be the server's.
    #[error(
        "the private key in {} belongs to certificate {number} in {}, and not to the first one",
        private_key.display(), certificate.display()
    )]
    Order { certificate: PathBuf, private_key: PathBuf, number: usize },
    /// The first certificate is not valid X.509.
    #[error("the certificate cannot be parsed: {0}")]
    BadCertificate(x509_cert::der::Error),
    /// rustls does not accept the certificate.
    #[error("the certificate cannot be used: {0}")]
    Unusable(rustls::Error),
    /// rustls does not accept the private key.
    #[error("the private key cannot be used: {0}")]
    UnusableKey(rustls::Error),
    /// The self-signed certificate could not be created.
    #[error("cannot create a self-signed certificate: {0}")]
    SelfSigned(rcgen::Error),
}

impl TlsError {
    /// Returns the instruction that resolves the error.
    pub(crate) fn remedy(&self) -> String {
        match self {
            Self::File { .. } => {
                "set tls.certificate and tls.private_key to PEM files that the server's user can read; for a test without files, use \
                 --tls-self-signed"
                    .to_owned()
            }
            Self::NoCertificate { path, content } => content.remedy_for_certificate(&shell_path(path)),
            Self::NoKey { path, content } => content.remedy_for_key(&shell_path(path)),
            Self::Mismatch { certificate, private_key } => format!(
                "use a certificate and a private key that belong together; these two commands must print the same: openssl x509 -noout -pubkey -in {}, and openssl \
                 pkey -pubout -in {}",
                shell_path(certificate),
                shell_path(private_key)
            ),
            Self::Order { .. } => {
                "put the certificate of the server first, and after each certificate the one that issued it".to_owned()
            }
            Self::UnusableKey(_) => {
                "use a key for RSA (2048 to 8192 bits), ECDSA with P-256 or P-384, or Ed25519, and a certificate for this key"
                    .to_owned()
            }
            Self::BadCertificate(_) | Self::Unusable(_) | Self::SelfSigned(_) => {
                "use an X.509 certificate of version 3 for a server; to see its content, run: openssl x509 -noout -text"
                    .to_owned()
            }
        }
    }
}
