//! Instances of the shared statements (`store/statements.rs`) for SQLite.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, Sqlite};

use super::{MIGRATIONS, Store, WriteTransaction, has_tables, revocations};
use crate::account::{DisplayName, Email, LoginName, Profile, Roles};
use crate::clock::UnixTime;
use crate::id::Kid;
use crate::revocation::Entry;
use crate::store::error::StoreError;
use crate::store::log::{self, signed, unsigned};
use crate::store::migrate::state::{Counters, IncomingMigration, LifetimeInUse, MigrationState, RowCounts};
use crate::store::records::{
    Account, AccountChanged, Change, PasswordChanged, ProfileChange, ProfileChanged, Revocation, Tables,
};
use crate::store::statements::MAX_ACCOUNTS;
use crate::store::statements::accounts::{impl_accounts, select_accounts};
use crate::store::statements::inspect::impl_inspect;
use crate::store::statements::migrate::impl_migrate;

impl_accounts!(Store, SqliteConnection, SqliteRow);
impl_inspect!(Store);
impl_migrate!(
    Store,
    WriteTransaction,
    SqliteConnection,
    Sqlite,
    "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'revocation'), 0)",
    "REPLACE INTO sqlite_sequence (rowid, name, seq)
     SELECT max(rowid), 'revocation', max($1, coalesce(max(seq), 0)) FROM sqlite_sequence WHERE name = 'revocation'"
);
