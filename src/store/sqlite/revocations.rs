//! The revocation log in SQLite. One writer at a time, so `seq` grows in the order of the commits and following it misses nothing.

use std::time::Duration;

use sqlx::{Row, SqliteConnection};

use super::{Store, signed, unsigned};
use crate::clock::{CLOCK_SKEW, UnixTime};
use crate::id::Sid;
use crate::revocation::Entry;
use crate::revocation::retention::{self, Longest};
use crate::store::{Revoke, Sealing, StoreError, TokenFacts};

/// Rows deleted in one transaction: few enough that a sign-out does not wait for them.
const PRUNE_BATCH: i64 = 2_000;

impl Store {
    /// Commits a batch of refusals in one transaction. Durable when this returns.
    pub(crate) async fn revoke(&self, batch: &[Revoke], now: UnixTime) -> Result<Vec<Entry>, StoreError> {
        let mut transaction = self.begin().await?;
        let entries = write(&mut transaction.connection, batch, now).await?;
        transaction.commit().await?;
        Ok(entries)
    }

    /// Ends every session there is: raises the global generation, and returns it.
    pub(crate) async fn revoke_everyone(&self) -> Result<u64, StoreError> {
        let query = sqlx::query_scalar(
            "UPDATE state SET global_generation = global_generation + 1 RETURNING global_generation",
        );
        unsigned(query.fetch_one(&self.write).await?)
    }

    /// The log after `seq`, at most `limit` entries, each with its own `seq`.
    pub(crate) async fn entries_after(&self, seq: i64, limit: usize) -> Result<Vec<(i64, Entry)>, StoreError> {
        let query =
            sqlx::query("SELECT seq, sid, sub, below, expires_at FROM revocation WHERE seq > ? ORDER BY seq LIMIT ?");
        let rows = query.bind(seq).bind(signed(limit as u64)).fetch_all(&self.read).await?;
        rows.iter()
            .map(|row| {
                let expires_at = UnixTime(unsigned(row.try_get(4)?)?);
                let entry = match (row.try_get::<Option<&[u8]>, _>(1)?, row.try_get::<Option<String>, _>(2)?) {
                    (Some(sid), None) => {
                        let sid = sid.try_into().map_err(|_| StoreError::Corrupt("a session id of another length"))?;
                        Entry::Session { sid: Sid::from_bytes(sid), expires_at }
                    }
                    (None, Some(sub)) => {
                        Entry::Subject { sub: sub.into(), below: unsigned(row.try_get(3)?)?, expires_at }
                    }
                    _ => return Err(StoreError::Corrupt("a revocation of nothing, or of two things")),
                };
                Ok((row.try_get(0)?, entry))
            })
            .collect()
    }

    /// Records what this server seals from now until `until`, and that its clock has reached `reached`.
    pub(crate) async fn record_sealing(
        &self,
        sealing: &Sealing,
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
            // Rounded up: an entry must not go a fraction of a second too early.
            .bind(signed(sealing.lag.as_secs() + u64::from(sealing.lag.subsec_nanos() > 0)))
            .bind(sealing.fail_open)
            .bind(signed(until.0))
            .execute(&mut *transaction.connection)
            .await?;
        }
        transaction.commit().await
    }

    /// Records that time has come to `instant`: after this, what expired before may go.
    pub(crate) async fn record_pruned_through(&self, instant: UnixTime) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE state SET pruned_through = max(pruned_through, ?)").bind(signed(instant.0));
        query.execute(&self.write).await?;
        Ok(())
    }

    /// Deletes some of what expired before `instant`; says whether there may be more.
    pub(crate) async fn delete_expired(&self, instant: UnixTime) -> Result<bool, StoreError> {
        let query = sqlx::query(
            "DELETE FROM revocation WHERE seq IN (SELECT seq FROM revocation WHERE expires_at < ? LIMIT ?)",
        );
        let deleted = query.bind(signed(instant.0)).bind(PRUNE_BATCH).execute(&self.write).await?.rows_affected();
        Ok(deleted >= PRUNE_BATCH.unsigned_abs())
    }
}

