//! `sealjar keys revoke`: a key that no node opens or seals with any more, whatever its key files say.
//!
//! A successor is made first, so that there is a key to seal with at any time. Then the key is refused in the store's revocation
//! log, which every node follows, then revoked in its file. The command succeeds only if every node that may still serve has
//! reported since then that it does not open with the key.

use std::fmt;
use std::time::Duration;

use super::Failure;
use crate::clock::Now;
use crate::config::Config;
use crate::id::Kid;
use crate::keyring::rotate::{ChangeError, LockedRing};
use crate::store::url::without_password;
use crate::store::{MAY_SERVE, Node, Store, StoreError};

const POLL: Duration = Duration::from_millis(250);
/// How long nodes are given to report that they refuse the key: three times the interval between two reports.
const WAIT: Duration = Duration::from_secs(15);

pub(super) async fn run(config: &Config, kid: Kid, replace: bool) -> Result<(), Failure> {
    let directory = config.keys.dir.display();
    let opened = open(config).await;
    let refused = opened.as_ref().map_or(&[][..], |opened| opened.as_ref().map_or(&[][..], |(_, refused)| refused));
    let locked = LockedRing::lock(&config.keys.dir);
    let begun = match &locked {
        Ok(ring) => ring.begin_revoking(kid, replace, refused, Now::read().wall),
        Err(_) => Err(ChangeError::NoSuchKey(kid)),
    };
    let revocation = match (begun, &locked) {
        (Ok(revocation), _) => revocation,
        // The files cannot be read or written: the nodes must refuse the key all the same.
        (Err(error @ (ChangeError::Ring(_) | ChangeError::Write { .. })), Ok(_)) => {
            return Err(in_store_alone(opened, kid, error).await);
        }
        // Another node has the key: it may be the one that was stolen.
        (Err(error @ ChangeError::NoSuchKey(_)), Ok(_)) if is_opened_somewhere(&opened, kid).await => {
            return Err(in_store_alone(opened, kid, error).await);
        }
        (Err(error), Ok(_)) => return Err(error.into()),
        (Err(_), Err(_)) => {
            let error = locked.err().unwrap_or(ChangeError::NoSuchKey(kid));
            return Err(in_store_alone(opened, kid, error).await);
        }
    };
    let successor = revocation.successor();
    let logged = match opened {
        Ok(Some((store, _))) => store.revoke_key(kid).await.map(|()| Some((store, Now::read().boot))),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    if let Err(error) = revocation.finish() {
        let failure = Failure::from(error);
        return Err(match logged {
            Ok(Some(_)) => failure
                .hint(format!("{kid} is revoked in the store, and its nodes refuse it; the file still calls it good")),
            Ok(None) | Err(_) => failure,
        });
    }
    drop(locked);
    eprintln!("revoked {kid} in {directory}");
    if let Some(successor) = successor {
        eprintln!("made a successor; it is active");
        println!("{successor}");
    }
    match logged {
        Ok(Some((store, committed))) => {
            let outcome = until_refused(&store, kid, committed).await;
            store.close().await;
            outcome
        }
        Ok(None) => {
            let store = without_password(&config.store);
            eprintln!(
                "there is no store at {store}, so nothing else is done: a node refuses the key when it reads these files"
            );
            Ok(())
        }
        Err(error) => {
            let message = format!("{kid} is revoked in {directory}, but not in the store: {error}");
            Err(Failure::failed(message).hint(
                "nodes refuse it only when they read these files; when the store can be reached, run the same command again",
            ))
        }
    }
}

/// Whether some node has reported that it opens with this key.
async fn is_opened_somewhere(opened: &Result<Option<(Store, Vec<Kid>)>, StoreError>, kid: Kid) -> bool {
    let Ok(Some((store, _))) = opened else {
        return false;
    };
    store.nodes().await.is_ok_and(|nodes| nodes.iter().any(|node| node.report.opens_with(kid)))
}

/// Revokes a key in the store although its files cannot be changed, and returns why the command fails.
async fn in_store_alone(
    opened: Result<Option<(Store, Vec<Kid>)>, StoreError>,
    kid: Kid,
    error: ChangeError,
) -> Failure {
    let failure = Failure::from(error);
    match opened {
        Ok(Some((store, _))) => match store.revoke_key(kid).await {
            Ok(()) => failure.hint(format!(
                "{kid} is revoked in the store, and its nodes refuse it; its file is as it was, where there is one. Mend the directory, or name the right one with --keys, and run the same command again"
            )),
            Err(_) => failure,
        },
        Ok(None) | Err(_) => failure,
    }
}

/// The keys that the store refuses; none if there is no store.
pub(super) async fn refused_keys(config: &Config) -> Result<Vec<Kid>, Failure> {
    let Some((store, refused)) = open(config).await? else {
        return Ok(Vec::new());
    };
    store.close().await;
    Ok(refused)
}

/// The store and the keys that it refuses already, or `None` if it was never made.
async fn open(config: &Config) -> Result<Option<(Store, Vec<Kid>)>, StoreError> {
    match Store::open(&config.store_url(), config.store_limits()).await {
        Ok(store) => {
            let refused = store.revoked_keys().await?;
            Ok(Some((store, refused)))
        }
        Err(StoreError::Missing(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits until every node that may still serve has reported, after the commit, that it does not open with the key.
async fn until_refused(store: &Store, kid: Kid, committed: Duration) -> Result<(), Failure> {
    let mut said = None;
    loop {
        // Reports are no older than they were when they were asked for, so one that is younger than this came after the commit.
        let since = Now::read().boot.saturating_sub(committed);
        let reports = store.nodes().await.map(|nodes| Progress::of(&nodes, kid, since));
        match reports {
            Ok(progress) if progress.is_complete() => {
                eprintln!("{progress}: every session sealed with it is over");
                return Ok(());
            }
            Ok(progress) if since < WAIT => {
                if said.as_ref() != Some(&progress) {
                    eprintln!("{progress}");
                }
                said = Some(progress);
            }
            Err(_) if since < WAIT => {}
            Ok(progress) => {
                let failure = Failure::failed(format!("not every node is known to refuse {kid}: {progress}"));
                return Err(failure.hint(
                    "it is revoked in the key files and in the store; stop the nodes named here, or see in their logs what keeps them from the store, and run the same command again. One that was killed counts until 5 minutes after its last report",
                ));
            }
            Err(error) => {
                let failure = Failure::failed(format!("it is not known which nodes refuse {kid}: {error}"));
                return Err(failure.hint(
                    "it is revoked in the key files and in the store; when the store can be reached, run the same command again",
                ));
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// How many nodes refuse a key, and the names of those that still open with it, and of those that have not reported since it was
/// revoked. Nodes that have been silent for longer than [`MAY_SERVE`] do not count.
#[derive(Debug, PartialEq, Eq)]
struct Progress {
    refusing: usize,
    opening: Vec<String>,
    silent: Vec<String>,
}

impl Progress {
    /// `since` is how long ago the key was revoked.
    fn of(nodes: &[Node], kid: Kid, since: Duration) -> Self {
        let mut progress = Self { refusing: 0, opening: Vec::new(), silent: Vec::new() };
        for node in nodes.iter().filter(|node| node.may_serve()) {
            let name = node.report.name.clone();
            match node.age <= since {
                true if node.report.opens_with(kid) => progress.opening.push(name),
                true => progress.refusing += 1,
                false => progress.silent.push(name),
            }
        }
        progress
    }

    const fn is_complete(&self) -> bool {
        self.opening.is_empty() && self.silent.is_empty()
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { refusing, opening, silent } = self;
        match refusing + opening.len() + silent.len() {
            0 => return write!(f, "no node has reported within {} minutes", MAY_SERVE.as_secs() / 60),
            all => write!(f, "{refusing} of {all} nodes refuse the key")?,
        }
        if !opening.is_empty() {
            write!(f, "; still opening with it: {}", opening.join(", "))?;
        }
        if !silent.is_empty() {
            write!(f, "; silent since: {}", silent.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;
    use crate::store::NodeReport;

    fn node(name: &str, kids: &[u8], age_secs: u64) -> Node {
        let kids = kids.iter().map(|number| Kid::from_bytes([*number; 8])).collect();
        let report = NodeReport { id: NodeId::random(), name: name.to_owned(), kids, active: None };
        Node { report, age: Duration::from_secs(age_secs) }
    }

    #[test]
    fn counts_only_reports_made_after_the_key_was_revoked() {
        let cases: [(&[Node], &str); 6] = [
            (&[], "no node has reported within 5 minutes"),
            (&[node("a", &[2], 301)], "no node has reported within 5 minutes"),
            (&[node("a", &[1], 6), node("b", &[], 0)], "2 of 2 nodes refuse the key"),
            (&[node("a", &[1], 6), node("b", &[1, 2], 6)], "1 of 2 nodes refuse the key; still opening with it: b"),
            (&[node("a", &[1], 7)], "0 of 1 nodes refuse the key; silent since: a"),
            (
                &[node("a", &[2], 0), node("b", &[2], 300), node("c", &[1], 31)],
                "0 of 3 nodes refuse the key; still opening with it: a; silent since: b, c",
            ),
        ];
        for (nodes, said) in cases {
            let progress = Progress::of(nodes, Kid::from_bytes([2; 8]), Duration::from_secs(6));
            assert_eq!(progress.to_string(), said);
            assert_eq!(progress.is_complete(), !said.contains(';'), "{said}");
        }
    }
}
