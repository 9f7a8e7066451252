//! `sealjar keys status`: the ring of this directory against what every live node last reported.

use serde_json::{Value, json};

use super::tally::span;
use crate::cli::error::CliError;
use crate::cli::output::{errln, outln};
use crate::cli::runtime::open_store;
use crate::clock::{Now, UnixTime, milliseconds};
use crate::config::settings::Settings;
use crate::id::Kid;
use crate::keyring::{Key, KeyRing, KeyState};
use crate::store::node::{LIVE_TIMEOUT, Node};

/// Succeeds if there is a live node, and every live node opens with all keys that are not revoked here and with none that is, and seals with the key that is
/// active here.
pub(super) async fn run(settings: &Settings, as_json: bool) -> Result<(), CliError> {
    // The ring first: a key that is published meanwhile is then one more than here, which is no fault, and not one less.
    let ring = KeyRing::load(&settings.key_directory)?;
    let store = open_store(settings).await?;
    // A key that the log refuses is revoked, whatever its file here says.
    let ring = ring.with_refused_keys(&store.revoked_keys().await?);
    let nodes = store.nodes().await?;
    store.close().await;
    let compared: Vec<Compared<'_>> = nodes.iter().map(|node| Compared::of(node, &ring, Now::read().wall)).collect();
    if as_json {
        let nodes: Vec<Value> = compared.iter().map(Compared::as_value).collect();
        outln!("{}", json!({ "kids": ring.keys().iter().map(Key::kid).map(text).collect::<Vec<_>>(), "nodes": nodes }));
    } else {
        print(&compared);
    }

    if ring.sealing_key(Now::read().wall).is_none() {
        let failure = CliError::failed("no key here can seal, so nobody can sign in where this ring is used");
        return Err(failure
            .hint("make one with: sealjar keys rotate --activate-in 0s; or copy the keys here from where they are"));
    }
    let live = compared.iter().filter(|compared| compared.node.is_live());
    let faults: Vec<String> = live.clone().filter_map(Compared::fault).collect();
    if !faults.is_empty() {
        let hint = "a node reads its keys within a second; if it stays like this, copy the key files to it if it has a copy of them, and see in its log whether it can read them";
        return Err(CliError::failed(format!("not every live node holds this ring: {}", faults.join("; "))).hint(hint));
    }
    match live.count() {
        0 => {
            let message = format!(
                "no server has reported to this store within {} s, so there is none to compare",
                LIVE_TIMEOUT.as_secs()
            );
            Err(CliError::failed(message).hint(
                "start a server, or name the servers' store with --store or --config; an application that embeds Sealjar does not report",
            ))
        }
        live => {
            errln!("{live} of {live} live nodes hold this ring");
            Ok(())
        }
    }
}

fn print(compared: &[Compared<'_>]) {
    let (live, silent): (Vec<_>, Vec<_>) = compared.iter().partition(|compared| compared.node.is_live());
    let width = live.iter().map(|compared| compared.node.report.name.len()).max().unwrap_or(0).max("NODE".len());
    if !live.is_empty() {
        outln!("{:width$}  {:8}  {:16}  {:9}  THERE", "NODE", "REPORTED", "KID", "HERE");
    }
    for Compared { node, keys, .. } in live {
        let reported = format!("{}s ago", node.age.as_secs());
        for (kid, here, there) in keys {
            outln!("{:width$}  {reported:8}  {kid}  {here:9}  {there}", node.report.name);
        }
    }
    for Compared { node, .. } in silent {
        errln!("not counted, because it has been silent for {}: {}", span(node.age), node.report.name);
    }
}

/// A node's report held against the ring.
pub(in crate::cli) struct Compared<'a> {
    node: &'a Node,
    /// Each key with its state here and what the node does with it: those of the ring, then those that only the node has.
    keys: Vec<(Kid, &'static str, &'static str)>,
    /// Not revoked here, and not opening there.
    lacks: Vec<Kid>,
    /// Revoked here, and opening there.
    revoked: Vec<Kid>,
    /// The key that is active here.
    active: Option<Kid>,
}

impl<'a> Compared<'a> {
    pub(in crate::cli) fn of(node: &'a Node, ring: &KeyRing, now: UnixTime) -> Self {
        let report = &node.report;
        let opens = |key: &Key| report.opens_with(key.kid());
        let is_revoked = |key: &Key| ring.state(key, now) == KeyState::Revoked;
        let there = |kid: Kid| match report.opens_with(kid) {
            true if report.active == Some(kid) => "seals",
            true => "opens",
            // A report says nothing of keys that it does not open with: it may have revoked this one, or not have it.
            false => "not opened",
        };
        let here = ring.keys().iter().map(|key| (key.kid(), ring.state(key, now).name(), there(key.kid())));
        let only_there = report.kids.iter().filter(|kid| ring.keys().iter().all(|key| key.kid() != **kid));
        let kids = |wanted: &dyn Fn(&Key) -> bool| ring.keys().iter().filter(|key| wanted(key)).map(Key::kid).collect();
        Self {
            node,
            keys: here.chain(only_there.map(|kid| (*kid, "absent", there(*kid)))).collect(),
            lacks: kids(&|key| !is_revoked(key) && !opens(key)),
            revoked: kids(&|key| is_revoked(key) && opens(key)),
            active: ring.sealing_key(now).map(Key::kid),
        }
    }

