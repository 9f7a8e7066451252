//! TLS of the public listener: the certificate in use, read again when its files change.
//!
//! Suites are rustls' own: ephemeral key exchange and AEADs only, with TLS 1.2 and 1.3 (RFC 9325 asks for no more). The two files are
//! replaced one after the other, so a certificate that does not fit its key is not worth a word until it is found twice in a row.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio_rustls::rustls::crypto::ring::{Ticketer, default_provider};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ServerConfig};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use zeroize::Zeroizing;

use crate::access_denied::shell_path;
use crate::bounded_file::{self, MAX_BYTES, ReadError};
use crate::clock::{Now, UnixTime};

const REREAD_EVERY: Duration = Duration::from_secs(1);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot read {}: {source}", path.display())]
    File { path: PathBuf, source: ReadError },
    #[error("{} has no certificate in PEM", .0.display())]
    NoCertificate(PathBuf),
    #[error("{} has no private key in PEM", .0.display())]
    NoKey(PathBuf),
    #[error("the certificate cannot be read: {0}")]
    BadCertificate(x509_cert::der::Error),
    #[error("the certificate or its key cannot be used: {0}")]
    Unusable(rustls::Error),
    #[error("cannot make a certificate: {0}")]
    SelfSigned(rcgen::Error),
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TlsVersion {
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

/// Where a certificate comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Files(Files),
    /// It is made here, for these hosts.
    SelfSigned(Vec<String>),
}

#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) private_key: PathBuf,
}

/// The certificate in use.
pub(crate) struct Tls {
    /// Where it came from; none if it was made here.
    files: Option<Files>,
    oldest: TlsVersion,
    current: ArcSwap<Loaded>,
    asked: Notify,
}

struct Loaded {
    config: Arc<ServerConfig>,
    /// Of both files' bytes, to see whether they have changed.
    digest: [u8; 32],
    expires_at: UnixTime,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    pub(crate) fn open(source: Source, oldest: TlsVersion) -> Result<Arc<Self>, TlsError> {
        let (files, loaded) = match source {
            Source::Files(files) => {
                let loaded = files.read()?.load(oldest)?;
                (Some(files), loaded)
            }
            Source::SelfSigned(names) => (None, self_signed(names, oldest)?),
        };
        loaded.report(files.as_ref());
        Ok(Arc::new(Self { files, oldest, current: ArcSwap::from_pointee(loaded), asked: Notify::new() }))
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.load().config.clone()
    }

    /// When the certificate in use ends.
    pub(crate) fn expires_at(&self) -> UnixTime {
        self.current.load().expires_at
    }

    /// Reads the files again at once.
    pub(crate) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Keeps the certificate in use like its files, for ever.
    pub(crate) async fn follow(self: Arc<Self>) {
        let Some(files) = &self.files else {
            return;
        };
        let mut found = None;
        let mut reported: Option<String> = None;
        loop {
            let _ = tokio::time::timeout(REREAD_EVERY, self.asked.notified()).await;
            match self.read_again(files).await {
                Ok(loaded) => {
                    found = None;
                    if reported.take().is_some() {
                        tracing::info!("the certificate can be read again");
                    }
                    if let Some(loaded) = loaded {
                        loaded.report(Some(files));
                        self.current.store(Arc::new(loaded));
                    }
                }
                Err(error) => {
                    let message = Some(error.to_string());
                    if found == message && reported != message {
                        tracing::error!(error = message, "the certificate cannot be read again; the old one serves on");
                        reported.clone_from(&message);
                    }
                    found = message;
                }
            }
        }
    }

    /// What the files hold now, if it is something else.
    async fn read_again(&self, files: &Files) -> Result<Option<Loaded>, TlsError> {
        let (files, oldest, digest) = (files.clone(), self.oldest, self.current.load().digest);
        let read = move || {
            let pair = files.read()?;
            if pair.digest() == digest { Ok(None) } else { pair.load(oldest).map(Some) }
        };
        tokio::task::spawn_blocking(read).await.expect("reading files returns its errors and does not panic")
    }
}

impl Loaded {
    fn report(&self, files: Option<&Files>) {
        let expires = self.expires_at;
        let Some(Files { certificate, private_key }) = files else {
            tracing::warn!(%expires, "TLS with a certificate made just now, which nothing trusts; for trying out only");
            return;
        };
        tracing::info!(certificate = %certificate.display(), %expires, "there is a certificate for TLS");
        if expires <= Now::read().wall {
            tracing::warn!(certificate = %certificate.display(), %expires, "the certificate has expired; clients refuse it");
        }
        if std::fs::metadata(private_key).is_ok_and(|found| found.mode() & 0o004 != 0) {
            let hint = format!("run: chmod o= {}", shell_path(private_key));
            tracing::warn!(file = %private_key.display(), hint, "everybody on this machine can read the private key");
        }
    }
}

/// The contents of the two files.
struct Pair<'f> {
    files: &'f Files,
    certificate: Zeroizing<Vec<u8>>,
    private_key: Zeroizing<Vec<u8>>,
}

impl Files {
    fn read(&self) -> Result<Pair<'_>, TlsError> {
        let read = |path: &Path| {
            let bytes = bounded_file::read(path, MAX_BYTES);
            bytes.map_err(|source| TlsError::File { path: path.to_owned(), source })
        };
        Ok(Pair { files: self, certificate: read(&self.certificate)?, private_key: read(&self.private_key)? })
    }
}

impl Pair<'_> {
    fn digest(&self) -> [u8; 32] {
        let length = (self.certificate.len() as u64).to_be_bytes();
        Sha256::new()
            .chain_update(length)
            .chain_update(&*self.certificate)
            .chain_update(&*self.private_key)
            .finalize()
            .into()
    }

    fn load(&self, oldest: TlsVersion) -> Result<Loaded, TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| TlsError::NoCertificate(self.files.certificate.clone()))?;
        let key = PrivateKeyDer::from_pem_slice(&self.private_key);
        let key = key.map_err(|_| TlsError::NoKey(self.files.private_key.clone()))?;
        load(chain, key, self.digest(), oldest)
    }
}

fn load(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    digest: [u8; 32],
    oldest: TlsVersion,
) -> Result<Loaded, TlsError> {
    let certificate = Certificate::from_der(&chain[0]).map_err(TlsError::BadCertificate)?;
    let expires_at = certificate.tbs_certificate().validity().not_after.to_unix_duration();
    let versions: &[_] = if oldest == TlsVersion::V1_3 { &[&TLS13] } else { &[&TLS13, &TLS12] };
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Sessions of TLS are resumed without memory here; the ticket's key lives for hours, and only in this process.
    config.ticketer = Ticketer::new().map_err(TlsError::Unusable)?;
    Ok(Loaded { config: Arc::new(config), digest, expires_at: UnixTime(expires_at.as_secs()) })
}

fn self_signed(names: Vec<String>, oldest: TlsVersion) -> Result<Loaded, TlsError> {
    let made = rcgen::generate_simple_self_signed(names).map_err(TlsError::SelfSigned)?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    load(vec![made.cert.der().clone()], key, [0; 32], oldest)
}
