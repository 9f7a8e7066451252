//! `sealjar keys revoke`: a key that no node opens or seals with any more, whatever its key files say.
//!
//! A successor is made first, which does not seal yet. Then the key is refused in the store's revocation log, which every node
//! follows, then revoked in its file, and only then the successor seals: no session of the key may be renewed under another. The
//! command succeeds only if every node that may still serve has reported since the key was refused that it does not open with it.

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

const POLL: Duration = Duration::from_millis(250);
/// How long nodes are given to report that they refuse the key: three times the interval between two reports.
const WAIT: Duration = Duration::from_secs(15);
/// How long nodes are given to seal with another key. They notice a change of their directory within a second.
const WAIT_FOR_SUCCESSOR: Duration = Duration::from_secs(3);

pub(super) async fn run(settings: &Settings, kid: Kid, replace: bool) -> Result<(), CliError> {
    let directory = settings.key_directory.display();
    let opened = Opened::open(settings).await;
    let refused = opened.as_ref().map_or(&[][..], |opened| opened.as_ref().map_or(&[][..], |opened| &opened.refused));
    let revocation = match begin(settings, kid, replace, refused).await {
        Ok(revocation) => revocation,
        Err(error) => return Err(without_files(settings, opened, kid, error).await),
    };
    let successor = revocation.replacement();
    successor.iter().for_each(|kid| record(settings, Change::KeyPublished, Changed::Key(*kid)));
    let renewing: Vec<String> = revocation.keys_that_renewed().iter().map(Kid::to_string).collect();
    let has_sealed = revocation.has_sealed();
    let leaves_none = revocation.leaves_no_sealing_key();
    let is_new = revocation.is_new();
    let logged = match opened {
        Ok(Some(Opened { store, .. })) => store.revoke_key(kid).await.map(|()| Some((store, Now::read().boot))),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    let finished = revocation.finish();
    if finished.is_ok() || matches!(logged, Ok(Some(_))) {
        record(settings, Change::KeyRevoked, Changed::Key(kid));
    }
    if let Err(error) = finished {
        let failure = CliError::from(error);
        return Err(match logged {
            Ok(Some(_)) => failure.hint(format!(
                "{kid} is revoked in the store, and nodes that follow it refuse it; its file still calls it good. When the directory can be written, run the same command again, with --replace if no other key seals"
            )),
            Ok(None) | Err(_) => failure,
        });
    }
    match is_new {
        true => errln!("revoked {kid} in {directory}"),
        false => errln!("{kid} was revoked in {directory} before"),
    }
    if let Some(successor) = successor {
        errln!("made a successor; it is active");
        outln!("{successor}");
    }
    if !has_sealed {
        errln!("it has never sealed, so nobody is logged out");
    }
    if !renewing.is_empty() {
        let sessions = if has_sealed {
            "sessions of it that were renewed under another key live on; if it was stolen, revoke these as well"
        } else {
            "only if it was stolen, revoke these as well, because forged sessions can have been renewed under them"
        };
        errln!("{sessions}: {}", renewing.join(", "));
    }
    if leaves_none {
        errln!("no key seals now, so nobody can sign in until there is one: sealjar keys rotate --activate-in 0s");
    }
    match logged {
        Ok(Some((store, committed))) => {
            let outcome = until_refused(&store, kid, committed, leaves_none).await;
            store.close().await;
            outcome
        }
        Ok(None) => {
            let store = &settings.store_name;
            let message = format!("{kid} is revoked in {directory} alone: there is no store at {store}");
            Err(CliError::failed(message).hint(
                "no server was told, and none was asked; name the servers' store with --store or --config, and run the same command again. If there never was a server, all is done",
            ))
        }
        Err(error) => {
            let message = format!("{kid} is revoked in {directory}, but not in the store: {error}");
            Err(CliError::failed(message).hint(
                "nodes refuse it only when they read these files; when the store can be reached, run the same command again",
            ))
        }
    }
}

async fn begin(settings: &Settings, kid: Kid, replace: bool, refused: &[Kid]) -> Result<KeyRevocation, ChangeError> {
    let ring = LockedRing::lock(&settings.key_directory)?;
    let now = a_later_second(&ring).await?;
    ring.begin_revoking(kid, replace, refused, now)
}

/// Waits for a second in which no key was made, and returns it. Of a revocation and a key that are dated alike, nobody could tell
/// later whether the key was there before, and sealed renewed sessions, or is the successor, or came after it.
async fn a_later_second(ring: &LockedRing) -> Result<UnixTime, ChangeError> {
    loop {
        let now = Now::read().wall;
        if !ring.read()?.keys().iter().any(|key| key.dates().created_at == now) {
            return Ok(now);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The keys that the store refuses; none if there is no store.
pub(super) async fn refused_keys(settings: &Settings) -> Result<Vec<Kid>, CliError> {
    let Some(Opened { store, refused }) = Opened::open(settings).await? else {
        return Ok(Vec::new());
    };
    store.close().await;
    Ok(refused)
}

/// The store, and the keys that it refuses already.
struct Opened {
    store: Store,
    refused: Vec<Kid>,
}

impl Opened {
    /// `None` if the store was never made.
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

/// Revokes a key in the store although its files cannot be changed, and returns why the command fails.
async fn without_files(
    settings: &Settings,
    opened: Result<Option<Opened>, StoreError>,
    kid: Kid,
    error: ChangeError,
) -> CliError {
    let Ok(Some(opened)) = opened else {
        return error.into();
    };
    let file = settings.key_directory.join(file_name(kid)).symlink_metadata();
    let is_absent = file.is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let is_to_be_refused = match &error {
        ChangeError::Ring(_) | ChangeError::Write { .. } if !is_absent => true,
        // One that only another node has may be the one that was stolen; else its id was mistyped.
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
    if !is_to_be_refused {
        return failure;
    }
    let revoked = opened.store.revoke_key(kid).await;
    if revoked.is_ok() {
        record(settings, Change::KeyRevoked, Changed::Key(kid));
    }
    failure.hint(match revoked {
        Ok(()) => format!(
            "{kid} is revoked in the store, and nodes that follow it refuse it; its file is as it was, where there is one. If it was the only one to seal with, nobody can sign in now. Mend the directory, or name the right one with --keys, and run the same command again, with --replace for a successor"
        ),
        Err(error) => format!("{kid} is not revoked: the store does not take it either: {error}"),
    })
}

/// Waits until every node that may still serve has reported, after the commit, that it does not open with the key. Says which of
/// them have no other to seal with, unless there is none.
async fn until_refused(store: &Store, kid: Kid, committed: Duration, leaves_none: bool) -> Result<(), CliError> {
    let mut said = None;
    loop {
        // Reports are no older than they were when they were asked for, so one that is younger than this came after the commit.
        let since = Now::read().boot.saturating_sub(committed);
        let tally = store.nodes().await.map(|nodes| refusals(nodes, kid, since));
        match tally {
            Ok(tally) if tally.is_complete() => {
                let idle = || tally.followed.iter().filter(|node| node.report.active.is_none());
                if !leaves_none && since < WAIT_FOR_SUCCESSOR && idle().next().is_some() {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
                errln!("{}", all_refuse(&tally));
                if !leaves_none && idle().next().is_some() {
                    let idle = names(idle());
                    errln!(
                        "these have no key to seal with, so nobody can sign in there: {idle}; copy the key files to them, and see: sealjar keys status"
                    );
                }
                return Ok(());
            }
            Ok(tally) if since < WAIT => {
                if said.replace(tally.counts()) != Some(tally.counts()) {
                    let others = tally.all() - tally.followed.len();
                    errln!("waiting for reports of {others} of {} nodes that they refuse it", tally.all());
                }
            }
            Err(_) if since < WAIT => {}
            Ok(tally) => {
                let failure =
                    CliError::failed(format!("not every node is known to refuse {kid}: {}", some_refuse(&tally)));
                return Err(failure.hint(
                    "it is revoked in the key files and in the store; stop the nodes named here, or see in their logs what keeps them from the store, and run the same command again. A node that was killed, and perhaps started again since, stops counting by itself when the time is over",
                ));
            }
            Err(error) => {
                let failure = CliError::failed(format!("it is not known which nodes refuse {kid}: {error}"));
                return Err(failure.hint(
                    "it is revoked in the key files and in the store; when the store can be reached, run the same command again",
                ));
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Which of the nodes that may serve refuse a key that was revoked `since` ago.
fn refusals(nodes: Vec<Node>, kid: Kid, since: Duration) -> Tally {
    Tally::of(nodes.into_iter().filter(Node::may_serve), |node| node.age <= since, |node| !node.report.opens_with(kid))
}

fn all_refuse(tally: &Tally) -> String {
    match tally.all() {
        0 => "no node that may serve has reported to the store, so there is none to wait for".to_owned(),
        all => format!("{all} of {all} nodes refuse the key: every session sealed with it is over"),
    }
}

/// Two nodes may have one name, such as one that was killed and the one that was started in its place, so each has its report's
/// age.
fn some_refuse(tally: &Tally) -> String {
    let Tally { followed, behind, silent } = tally;
    let list = |nodes: &[Node], said: &dyn Fn(&Node) -> String| nodes.iter().map(said).collect::<Vec<_>>().join(", ");
    let mut parts = vec![format!("{} of {} do", followed.len(), tally.all())];
    if !behind.is_empty() {
        let reported = |node: &Node| format!("{} (reported {} ago)", node.report.name, span(node.age));
        parts.push(format!("still opening with it: {}", list(behind, &reported)));
    }
    if !silent.is_empty() {
        let reported = |node: &Node| {
            let left = span(node.report.serves_for.saturating_sub(node.age));
            format!("{} (last report {} ago; counts for {left} more)", node.report.name, span(node.age))
        };
        parts.push(format!("silent since it was revoked: {}", list(silent, &reported)));
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
        let none = "no node that may serve has reported to the store, so there is none to wait for";
        let all = "2 of 2 nodes refuse the key: every session sealed with it is over";
        let silent = "last report 7s ago; counts for 4m 53s more";
        let both = "0 of 3 do; still opening with it: a (reported 0s ago); silent since it was revoked: \
                    b (last report 5m ago; counts for 0s more), \
                    c (last report 31s ago; counts for 4m 29s more)";
        let cases: [(Vec<Node>, &str); 6] = [
            (vec![], none),
            (vec![node("a", &[2], 301)], none),
            (vec![node("a", &[1], 6), node("b", &[], 0)], all),
            (vec![node("a", &[1], 6), node("b", &[1, 2], 6)], "1 of 2 do; still opening with it: b (reported 6s ago)"),
            (vec![node("a", &[1], 7)], &format!("0 of 1 do; silent since it was revoked: a ({silent})")),
            (vec![node("a", &[2], 0), node("b", &[2], 300), node("c", &[1], 31)], both),
        ];
        for (nodes, said) in cases {
            let tally = refusals(nodes, Kid::from_bytes([2; 8]), Duration::from_secs(6));
            assert_eq!(if tally.is_complete() { all_refuse(&tally) } else { some_refuse(&tally) }, said);
        }
    }
}
