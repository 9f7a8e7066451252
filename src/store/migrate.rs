//! Migration of one store to another, of the same or another engine: accounts, revocations, the lifetimes in use, and the
//! counters. Every live session stays live, and every ended session stays ended. Called by `sealjar migrate`.
//!
//! *Nothing changes during the copy.* No server may use either store. A transaction on the source excludes all other writers
//! from the first page to the last. After the copy is complete, the source is marked as moved, and no program opens it any
//! more. The source may change between two attempts. So the target records a summary of the source: the counters, the last
//! number of the log, and some counts of rows. Every change of an account changes one of these numbers, with one exception:
//! a hash that was replaced by another hash of the same password, which does no harm. If the summary has changed, the copy
//! begins again.
//!
//! *Nothing is copied twice or left out.* The transaction that writes a page to the target also records the progress in the
//! target. Until the copy is complete, no other program opens the target.

pub(super) mod state;
mod transaction;

use super::Store;
use super::error::StoreError;
use super::node::Node;
use super::statements::MAX_ACCOUNTS;
use state::{IncomingMigration, RowCounts};
use transaction::MigrationTransaction;

/// Maximum number of accounts in one transaction.
const PAGE_ACCOUNTS: i64 = MAX_ACCOUNTS as i64;
/// Maximum number of entries in one transaction. SQLite binds at most 32,766 values, and an entry has five.
const PAGE_ENTRIES: i64 = 2_000;

/// Source or target of a migration: an open store, and its address without a password.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoint<'a> {
    pub(crate) store: &'a Store,
    pub(crate) name: &'a str,
}

/// Progress of a migration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) copied: RowCounts,
    pub(crate) all: RowCounts,
}

/// Outcome of a migration.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MigrationOutcome {
    /// This call finished the migration. The target has these numbers of rows.
    Now(RowCounts),
    /// An earlier call finished the migration, and the source has not been changed since.
    Before,
}

/// Reason why a migration was refused or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrationError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("both are the same database, or one is a copy of the other")]
    Same,
    #[error("{store} is in use by {servers}")]
    Served { store: String, servers: String },
    #[error("{0} has accounts or revocations already")]
    NotEmpty(String),
    #[error("{store} contains an unfinished migration from another database, {source_name}")]
    OtherUnfinished { store: String, source_name: String },
    #[error("another program changed {0} during the migration")]
    Disturbed(String),
}

