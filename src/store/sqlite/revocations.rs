//! The revocation log in SQLite.
//!
//! Invariant: there is one writer at a time, so `seq` grows in the order of the commits, and a follower does not miss a row.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{Store, WriteTransaction, generation};
use crate::clock::{CLOCK_SKEW, UnixTime};
use crate::id::Kid;
use crate::revocation::Entry;
use crate::revocation::retention;
use crate::store::error::StoreError;
use crate::store::log::{Facts, signed, unsigned, whole_secs};
use crate::store::records::{Revocation, SealingRecord};

/// Maximum number of rows that are deleted in one transaction. It is low, so that a logout does not have to wait long.
const PRUNE_BATCH: i64 = 2_000;

impl Store {
    pub(crate) async fn revoke(&self, batch: &[Revocation], now: UnixTime) -> Result<Vec<Entry>, StoreError> {
        let mut transaction = self.begin().await?;
        let entries = write(&mut transaction.connection, batch, now).await?;
        transaction.commit().await?;
        Ok(entries)
    }

    /// Appends an entry that revokes a key, unless the log has such an entry already.
    pub(crate) async fn revoke_key(&self, kid: Kid) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let query = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM revocation WHERE kid = ?)");
        let is_refused: bool = query.bind(kid.as_bytes().as_slice()).fetch_one(&mut *transaction.connection).await?;
        if !is_refused {
            insert(&mut transaction.connection, &Entry::Key { kid }).await?;
        }
        transaction.commit().await
    }

    pub(crate) async fn revoke_everyone(&self) -> Result<u64, StoreError> {
        let query = sqlx::query_scalar(
            "UPDATE state SET global_generation = global_generation + 1 RETURNING global_generation",
        );
        let mut transaction = self.begin().await?;
        let generation = query.fetch_one(&mut *transaction.connection).await?;
        transaction.commit().await?;
        unsigned(generation)
    }

    pub(crate) async fn restored(&self) -> Result<(), StoreError> {
        let mut transaction = self.begin_unchecked().await?;
        for statement in [
            "UPDATE state SET moved_to = NULL,
                global_generation = max(global_generation + 1, CAST(unixepoch('subsec') * 1000 AS INTEGER))",
            "UPDATE account SET generation = max(generation + 1, CAST(unixepoch('subsec') * 1000 AS INTEGER))",
        ] {
            sqlx::query(statement).execute(&mut *transaction.connection).await?;
        }
        transaction.commit().await
    }

    pub(crate) async fn record_sealing(
        &self,
        sealing: &SealingRecord,
        reached: UnixTime,
        until: UnixTime,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query("UPDATE state SET clock_reached = max(clock_reached, ?)")
            .bind(signed(reached.0))
            .execute(&mut *transaction.connection)
            .await?;
        for (remembered, lifetime) in [(false, sealing.lifetimes.ordinary), (true, sealing.lifetimes.remembered)] {
            sqlx::query(
                "INSERT INTO lifetime_in_use (remembered, idle_secs, absolute_secs, lag_secs, fail_open, used_until)
                 VALUES (?, ?, ?, ?, ?, ?)
                 ON CONFLICT DO UPDATE SET used_until = max(used_until, excluded.used_until)",
            )
            .bind(remembered)
            .bind(signed(lifetime.idle.as_secs()))
            .bind(signed(lifetime.absolute.as_secs()))
            .bind(whole_secs(sealing.lag))
            .bind(sealing.fail_open)
            .bind(signed(until.0))
            .execute(&mut *transaction.connection)
            .await?;
        }
        transaction.commit().await
    }

    pub(crate) async fn record_pruned_through(&self, instant: UnixTime) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE state SET pruned_through = max(pruned_through, ?)").bind(signed(instant.0));
        let mut transaction = self.begin().await?;
        query.execute(&mut *transaction.connection).await?;
        transaction.commit().await
    }

    pub(crate) async fn delete_expired(&self, instant: UnixTime) -> Result<bool, StoreError> {
        let query = sqlx::query(
            "DELETE FROM revocation WHERE seq IN (SELECT seq FROM revocation WHERE expires_at < ? LIMIT ?)",
        );
        let query = query.bind(signed(instant.0)).bind(PRUNE_BATCH);
        let mut transaction = self.begin().await?;
        let deleted = query.execute(&mut *transaction.connection).await?.rows_affected();
        transaction.commit().await?;
        Ok(deleted >= PRUNE_BATCH.unsigned_abs())
    }
}

impl WriteTransaction {
    /// Appends entries to the log without changing their expiries.
    pub(crate) async fn add_entries(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO revocation (sid, sub, below, kid, expires_at) ");
        insert.push_values(entries, |mut row, entry| {
            let (sid, sub, below, kid) = match entry {
                Entry::Session { sid, .. } => (Some(sid.as_bytes().to_vec()), None, None, None),
                Entry::Subject { sub, below, .. } => (None, Some(sub.to_string()), Some(signed(*below)), None),
                Entry::Key { kid } => (None, None, None, Some(kid.as_bytes().to_vec())),
            };
            row.push_bind(sid).push_bind(sub).push_bind(below).push_bind(kid);
            row.push_bind(signed(entry.expires_at().0));
        });
        insert.build().execute(&mut *self.connection).await?;
        Ok(())
    }
}