/// Writes refusals, with the expiry that this transaction fixes, and raises the generations of the accounts among them.
pub(super) async fn write(
    transaction: &mut SqliteConnection,
    batch: &[Revoke],
    now: UnixTime,
) -> Result<Vec<Entry>, StoreError> {
    let query = sqlx::query_as("SELECT pruned_through, clock_reached FROM state");
    let (pruned, reached): (i64, i64) = query.fetch_one(&mut *transaction).await?;
    let committed_at = retention::commit_time(now, UnixTime(unsigned(pruned)?), UnixTime(unsigned(reached)?));
    let ordinary = longest(transaction, Some(false), committed_at).await?;
    let remembered = longest(transaction, Some(true), committed_at).await?;
    let either = longest(transaction, None, committed_at).await?;
    let mut entries = Vec::with_capacity(batch.len());
    for revoke in batch {
        let entry = match revoke {
            Revoke::Session { sid, token } => {
                let expires_at = match token {
                    Some(TokenFacts { absolute_deadline, remembered: kind }) => {
                        let longest = if *kind { remembered } else { ordinary };
                        retention::expiry(committed_at, Some(*absolute_deadline), longest)
                    }
                    None => retention::expiry(committed_at, None, either),
                };
                Entry::Session { sid: *sid, expires_at }
            }
            Revoke::Subject { sub, below } => {
                let query = sqlx::query("UPDATE account SET generation = max(generation, ?) WHERE sub = ?");
                query.bind(signed(*below)).bind(&**sub).execute(&mut *transaction).await?;
                let expires_at = retention::expiry(committed_at, None, either);
                Entry::Subject { sub: sub.clone(), below: *below, expires_at }
            }
        };
        insert(transaction, &entry).await?;
        entries.push(entry);
    }
    Ok(entries)
}

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
    };
    query.execute(&mut *transaction).await?;
    Ok(())
}

/// The longest that live tokens of a kind (or of either) may still be good for, over all configurations recorded. What was
/// recorded last counts in any case: a server whose disk was full seals on, and cannot say so.
async fn longest(
    transaction: &mut SqliteConnection,
    remembered: Option<bool>,
    now: UnixTime,
) -> Result<Longest, StoreError> {
    let query = sqlx::query_as(
        "SELECT max(idle_secs), max(absolute_secs), max(lag_secs), max(fail_open) FROM lifetime_in_use
         WHERE remembered = ifnull(?, remembered)
           AND (used_until + absolute_secs + ? >= ? OR used_until = (SELECT max(used_until) FROM lifetime_in_use))",
    );
    let row: (Option<i64>, Option<i64>, Option<i64>, Option<bool>) = query
        .bind(remembered)
        .bind(signed(2 * CLOCK_SKEW.as_secs()))
        .bind(signed(now.0))
        .fetch_one(&mut *transaction)
        .await?;
    let span = |secs: Option<i64>| Ok::<_, StoreError>(Duration::from_secs(unsigned(secs.unwrap_or(0))?));
    Ok(Longest { idle: span(row.0)?, absolute: span(row.1)?, lag: span(row.2)?, fail_open: row.3.unwrap_or(false) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Lifetimes;
    use crate::session::lifetime::Lifetime;
    use crate::store::StoreUrl;

    const SEALING: Sealing = Sealing { lifetimes: lifetimes(1800), lag: Duration::from_secs(11), fail_open: false };

    const fn lifetimes(idle_secs: u64) -> Lifetimes {
        let both = Lifetime { idle: Duration::from_secs(idle_secs), absolute: Duration::from_secs(43_200) };
        Lifetimes { ordinary: both, remembered: both }
    }

    #[tokio::test]
    async fn what_was_recorded_last_counts_however_long_ago_and_what_was_before_until_its_tokens_are_dead() {
        let home = tempfile::tempdir().expect("a directory");
        let (store, _) =
            Store::open_or_create(&StoreUrl::file(home.path().join("test.db"))).await.expect("a new database");
        let longer = Sealing { lifetimes: lifetimes(7200), ..SEALING };
        store.record_sealing(&longer, UnixTime(1_000), UnixTime(4_600)).await.expect("recorded");
        store.record_sealing(&SEALING, UnixTime(2_000), UnixTime(5_600)).await.expect("recorded");
        let last = 4_600 + 43_200 + 2 * CLOCK_SKEW.as_secs();
        for (now, idle) in [(3_000, 7200), (last, 7200), (last + 1, 1800), (100 * last, 1800)] {
            for remembered in [false, true] {
                let token = TokenFacts { absolute_deadline: UnixTime(u64::MAX), remembered };
                let revoke = Revoke::Session { sid: Sid::from_bytes([1; 16]), token: Some(token) };
                let entries = store.revoke(&[revoke], UnixTime(now)).await.expect("committed");
                let expires_at = UnixTime(now + idle + 11 + 2 * CLOCK_SKEW.as_secs());
                assert_eq!(entries, [Entry::Session { sid: Sid::from_bytes([1; 16]), expires_at }], "at {now}");
            }
        }
    }
}
