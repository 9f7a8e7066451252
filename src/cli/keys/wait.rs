//! `sealjar keys rotate --wait`: a key that seals as soon as every live node can open what it seals, and not before.
//!
//! The key is published without a date. That is all there is to know of the wait: whoever is interrupted runs the command again,
//! and it takes up the same key.

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

const POLL: Duration = Duration::from_millis(250);
/// How long a node that has been silent is given to be heard of again, if it is there: the time of two reports and more. It may
/// have been kept from the store until now, as all are when the store was away.
const GRACE: Duration = Duration::from_secs(15);

pub(super) async fn rotate(settings: &Settings, timeout: Duration) -> Result<(), CliError> {
    // A store that cannot be used is found out before there is a key.
    let store = open_store(settings).await?;
    store.nodes().await?;

    let directory = &settings.key_directory;
    let max_lifetime = settings.lifetimes.longest();
    let (kid, made) =
        LockedRing::lock(directory)?.publish(&store.revoked_keys().await?, max_lifetime, Now::read().wall)?;
    if made {
        record(settings, Change::KeyPublished, Changed::Key(kid));
        errln!("published {kid}, which does not seal yet");
    } else {
        errln!("taking up {kid}, which was published before and left without a date");
    }
    let waited = until_held(&store, kid, timeout).await;
    store.close().await;
    waited.map_err(|failure| {
        failure.hint("the key stays published; the same command again takes it up, `sealjar keys revoke` takes it back")
    })?;

    let activates_at = LockedRing::lock(directory)?.activate(kid, Now::read().wall)?;
    record(settings, Change::KeyActivated, Changed::Key(kid));
    errln!("it seals from {activates_at} on");
    outln!("{kid}");
    Ok(())
}

/// Waits until every node that is live by then has reported the key.
async fn until_held(store: &Store, kid: Kid, timeout: Duration) -> Result<(), CliError> {
    let began = Now::read().boot;
    let mut said = None;
    loop {
        if store.revoked_keys().await?.contains(&kid) {
            return Err(ChangeError::Revoked(kid).into());
        }
        let tally = holders(store.nodes().await?, kid);
        if said.replace(tally.counts()) != Some(tally.counts()) {
            errln!("{}", said_of(&tally));
        }
        let watched = Now::read().boot.saturating_sub(began);
        if tally.behind.is_empty() && (tally.silent.is_empty() || watched >= GRACE.min(timeout)) {
            return Ok(());
        }
        if watched >= timeout {
            return Err(CliError::failed(format!("not every live node holds {kid}: {}", said_of(&tally))));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Which nodes hold a key.
fn holders(nodes: Vec<Node>, kid: Kid) -> Tally {
    Tally::of(nodes, Node::is_live, |node| node.report.opens_with(kid))
}

fn said_of(tally: &Tally) -> String {
    let Tally { followed, behind, silent } = tally;
    let live = followed.len() + behind.len();
    let mut said = match live {
        0 => format!("no node has reported within {} s", LIVE_TIMEOUT.as_secs()),
        _ => format!("{} of {live} live nodes hold it", followed.len()),
    };
    if !behind.is_empty() {
        said += &format!(", missing at {}", names(behind));
    }
    if !silent.is_empty() {
        said += &format!("; silent: {}", names(silent));
    } else if live == 0 {
        said += ", so there is none to wait for";
    }
    said
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
    fn says_which_live_nodes_lack_the_key_and_which_are_silent() {
        let both = "0 of 2 live nodes hold it, missing at a, b";
        let cases: [(Vec<Node>, &str); 5] = [
            (vec![], "no node has reported within 30 s, so there is none to wait for"),
            (vec![node("a", &[1], 31)], "no node has reported within 30 s; silent: a"),
            (vec![node("a", &[1, 2], 0), node("b", &[1], 65)], "1 of 1 live nodes hold it; silent: b"),
            (vec![node("a", &[1, 2], 0), node("b", &[1], 30)], "1 of 2 live nodes hold it, missing at b"),
            (vec![node("a", &[1], 1), node("b", &[], 1)], both),
        ];
        for (nodes, said) in cases {
            let tally = holders(nodes, Kid::from_bytes([2; 8]));
            assert_eq!(said_of(&tally), said);
            assert_eq!(tally.behind.is_empty(), !said.contains("missing"), "{said}");
        }
    }
}
