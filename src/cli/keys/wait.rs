//! `sealjar keys rotate --wait`: publishes a key, and activates it when every live node can open with it.
//!
//! The key is published without an activation date. The key file is the only state of the wait: if the command is interrupted,
//! the next run continues with the same key.

use std::time::Duration;

use super::tally::{Tally, names};
use crate::cli::audit::{Change, Changed, record};
use crate::cli::error::CliError;
use crate::cli::output::{errln, outln};
use crate::cli::runtime::open_store;
use crate::clock::Now;
use crate::config::settings::Settings;
use crate::id::Kid;
use crate::keyring::rotate::{ChangeError, LockedRing};
use crate::store::Store;
use crate::store::node::{LIVE_TIMEOUT, Node};

/// Interval between two reads of the reports.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Time in which a silent node may report again: more than two intervals between reports. The store may have been unavailable to
/// the node until now; after an outage of the store this is so for all nodes.
const SILENT_NODE_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) async fn rotate(settings: &Settings, timeout: Duration) -> Result<(), CliError> {
    // An unusable store must be noticed before a key is created.
    let store = open_store(settings).await?;
    store.nodes().await?;

    let directory = &settings.key_directory;
    let max_lifetime = settings.lifetimes.longest();
    let (kid, is_new) =
        LockedRing::lock(directory)?.publish(&store.revoked_keys().await?, max_lifetime, Now::read().wall)?;
    if is_new {
        record(settings, Change::KeyPublished, Changed::Key(kid));
        errln!("published {kid}, which does not seal yet");
    } else {
        errln!("continuing with {kid}, which was published before and has no activation date");
    }
    let waited = wait_until_held(&store, kid, timeout).await;
    store.close().await;
    waited.map_err(|failure| {
        failure.hint("the key stays published; run the same command again to continue, or remove the key with: sealjar keys revoke")
    })?;

    let activates_at = LockedRing::lock(directory)?.activate(kid, Now::read().wall)?;
    record(settings, Change::KeyActivated, Changed::Key(kid));
    errln!("the key will seal from {activates_at} on");
    outln!("{kid}");
    Ok(())
}

/// Waits until every live node has reported that it has the key. A node that becomes live during the wait counts, too.
async fn wait_until_held(store: &Store, kid: Kid, timeout: Duration) -> Result<(), CliError> {
    let started = Now::read().boot;
    let mut last_counts = None;
    loop {
        if store.revoked_keys().await?.contains(&kid) {
            return Err(ChangeError::Revoked(kid).into());
        }
        let tally = holders(store.nodes().await?, kid);
        if last_counts.replace(tally.counts()) != Some(tally.counts()) {
            errln!("{}", describe(&tally));
        }
        let elapsed = Now::read().boot.saturating_sub(started);
        if tally.behind.is_empty() && (tally.silent.is_empty() || elapsed >= SILENT_NODE_TIMEOUT.min(timeout)) {
            return Ok(());
        }
        if elapsed >= timeout {
            return Err(CliError::failed(format!("not every live node has {kid}: {}", describe(&tally))));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Sorts the nodes by whether they have a key.
fn holders(nodes: Vec<Node>, kid: Kid) -> Tally {
    Tally::of(nodes, Node::is_live, |node| node.report.opens_with(kid))
}

fn describe(tally: &Tally) -> String {
    let Tally { followed, behind, silent } = tally;
    let live = followed.len() + behind.len();
    let mut text = match live {
        0 => format!("no node has reported within {} s", LIVE_TIMEOUT.as_secs()),
        _ => format!("{} of {live} live nodes have the key", followed.len()),
    };
    if !behind.is_empty() {
        text += &format!(", missing at {}", names(behind));
    }
    if !silent.is_empty() {
        text += &format!("; no recent report: {}", names(silent));
    } else if live == 0 {
        text += ", so there is no node to wait for";
    }
    text
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
    fn names_live_nodes_without_the_key_and_silent_nodes() {
        let both = "0 of 2 live nodes have the key, missing at a, b";
        let cases: [(Vec<Node>, &str); 5] = [
            (vec![], "no node has reported within 30 s, so there is no node to wait for"),
            (vec![node("a", &[1], 31)], "no node has reported within 30 s; no recent report: a"),
            (vec![node("a", &[1, 2], 0), node("b", &[1], 65)], "1 of 1 live nodes have the key; no recent report: b"),
            (vec![node("a", &[1, 2], 0), node("b", &[1], 30)], "1 of 2 live nodes have the key, missing at b"),
            (vec![node("a", &[1], 1), node("b", &[], 1)], both),
        ];
        for (nodes, expected) in cases {
            let tally = holders(nodes, Kid::from_bytes([2; 8]));
            assert_eq!(describe(&tally), expected);
            assert_eq!(tally.behind.is_empty(), !expected.contains("missing"), "{expected}");
        }
    }
}
