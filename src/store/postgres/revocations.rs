//! The revocation log in PostgreSQL. `store/postgres.rs` explains why the numbers of its rows increase in the order of the
//! commits.

use std::time::Duration;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, Row as _};

use super::{Store, WriteTransaction, state};
use crate::clock::{CLOCK_SKEW, UnixTime};
use crate::id::Kid;
use crate::revocation::{Entry, retention};
use crate::store::error::StoreError;
use crate::store::log::{Facts, Row, signed, unsigned, whole_secs};
use crate::store::records::{Logged, Page, Revocation, SealingRecord, Undecoded};

/// Maximum number of rows that are deleted in one transaction.
const PRUNE_BATCH: i64 = 5_000;

impl Store {
    pub(crate) async fn revoke(&self, batch: &[Revocation], now: UnixTime) -> Result<Vec<Entry>, StoreError> {
        let mut writing = self.begin().await?;
        let entries = write(&mut writing.connection, batch, now).await?;
        writing.commit().await?;
        Ok(entries)
    }

    /// Appends an entry that revokes a key, unless the log has such an entry already.
    pub(crate) async fn revoke_key(&self, kid: Kid) -> Result<(), StoreError> {
        let mut writing = self.begin().await?;
        let query = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM revocation WHERE kid = $1)");
        let is_refused: bool = query.bind(kid.as_bytes().as_slice()).fetch_one(&mut *writing.connection).await?;
        if !is_refused {
            writing.add_entries(&[Entry::Key { kid }]).await?;
        }
        writing.commit().await
    }

    pub(crate) async fn revoke_everyone(&self) -> Result<u64, StoreError> {
        let mut writing = self.begin().await?;
        let query = sqlx::query_scalar(
            "UPDATE state SET global_generation = global_generation + 1 RETURNING global_generation",
        );
        let generation = query.fetch_one(&mut *writing.connection).await?;
        writing.commit().await?;
        unsigned(generation)
    }

    pub(crate) async fn restored(&self) -> Result<(), StoreError> {
        let mut writing = self.begin_unchecked().await?;
        for statement in [
            "UPDATE state SET moved_to = NULL, global_generation =
                greatest(global_generation + 1, CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT))",
            "UPDATE account SET generation =
                greatest(generation + 1, CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT))",
        ] {
            writing.connection.execute(statement).await?;
        }
        writing.commit().await
    }

    pub(crate) async fn read_log(&self, seq: i64, limit: i64) -> Result<Page, StoreError> {
        let mut reading = self.0.follow.get().await?;
        let query = sqlx::query(
            "SELECT seq, sid, sub, below, kid, expires_at,
                    CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) - written_ms
             FROM revocation WHERE seq >= $1 ORDER BY seq LIMIT $2",
        );
        let rows = query.bind(seq).bind(limit).fetch_all(&mut *reading).await?;
        let state = state(&mut reading).await?;
        reading.finish();
        let last = rows.last().map(|row| row.try_get(0)).transpose()?;
        Ok(Page { count: rows.len(), last, rows: Undecoded::Postgres(rows), state })
    }

    pub(crate) async fn record_sealing(
        &self,
        sealing: &SealingRecord,
        reached: UnixTime,
        until: UnixTime,
    ) -> Result<(), StoreError> {
        let mut writing = self.begin().await?;
        sqlx::query("UPDATE state SET clock_reached = greatest(clock_reached, $1)")
            .bind(signed(reached.0))
            .execute(&mut *writing.connection)
            .await?;
        for (remembered, lifetime) in [(false, sealing.lifetimes.ordinary), (true, sealing.lifetimes.remembered)] {
            sqlx::query(
                "INSERT INTO lifetime_in_use (remembered, idle_secs, absolute_secs, lag_secs, fail_open, used_until)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (remembered, idle_secs, absolute_secs, lag_secs, fail_open)
                 DO UPDATE SET used_until = greatest(lifetime_in_use.used_until, excluded.used_until)",
            )
            .bind(remembered)
            .bind(signed(lifetime.idle.as_secs()))
            .bind(signed(lifetime.absolute.as_secs()))
            .bind(whole_secs(sealing.lag))
            .bind(sealing.fail_open)
            .bind(signed(until.0))
            .execute(&mut *writing.connection)
            .await?;
        }
        writing.commit().await
    }

    pub(crate) async fn record_pruned_through(&self, instant: UnixTime) -> Result<(), StoreError> {
        let mut writing = self.begin().await?;
        sqlx::query("UPDATE state SET pruned_through = greatest(pruned_through, $1)")
            .bind(signed(instant.0))
            .execute(&mut *writing.connection)
            .await?;
        writing.commit().await
    }

    pub(crate) async fn delete_expired(&self, instant: UnixTime) -> Result<bool, StoreError> {
        // With SKIP LOCKED, nodes that prune at the same time delete different rows. With ORDER BY and ARRAY, PostgreSQL
        // uses the two indexes for any size of the table; with IN (SELECT ...), it reads the whole table each time.
        let query = sqlx::query(
            "DELETE FROM revocation WHERE seq = ANY (ARRAY(
                 SELECT seq FROM revocation WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
        );
        let mut connection = self.0.write.get().await?;
        let deleted = query.bind(signed(instant.0)).bind(PRUNE_BATCH).execute(&mut *connection).await?.rows_affected();
        connection.finish();
        Ok(deleted >= PRUNE_BATCH.unsigned_abs())
    }
}