/// Migrates everything, or continues an unfinished migration. Calls `report` after every page.
pub(crate) async fn migrate(
    from: Endpoint<'_>,
    to: Endpoint<'_>,
    mut report: impl FnMut(Progress),
) -> Result<MigrationOutcome, MigrationError> {
    // Check that the stores are different, complete and without servers.
    let state = from.store.migration_state().await?;
    state.check_complete()?;
    let source_id = state.store_id;
    if source_id == to.store.migration_state().await?.store_id {
        return Err(MigrationError::Same);
    }
    for endpoint in [from, to] {
        refuse_servers(endpoint).await?;
    }
    // From now on, the source cannot change. Continue an earlier attempt, or begin.
    let mut source = from.store.begin_unchecked().await?;
    let moved_to = source.migration_state().await?.moved_to;
    let source_summary = source.summary().await?;
    let counters = source.counters().await?;
    let begun = IncomingMigration {
        source_id,
        source_address: from.name.to_owned(),
        source_summary,
        ..IncomingMigration::default()
    };
    let mut position = match prepare(to, begun, moved_to).await? {
        incoming if incoming.finished => {
            // The attempt that finished the target may have been interrupted before it marked the source.
            source.mark_moved(to.name).await?;
            source.commit().await?;
            return Ok(MigrationOutcome::Before);
        }
        incoming => incoming,
    };

    let all = source.row_counts(counters.pruned_through).await?;
    let mut progress = Progress { copied: to.store.begin_unchecked().await?.row_counts(0).await?, all };
    // Copy the accounts.
    loop {
        let page = source.accounts_after(&position.last_copied_sub, PAGE_ACCOUNTS).await?;
        let Some(last) = page.last() else { break };
        let mut target = to.store.begin_unchecked().await?;
        target.add_accounts(&page).await?;
        let next = IncomingMigration { last_copied_sub: last.sub.clone(), ..position.clone() };
        advance(&mut target, to, &position, &next).await?;
        target.commit().await?;
        position = next;
        progress.copied.accounts += page.len();
        report(progress);
    }
    // Copy the entries of the log.
    loop {
        let page = source.log_after(position.last_copied_seq, counters.pruned_through, PAGE_ENTRIES).await?;
        let Some((last, _)) = page.last() else { break };
        let next = IncomingMigration { last_copied_seq: *last, ..position.clone() };
        let entries: Vec<_> = page.into_iter().map(|(_, entry)| entry).collect();
        let mut target = to.store.begin_unchecked().await?;
        target.add_entries(&entries).await?;
        advance(&mut target, to, &position, &next).await?;
        target.commit().await?;
        position = next;
        progress.copied.revocations += entries.len();
        report(progress);
    }

    // Check that the target is complete, copy the counters, and take the source out of use.
    let mut target = to.store.begin_unchecked().await?;
    if target.row_counts(0).await? != all {
        return Err(MigrationError::Disturbed(to.name.to_owned()));
    }
    target.set_counters(counters).await?;
    target.set_lifetimes(&source.lifetimes().await?).await?;
    advance(&mut target, to, &position, &IncomingMigration { finished: true, ..position.clone() }).await?;
    target.commit().await?;
    source.mark_moved(to.name).await?;
    source.commit().await?;
    Ok(MigrationOutcome::Now(all))
}

/// Returns the position at which to continue the copy. If the target contains a part or all of the same migration, this is
/// its recorded position; otherwise it is the beginning, and the target is emptied.
async fn prepare(
    to: Endpoint<'_>,
    begun: IncomingMigration,
    moved_to: Option<String>,
) -> Result<IncomingMigration, MigrationError> {
    let mut target = to.store.begin_unchecked().await?;
    let state = target.migration_state().await?;
    if let Some(to) = state.moved_to {
        return Err(StoreError::out_of_use(to).into());
    }
    let is_unfinished = match state.incoming {
        Some(earlier) if (&earlier.source_id, &earlier.source_summary) == (&begun.source_id, &begun.source_summary) => {
            return Ok(earlier);
        }
        Some(earlier) if !earlier.finished && earlier.source_id != begun.source_id => {
            return Err(MigrationError::OtherUnfinished {
                store: to.name.to_owned(),
                source_name: earlier.source_address,
            });
        }
        earlier => earlier.is_some_and(|earlier| !earlier.finished),
    };
    if let Some(to) = moved_to {
        return Err(StoreError::out_of_use(to).into());
    }
    // An unfinished migration may be overwritten: it contains only data of the source.
    if !is_unfinished && !target.row_counts(0).await?.is_empty() {
        return Err(MigrationError::NotEmpty(to.name.to_owned()));
    }
    target.begin_migration(&begun).await?;
    target.commit().await?;
    Ok(begun)
}

/// Records the progress of the copy. Fails if the recorded progress is not `position`.
async fn advance(
    target: &mut MigrationTransaction<'_>,
    to: Endpoint<'_>,
    position: &IncomingMigration,
    next: &IncomingMigration,
) -> Result<(), MigrationError> {
    if target.advance(position, next).await? { Ok(()) } else { Err(MigrationError::Disturbed(to.name.to_owned())) }
}

/// Returns an error if a server uses the store: a node has reported recently.
async fn refuse_servers(endpoint: Endpoint<'_>) -> Result<(), MigrationError> {
    let nodes = endpoint.store.nodes().await?;
    let live: Vec<String> = nodes.into_iter().filter(Node::is_live).map(|node| node.report.name).collect();
    if live.is_empty() {
        return Ok(());
    }
    Err(MigrationError::Served { store: endpoint.name.to_owned(), servers: live.join(", ") })
}
