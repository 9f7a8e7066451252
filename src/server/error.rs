//! Errors that stop the server.

use std::io;

use crate::config::listen::Listen;
use crate::http::pages::assets::LogoError;
use crate::http::tls::error::TlsError;
use crate::keyring::RingError;
use crate::store::error::StoreError;

/// Error for a server that did not start, or that lost logouts at its shutdown.
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
        "the last logouts did not reach the store: their sessions stay valid on other nodes, and on this node after its next start"
    )]
    NotFlushed,
    #[error("a system call failed: {0}")]
    System(#[from] io::Error),
}
