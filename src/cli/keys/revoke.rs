//! `sealjar keys revoke`: revokes a key in the store and in its key file, and waits until no node opens or seals with it.
//!
//! The order of the steps is fixed. The replacement is created first, and does not seal yet. Then an entry for the key is added
//! to the store's revocation log, which every node follows. Then the key is revoked in its file. Only then the replacement seals:
//! otherwise sessions of the revoked key could be renewed under it. The command succeeds only if every node that may still serve
//! has reported after the revocation that it does not open with the key.

use std::io::ErrorKind;
use std::time::Duration;

use super::tally::{Tally, names, span};
use crate::cli::audit::{Change, Changed, record};
use crate::cli::error::CliError;
use crate::cli::output::{errln, outln};
use crate::clock::{Now, UnixTime};
use crate::config::settings::Settings;
use crate::id::Kid;
use crate::keyring::file::file_name;
use crate::keyring::rotate::{ChangeError, KeyRevocation, LockedRing};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::node::Node;
use crate::store::records::EmptyPolicy;

/// Interval between two reads of the reports.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum time to wait for reports that nodes refuse the key: three times the interval between two reports.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum time to wait until nodes seal with another key. A node reads a changed key directory within a second.
const REPLACEMENT_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) async fn run(settings: &Settings, kid: Kid, replace: bool) -> Result<(), CliError> {
    let directory = settings.key_directory.display();
    // The store is opened first: its refused keys must not seal in place of this key.
    let opened = StoreWithRefusals::open(settings).await;
    let refused = opened.as_ref().map_or(&[][..], |opened| opened.as_ref().map_or(&[][..], |opened| &opened.refused));
    let revocation = match begin(settings, kid, replace, refused).await {
        Ok(revocation) => revocation,
        Err(error) => return Err(revoke_without_files(settings, opened, kid, error).await),
    };
    // The replacement now exists, and does not seal yet.
    let replacement = revocation.replacement();
    replacement.iter().for_each(|kid| record(settings, Change::KeyPublished, Changed::Key(*kid)));
    let renewing: Vec<String> = revocation.keys_that_renewed().iter().map(Kid::to_string).collect();
    let has_sealed = revocation.has_sealed();
    let leaves_none = revocation.leaves_no_sealing_key();
    let is_new = revocation.is_new();
    // The store comes before the file: every node that follows the store then refuses the key.
    let logged = match opened {
        Ok(Some(StoreWithRefusals { store, .. })) => {
            store.revoke_key(kid).await.map(|()| Some((store, Now::read().boot)))
        }
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    // This revokes the file and activates the replacement.
    let finished = revocation.finish();
    if finished.is_ok() || matches!(logged, Ok(Some(_))) {
        record(settings, Change::KeyRevoked, Changed::Key(kid));
    }
    if let Err(error) = finished {
        let failure = CliError::from(error);
        return Err(match logged {
            Ok(Some(_)) => failure.hint(format!(
                "{kid} is revoked in the store, and nodes that follow it refuse it; its key file does not say so yet. When the directory is writable, run the same command again, with --replace if no other key seals"
            )),
            Ok(None) | Err(_) => failure,
        });
    }
    match is_new {
        true => errln!("revoked {kid} in {directory}"),
        false => errln!("{kid} was revoked in {directory} before"),
    }
    if let Some(replacement) = replacement {
        errln!("created a replacement; it is active");
        outln!("{replacement}");
    }
    if !has_sealed {
        errln!("it has never sealed, so no user is logged out");
    }
    if !renewing.is_empty() {
        let sessions = if has_sealed {
            "its sessions that were renewed under another key remain valid; if it was stolen, revoke these keys as well"
        } else {
            "if it was stolen, revoke these keys as well, because forged sessions may have been renewed under them"
        };
        errln!("{sessions}: {}", renewing.join(", "));
    }
    if leaves_none {
        errln!("no key seals now, so no user can log in; create one with: sealjar keys rotate --activate-in 0s");
    }
    match logged {
        Ok(Some((store, committed))) => {
            let outcome = wait_until_refused(&store, kid, committed, leaves_none).await;
            store.close().await;
            outcome
        }
        Ok(None) => {
            let store = &settings.store_name;
            let message = format!("{kid} is revoked only in {directory}: there is no store at {store}");
            Err(CliError::failed(message).hint(
                "servers that use a store still accept the key; name their store with --store or --config, and run the same command again. If no server was ever started, nothing more is needed",
            ))
        }
        Err(error) => {
            let message = format!("{kid} is revoked in {directory}, but not in the store: {error}");
            Err(CliError::failed(message).hint(
                "nodes refuse it only when they read these files; when the store is available, run the same command again",
            ))
        }
    }
}

/// Starts the revocation in the key directory: takes the lock, and creates the replacement if `replace`.
async fn begin(settings: &Settings, kid: Kid, replace: bool, refused: &[Kid]) -> Result<KeyRevocation, ChangeError> {
    let ring = LockedRing::lock(&settings.key_directory)?;
    let now = second_without_new_key(&ring).await?;
    ring.begin_revoking(kid, replace, refused, now)
}

/// Waits for a second in which no key was created, and returns it. If a revocation and another key had the same date, it would be
/// unknown later whether that key existed before and sealed renewed sessions, or is the replacement, or was created afterwards.
async fn second_without_new_key(ring: &LockedRing) -> Result<UnixTime, ChangeError> {
    loop {
        let now = Now::read().wall;
        if !ring.read()?.keys().iter().any(|key| key.dates().created_at == now) {
            return Ok(now);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the keys that the store refuses, or none if there is no store.
pub(super) async fn refused_keys(settings: &Settings) -> Result<Vec<Kid>, CliError> {
    let Some(StoreWithRefusals { store, refused }) = StoreWithRefusals::open(settings).await? else {
        return Ok(Vec::new());
    };
    store.close().await;
    Ok(refused)
}

/// Store, with the keys that it already refuses.
struct StoreWithRefusals {
    store: Store,
    refused: Vec<Kid>,
}

impl StoreWithRefusals {
    /// Opens the store, or returns `None` if it was never created.
    async fn open(settings: &Settings) -> Result<Option<Self>, StoreError> {
        match Store::open(&settings.store, settings.store_limits, EmptyPolicy::Refused).await {
            Ok(store) => {
                let refused = store.revoked_keys().await?;
                Ok(Some(Self { store, refused }))
            }
            Err(StoreError::Missing(_) | StoreError::WithoutTables(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a node has reported that it opens with this key.
    async fn is_opened_by_a_node(&self, kid: Kid) -> bool {
        self.store.nodes().await.is_ok_and(|nodes| nodes.iter().any(|node| node.report.opens_with(kid)))
    }
}

/// Revokes a key in the store if its file cannot be changed, and returns the error of the command.
async fn revoke_without_files(
    settings: &Settings,
    opened: Result<Option<StoreWithRefusals>, StoreError>,
    kid: Kid,
    error: ChangeError,
) -> CliError {
    let Ok(Some(opened)) = opened else {
        return error.into();
    };
    let file = settings.key_directory.join(file_name(kid)).symlink_metadata();
    let is_absent = file.is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let should_refuse = match &error {
        ChangeError::Ring(_) | ChangeError::Write { .. } if !is_absent => true,
        // A key that only another node has may be the stolen key. If no node has it, the id was mistyped.
        ChangeError::Ring(_) | ChangeError::Write { .. } | ChangeError::NoSuchKey(_) => {
            opened.is_opened_by_a_node(kid).await
        }
        ChangeError::NotEmpty(_)
        | ChangeError::Revoked(_)
        | ChangeError::OnlyActive(_)
        | ChangeError::CreateDirectory { .. }
        | ChangeError::NotADirectory(_) => false,
    };
    let failure = CliError::from(error);
    if !should_refuse {
        return failure;
    }
    let revoked = opened.store.revoke_key(kid).await;
    if revoked.is_ok() {
        record(settings, Change::KeyRevoked, Changed::Key(kid));
    }
    failure.hint(match revoked {
        Ok(()) => format!(
            "{kid} is revoked in the store, and nodes that follow it refuse it; its file, if there is one, is unchanged. If no other key seals, no user can log in now. Repair the directory, or name the right one with --keys, and run the same command again, with --replace for a replacement"
        ),
        Err(error) => format!("{kid} is not revoked: the store cannot be changed either: {error}"),
    })
}

/// Waits until every node that may still serve has reported, after the commit, that it does not open with the key. Then prints
/// the nodes that have no key to seal with. With `leaves_none` no node has one, and nothing is printed.
async fn wait_until_refused(store: &Store, kid: Kid, committed: Duration, leaves_none: bool) -> Result<(), CliError> {
    let mut last_counts = None;
    loop {
        // The query below computes the age of each report, later than `since` is computed here. So a report that is younger than
        // `since` was made after the commit.
        let since = Now::read().boot.saturating_sub(committed);
        let tally = store.nodes().await.map(|nodes| refusals(nodes, kid, since));
        match tally {
            Ok(tally) if tally.is_complete() => {
                let idle = || tally.followed.iter().filter(|node| node.report.active.is_none());
                if !leaves_none && since < REPLACEMENT_TIMEOUT && idle().next().is_some() {
                    tokio::time::sleep(POLL_INTERVAL).await;
                    continue;
                }
                errln!("{}", all_refuse(&tally));
                if !leaves_none && idle().next().is_some() {
                    let idle = names(idle());
                    errln!(
                        "these nodes have no key to seal with, so no user can log in there: {idle}; copy the key files to them, then check with: sealjar keys status"
                    );
                }
                return Ok(());
            }
            Ok(tally) if since < REFUSAL_TIMEOUT => {
                if last_counts.replace(tally.counts()) != Some(tally.counts()) {
                    let others = tally.all() - tally.followed.len();
                    errln!("waiting until {others} of {} nodes report that they refuse the key", tally.all());
                }
            }
            Err(_) if since < REFUSAL_TIMEOUT => {}
            Ok(tally) => {
                let failure = CliError::failed(format!(
                    "not every node has reported that it refuses {kid}: {}",
                    some_refuse(&tally)
                ));
                return Err(failure.hint(
                    "it is revoked in the key files and in the store; stop the nodes named here, or see in their logs why they cannot use the store, and run the same command again. A node that was killed, even if it was started again, is no longer counted when the time shown is over",
                ));
            }
            Err(error) => {
                let failure = CliError::failed(format!("cannot read which nodes refuse {kid}: {error}"));
                return Err(failure.hint(
                    "it is revoked in the key files and in the store; when the store is available, run the same command again",
                ));
            }
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Sorts the nodes that may serve by whether they refuse a key that was revoked `since` ago.
fn refusals(nodes: Vec<Node>, kid: Kid, since: Duration) -> Tally {
    Tally::of(nodes.into_iter().filter(Node::may_serve), |node| node.age <= since, |node| !node.report.opens_with(kid))
}

fn all_refuse(tally: &Tally) -> String {
    match tally.all() {
        0 => "no node that may serve has reported to the store, so there is no node to wait for".to_owned(),
        all => format!("{all} of {all} nodes refuse the key: every session sealed with it has ended"),
    }
}

/// Describes the nodes that have not reported a refusal. Two nodes may have the same name, such as a killed server and the one
/// that was started in its place, so the age of each report is included.
fn some_refuse(tally: &Tally) -> String {
    let Tally { followed, behind, silent } = tally;
    let list =
        |nodes: &[Node], describe: &dyn Fn(&Node) -> String| nodes.iter().map(describe).collect::<Vec<_>>().join(", ");
    let mut parts = vec![format!("{} of {} refuse it", followed.len(), tally.all())];
    if !behind.is_empty() {
        let reported = |node: &Node| format!("{} (reported {} ago)", node.report.name, span(node.age));
        parts.push(format!("still opening with it: {}", list(behind, &reported)));
    }
    if !silent.is_empty() {
        let reported = |node: &Node| {
            let remaining = span(node.report.serves_for.saturating_sub(node.age));
            format!("{} (last report {} ago; counts for {remaining} more)", node.report.name, span(node.age))
        };
        parts.push(format!("no report since it was revoked: {}", list(silent, &reported)));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;
    use crate::store::node::{MIN_SERVING_TIME, NodeReport};

    fn node(name: &str, kids: &[u8], age_secs: u64) -> Node {
        let kids = kids.iter().map(|number| Kid::from_bytes([*number; 8])).collect();
        let id = NodeId::random();
        let name = name.to_owned();
        let report = NodeReport { id, name, kids, active: None, serves_for: MIN_SERVING_TIME };
        Node { report, age: Duration::from_secs(age_secs) }
    }

    #[test]
    fn counts_only_reports_made_after_the_key_was_revoked() {
        let none = "no node that may serve has reported to the store, so there is no node to wait for";
        let all = "2 of 2 nodes refuse the key: every session sealed with it has ended";
        let silent = "last report 7s ago; counts for 4m 53s more";
        let both = "0 of 3 refuse it; still opening with it: a (reported 0s ago); no report since it was revoked: \
                    b (last report 5m ago; counts for 0s more), \
                    c (last report 31s ago; counts for 4m 29s more)";
        let cases: [(Vec<Node>, &str); 6] = [
            (vec![], none),
            (vec![node("a", &[2], 301)], none),
            (vec![node("a", &[1], 6), node("b", &[], 0)], all),
            (
                vec![node("a", &[1], 6), node("b", &[1, 2], 6)],
                "1 of 2 refuse it; still opening with it: b (reported 6s ago)",
            ),
            (vec![node("a", &[1], 7)], &format!("0 of 1 refuse it; no report since it was revoked: a ({silent})")),
            (vec![node("a", &[2], 0), node("b", &[2], 300), node("c", &[1], 31)], both),
        ];
        for (nodes, expected) in cases {
            let tally = refusals(nodes, Kid::from_bytes([2; 8]), Duration::from_secs(6));
            assert_eq!(if tally.is_complete() { all_refuse(&tally) } else { some_refuse(&tally) }, expected);
        }
    }
}
