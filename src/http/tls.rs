//! TLS of the public listener: loads the certificate, and reloads it when its files change.
//!
//! The cipher suites are the defaults of rustls: only ephemeral key exchange and AEADs, with TLS 1.2 and 1.3. This satisfies [RFC
//! 9325](https://www.rfc-editor.org/rfc/rfc9325). If a reload fails, the old certificate stays in use. A renewal replaces the two
//! files one after the other, so for a short time the certificate does not belong to the key. Therefore an error is reported only
//! if two reads in a row have the same error.
//!
//! `pem.rs` reads the files, and `error.rs` has the errors with their remedies.

pub(crate) mod error;
mod pem;

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustix::fs::Access;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio_rustls::rustls::crypto::ring::{Ticketer, default_provider};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, InconsistentKeys, ServerConfig};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::time::Time;
use zeroize::Zeroizing;

use crate::access_denied::{self, shell_path};
use crate::bounded_file::{self, MAX_BYTES, ReadError};
use crate::clock::{Now, UnixTime};
use error::TlsError;

/// Interval at which the files are read again.
const REREAD_INTERVAL: Duration = Duration::from_secs(1);

/// Minimum version of TLS (`tls.min_version`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TlsVersion {
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

/// Source of a certificate.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Files(Files),
    /// A self-signed certificate for these hosts, created at the start.
    SelfSigned(Vec<String>),
}

/// Paths of the certificate chain and of the private key, both in PEM.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) private_key: PathBuf,
}

/// The certificate in use.
pub(crate) struct Tls {
    /// Files of the certificate. `None` if it is self-signed.
    files: Option<Files>,
    min_version: TlsVersion,
    current: ArcSwap<Loaded>,
    /// Notified to read the files immediately.
    reread_requested: Notify,
}

/// A loaded certificate, in the form that rustls uses.
struct Loaded {
    config: Arc<ServerConfig>,
    /// Hash of the bytes of both files. A different hash shows that the files have changed.
    digest: [u8; 32],
    valid_from: UnixTime,
    expires_at: UnixTime,
    /// Number of the first certificate in the chain that the next certificate did not issue. `None` if the order is correct.
    out_of_order: Option<usize>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Loads a certificate for the first time, and logs its state.
    pub(crate) fn open(source: Source, min_version: TlsVersion) -> Result<Arc<Self>, TlsError> {
        let (files, loaded) = match source {
            Source::Files(files) => {
                let loaded = files.read()?.load(min_version)?;
                (Some(files), loaded)
            }
            Source::SelfSigned(names) => (None, self_signed(names, min_version)?),
        };
        loaded.report(files.as_ref());
        let current = ArcSwap::from_pointee(loaded);
        Ok(Arc::new(Self { files, min_version, current, reread_requested: Notify::new() }))
    }

    /// Returns the TLS configuration for a new connection.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.load().config.clone()
    }

    /// Returns the time at which the certificate in use expires.
    pub(crate) fn expires_at(&self) -> UnixTime {
        self.current.load().expires_at
    }

    /// Returns the time from which the certificate in use is valid.
    pub(crate) fn valid_from(&self) -> UnixTime {
        self.current.load().valid_from
    }

    /// Returns the number of the first certificate in the chain that the next certificate did not issue, or `None` if the order
    /// is correct.
    pub(crate) fn out_of_order(&self) -> Option<usize> {
        self.current.load().out_of_order
    }

    /// Requests an immediate read of the files.
    pub(crate) fn request_reread(&self) {
        self.reread_requested.notify_one();
    }

    /// Reloads the certificate whenever its files have changed, without end. Returns immediately if the certificate is
    /// self-signed.
    pub(crate) async fn watch_files(self: Arc<Self>) {
        let Some(files) = &self.files else {
            return;
        };
        // Error of the last read, and the last error in the log.
        let mut last_error = None;
        let mut reported: Option<String> = None;
        loop {
            let _ = tokio::time::timeout(REREAD_INTERVAL, self.reread_requested.notified()).await;
            match self.read_again(files).await {
                Ok(loaded) => {
                    last_error = None;
                    if reported.take().is_some() {
                        tracing::info!("the certificate files can be read again");
                    }
                    if let Some(loaded) = loaded {
                        loaded.report(Some(files));
                        self.current.store(Arc::new(loaded));
                    }
                }
                Err(error) => {
                    let message = Some(error.to_string());
                    // Report an error only at its second occurrence, and only once.
                    if last_error == message && reported != message {
                        let hint = error.remedy();
                        tracing::error!(
                            error = message,
                            hint,
                            "cannot reload the certificate: the old one stays in use"
                        );
                        reported.clone_from(&message);
                    }
                    last_error = message;
                }
            }
        }
    }

    /// Reads the files, and loads the certificate if they have changed. Returns `None` if they have not.
    async fn read_again(&self, files: &Files) -> Result<Option<Loaded>, TlsError> {
        let files = files.clone();
        let min_version = self.min_version;
        let digest = self.current.load().digest;
        let read = move || {
            let pair = files.read()?;
            if pair.digest() == digest { Ok(None) } else { pair.load(min_version).map(Some) }
        };
        tokio::task::spawn_blocking(read).await.expect("reading files returns its errors and does not panic")
    }
}

