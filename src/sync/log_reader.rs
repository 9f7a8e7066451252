//! Reads the store's log: all rows, or only new rows. Entries of other nodes, of `sealjar revoke` and of `sealjar users`
//! reach a running server in this way. Entries of this process are read, too, and change nothing.
//!
//! Invariant: no row is skipped. Each poll starts at the last row of the previous poll, and includes that row. If the row is
//! missing or different, it was pruned, or a restored backup or a standby without the last commits has replaced the log. A
//! replaced log may give the same numbers to other rows. So the whole log is read again. If the row was not pruned, this is
//! also evidence for the alarm that the store was rolled back (`revocation/rollback.rs`).
//!
//! Called by `follower` for each poll.

use crate::audit;
use crate::clock::Now;
use crate::revocation::{Entry, RevocationList};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::records::{Logged, State};
use crate::sync::lag::Lag;

/// Maximum number of rows that are read in one query.
const PAGE_ROWS: i64 = 10_000;

/// Loads the whole log into the list once.
pub(crate) async fn load(store: &Store, list: &RevocationList) -> Result<(), StoreError> {
    catch_up(store, list, &mut None, Reading::Initial).await.map(drop)
}

/// Position of a reader: the number and the entry of the last row that was read, or `None` before the first row.
pub(super) type Position = Option<(i64, Entry)>;

/// Purpose of reading the log.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reading<'l> {
    /// The rows may be new: audit events report entries of other nodes, and the lag is measured.
    Live(&'l Lag),
    /// The log is loaded at the start. Its rows are not new, so nothing is reported.
    Initial,
}

/// Reads the log from `position` to its end, and advances `position`.
///
/// The counters of the store are read after the last rows. If another server has removed an entry before it was read here, that
/// server had recorded `pruned_through` first, so the counters include it.
pub(super) async fn catch_up(
    store: &Store,
    list: &RevocationList,
    position: &mut Position,
    reading: Reading<'_>,
) -> Result<State, StoreError> {
    let started = Now::read();
    // Read before the poll: only evidence from before the poll may be decided by it.
    let required = list.rollback().required().max(list.global_generation());
    let mut page = store.read_log(position.as_ref().map_or(0, |(seq, _)| *seq), PAGE_ROWS).await?;
    let state = loop {
        // The next page is read while this one is decoded and added.
        let next = page.next(PAGE_ROWS).map(|seq| {
            let store = store.clone();
            tokio::spawn(async move { store.read_log(seq, PAGE_ROWS).await })
        });
        let rows = page.rows()?;
        // The first row must be the last row of the previous page. Otherwise the whole log is read again.
        if let Some((seq, entry)) = position.as_ref()
            && !rows.first().is_some_and(|row| row.seq == *seq && row.entry == *entry)
        {
            if entry.expires_at() >= page.state.pruned_through {
                list.rollback().record_loss(page.state.global_generation);
            }
            *position = None;
            page = store.read_log(0, PAGE_ROWS).await?;
            continue;
        }
        add_rows(&rows[usize::from(position.is_some())..], list, reading);
        *position = rows.last().map(|row| (row.seq, row.entry.clone()));
        match next {
            Some(next) => page = next.await.expect("the task returns its errors, and ends only with this runtime")?,
            None => break page.state,
        }
    };
    match list.rollback().decide(required, state.global_generation) {
        Some(true) => {
            tracing::error!(
                "the store was rolled back, so ended sessions may be valid again: run: sealjar store restored"
            )
        }
        Some(false) => {
            tracing::info!("the store is no longer rolled back: all sessions from before it was restored are ended")
        }
        None => {}
    }
    if matches!(reading, Reading::Live(_)) && list.global_generation() < state.global_generation {
        audit::everyone_revoked(state.global_generation);
    }
    list.raise_global_generation(state.global_generation);
    list.raise_pruned_through(state.pruned_through);
    list.mark_synced(started);
    Ok(state)
}

/// Adds rows to the list. In a live reading, reports entries that the list does not have yet.
fn add_rows(rows: &[Logged], list: &RevocationList, reading: Reading<'_>) {
    for row in rows {
        if let Reading::Live(lag) = reading
            && !list.refuses_entry(&row.entry)
        {
            audit::revoked_elsewhere(&row.entry);
            row.age.iter().for_each(|age| lag.observe(*age));
        }
        list.add_logged(&row.entry);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::UnixTime;
    use crate::id::Sid;
    use crate::revocation::{Freshness, WhenStale};
    use crate::store::Limits;
    use crate::store::records::{Revocation, TokenFacts};
    use crate::store::url::StoreUrl;

    #[tokio::test]
    async fn reads_all_pages_and_then_only_new_rows() {
        let home = tempfile::tempdir().expect("a directory");
        let url = StoreUrl::file(home.path().join("test.db"));
        let limits = Limits { connections: 1, statement_timeout: Duration::MAX, connect_timeout: Duration::MAX };
        let (store, _) = Store::open_or_create(&url, limits).await.expect("a new database");
        let freshness = Freshness { max_staleness: Duration::MAX, when_stale: WhenStale::Refuse };
        let list = RevocationList::new(freshness);
        let mut position = None;
        let mut expected = 0;
        let token = Some(TokenFacts { absolute_deadline: UnixTime(u64::MAX), remembered: false });
        // A first and a second full page. The second one begins with the last row of the first, so it has one new row fewer.
        for count in [PAGE_ROWS, PAGE_ROWS - 1, 1, 0] {
            let revokes: Vec<_> = (0..count).map(|_| Revocation::Session { sid: Sid::random(), token }).collect();
            store.revoke(&revokes).await.expect("committed");
            catch_up(&store, &list, &mut position, Reading::Initial).await.expect("read");
            expected += usize::try_from(count).expect("positive");
            assert_eq!(list.len(), expected);
            assert_eq!(position.as_ref().map(|(seq, _)| *seq), i64::try_from(expected).ok());
        }
        let reloaded = RevocationList::new(freshness);
        load(&store, &reloaded).await.expect("read");
        assert_eq!(reloaded.len(), expected);
    }
}
