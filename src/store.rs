//! The store: accounts, generations, the revocation log and the lifetimes in use. Nothing else is kept, and no request that only
//! verifies waits for it.
//!
//! SQLite is the embedded engine; PostgreSQL, for several nodes, will stand beside it in `store/postgres.rs`.

mod sqlite;

use std::path::PathBuf;

use crate::account::{Profile, Roles};
use crate::clock::UnixTime;
use crate::id::Sid;
use crate::revocation::Entry;
use crate::session::Lifetimes;
use crate::session::claims::Flags;
pub(crate) use sqlite::Store;

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreUrl {
    path: PathBuf,
}

impl StoreUrl {
    /// Parses `sqlite://PATH`; a path without a leading slash is relative to the working directory.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let path = url.strip_prefix("sqlite://").filter(|path| !path.is_empty() && !path.contains(['?', '#']))?;
        Some(Self { path: PathBuf::from(path) })
    }

    /// The store in this file.
    pub(crate) fn file(path: PathBuf) -> Self {
        Self { path }
    }
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("there is no database at {}", .0.display())]
    Missing(PathBuf),
    #[error("cannot open the database {}: {source}", path.display())]
    Open { path: PathBuf, source: sqlx::Error },
    #[error("cannot create the database {}: {source}", path.display())]
    Create { path: PathBuf, source: std::io::Error },
    #[error("cannot bring the database up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the database failed: {0}")]
    Failed(#[from] sqlx::Error),
    #[error("the database holds a value that cannot be: {0}")]
    Corrupt(&'static str),
    #[error("there is an account named {0} already")]
    NameTaken(String),
    #[error("there is no account named {0}")]
    NoSuchAccount(String),
}

/// An account as stored.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) sub: String,
    pub(crate) profile: Profile,
    pub(crate) password_hash: String,
    pub(crate) disabled: bool,
    /// The password must be changed before a session can begin.
    pub(crate) must_change: bool,
    pub(crate) generation: u64,
    pub(crate) created_at: UnixTime,
}

/// What changes an account. Every one but `Enable` ends all its sessions.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Password { hash: String, must_change: bool },
    Roles(Roles),
    Disable,
    Enable,
    EndSessions,
    Delete,
}

/// A password was changed by its owner.
#[derive(Debug, Clone)]
pub(crate) struct PasswordChanged {
    /// The account's generation from now on.
    pub(crate) generation: u64,
    /// The refusal of all sessions before.
    pub(crate) ended: Entry,
}

/// The store's own counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) global_generation: u64,
    pub(crate) pruned_through: UnixTime,
}

/// Something to refuse, before its expiry is fixed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Revoke {
    /// One session; what its token says, where the token is at hand.
    Session { sid: Sid, token: Option<TokenFacts> },
    /// All sessions of an account that are below this generation.
    Subject { sub: Box<str>, below: u64 },
}

/// What retention needs to know of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenFacts {
    pub(crate) absolute_deadline: UnixTime,
    pub(crate) remembered: bool,
}

/// How this server seals and how it follows the log: recorded, so that entries are kept long enough whoever writes them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sealing {
    pub(crate) lifetimes: Lifetimes,
    pub(crate) lag: std::time::Duration,
    pub(crate) fail_open: bool,
}

impl From<&crate::session::Presented> for Revoke {
    fn from(presented: &crate::session::Presented) -> Self {
        let remembered = Flags::remembered(presented.flags);
        let token = TokenFacts { absolute_deadline: presented.absolute_deadline, remembered };
        Self::Session { sid: presented.sid, token: Some(token) }
    }
}