impl WriteTransaction<'_> {
    /// Appends entries to the log without changing their expiries.
    pub(crate) async fn add_entries(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        let count = i64::try_from(entries.len()).map_err(|_| StoreError::Corrupt("more refusals than numbers"))?;
        let query = sqlx::query_scalar("UPDATE state SET last_seq = last_seq + $1 RETURNING last_seq - $1");
        let before = query.bind(count).fetch_one(&mut *self.connection).await?;
        insert(&mut self.connection, before, entries).await
    }
}

/// Decodes rows of the log.
pub(in crate::store) fn rows(rows: &[PgRow]) -> Result<Vec<Logged>, StoreError> {
    let logged = |row: &PgRow| {
        let columns = Row {
            sid: row.try_get(1)?,
            sub: row.try_get(2)?,
            below: row.try_get(3)?,
            kid: row.try_get(4)?,
            expires_at: row.try_get(5)?,
        };
        // The age is negative if the server's clock was set back.
        let age = Duration::from_millis(u64::try_from(row.try_get::<i64, _>(6)?).unwrap_or(0));
        Ok(Logged { seq: row.try_get(0)?, entry: columns.entry()?, age: Some(age) })
    };
    rows.iter().map(logged).collect()
}

/// Writes revocations with the expiries that this transaction computes, and raises the generations of revoked accounts.
pub(super) async fn write(
    connection: &mut PgConnection,
    batch: &[Revocation],
    now: UnixTime,
) -> Result<Vec<Entry>, StoreError> {
    let count = i64::try_from(batch.len()).map_err(|_| StoreError::Corrupt("more refusals than numbers"))?;
    let query = sqlx::query_as(
        "UPDATE state SET last_seq = last_seq + $1
         RETURNING last_seq - $1, pruned_through, clock_reached, global_generation + last_seq - $1",
    );
    let (before, pruned, reached, generation): (i64, i64, i64, i64) =
        query.bind(count).fetch_one(&mut *connection).await?;
    let committed_at = retention::commit_time(now, UnixTime(unsigned(pruned)?), UnixTime(unsigned(reached)?));
    let facts = facts(connection, Facts::at(committed_at, generation)?).await?;
    for revocation in batch {
        if let Revocation::Subject { sub, below } = revocation {
            let query = sqlx::query("UPDATE account SET generation = greatest(generation, $1) WHERE sub = $2");
            query.bind(signed(*below)).bind(&**sub).execute(&mut *connection).await?;
        }
    }
    let entries: Vec<Entry> = batch.iter().map(|revocation| facts.entry(revocation)).collect();
    insert(connection, before, &entries).await?;
    Ok(entries)
}

/// Inserts all rows with one statement. The number of the first row is `before + 1`.
async fn insert(connection: &mut PgConnection, before: i64, entries: &[Entry]) -> Result<(), StoreError> {
    let seqs: Vec<i64> = (before + 1..).take(entries.len()).collect();
    let mut sids = Vec::new();
    let mut subs = Vec::new();
    let mut belows = Vec::new();
    let mut kids = Vec::new();
    for entry in entries {
        let (sid, sub, below, kid) = match entry {
            Entry::Session { sid, .. } => (Some(sid.as_bytes().as_slice()), None, None, None),
            Entry::Subject { sub, below, .. } => (None, Some(&**sub), Some(signed(*below)), None),
            Entry::Key { kid } => (None, None, None, Some(kid.as_bytes().as_slice())),
        };
        sids.push(sid);
        subs.push(sub);
        belows.push(below);
        kids.push(kid);
    }
    let expiries: Vec<i64> = entries.iter().map(|entry| signed(entry.expires_at().0)).collect();
    let query = sqlx::query(
        "INSERT INTO revocation (seq, sid, sub, below, kid, expires_at)
         SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::text[], $4::bigint[], $5::bytea[], $6::bigint[])",
    );
    query.bind(seqs).bind(sids).bind(subs).bind(belows).bind(kids).bind(expiries).execute(connection).await?;
    Ok(())
}

/// Reads the maximum lifetimes of each class of sessions, over all recorded configurations that may still have live tokens.
/// The latest record counts even if it has expired, because a server that cannot reach the store continues to seal tokens for
/// a while and cannot extend its record.
async fn facts(connection: &mut PgConnection, mut facts: Facts) -> Result<Facts, StoreError> {
    let query = sqlx::query_as(
        "SELECT remembered, max(idle_secs), max(absolute_secs), max(lag_secs), bool_or(fail_open) FROM lifetime_in_use
         WHERE used_until + absolute_secs + $1 >= $2 OR used_until = (SELECT max(used_until) FROM lifetime_in_use)
         GROUP BY remembered",
    );
    let query = query.bind(signed(2 * CLOCK_SKEW.as_secs())).bind(signed(facts.committed_at.0));
    for (remembered, idle, absolute, lag, fail_open) in query.fetch_all(&mut *connection).await? {
        facts.set_longest(remembered, (idle, absolute, lag, fail_open))?;
    }
    Ok(facts)
}