    /// What is wrong with it, in words.
    pub(in crate::cli) fn fault(&self) -> Option<String> {
        let list = |kids: &[Kid]| kids.iter().copied().map(text).collect::<Vec<_>>().join(", ");
        let lacks = (!self.lacks.is_empty()).then(|| format!("lacks {}", list(&self.lacks)));
        let revoked =
            (!self.revoked.is_empty()).then(|| format!("still opens with the revoked {}", list(&self.revoked)));
        let mut found: Vec<String> = lacks.into_iter().chain(revoked).collect();
        // After another fault this says nothing new: a node that lacks the active key cannot seal with it.
        if found.is_empty()
            && let Some(here) = self.active
            && self.node.report.active != Some(here)
        {
            let there = self.node.report.active.map_or("no key".to_owned(), text);
            found.push(format!("seals with {there} and not with {here}"));
        }
        (!found.is_empty()).then(|| format!("{} {}", self.node.report.name, found.join(" and ")))
    }

    fn as_value(&self) -> Value {
        let Self { node, lacks, revoked, .. } = self;
        let texts = |kids: &[Kid]| kids.iter().copied().map(text).collect::<Vec<_>>();
        json!({
            "id": node.report.id.to_string(),
            "name": node.report.name,
            "live": node.is_live(),
            "age_ms": milliseconds(node.age),
            "active": node.report.active.map(text),
            "kids": texts(&node.report.kids),
            "lacks": texts(lacks),
            "opens_with_revoked": texts(revoked),
        })
    }
}

fn text(kid: Kid) -> String {
    kid.to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::id::NodeId;
    use crate::keyring::Dates;
    use crate::secret::Secret;
    use crate::store::node::{MIN_SERVING_TIME, NodeReport};

    fn kid(number: u8) -> Kid {
        Kid::of_key(&[number; 32])
    }

    /// Key 1 is retired, 2 active, 3 published, 4 revoked.
    fn ring() -> KeyRing {
        let dates = [(Some(10), None), (Some(20), None), (None, None), (Some(30), Some(40))];
        let key = |number: u8, (activates_at, revoked_at): (Option<u64>, Option<u64>)| {
            let (created_at, max_lifetime) = (UnixTime(0), Duration::from_secs(100));
            let (activates_at, revoked_at) = (activates_at.map(UnixTime), revoked_at.map(UnixTime));
            Key::new(Secret::from_bytes([number; 32]), Dates { created_at, activates_at, revoked_at, max_lifetime })
        };
        KeyRing::new((1..).zip(dates).map(|(number, dates)| key(number, dates)).collect())
    }

    fn node(kids: &[u8], active: u8) -> Node {
        let kids = kids.iter().copied().map(kid).collect();
        let id = NodeId::random();
        let name = "a".to_owned();
        let active = Some(kid(active));
        let report = NodeReport { id, name, kids, active, serves_for: MIN_SERVING_TIME };
        Node { report, age: Duration::ZERO }
    }

    #[test]
    fn a_key_that_a_node_lacks_or_should_not_use_is_its_fault() {
        let cases: [(&[u8], u8, Option<String>); 7] = [
            (&[1, 2, 3], 2, None),
            (&[1, 2, 3, 9], 2, None),
            (&[1, 2, 3, 9], 9, Some(format!("a seals with {} and not with {}", kid(9), kid(2)))),
            (&[1, 2, 3], 1, Some(format!("a seals with {} and not with {}", kid(1), kid(2)))),
            (&[1, 2], 2, Some(format!("a lacks {}", kid(3)))),
            (&[1, 2, 3, 4], 4, Some(format!("a still opens with the revoked {}", kid(4)))),
            (&[1, 2, 4], 2, Some(format!("a lacks {} and still opens with the revoked {}", kid(3), kid(4)))),
        ];
        for (kids, active, fault) in cases {
            let node = node(kids, active);
            assert_eq!(Compared::of(&node, &ring(), UnixTime(50)).fault(), fault, "{kids:?}");
        }
    }

    #[test]
    fn says_of_each_key_what_it_is_here_and_there() {
        let node = node(&[2, 4, 9], 2);
        let mut keys = Compared::of(&node, &ring(), UnixTime(50)).keys;
        keys.sort_by_key(|(id, ..)| (1..=9).find(|number| kid(*number) == *id));
        let expected = [
            (kid(1), "retired", "not opened"),
            (kid(2), "active", "seals"),
            (kid(3), "published", "not opened"),
            (kid(4), "revoked", "opens"),
            (kid(9), "absent", "opens"),
        ];
        assert_eq!(keys, expected);
    }
}
