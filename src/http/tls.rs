//! TLS of the public listener: the certificate in use, read again when its files change.
//!
//! Suites are rustls' own: ephemeral key exchange and AEADs only, with TLS 1.2 and 1.3 (RFC 9325 asks for no more). The two files are
//! replaced one after the other, so a certificate that does not fit its key is not worth a word until it is found twice in a row.

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

const REREAD_EVERY: Duration = Duration::from_secs(1);

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
    valid_from: UnixTime,
    expires_at: UnixTime,
    /// Number of the first certificate that the next one did not issue.
    out_of_order: Option<usize>,
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

    /// When the certificate in use begins to be valid.
    pub(crate) fn valid_from(&self) -> UnixTime {
        self.current.load().valid_from
    }

    /// Number of the first certificate in the chain that the next one did not issue.
    pub(crate) fn out_of_order(&self) -> Option<usize> {
        self.current.load().out_of_order
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
                        let hint = error.remedy();
                        tracing::error!(
                            error = message,
                            hint,
                            "the certificate cannot be read again; the old one serves on"
                        );
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
        if let Some(number) = self.out_of_order {
            tracing::warn!(certificate = %certificate.display(), number, "the chain of certificates is out of order; some clients refuse it");
        }
        if std::fs::metadata(private_key).is_ok_and(|found| found.mode() & 0o004 != 0) {
            let hint = format!("run: chmod o= {}", shell_path(private_key));
            tracing::warn!(file = %private_key.display(), hint, "everybody on this machine can read the private key");
        }
    }
}

/// Returns the error with the owner of the file, if that is why it cannot be read.
fn explained(path: &Path, error: ReadError) -> ReadError {
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
            bytes.map_err(|source| TlsError::File { path: path.to_owned(), source: explained(path, source) })
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
        let Files { certificate, private_key } = self.files;
        let chain = pem::certificates(&self.certificate);
        let chain = chain.map_err(|found| TlsError::NoCertificate { path: certificate.clone(), found })?;
        let key = pem::private_key(&self.private_key);
        let key = key.map_err(|found| TlsError::NoKey { path: private_key.clone(), found })?;
        let key = default_provider().key_provider.load_private_key(key).map_err(TlsError::UnusableKey)?;
        self.check_fit(&chain, &key)?;
        load(CertifiedKey::new(chain, key), self.digest(), oldest)
    }

    /// Returns an error if the key belongs to another certificate than the first.
    fn check_fit(&self, chain: &[CertificateDer<'static>], key: &Arc<dyn SigningKey>) -> Result<(), TlsError> {
        let fits = |certificate: &CertificateDer<'static>| {
            let alone = CertifiedKey::new(vec![certificate.clone()], key.clone());
            match alone.keys_match() {
                Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(true),
                Err(rustls::Error::InconsistentKeys(_)) => Ok(false),
                Err(error) => Err(TlsError::Unusable(error)),
            }
        };
        if fits(&chain[0])? {
            return Ok(());
        }
        let certificate = self.files.certificate.clone();
        let private_key = self.files.private_key.clone();
        match chain.iter().position(|certificate| fits(certificate).is_ok_and(|fits| fits)) {
            Some(place) => Err(TlsError::Order { certificate, private_key, number: place + 1 }),
            None => Err(TlsError::Mismatch { certificate, private_key }),
        }
    }
}

fn load(certified: CertifiedKey, digest: [u8; 32], oldest: TlsVersion) -> Result<Loaded, TlsError> {
    let own = Certificate::from_der(&certified.cert[0]).map_err(TlsError::BadCertificate)?;
    let validity = *own.tbs_certificate().validity();
    let out_of_order = out_of_order(&certified.cert);
    let versions: &[_] = if oldest == TlsVersion::V1_3 { &[&TLS13] } else { &[&TLS13, &TLS12] };
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider())).with_protocol_versions(versions);
    let resolver = Arc::new(SingleCertAndKey::from(certified));
    let mut config = builder.map_err(TlsError::Unusable)?.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Sessions of TLS are resumed without memory here; the ticket's key lives for hours, and only in this process.
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

/// Returns the number of the first certificate that the next one did not issue.
fn out_of_order(chain: &[CertificateDer<'_>]) -> Option<usize> {
    let parsed: Vec<_> = chain.iter().map_while(|der| Certificate::from_der(der).ok()).collect();
    let is_issued = |pair: &[Certificate]| pair[0].tbs_certificate().issuer() == pair[1].tbs_certificate().subject();
    parsed.windows(2).position(|pair| !is_issued(pair)).map(|place| place + 1)
}

fn self_signed(names: Vec<String>, oldest: TlsVersion) -> Result<Loaded, TlsError> {
    let made = rcgen::generate_simple_self_signed(names).map_err(TlsError::SelfSigned)?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let key = default_provider().key_provider.load_private_key(key).map_err(TlsError::UnusableKey)?;
    load(CertifiedKey::new(vec![made.cert.der().clone()], key), [0; 32], oldest)
}
