//! Statements that are the same for both engines.
//!
//! They are macros, because sqlx's types differ from engine to engine and generic functions over them are unreadable. An engine
//! has `reading` (a connection), `begin` (a transaction that is the only writer until it ends; its type is `Writing`),
//! `Writing::add_entries` and `revocations::write`.

pub(super) mod accounts;
pub(super) mod inspect;
pub(super) mod migrate;

/// Maximum number of accounts in one statement. SQLite binds 32,766 values at most, and an account has ten.
pub(super) const MAX_ACCOUNTS: usize = 500;
