//! SQL statements that are the same for both engines.
//!
//! They are macros, because sqlx has different types for each engine, and generic functions over these types are unreadable.
//! Each engine must have `reading` (returns a connection for reading), `begin` (begins a `WriteTransaction`, which is the
//! only writer until it ends), `WriteTransaction::add_entries` and `revocations::write`.

pub(super) mod accounts;
pub(super) mod inspect;
pub(super) mod migrate;

/// Maximum number of accounts in one statement. SQLite binds at most 32,766 values in a statement, and the insertion of an account
/// binds ten values.
pub(super) const MAX_ACCOUNTS: usize = 500;