/// Writes revocations with the expiries that this transaction computes, and raises the generations of revoked accounts.
pub(super) async fn write(
    transaction: &mut SqliteConnection,
    batch: &[Revocation],
    now: UnixTime,
) -> Result<Vec<Entry>, StoreError> {
    let query = sqlx::query_as(concat!("SELECT pruned_through, clock_reached, ", generation!(), " FROM state"));
    let (pruned, reached, generation): (i64, i64, i64) = query.fetch_one(&mut *transaction).await?;
    let committed_at = retention::commit_time(now, UnixTime(unsigned(pruned)?), UnixTime(unsigned(reached)?));
    let facts = facts(transaction, Facts::at(committed_at, generation)?).await?;
    let mut entries = Vec::with_capacity(batch.len());
    for revocation in batch {
        if let Revocation::Subject { sub, below } = revocation {
            let query = sqlx::query("UPDATE account SET generation = max(generation, ?) WHERE sub = ?");
            query.bind(signed(*below)).bind(&**sub).execute(&mut *transaction).await?;
        }
        let entry = facts.entry(revocation);
        insert(transaction, &entry).await?;
        entries.push(entry);
    }
    Ok(entries)
}

/// Appends one entry to the log.
async fn insert(transaction: &mut SqliteConnection, entry: &Entry) -> Result<(), StoreError> {
    let query = match entry {
        Entry::Session { sid, expires_at } => {
            let query = sqlx::query("INSERT INTO revocation (sid, expires_at) VALUES (?, ?)");
            query.bind(sid.as_bytes().as_slice()).bind(signed(expires_at.0))
        }
        Entry::Subject { sub, below, expires_at } => {
            let query = sqlx::query("INSERT INTO revocation (sub, below, expires_at) VALUES (?, ?, ?)");
            query.bind(&**sub).bind(signed(*below)).bind(signed(expires_at.0))
        }
        Entry::Key { kid } => {
            let query = sqlx::query("INSERT INTO revocation (kid, expires_at) VALUES (?, ?)");
            query.bind(kid.as_bytes().as_slice()).bind(signed(entry.expires_at().0))
        }
    };
    query.execute(&mut *transaction).await?;
    Ok(())
}

/// Reads the maximum lifetimes of each class of sessions, over all recorded configurations that may still have live tokens.
/// The latest record counts even if it has expired, because a server whose disk is full continues to seal tokens and cannot
/// extend its record.
async fn facts(transaction: &mut SqliteConnection, mut facts: Facts) -> Result<Facts, StoreError> {
    let query = sqlx::query_as(
        "SELECT remembered, max(idle_secs), max(absolute_secs), max(lag_secs), max(fail_open) FROM lifetime_in_use
         WHERE used_until + absolute_secs + ? >= ? OR used_until = (SELECT max(used_until) FROM lifetime_in_use)
         GROUP BY remembered",
    );
    let query = query.bind(signed(2 * CLOCK_SKEW.as_secs())).bind(signed(facts.committed_at.0));
    for (remembered, idle, absolute, lag, fail_open) in query.fetch_all(&mut *transaction).await? {
        facts.set_longest(remembered, (idle, absolute, lag, fail_open))?;
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::id::Sid;
    use crate::session::Lifetimes;
    use crate::session::lifetime::Lifetime;
    use crate::store::records::{EmptyPolicy, TokenFacts};

    const SEALING: SealingRecord =
        SealingRecord { lifetimes: lifetimes(1800), lag: Duration::from_secs(11), fail_open: false };

    const fn lifetimes(idle_secs: u64) -> Lifetimes {
        let both = Lifetime { idle: Duration::from_secs(idle_secs), absolute: Duration::from_secs(43_200) };
        Lifetimes { ordinary: both, remembered: both }
    }

    #[tokio::test]
    async fn a_refused_key_is_never_deleted() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("test.db");
        assert!(Store::create(&path).expect("a new file"));
        let store = Store::open(&path, EmptyPolicy::Filled).await.expect("an empty database");
        let kid = Kid::from_bytes(*b"\0key id ");
        store.revoke_key(kid).await.expect("committed");
        let session = Revocation::Session { sid: Sid::from_bytes([1; 16]), token: None };
        store.revoke(&[session], UnixTime(1_000)).await.expect("committed");
        while store.delete_expired(UnixTime(i64::MAX.unsigned_abs())).await.expect("deleted") {}
        let rows = store.read_log(0, 10).await.expect("read").rows().expect("decoded");
        assert_eq!(rows.into_iter().map(|row| row.entry).collect::<Vec<_>>(), [Entry::Key { kid }]);
        assert_eq!(store.revoked_keys().await.expect("read"), [kid]);
    }

    #[tokio::test]
    async fn earlier_lifetimes_count_while_their_tokens_are_valid() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("test.db");
        assert!(Store::create(&path).expect("a new file"));
        let store = Store::open(&path, EmptyPolicy::Filled).await.expect("an empty database");
        let longer = SealingRecord { lifetimes: lifetimes(7200), ..SEALING };
        store.record_sealing(&longer, UnixTime(1_000), UnixTime(4_600)).await.expect("recorded");
        store.record_sealing(&SEALING, UnixTime(2_000), UnixTime(5_600)).await.expect("recorded");
        let last = 4_600 + 43_200 + 2 * CLOCK_SKEW.as_secs();
        for (now, idle) in [(3_000, 7200), (last, 7200), (last + 1, 1800), (100 * last, 1800)] {
            for remembered in [false, true] {
                let token = TokenFacts { absolute_deadline: UnixTime(u64::MAX), remembered };
                let revocation = Revocation::Session { sid: Sid::from_bytes([1; 16]), token: Some(token) };
                let entries = store.revoke(&[revocation], UnixTime(now)).await.expect("committed");
                let expires_at = UnixTime(now + idle + 11 + 2 * CLOCK_SKEW.as_secs());
                assert_eq!(entries, [Entry::Session { sid: Sid::from_bytes([1; 16]), expires_at }], "at {now}");
            }
        }
    }
}
