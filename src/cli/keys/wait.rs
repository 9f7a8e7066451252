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
use crate::keyring::rotate::{ChangeError, LockedRing};
use crate::store::{LIVE, Node, Store};

const POLL: Duration = Duration::from_millis(250);
/// How long a node that has been silent is given to be heard of again, if it is there: the time of two reports and more. It may have
/// been kept from the store until now, as all are when the store was away.
const GRACE: Duration = Duration::from_secs(15);

pub(super) async fn rotate(config: &Config, timeout: Duration) -> Result<(), Failure> {
    // A store that cannot be used is found out before there is a key.
    let store = open_store(config).await?;
    store.nodes().await?;

    let (directory, max_lifetime) = (&config.keys.dir, config.lifetimes().longest());
    let (kid, made) =
        LockedRing::lock(directory)?.publish(&store.revoked_keys().await?, max_lifetime, Now::read().wall)?;
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
    let began = Now::read().boot;
    let mut said = None;
    loop {
        if store.revoked_keys().await?.contains(&kid) {
            return Err(ChangeError::Revoked(kid).into());
        }
        let progress = Progress::of(&store.nodes().await?, kid);
        if said.as_ref() != Some(&progress) {
            eprintln!("{progress}");
        }
        let watched = Now::read().boot.saturating_sub(began);
        if progress.lacking.is_empty() && (progress.silent.is_empty() || watched >= GRACE.min(timeout)) {
            return Ok(());
        }
        if watched >= timeout {
            return Err(Failure::failed(format!("not every live node holds {kid}: {progress}")));
        }
        said = Some(progress);
        tokio::time::sleep(POLL).await;
    }
}

/// How many live nodes hold a key, and the names of those that do not, and of those that are silent.
#[derive(Debug, PartialEq, Eq)]
struct Progress {
    holding: usize,
    lacking: Vec<String>,
    silent: Vec<String>,
}

impl Progress {
    fn of(nodes: &[Node], kid: Kid) -> Self {
        let (live, silent): (Vec<&Node>, Vec<&Node>) = nodes.iter().partition(|node| node.is_live());
        let (holding, lacking): (Vec<&Node>, Vec<&Node>) = live.iter().partition(|node| node.report.opens_with(kid));
        let names = |nodes: Vec<&Node>| nodes.into_iter().map(|node| node.report.name.clone()).collect();
        Self { holding: holding.len(), lacking: names(lacking), silent: names(silent) }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { holding, lacking, silent } = self;
        let live = holding + lacking.len();
        match live {
            0 => write!(f, "no node has reported within {} s", LIVE.as_secs())?,
            _ => write!(f, "{holding} of {live} live nodes hold it")?,
        }
        if !lacking.is_empty() {
            write!(f, ", missing at {}", lacking.join(", "))?;
        }
        match silent.is_empty() {
            true if live == 0 => write!(f, ", so there is none to wait for"),
            true => Ok(()),
            false => write!(f, "; silent: {}", silent.join(", ")),
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
    fn says_which_live_nodes_lack_the_key_and_which_are_silent() {
        let cases: [(&[Node], &str); 5] = [
            (&[], "no node has reported within 30 s, so there is none to wait for"),
            (&[node("a", &[1], 31)], "no node has reported within 30 s; silent: a"),
            (&[node("a", &[1, 2], 0), node("b", &[1], 31)], "1 of 1 live nodes hold it; silent: b"),
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
