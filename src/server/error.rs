//! Errors of the server.

use std::io;

use crate::config::listen::Listen;
use crate::http::pages::assets::LogoError;
use crate::http::tls::error::TlsError;
use crate::keyring::RingError;
use crate::store::error::StoreError;

/// Reason why the server did not start, or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    Ring(#[from] RingError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot listen on {listen} ({setting}): {source}")]
    Listen { setting: &'static str, listen: Listen, source: io::Error },
    #[error(transparent)]
    Logo(#[from] LogoError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(
        "the last sign-outs did not reach the store: these sessions live on elsewhere, and here after the next start"
    )]
    NotFlushed,
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
}
