//! Reading the store's log: whole, or what is new in it.
//!
//! The log is read again from where the last poll ended, the row that was read last included. If that row is not there any more,
//! or is another, then this is not the log that was followed: it was pruned, or a backup or a standby that lacked the last
//! commits has taken its place, and numbers may have been given out twice. Then it is read again whole, and if it was not pruned,
//! that is evidence for the alarm that the store was rolled back (`revocation/rollback.rs`). Entries written by this
//! process come back and change nothing. That is how other nodes, `sealjar revoke` and `sealjar users` reach a running server.

use crate::audit;
use crate::clock::Now;
use crate::revocation::{Entry, RevocationList};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::records::{Logged, State};
use crate::sync::lag::Lag;

/// Rows read at once.
const PAGE: i64 = 10_000;

/// Loads the whole list once.
pub(crate) async fn load(store: &Store, list: &RevocationList) -> Result<(), StoreError> {
    catch_up(store, list, &mut None, News::Old).await.map(drop)
}

/// The row of the log that was read last.
pub(super) type Place = Option<(i64, Entry)>;

/// Whether what the log says is news, of which the audit events tell, and how late it came.
#[derive(Debug, Clone, Copy)]
pub(super) enum News<'l> {
    Fresh(&'l Lag),
    Old,
}

/// Reads the log from `place` to its end, and moves `place` along. The counters are read after the last rows: what another server
/// threw away before it was read here is then covered by the `pruned_through` that it had recorded first.
pub(super) async fn catch_up(
    store: &Store,
    list: &RevocationList,
    place: &mut Place,
    news: News<'_>,
) -> Result<State, StoreError> {
    let started = Now::read();
    let required = list.rollback().required().max(list.global_generation());
    let mut page = store.read_log(place.as_ref().map_or(0, |(seq, _)| *seq), PAGE).await?;
    let state = loop {
        // The next page is read while this one is taken.
        let next = page.next(PAGE).map(|seq| {
            let store = store.clone();
            tokio::spawn(async move { store.read_log(seq, PAGE).await })
        });
        let rows = page.rows()?;
        if let Some((seq, entry)) = place.as_ref()
            && !rows.first().is_some_and(|row| row.seq == *seq && row.entry == *entry)
        {
            if entry.expires_at() >= page.state.pruned_through {
                list.rollback().note_loss(page.state.global_generation);
            }
            *place = None;
            page = store.read_log(0, PAGE).await?;
            continue;
        }
        take(&rows[usize::from(place.is_some())..], list, news);
        *place = rows.last().map(|row| (row.seq, row.entry.clone()));
        match next {
            Some(next) => page = next.await.expect("it returns its errors, and ends with this runtime only")?,
            None => break page.state,
        }
    };
    match list.rollback().decide(required, state.global_generation) {
        Some(true) => tracing::error!(
            "the store lacks what was in it, so ended sessions may be valid again: run: sealjar store restored"
        ),
        Some(false) => {
            tracing::info!("the store lacks nothing any more: every session from before it was restored is over")
        }
        None => {}
    }
    if matches!(news, News::Fresh(_)) && list.global_generation() < state.global_generation {
        audit::everyone_revoked(state.global_generation);
    }
    list.raise_global_generation(state.global_generation);
    list.raise_pruned_through(state.pruned_through);
    list.mark_synced(started);
    Ok(state)
}

/// Puts rows into the list, and tells of those that are news.
fn take(rows: &[Logged], list: &RevocationList, news: News<'_>) {
    for row in rows {
        if let News::Fresh(lag) = news
            && !list.holds(&row.entry)
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
    use crate::store::records::{Revoke, TokenFacts};
    use crate::store::url::StoreUrl;

    #[tokio::test]
    async fn reads_all_pages_and_then_only_what_is_new() {
        let home = tempfile::tempdir().expect("a directory");
        let url = StoreUrl::file(home.path().join("test.db"));
        let limits = Limits { connections: 1, statement_timeout: Duration::MAX, connect_timeout: Duration::MAX };
        let (store, _) = Store::open_or_create(&url, limits).await.expect("a new database");
        let freshness = Freshness { max_staleness: Duration::MAX, when_stale: WhenStale::Refuse };
        let (list, mut place, mut expected) = (RevocationList::new(freshness), None, 0);
        let token = Some(TokenFacts { absolute_deadline: UnixTime(u64::MAX), remembered: false });
        // One page to the row, and one more; the last row is read again, so that a second full page has one new row less.
        for more in [PAGE, PAGE - 1, 1, 0] {
            let revokes: Vec<_> = (0..more).map(|_| Revoke::Session { sid: Sid::random(), token }).collect();
            store.revoke(&revokes).await.expect("committed");
            catch_up(&store, &list, &mut place, News::Old).await.expect("read");
            expected += usize::try_from(more).expect("positive");
            assert_eq!(list.len(), expected);
            assert_eq!(place.as_ref().map(|(seq, _)| *seq), i64::try_from(expected).ok());
        }
        let again = RevocationList::new(freshness);
        load(&store, &again).await.expect("read");
        assert_eq!(again.len(), expected);
    }
}
