//! Instances of the shared statements (`store/statements.rs`) for PostgreSQL.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Postgres, Row};

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

impl_accounts!(Store, PgConnection, PgRow);
impl_inspect!(Store);
impl_migrate!(
    Store,
    WriteTransaction<'_>,
    PgConnection,
    Postgres,
    "last_seq",
    "UPDATE state SET last_seq = greatest(last_seq, $1)"
);
