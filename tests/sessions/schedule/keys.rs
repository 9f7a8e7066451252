//! Model of the key files of a node, and of a logout with a token that the node cannot open.
//!
//! There are eight keys, and every five hours the next one becomes active. On each node, a key is present, missing, or revoked.

use std::sync::LazyLock;
use std::time::Duration;

use sealjar::id::Kid;
use sealjar::keyring::{KeyRing, NoKey};

use super::node::{Node, START};
use super::request::Request;
use super::store::Report;
use super::tally::Observation;
use super::world::World;
use crate::fixture::{DAY, HOUR, MINUTE, cookie, field, key, key_with};

const KEY_COUNT: u8 = 8;

/// State of a key file on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    Present,
    Missing,
    Revoked,
}

/// States of all key files on a node.
#[derive(Debug, Clone)]
pub(super) struct KeyFiles([File; KEY_COUNT as usize]);

impl KeyFiles {
    pub(super) const fn all() -> Self {
        Self([File::Present; KEY_COUNT as usize])
    }

    /// Sets the state of the file of one key.
    pub(super) fn with(mut self, kid: Kid, file: File) -> Self {
        self.0[index(kid)] = file;
        self
    }

    /// Returns the reason why the key files forbid opening tokens with a key, or `None` if they allow it.
    pub(super) fn reason(&self, kid: Kid) -> Option<NoKey> {
        match self.0[index(kid)] {
            File::Present => None,
            File::Missing => Some(NoKey::Unknown),
            File::Revoked => Some(NoKey::Revoked),
        }
    }

    /// Returns the key ring of these files. The fourth key has a shorter maximum lifetime.
    pub(super) fn ring(&self) -> KeyRing {
        let activates_at = |number: u8| START.plus(Duration::from_secs(5 * HOUR * u64::from(number - 1)));
        let existing = (1..=KEY_COUNT).zip(self.0).filter(|(_, file)| *file != File::Missing);
        let keys = existing.map(|(number, file)| {
            key_with(number, |dates| {
                if number > 1 {
                    dates.activates_at = Some(activates_at(number));
                }
                if number == 4 {
                    dates.max_lifetime = Duration::from_secs(90 * MINUTE);
                }
                if file == File::Revoked {
                    dates.revoked_at = Some(START);
                }
            })
        });
        KeyRing::new(keys.collect())
    }
}

fn index(kid: Kid) -> usize {
    static KIDS: LazyLock<Vec<Kid>> = LazyLock::new(|| (1..=KEY_COUNT).map(|number| key(number).kid()).collect());
    KIDS.iter().position(|other| *other == kid).expect("one of the eight keys")
}

/// Result of checking whether any node opens the token of a logout.
pub(super) enum Unopened {
    /// The node opens the token, or the request has none.
    Opens,
    /// 503: another node may open the token, or the store is unavailable.
    Unknown,
    /// No node opens the token.
    Unusable,
}

impl World {
    /// Models `may_be_live_on_other_node` in `src/http/logout.rs`. If no node opens the token, every node must also refuse it.
    pub(super) fn look_up_unopened(&mut self, request: &Request) -> Unopened {
        let Some(token) = self.cookie(request) else { return Unopened::Opens };
        let kid = token.kid;
        let node = &self.nodes[request.node];
        let expected: Vec<_> = node.reason_not_to_open(kid).map(|reason| (kid, reason)).into_iter().collect();
        let field = field(&token.value);
        let cookie = cookie();
        let not_opened: Vec<_> = node.sessions.unusable_keys([field.as_slice()], &cookie).collect();
        assert_eq!(not_opened, expected);
        let Some((kid, reason)) = not_opened.first().copied() else { return Unopened::Opens };
        if node.cut_off {
            self.count(Observation::StoreUnavailable);
            return Unopened::Unknown;
        }
        // For an unknown key, a report counts for an hour. For a revoked key, it counts for five minutes, because the node may
        // have been killed. If the node fails open, it counts for a day in both cases.
        let counts_for = |report: &Report| match reason {
            _ if report.fail_open => DAY,
            NoKey::Unknown => HOUR,
            NoKey::Revoked => 5 * MINUTE,
        };
        let counts = |report: &Report| report.kids.contains(&kid) && self.at - report.at <= counts_for(report);
        if self.store.reports.values().any(counts) {
            self.count(Observation::KeyElsewhere);
            return Unopened::Unknown;
        }
        // A node that fails open can continue for an unknown time. Its report is ignored after a day (docs/keys.md).
        let is_silent = |report: &Report| self.at - report.at > DAY;
        let is_forgotten = |node: &Node| node.fail_open && self.store.reports.get(&node.number).is_some_and(is_silent);
        let accepts = |node: &&Node| node.ready && !is_forgotten(node) && node.expected_verdict(token, self.at).is_ok();
        let accepting = self.nodes.iter().find(accepts).map(|node| node.number);
        assert_eq!(accepting, None, "a logout has succeeded, and this node accepts the session");
        self.count(Observation::SignedOutWithAnUnusableKey);
        Unopened::Unusable
    }
}