impl Loaded {
    /// Logs the certificate, and warnings about it.
    fn report(&self, files: Option<&Files>) {
        let expires = self.expires_at;
        let Some(Files { certificate, private_key }) = files else {
            tracing::warn!(%expires, "using a new self-signed TLS certificate, which no client trusts: use it for tests only");
            return;
        };
        tracing::info!(certificate = %certificate.display(), %expires, "loaded the TLS certificate");
        if expires <= Now::read().wall {
            tracing::warn!(certificate = %certificate.display(), %expires, "the TLS certificate has expired: clients refuse it");
        }
        if let Some(number) = self.out_of_order {
            tracing::warn!(certificate = %certificate.display(), number, "the certificate chain is in the wrong order: some clients refuse it");
        }
        if std::fs::metadata(private_key).is_ok_and(|metadata| metadata.mode() & 0o004 != 0) {
            let hint = format!("run: chmod o= {}", shell_path(private_key));
            tracing::warn!(file = %private_key.display(), hint, "every user of this machine can read the private key");
        }
    }
}

/// Adds the owner of the file to an error if the permissions of the file are the cause.
fn explain(path: &Path, error: ReadError) -> ReadError {
    match error {
        ReadError::Io(error) => ReadError::Io(access_denied::explain(path, Access::READ_OK, error)),
        error => error,
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
            bytes.map_err(|source| TlsError::File { path: path.to_owned(), source: explain(path, source) })
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

    fn load(&self, min_version: TlsVersion) -> Result<Loaded, TlsError> {
        let Files { certificate, private_key } = self.files;
        let chain = pem::certificates(&self.certificate);
        let chain = chain.map_err(|content| TlsError::NoCertificate { path: certificate.clone(), content })?;
        let key = pem::private_key(&self.private_key);
        let key = key.map_err(|content| TlsError::NoKey { path: private_key.clone(), content })?;
        let key = default_provider().key_provider.load_private_key(key).map_err(TlsError::UnusableKey)?;
        self.check_key(&chain, &key)?;
        load(CertifiedKey::new(chain, key), self.digest(), min_version)
    }

    /// Checks that the key belongs to the first certificate of the chain.
    fn check_key(&self, chain: &[CertificateDer<'static>], key: &Arc<dyn SigningKey>) -> Result<(), TlsError> {
        let has_key = |certificate: &CertificateDer<'static>| {
            let alone = CertifiedKey::new(vec![certificate.clone()], key.clone());
            match alone.keys_match() {
                Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(true),
                Err(rustls::Error::InconsistentKeys(_)) => Ok(false),
                Err(error) => Err(TlsError::Unusable(error)),
            }
        };
        if has_key(&chain[0])? {
            return Ok(());
        }
        let certificate = self.files.certificate.clone();
        let private_key = self.files.private_key.clone();
        // If the key belongs to a later certificate, the chain is probably in the wrong order.
        match chain.iter().position(|certificate| has_key(certificate).is_ok_and(|has_key| has_key)) {
            Some(index) => Err(TlsError::Order { certificate, private_key, number: index + 1 }),
            None => Err(TlsError::Mismatch { certificate, private_key }),
        }
    }
}

/// Creates the configuration of rustls for a certificate.
fn load(certified: CertifiedKey, digest: [u8; 32], min_version: TlsVersion) -> Result<Loaded, TlsError> {
    let server_certificate = Certificate::from_der(&certified.cert[0]).map_err(TlsError::BadCertificate)?;
    let validity = *server_certificate.tbs_certificate().validity();
    let out_of_order = out_of_order(&certified.cert);
    let versions: &[_] = if min_version == TlsVersion::V1_3 { &[&TLS13] } else { &[&TLS13, &TLS12] };
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider())).with_protocol_versions(versions);
    let resolver = Arc::new(SingleCertAndKey::from(certified));
    let mut config = builder.map_err(TlsError::Unusable)?.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // TLS sessions are resumed with tickets, which need no memory on the server. The ticket key is used for hours, and only in
    // this process.
    config.ticketer = Ticketer::new().map_err(TlsError::Unusable)?;
    let time = |time: &Time| UnixTime(time.to_unix_duration().as_secs());
    Ok(Loaded {
        config: Arc::new(config),
        digest,
        valid_from: time(&validity.not_before),
        expires_at: time(&validity.not_after),
        out_of_order,
    })
}

/// Returns the number of the first certificate that the next certificate did not issue, or `None` if the order is correct.
fn out_of_order(chain: &[CertificateDer<'_>]) -> Option<usize> {
    let parsed: Vec<_> = chain.iter().map_while(|der| Certificate::from_der(der).ok()).collect();
    let is_issued = |pair: &[Certificate]| pair[0].tbs_certificate().issuer() == pair[1].tbs_certificate().subject();
    parsed.windows(2).position(|pair| !is_issued(pair)).map(|index| index + 1)
}

/// Creates a self-signed certificate for these hosts.
fn self_signed(names: Vec<String>, min_version: TlsVersion) -> Result<Loaded, TlsError> {
    let generated = rcgen::generate_simple_self_signed(names).map_err(TlsError::SelfSigned)?;
    let key = PrivateKeyDer::Pkcs8(generated.signing_key.serialize_der().into());
    let key = default_provider().key_provider.load_private_key(key).map_err(TlsError::UnusableKey)?;
    load(CertifiedKey::new(vec![generated.cert.der().clone()], key), [0; 32], min_version)
}
