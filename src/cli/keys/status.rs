//! `sealjar keys status`: compares the keys of this directory with the keys that each live node last reported.
//!
//! `doctor` uses [`Compared`], too.

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

/// Prints the comparison. Returns an error unless there is a live node and every live node meets three conditions: it opens with
/// all keys that are not revoked here, it opens with no key that is revoked here, and it seals with the key that is active here.
pub(super) async fn run(settings: &Settings, as_json: bool) -> Result<(), CliError> {
    // The ring is read first. A key that is published meanwhile is then an extra key of the node, which is not a fault. In the
    // other order, it would look like a key that the node lacks.
    let ring = KeyRing::load(&settings.key_directory)?;
    let store = open_store(settings).await?;
    // A key that the revocation log refuses counts as revoked, even if its key file says that it is valid.
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
        let failure =
            CliError::failed("no key here can seal, so no user can log in on servers that use this key directory");
        return Err(failure.hint(
            "create one with: sealjar keys rotate --activate-in 0s; or copy the keys from the machine that has them",
        ));
    }
    let live = compared.iter().filter(|compared| compared.node.is_live());
    let faults: Vec<String> = live.clone().filter_map(Compared::fault).collect();
    if !faults.is_empty() {
        let hint = "a node reads changed keys within a second; if this remains, copy the key files to the node if it has a separate key directory, and see in its log whether it can read them";
        return Err(CliError::failed(format!(
            "not every live node uses the keys of this directory: {}",
            faults.join("; ")
        ))
        .hint(hint));
    }
    match live.count() {
        0 => {
            let message = format!(
                "no server has reported to this store within {} s, so there is no node to compare",
                LIVE_TIMEOUT.as_secs()
            );
            Err(CliError::failed(message).hint(
                "start a server, or name the servers' store with --store or --config; an application that embeds Sealjar does not report",
            ))
        }
        live => {
            errln!("{live} of {live} live nodes use the keys of this directory");
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
        errln!("not counted, because the last report is {} old: {}", span(node.age), node.report.name);
    }
}

/// Differences between the report of a node and the keys of this directory.
pub(in crate::cli) struct Compared<'a> {
    node: &'a Node,
    /// Keys, each with its state here and its use by the node. The keys of this directory come first, then the keys that only the
    /// node has.
    keys: Vec<(Kid, &'static str, &'static str)>,
    /// Keys that are not revoked here, and with which the node does not open.
    lacks: Vec<Kid>,
    /// Keys that are revoked here, and with which the node still opens.
    revoked: Vec<Kid>,
    /// Key that is active here.
    active: Option<Kid>,
}

impl<'a> Compared<'a> {
    pub(in crate::cli) fn of(node: &'a Node, ring: &KeyRing, now: UnixTime) -> Self {
        let report = &node.report;
        let opens = |key: &Key| report.opens_with(key.kid());
        let is_revoked = |key: &Key| ring.state(key, now) == KeyState::Revoked;
        let use_by_node = |kid: Kid| match report.opens_with(kid) {
            true if report.active == Some(kid) => "seals",
            true => "opens",
            // A report lists only keys that the node opens with. So the node either has this key revoked, or does not have it.
            false => "not opened",
        };
        let in_directory =
            ring.keys().iter().map(|key| (key.kid(), ring.state(key, now).name(), use_by_node(key.kid())));
        let only_at_node = report.kids.iter().filter(|kid| ring.keys().iter().all(|key| key.kid() != **kid));
        let kids = |wanted: &dyn Fn(&Key) -> bool| ring.keys().iter().filter(|key| wanted(key)).map(Key::kid).collect();
        Self {
            node,
            keys: in_directory.chain(only_at_node.map(|kid| (*kid, "absent", use_by_node(*kid)))).collect(),
            lacks: kids(&|key| !is_revoked(key) && !opens(key)),
            revoked: kids(&|key| is_revoked(key) && opens(key)),
            active: ring.sealing_key(now).map(Key::kid),
        }
    }

    /// Returns the difference as text, or `None` if there is none.
    pub(in crate::cli) fn fault(&self) -> Option<String> {
        let list = |kids: &[Kid]| kids.iter().copied().map(text).collect::<Vec<_>>().join(", ");
        let lacks = (!self.lacks.is_empty()).then(|| format!("lacks {}", list(&self.lacks)));
        let revoked =
            (!self.revoked.is_empty()).then(|| format!("still opens with the revoked {}", list(&self.revoked)));
        let mut differences: Vec<String> = lacks.into_iter().chain(revoked).collect();
        // This is reported only if there is no other difference: a node that lacks the active key cannot seal with it anyway.
        if differences.is_empty()
            && let Some(here) = self.active
            && self.node.report.active != Some(here)
        {
            let used = self.node.report.active.map_or("no key".to_owned(), text);
            differences.push(format!("seals with {used} and not with {here}"));
        }
        (!differences.is_empty()).then(|| format!("{} {}", self.node.report.name, differences.join(" and ")))
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

    /// Returns a ring in which key 1 is retired, 2 active, 3 published and 4 revoked.
    fn ring() -> KeyRing {
        let dates = [(Some(10), None), (Some(20), None), (None, None), (Some(30), Some(40))];
        let key = |number: u8, (activates_at, revoked_at): (Option<u64>, Option<u64>)| {
            let created_at = UnixTime(0);
            let max_lifetime = Duration::from_secs(100);
            let activates_at = activates_at.map(UnixTime);
            let revoked_at = revoked_at.map(UnixTime);
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
    fn reports_keys_that_a_node_lacks_or_must_not_use() {
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
    fn lists_each_key_with_its_state_and_its_use_by_the_node() {
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
