//! `sealjar keys rotate --wait`: a key that seals as soon as every live node can open what it seals, and not before.
//!
//! The key is published without a date. That is all there is to know of the wait: whoever is interrupted runs the command again,
//! and it takes up the same key.

use std::fmt;
use std::time::Duration;

use super::{Failure, open_store};
use crate::clock::Now;
use crate::config::Config;
use crate::id::Kid;
use crate::keyring::rotate::LockedRing;
use crate::store::{LIVE, Node, Store};

const POLL: Duration = Duration::from_millis(250);

pub(super) async fn rotate(config: &Config, timeout: Duration) -> Result<(), Failure> {
    // A store that cannot be used is found out before there is a key.
    let store = open_store(config).await?;
    store.nodes().await?;

    let (directory, max_lifetime) = (&config.keys.dir, config.lifetimes().longest());
    let (kid, made) = LockedRing::lock(directory)?.publish(max_lifetime, Now::read().wall)?;
    if made {
        eprintln!("published {kid}, which does not seal yet");
    } else {
        eprintln!("taking up {kid}, which was published before and left without a date");
    }
    let waited = until_held(&store, kid, timeout).await;
    store.close().await;
    waited.map_err(|failure| {
        failure.hint("the key stays published; the same command again takes it up, `sealjar keys revoke` takes it back")
    })?;

    let activates_at = LockedRing::lock(directory)?.activate(kid, Now::read().wall)?;
    eprintln!("it seals from {activates_at} on");
    println!("{kid}");
    Ok(())
}

/// Waits until every node that is live by then has reported the key.
async fn until_held(store: &Store, kid: Kid, timeout: Duration) -> Result<(), Failure> {
    let deadline = Now::read().boot.saturating_add(timeout);
    let mut said = None;
    loop {
        let progress = Progress::of(&store.nodes().await?, kid);
        if said.as_ref() != Some(&progress) {
            eprintln!("{progress}");
        }
        if progress.lacking.is_empty() {
            return Ok(());
        }
        if Now::read().boot >= deadline {
            return Err(Failure::failed(format!("not every live node holds {kid}: {progress}")));
        }
        said = Some(progress);
        tokio::time::sleep(POLL).await;
    }
}

/// How many live nodes hold a key, and the names of those that do not.
#[derive(Debug, PartialEq, Eq)]
struct Progress {
    holding: usize,
    lacking: Vec<String>,
}

impl Progress {
    fn of(nodes: &[Node], kid: Kid) -> Self {
        let live = nodes.iter().filter(|node| node.is_live()).map(|node| &node.report);
        let (holding, lacking): (Vec<_>, Vec<_>) = live.partition(|report| report.opens_with(kid));
        Self { holding: holding.len(), lacking: lacking.into_iter().map(|report| report.name.clone()).collect() }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { holding, lacking } = self;
        let live = holding + lacking.len();
        match live {
            0 => write!(f, "no node has reported within {} s, so there is none to wait for", LIVE.as_secs()),
            _ if lacking.is_empty() => write!(f, "{holding} of {live} live nodes hold it"),
            _ => write!(f, "{holding} of {live} live nodes hold it, missing at {}", lacking.join(", ")),
        }
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
    fn waits_for_every_live_node_that_lacks_the_key_and_for_no_silent_one() {
        let none = "no node has reported within 30 s, so there is none to wait for";
        let cases: [(&[Node], &str); 5] = [
            (&[], none),
            (&[node("a", &[1], 31)], none),
            (&[node("a", &[1, 2], 0), node("b", &[1], 31)], "1 of 1 live nodes hold it"),
            (&[node("a", &[1, 2], 0), node("b", &[1], 30)], "1 of 2 live nodes hold it, missing at b"),
            (&[node("a", &[1], 1), node("b", &[], 1)], "0 of 2 live nodes hold it, missing at a, b"),
        ];
        for (nodes, said) in cases {
            let progress = Progress::of(nodes, Kid::from_bytes([2; 8]));
            assert_eq!(progress.to_string(), said);
            assert_eq!(progress.lacking.is_empty(), !said.contains("missing"), "{said}");
        }
    }
}
